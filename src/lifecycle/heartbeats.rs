//! A client's heartbeat: `wrappers/heartbeat-PID-UUID.json` in the store's folder, which says that
//! somebody sits here.
//!
//! It moves nothing: `doctor` reads it, and the daemon when it grows drowsy. One that is not
//! refreshed for 90 s is stale, and that of a dead process is removed by the daemon. Not synced to
//! disk, since after a power cut its process is dead as well.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// How often a client refreshes its heartbeat (LIFECYCLE.md, Files).
pub const EVERY: Duration = Duration::from_secs(30);

/// The folder in the store's.
const FOLDER: &str = "wrappers";

/// The version of the file's form.
const SCHEMA_VERSION: u32 = 1;

/// This process's heartbeat. Dropped, it removes its file.
#[derive(Debug)]
pub struct Heartbeat {
    folder: PathBuf,
    uuid: Uuid,
    started_at: Timestamp,
}

#[derive(Serialize)]
struct Beat {
    pid: u32,
    uuid: String,
    started_at: Timestamp,
    last_refresh: Timestamp,
    wrapper_version: &'static str,
    schema_version: u32,
}

impl Heartbeat {
    /// One for the store in this folder. Nothing is written yet.
    pub fn new(store: &Path, now: Timestamp) -> Heartbeat {
        Heartbeat { folder: store.join(FOLDER), uuid: Uuid::now_v7(), started_at: now }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("heartbeat-{}-{}.json", process::id(), self.uuid))
    }

    /// Refreshes it: whole, under another name, and renamed. Makes its folder (0700), but never the
    /// store's, which is the daemon's to make.
    ///
    /// # Errors
    /// Where the folder or the file cannot be made.
    pub fn beat(&self, now: Timestamp) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let beat = Beat {
            pid: process::id(),
            uuid: self.uuid.to_string(),
            started_at: self.started_at,
            last_refresh: now,
            wrapper_version: env!("CARGO_PKG_VERSION"),
            schema_version: SCHEMA_VERSION,
        };
        let path = self.path();
        let temporary = path.with_extension(format!("json.tmp-{}", process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(&beat)?)?;
        file.write_all(b"\n")?;
        fs::rename(temporary, path)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        match fs::remove_file(self.path()) {
            Err(e) if e.kind() != ErrorKind::NotFound => log::debug!("a heartbeat cannot be removed: {e}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_beat_is_written_refreshed_and_removed() {
        let store = tempfile::tempdir().unwrap();
        let heartbeat = Heartbeat::new(store.path(), at("2026-01-01T00:00:00Z"));
        for now in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z"] {
            heartbeat.beat(at(now)).unwrap();
            let got: Value = serde_json::from_slice(&fs::read(heartbeat.path()).unwrap()).unwrap();
            let want = json!({"pid": process::id(), "uuid": heartbeat.uuid.to_string(),
                "started_at": "2026-01-01T00:00:00Z", "last_refresh": now,
                "wrapper_version": env!("CARGO_PKG_VERSION"), "schema_version": 1});
            assert_eq!(got, want);
        }
        let folder = store.path().join("wrappers");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left there");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&heartbeat.path())), (0o700, 0o600));
        let path = heartbeat.path();
        drop(heartbeat);
        assert!(!path.exists());
    }

    #[test]
    fn a_store_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let heartbeat = Heartbeat::new(&store, at("2026-01-01T00:00:00Z"));
        assert_eq!(heartbeat.beat(at("2026-01-01T00:00:00Z")).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!store.exists());
    }
}
