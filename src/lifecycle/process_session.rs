//! The session that a process of an assistant has now, in `.capture-state/process-PID`.
//!
//! An assistant keeps its MCP bridge when it begins or resumes another session, and the environment of the bridge still
//! names the first one. A hook, which gets the session's id each time, writes the file, and the bridge reads it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::private_dir;

/// Folder of what hooks have captured, in the store's folder.
pub(crate) const CAPTURE_STATE_DIR: &str = ".capture-state";

/// Prefix of the name of a file; the process id follows.
pub(crate) const PREFIX: &str = "process-";

/// Largest file that is read: the longest session id of the daemon, four times.
const MAX_BYTES: u64 = 512;

/// Returns the path of the file of a process.
pub(crate) fn path(store: &Path, pid: u32) -> PathBuf {
    store.join(CAPTURE_STATE_DIR).join(format!("{PREFIX}{pid}"))
}

/// Returns the session of a process if its file was written since then. An older file may be of another process with the
/// same id.
pub(crate) fn read(store: &Path, pid: u32, since: SystemTime) -> Option<String> {
    let path = path(store, pid);
    if !private_dir::exists(path.parent()?).ok()? {
        return None;
    }
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.modified().ok()? < since {
        return None;
    }
    let mut session = String::new();
    file.take(MAX_BYTES).read_to_string(&mut session).ok()?;
    Some(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn a_session_is_read_if_it_was_written_since_then() {
        let store = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        assert_eq!(read(store.path(), 7, now), None);
        private_dir::create(&store.path().join(CAPTURE_STATE_DIR)).unwrap();
        fs::write(path(store.path(), 7), "s-1").unwrap();
        let written = fs::metadata(path(store.path(), 7)).unwrap().modified().unwrap();
        assert_eq!(read(store.path(), 7, written).as_deref(), Some("s-1"));
        assert_eq!(read(store.path(), 7, written + Duration::from_secs(1)), None);
        assert_eq!(read(store.path(), 8, written), None);
        fs::write(path(store.path(), 9), b"\xff").unwrap();
        fs::create_dir(path(store.path(), 10)).unwrap();
        for pid in [9, 10] {
            assert_eq!(read(store.path(), pid, written), None);
        }
    }
}
