//! `iaid doctor`: what is right and what is wrong, a line each, with the remedy.
//!
//! It looks and changes nothing, unless `--fix` says so; what needs judgement is only ever said. Every call and
//! every program has a time in which it must answer, so it comes to an end whatever state things are in, and
//! what can be looked at without a daemon is.

mod assistants;
mod daemon;
mod files;
mod finding;
mod service;
mod waiting;

use std::env;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::console::{Console, Format};
use super::error::CliError;
use super::install::Place;
use super::install::service::Manager;
use super::paths;
use super::values::counted;
use crate::client::Client;

use self::finding::{Finding, Verdict};

/// Say what is right, what is wrong, and what to do about it
///
/// Exits with 1 if something fails. A write that is tried leaves nothing behind, and a hook that is run takes
/// nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Set right what needs no judgement: modes of files, what is to be tried again, what was left behind
    #[arg(long)]
    fix: bool,
    /// The store's folder [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Who is looked at.
struct Patient {
    client: Client,
    store: PathBuf,
    /// Where settings are, if there is a home.
    place: Option<Place>,
    /// The daemon's, while one answers.
    status: Option<Value>,
    /// It answers, and carries out no call.
    is_stuck: bool,
    now: Timestamp,
    zone: TimeZone,
}

impl Patient {
    fn has_service(&self) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| Manager::found().is_some_and(|manager| manager.program(&place.home).is_some()))
    }
}

/// In their order: the later ones know whether a daemon answers.
const CHECKS: [fn(&mut Patient) -> Vec<Finding>; 14] = [
    daemon::answers,
    daemon::version,
    files::socket,
    daemon::round_trip,
    daemon::store,
    daemon::cycle,
    files::modes,
    files::space,
    files::state,
    files::leftovers,
    files::clients,
    waiting::spool,
    service::service,
    assistants::all,
];

pub(super) fn run(args: &Args, socket: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let env = |name: &str| env::var_os(name);
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| CliError::File(path, error));
    let mut patient = Patient {
        client: Client::new(absolute(paths::socket(socket, &env)?)?, daemon::policy()),
        store: absolute(paths::store(args.store.clone(), &env)?)?,
        place: Place::from_env().ok(),
        status: None,
        is_stuck: false,
        now: Timestamp::now(),
        zone: TimeZone::system(),
    };
    let (mut findings, mut fixed) = (Vec::new(), Vec::new());
    for check in CHECKS {
        let mut found = check(&mut patient);
        if args.fix && found.iter().any(|finding| !finding.fixes.is_empty()) {
            for fix in found.iter().flat_map(|finding| &finding.fixes) {
                let outcome = fix.apply();
                if console.format == Format::Text {
                    let line = outcome
                        .as_ref()
                        .map_or_else(|why| format!("not fixed: {why}"), |what| format!("fixed: {what}"));
                    console.say(super::console::visible(&line, console.out_kind)).map_err(CliError::Output)?;
                }
                fixed.extend(outcome.ok());
            }
            found = check(&mut patient);
        }
        if console.format == Format::Text {
            for finding in &found {
                console.say(finding.text(console.out_kind)).map_err(CliError::Output)?;
            }
            // A check may take its time.
            console.flush().map_err(CliError::Output)?;
        }
        findings.extend(found);
    }
    told(&findings, &fixed, console)
}

fn told(findings: &[Finding], fixed: &[String], console: &mut Console) -> Result<(), CliError> {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (passed, warnings, failed) = (count(Verdict::Pass), count(Verdict::Warn), count(Verdict::Fail));
    let said = match console.format {
        Format::Json => {
            let checks: Vec<Value> = findings.iter().map(Finding::json).collect();
            console.say(json!({"ok": failed == 0, "checks": checks, "fixed": fixed}))
        }
        Format::Text => {
            let warnings = counted(warnings, "warning", "warnings");
            console.say(format_args!("{passed} right, {warnings}, {failed} wrong"))
        }
    };
    said.map_err(CliError::Output)?;
    if failed == 0 { Ok(()) } else { Err(CliError::Unwell(failed)) }
}
