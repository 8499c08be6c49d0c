//! `iaid restore`: replaces the store's content by that of a file, after showing both. A running daemon does it; without
//! one this process does.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::recall::local_time;
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::cli::support::values::counted;
use crate::client::{Client, ClientError, DeliveryGuarantee, Policy, UnreachableReason};
use crate::memory;

const METHOD: &str = "store_restore";

/// Replace the store by a backup
///
/// Shows the store and FILE, asks, checks FILE, and keeps the present store as memory.db.before-restore-TIME in its
/// folder. FILE is only read. A running daemon does it while it keeps serving.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// Backup or other store to restore
    file: PathBuf,
    /// Restore without asking
    #[arg(long)]
    yes: bool,
    /// Folder of the store if no daemon runs [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Returns a policy without a reply timeout: copying and checking a large store takes long.
pub(crate) fn policy() -> Policy {
    Policy { reply_timeout: Duration::MAX, wait_for_restart: Duration::ZERO, ..Policy::default() }
}

pub(crate) fn run(
    args: &RestoreArgs,
    client: &mut Client,
    zone: &TimeZone,
    console: &mut Console,
) -> Result<(), CliError> {
    let path = std::path::absolute(&args.file).map_err(|e| CliError::File(args.file.clone(), e))?;
    let Some(name) = path.to_str() else {
        return Err(CliError::Usage(format!("{} is not UTF-8; rename it", path.display())));
    };
    if !args.yes {
        let (_, found) = call(args, client, name, false)?;
        show(&found, zone, console)?;
        if !console.input_kind.is_terminal() || console.format == OutputFormat::Json {
            let what = "nothing was changed: standard input is not a terminal; use --yes to confirm";
            return Err(CliError::Usage(what.into()));
        }
        if !console.ask("Replace the store?").map_err(CliError::Input)? {
            return Ok(());
        }
    }
    let (text, done) = call(args, client, name, true)?;
    if console.format == OutputFormat::Json {
        return console.say(text).map_err(CliError::Output);
    }
    if args.yes {
        show(&done, zone, console)?;
    }
    let kept = done["kept_as"].as_str().unwrap_or_default();
    let records = counted(done["file"]["records"].as_u64().unwrap_or(0), "record", "records");
    console.say(format_args!("restored {records}; the former store is in {kept}")).map_err(CliError::Output)
}

/// Calls the daemon, or does the same if none runs. Returns the reply as text, too.
fn call(args: &RestoreArgs, client: &mut Client, path: &str, confirm: bool) -> Result<(String, Value), CliError> {
    // A retry would keep the restored store as the former one.
    let reply = client.call_with(DeliveryGuarantee::AtMostOnce, METHOD, &json!({"path": path, "confirm": confirm}));
    let text = match reply {
        Ok(reply) => reply.get().to_owned(),
        Err(ClientError::Unreachable {
            why: UnreachableReason::NoSocket | UnreachableReason::NotListening, ..
        }) => {
            let folder = paths::store(args.store.clone(), &|name| env::var_os(name)).map_err(CliError::NoHome)?;
            memory::restore_offline(&folder, Path::new(path), confirm)
                .map_err(|error| ClientError::Refused { code: error.code, message: error.message })?
        }
        Err(error) => return Err(CliError::from(error).of_sandbox(Path::new(path))),
    };
    let read = serde_json::from_str(&text).map_err(|e| CliError::Reply(METHOD, e))?;
    Ok((text, read))
}

fn show(found: &Value, zone: &TimeZone, console: &mut Console) -> Result<(), CliError> {
    if console.format == OutputFormat::Json {
        return Ok(());
    }
    for label in ["store", "file"] {
        let side = &found[label];
        let what = match (side["records"].as_u64(), side["newest"].as_str()) {
            (None, _) => "cannot be read".to_owned(),
            (Some(0), _) | (_, None) => "0 records".to_owned(),
            (Some(count), Some(ts)) => {
                format!("{}, the newest {}", counted(count, "record", "records"), local_time(ts, zone))
            }
        };
        let path = side["path"].as_str().unwrap_or_default();
        console.say(format_args!("{label:<5}  {path}: {what}")).map_err(CliError::Output)?;
    }
    let gone = match found["gone"].as_u64() {
        None => "whatever the store has would be gone from it".to_owned(),
        Some(0) => "every record of the store is in the file".to_owned(),
        Some(count) => format!("{} of the store would be gone", counted(count, "record", "records")),
    };
    console.say(gone).map_err(CliError::Output)
}
