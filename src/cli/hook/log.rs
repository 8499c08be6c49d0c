//! The error log of hooks, `logs/hooks.log` in the store's folder. Hooks must not print errors into an assistant's
//! session.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::cli::support::files::{self, PRIVATE_MODE};

/// Size at which the log is rotated; one older file is kept. Picked: some thousand lines.
const MAX_BYTES: u64 = 256 << 10;

/// Longest line, in characters; the rest is cut.
const MAX_LINE_CHARS: usize = 600;

/// The log, as one hook writes it.
#[derive(Debug)]
pub(crate) struct HookLog {
    path: PathBuf,
    /// Prefix of each line.
    prefix: String,
}

impl HookLog {
    pub(crate) fn new(store: &std::path::Path, prefix: String) -> HookLog {
        HookLog { path: store.join("logs/hooks.log"), prefix }
    }

    /// Appends a line; control characters become spaces. Errors are ignored: there is nowhere to report them.
    pub(crate) fn say(&self, what: impl fmt::Display) {
        drop(self.add(&what.to_string()));
    }

    fn add(&self, what: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            files::make_own_folder(folder)?;
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.len() >= MAX_BYTES) {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        let line = format!("{} {}: {what}", Timestamp::now(), self.prefix);
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE_CHARS).collect();
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut options = File::options();
        options.append(true).mode(PRIVATE_MODE).custom_flags(flags);
        let mut file = match options.clone().create_new(true).open(&self.path) {
            // The umask may have removed even the owner's bits.
            Ok(file) => file.set_permissions(Permissions::from_mode(PRIVATE_MODE)).map(|()| file)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(&self.path)?,
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        file.write_all(format!("{line}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_never_grows_beyond_two_files() {
        let store = tempfile::tempdir().unwrap();
        let log = HookLog::new(store.path(), "stop s\n1".into());
        log.say("first\nline");
        let text = fs::read_to_string(&log.path).unwrap();
        assert!(text.ends_with(" stop s 1: first line\n"), "{text}");
        for _ in 0..1000 {
            log.say("x".repeat(2000));
        }
        let mut sizes: Vec<u64> =
            fs::read_dir(store.path().join("logs")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes.len(), 2);
        assert!(sizes[1] < MAX_BYTES + 4 * MAX_LINE_CHARS as u64, "{sizes:?}");
    }
}
