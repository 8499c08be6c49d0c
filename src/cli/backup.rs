//! `iaid backup`: copies the store to one file. The daemon makes the copy while it keeps serving.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::values::size_in_words;
use crate::client::{Client, DeliveryGuarantee, Policy};

const METHOD: &str = "store_backup";

/// Copy the store to a file
///
/// The copy is a complete store; `iaid restore` puts it back. An existing file is never overwritten.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// File to create; must not exist yet
    file: PathBuf,
}

#[derive(Deserialize)]
struct Copied {
    bytes: u64,
}

/// Returns a policy without a reply timeout: copying a large store to a slow disk takes long. A daemon that ends
/// closes the connection.
pub(crate) fn policy() -> Policy {
    Policy { reply_timeout: Duration::MAX, ..Policy::default() }
}

pub(crate) fn run(args: &BackupArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let path = std::path::absolute(&args.file).map_err(|e| CliError::File(args.file.clone(), e))?;
    let Some(name) = path.to_str() else {
        return Err(CliError::Usage(format!("{} is not UTF-8; choose another name", path.display())));
    };
    // A retry would find the file of the first attempt and fail.
    let result = client
        .call_with(DeliveryGuarantee::AtMostOnce, METHOD, &json!({"path": name}))
        .map_err(|error| CliError::from(error).of_sandbox(&path))?;
    let shown = match console.format {
        OutputFormat::Json => result.get().to_owned(),
        OutputFormat::Text => {
            let copied: Copied = serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
            format!("{name}: {}", size_in_words(copied.bytes))
        }
    };
    console.say(shown).map_err(CliError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::{error, result, with_daemon};

    #[test]
    fn the_daemon_gets_an_absolute_path() {
        let here = std::env::current_dir().unwrap();
        for (file, sent) in [("/a/b.db", "/a/b.db".into()), ("b.db", here.join("b.db").to_str().unwrap().to_owned())] {
            for (format, shown) in [
                (OutputFormat::Json, "{\"bytes\":2048}\n".to_owned()),
                (OutputFormat::Text, format!("{sent}: 2.0 KiB\n")),
            ] {
                let (mut console, out, _) = console(format, b"");
                let answer = |call: &_| result(call, json!({"bytes": 2048}));
                let args = BackupArgs { file: file.into() };
                let (outcome, seen) = with_daemon(answer, |client| run(&args, client, &mut console));
                outcome.unwrap();
                assert_eq!((&seen[0]["method"], &seen[0]["params"]), (&json!(METHOD), &json!({"path": sent})));
                assert_eq!(out.text(), shown);
            }
        }
    }

    #[test]
    fn a_folder_that_the_daemon_does_not_see_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        for (said, file, is_explained) in [
            ("the path of a file in an existing folder: /x", folder.path().join("b.db"), true),
            ("Read-only file system (os error 30)", folder.path().join("b.db"), true),
            ("the path of a file in an existing folder: /x", folder.path().join("none/b.db"), false),
            ("a file that does not exist yet", folder.path().join("b.db"), false),
        ] {
            let (mut console, ..) = console(OutputFormat::Text, b"");
            let answer = |call: &_| error(call, -32602, said);
            let (outcome, _) = with_daemon(answer, |client| run(&BackupArgs { file }, client, &mut console));
            let message = outcome.unwrap_err().to_string();
            assert_eq!(message.contains("ReadWritePaths="), is_explained, "{message}");
        }
    }

    #[test]
    fn a_refusal_of_the_daemon_is_returned() {
        let (mut console, out, _) = console(OutputFormat::Text, b"");
        let answer = |call: &_| error(call, -32602, "param 'path' must be a file that does not exist yet");
        let args = BackupArgs { file: "/a".into() };
        let (outcome, _) = with_daemon(answer, |client| run(&args, client, &mut console));
        assert!(outcome.unwrap_err().to_string().contains("does not exist yet"));
        assert_eq!(out.text(), "");
    }
}
