//! Where a hook says what went wrong, since an assistant's session is no place for it:
//! `logs/hooks.log` in the store's folder, and its predecessor.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::cli::support::files;

/// The log is begun anew at this size; the one before it is kept. Picked: some thousand lines.
const MOST_BYTES: u64 = 256 << 10;

/// Most characters of a line.
const LINE_CHARS: usize = 600;

/// A log of a hook's own.
#[derive(Debug)]
pub(crate) struct HookLog {
    path: PathBuf,
    /// What each line begins with.
    about: String,
}

impl HookLog {
    pub(crate) fn new(store: &std::path::Path, about: String) -> HookLog {
        HookLog { path: store.join("logs/hooks.log"), about }
    }

    /// Adds a line. Where that cannot be done nobody hears of it.
    pub(crate) fn say(&self, what: impl fmt::Display) {
        drop(self.add(&what.to_string()));
    }

    fn add(&self, what: &str) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            files::make_own_folder(folder)?;
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.len() >= MOST_BYTES) {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        let line = format!("{} {}: {what}", Timestamp::now(), self.about);
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_CHARS).collect();
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(&self.path)?;
        file.write_all(format!("{line}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_beyond_two_files() {
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
        assert!(sizes[1] < MOST_BYTES + 4 * LINE_CHARS as u64, "{sizes:?}");
    }
}
