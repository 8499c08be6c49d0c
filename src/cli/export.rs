//! `iaid export`: writes the whole store, one JSON object per line.
//!
//! Each line is a row of the daemon, byte for byte. A regular file is written under a temporary name and renamed when it
//! is complete, replacing an earlier one; anything else (`/dev/null`, a pipe) is written directly.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::files::{self, is_database};
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::values::counted;
use crate::client::Client;

const METHOD: &str = "store_export";

/// Write the whole store, one JSON object per line
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// File to write; - or nothing is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    rows: Vec<&'a RawValue>,
    cursor: Option<String>,
}

pub(crate) fn run(args: &ExportArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    if args.file.as_os_str() == "-" {
        let copied =
            copy(client, None, console, |console, line| writeln!(console.out, "{line}").map_err(CliError::Output));
        return copied.map(|_| ());
    }
    let failed = |error| CliError::File(args.file.clone(), error);
    let mut target = Target::create(&args.file).map_err(failed)?;
    // The daemon remembers it, to name it when something is forgotten.
    let file = std::path::absolute(&target.path).map_err(failed)?.to_string_lossy().into_owned();
    let rows = copy(client, Some(&file), console, |_, line| writeln!(target.out, "{line}").map_err(failed))?;
    target.finish().map_err(failed)?;
    let said = match console.format {
        OutputFormat::Json => console.say(json!({"rows": rows})),
        OutputFormat::Text => console.say(counted(rows, "row", "rows")),
    };
    said.map_err(CliError::Output)
}

/// Passes each row to `write` and returns the number of rows. `file` is the file that they are written to.
fn copy(
    client: &mut Client,
    file: Option<&str>,
    console: &mut Console,
    mut write: impl FnMut(&mut Console, &str) -> Result<(), CliError>,
) -> Result<u64, CliError> {
    let mut progress = ProgressBar::new(None, Instant::now());
    let (mut cursor, mut rows) = (None, 0);
    loop {
        let result = client.call(METHOD, &json!({"cursor": cursor, "file": file}));
        progress.clear(console);
        let result = result?;
        let page: Page<'_> = serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
        for row in page.rows {
            write(console, row.get())?;
            rows += 1;
        }
        if page.cursor.is_none() {
            return Ok(rows);
        }
        cursor = page.cursor;
        progress.show(0, rows, Instant::now(), console);
    }
}

/// A file that is being written.
struct Target {
    out: BufWriter<File>,
    path: PathBuf,
    /// The temporary name; `None` if the target is not a regular file, or once the file has its final name.
    partial: Option<PathBuf>,
}

impl Target {
    fn create(path: &Path) -> io::Result<Target> {
        // Replaces the target of a symbolic link, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let found = fs::metadata(&path);
        if is_of_database(&path)? {
            return Err(io::Error::other("it is a database, perhaps a store, and was not replaced; give another name"));
        }
        if found.is_err() && fs::symlink_metadata(&path).is_ok() {
            return Err(io::Error::other("it is a symbolic link to nothing; give the name of a file"));
        }
        if found.as_ref().is_ok_and(|found| found.file_type().is_fifo()) {
            // Otherwise the open waits for a reader, for ever if there is none.
            let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
            if opened.is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO)) {
                return Err(io::Error::other("no process reads this pipe"));
            }
        }
        let partial = match found {
            Ok(found) if !found.is_file() => None,
            _ => Some(files::partial_path(&path)?),
        };
        let mut options = OpenOptions::new();
        // Conversations are private: only the owner may read the file.
        options.write(true).create(partial.is_some()).truncate(partial.is_some()).mode(0o600);
        let file = options.open(partial.as_ref().unwrap_or(&path))?;
        Ok(Target { out: BufWriter::new(file), path, partial })
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        if let Some(partial) = &self.partial {
            self.out.get_ref().sync_all()?;
            fs::rename(partial, &self.path)?;
            self.partial = None;
        }
        Ok(())
    }
}

/// Returns true if the path is that of a database or of a file that SQLite keeps beside one.
fn is_of_database(path: &Path) -> io::Result<bool> {
    let name = path.as_os_str().as_encoded_bytes();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let Some(database) = name.strip_suffix(suffix.as_bytes()).map(|name| Path::new(OsStr::from_bytes(name))) else {
            continue;
        };
        if database.is_file() && is_database(database)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(partial) = self.partial.take() {
            // The failure has been reported already.
            drop(fs::remove_file(partial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::{error, result, with_daemon};
    use serde_json::Value;
    use std::os::unix::fs::PermissionsExt;

    const LINES: &str = "{\"kind\":\"record\",\"n\":1}\n{\"n\":1.50}\n{\"n\":3}\n";

    fn answer(call: &Value) -> Value {
        let raw = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        match &call["params"]["cursor"] {
            Value::Null => result(
                call,
                json!({"rows": [raw("{\"kind\":\"record\",\"n\":1}"), raw("{\"n\":1.50}")], "cursor": "c"}),
            ),
            cursor if cursor == "c" => result(call, json!({"rows": [], "cursor": "d"})),
            _ => result(call, json!({"rows": [raw("{\"n\":3}")], "cursor": null})),
        }
    }

    fn export(file: &Path, answer: fn(&Value) -> Value, format: OutputFormat) -> (Result<(), CliError>, String) {
        let (mut console, out, _) = console(format, b"");
        let args = ExportArgs { file: file.to_owned() };
        let (outcome, _) = with_daemon(answer, |client| run(&args, client, &mut console));
        (outcome, out.text())
    }

    #[test]
    fn rows_are_written_as_the_daemon_sent_them() {
        let (outcome, out) = export(Path::new("-"), answer, OutputFormat::Text);
        outcome.unwrap();
        assert_eq!(out.replace("1.5}", "1.50}"), LINES);
    }

    #[test]
    fn a_file_is_replaced_once_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.ndjson");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for (target, format, said) in [
            (&path, OutputFormat::Text, "3 rows\n"),
            (&link, OutputFormat::Json, "{\"rows\":3}\n"),
            (&path, OutputFormat::Text, "3 rows\n"),
        ] {
            fs::write(&path, "old").unwrap();
            let (outcome, out) = export(target, answer, format);
            outcome.unwrap();
            assert_eq!((out.as_str(), fs::read_to_string(&path).unwrap().lines().count()), (said, 3));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "old").unwrap();
        let fails = |call: &Value| match &call["params"]["cursor"] {
            Value::Null => answer(call),
            _ => error(call, -32001, "the store's disk failed"),
        };
        let (outcome, out) = export(&path, fails, OutputFormat::Text);
        assert!(outcome.unwrap_err().to_string().contains("disk failed"));
        assert_eq!((out.as_str(), fs::read_to_string(&path).unwrap().as_str()), ("", "old"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(Target::create(&folder.path().join("no/folder")).is_err());
        assert!(Target::create(folder.path()).is_err());
        let (outcome, _) = export(Path::new("/dev/null"), answer, OutputFormat::Text);
        outcome.unwrap();
    }

    #[test]
    fn databases_and_pipes_without_a_reader_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (database, pipe) = (folder.path().join("memory.db"), folder.path().join("pipe"));
        fs::write(&database, b"SQLite format 3\0 and more").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (target, said) in [(&database, "it is a database"), (&pipe, "no process reads this pipe")] {
            let error = Target::create(target).err().expect("it is refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(fs::read(&database).unwrap().starts_with(b"SQLite"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
