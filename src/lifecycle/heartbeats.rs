//! `wrappers/heartbeat-PID-UUID.json`: heartbeats of running clients, each rewritten every 30 s. Reads all of them, and
//! writes the one of this process.
//!
//! A heartbeat moves no state: only a request keeps the daemon awake. The caller says whether a process is alive.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Uuid};

use crate::lifecycle::private_dir;

/// The folder in the store's folder.
const FOLDER: &str = "wrappers";

const PREFIX: &str = "heartbeat-";
const SUFFIX: &str = ".json";

/// Stands between the name and the writer's process id in the name of a file that is being written.
const TEMPORARY: &str = ".tmp-";

/// A heartbeat of this age is stale: three in a row are missing.
const FRESH_SECS: i64 = 90;

/// The interval at which a client writes its heartbeat.
pub const INTERVAL_SECS: u64 = 30;

/// Largest file that is read. Picked: many times the size of a heartbeat.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// The version of the file's schema.
const SCHEMA_VERSION: u32 = 1;

/// What a heartbeat shows about its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Its process is alive, and the heartbeat is under 90 s old.
    Fresh,
    /// Its process is alive, and the heartbeat is older.
    Stale,
    /// Its process has ended.
    Orphan,
}

/// A client's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its file.
    pub path: PathBuf,
    /// The client's process id.
    pub pid: u32,
    /// When it was written last.
    pub last_refresh: Timestamp,
    /// The client's version, where it says one.
    pub version: Option<String>,
    /// What it shows.
    pub liveness: Liveness,
}

/// The heartbeat of this process. Its file is removed on drop.
#[derive(Debug)]
pub struct HeartbeatWriter {
    path: PathBuf,
    file: Written,
}

#[derive(Clone, Debug, Serialize)]
struct Written {
    pid: u32,
    uuid: String,
    started_at: Timestamp,
    last_refresh: Timestamp,
    wrapper_version: &'static str,
    schema_version: u32,
}

#[derive(Deserialize)]
struct Found {
    pid: u32,
    last_refresh: Timestamp,
    #[serde(default)]
    wrapper_version: Option<String>,
}

/// Returns the heartbeats in the store's `folder`, sorted by path. A file that does not parse counts with the process id
/// of its name and the time at which it was last modified.
///
/// # Errors
/// Any [`io::Error`] of reading the folder `wrappers`, and [`io::ErrorKind::Other`] if that is not a directory. A file
/// that cannot be read is skipped.
pub fn read(folder: &Path, now: Timestamp, is_alive: impl Fn(u32) -> bool) -> io::Result<Vec<Heartbeat>> {
    let wrappers = folder.join(FOLDER);
    if !private_dir::exists(&wrappers)? {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(wrappers)?;
    let mut heartbeats = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(Name::read);
        let Some(name) = name else { continue };
        let Some((pid, last_refresh, version)) = read_file(&path, &name) else { continue };
        let liveness = match now.duration_since(last_refresh).as_secs() {
            _ if !is_alive(pid) => Liveness::Orphan,
            // A time in the future, as after a clock was set back, counts as now.
            seconds if seconds < FRESH_SECS => Liveness::Fresh,
            _ => Liveness::Stale,
        };
        // Insertion sort: there are few, and a sort is 8 KiB of code.
        let place = heartbeats.partition_point(|other: &Heartbeat| other.path < path);
        heartbeats.insert(place, Heartbeat { path, pid, last_refresh, version, liveness });
    }
    Ok(heartbeats)
}

/// Removes the heartbeats whose process has ended, and returns the others. A file that cannot be removed is logged.
///
/// # Errors
/// As [`read`].
pub fn sweep(folder: &Path, now: Timestamp, is_alive: impl Fn(u32) -> bool) -> io::Result<Vec<Heartbeat>> {
    let mut heartbeats = read(folder, now, is_alive)?;
    heartbeats.retain(|heartbeat| {
        if heartbeat.liveness == Liveness::Orphan
            && let Err(error) = remove_if_there(&heartbeat.path)
        {
            log::warn!(
                "{} is the heartbeat of a process that has ended, and cannot be removed: {error}",
                heartbeat.path.display()
            );
        }
        heartbeat.liveness != Liveness::Orphan
    });
    Ok(heartbeats)
}

/// The parts of a file's name.
struct Name {
    pid: u32,
    is_temporary: bool,
}

impl Name {
    fn read(name: &str) -> Option<Name> {
        let rest = name.strip_prefix(PREFIX)?;
        let (whole, writer) = match rest.split_once(TEMPORARY) {
            Some((whole, writer)) => (whole, Some(writer.parse().ok()?)),
            None => (rest, None),
        };
        let (pid, _) = whole.strip_suffix(SUFFIX)?.split_once('-')?;
        Some(Name { pid: writer.or_else(|| pid.parse().ok())?, is_temporary: writer.is_some() })
    }
}

/// Returns the process id, the time and the version of a heartbeat, or `None` if it is not a regular file or cannot be
/// read.
fn read_file(path: &Path, name: &Name) -> Option<(u32, Timestamp, Option<String>)> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let about = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).ok()?;
    match serde_json::from_slice::<Found>(&text) {
        Ok(found) if !name.is_temporary => Some((found.pid, found.last_refresh, found.wrapper_version)),
        _ => Some((name.pid, Timestamp::new(about.mtime(), about.mtime_nsec() as i32).ok()?, None)),
    }
}

/// Returns a UUID of version 7 with the present time. A clock before 1970 counts as 1970, since the format has no earlier
/// times.
pub(crate) fn new_uuid() -> Uuid {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}

impl HeartbeatWriter {
    /// Writes the first heartbeat of this process in the store's `folder`, which must exist.
    ///
    /// # Errors
    /// Any [`io::Error`] of creating the folder `wrappers` or of writing the file.
    pub fn start(folder: &Path, now: Timestamp) -> io::Result<HeartbeatWriter> {
        let wrappers = folder.join(FOLDER);
        private_dir::create(&wrappers)?;
        let (pid, uuid) = (std::process::id(), new_uuid().to_string());
        let path = wrappers.join(format!("{PREFIX}{pid}-{uuid}{SUFFIX}"));
        let file = Written {
            pid,
            uuid,
            started_at: now,
            last_refresh: now,
            wrapper_version: env!("CARGO_PKG_VERSION"),
            schema_version: SCHEMA_VERSION,
        };
        let beat = HeartbeatWriter { path, file };
        beat.write()?;
        Ok(beat)
    }

    /// Writes the next heartbeat.
    ///
    /// # Errors
    /// Any [`io::Error`] of writing the file; the last heartbeat is kept then.
    pub fn refresh(&mut self, now: Timestamp) -> io::Result<()> {
        self.file.last_refresh = now;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(format!("{TEMPORARY}{}", self.file.pid));
        let temporary = PathBuf::from(temporary);
        remove_if_there(&temporary)?;
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let mut text = serde_json::to_vec(&self.file)?;
        text.push(b'\n');
        let written = written.and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(&text)
        });
        let written = written.and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            remove_if_there(&temporary)?;
        }
        written
    }
}

impl Drop for HeartbeatWriter {
    fn drop(&mut self) {
        // If this fails, a reader finds that the process has ended.
        drop(fs::remove_file(&self.path));
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: i64 = 1_700_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn put(folder: &Path, name: &str, text: &str, written: i64) {
        let path = folder.join(FOLDER).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(written as u64)).unwrap();
    }

    fn whole(pid: u32, second: i64) -> String {
        format!("{{\"pid\":{pid},\"uuid\":\"u\",\"last_refresh\":\"{}\",\"wrapper_version\":\"1.0.0\"}}", at(second))
    }

    #[test]
    fn a_heartbeat_is_fresh_stale_or_orphaned() {
        let folder = tempfile::tempdir().unwrap();
        let is_alive = |pid| pid < 100;
        assert_eq!(read(folder.path(), at(NOW), is_alive).unwrap(), []);
        for (name, text, written) in [
            ("heartbeat-1-a.json", whole(1, NOW - 89), 0),
            ("heartbeat-2-a.json", whole(2, NOW - 90), NOW),
            ("heartbeat-3-a.json", whole(300, NOW), NOW),
            ("heartbeat-4-a.json", whole(4, NOW + 1000), NOW),
            ("heartbeat-5-a-b-c.json", "{\"pid\":5".into(), NOW - 89),
            ("heartbeat-6-a.json", String::new(), NOW - 90),
            ("heartbeat-700-a.json", "[]".into(), NOW),
            ("heartbeat-8-a.json.tmp-800", whole(8, NOW), NOW),
            ("heartbeat-x-a.json", String::new(), NOW),
            ("heartbeat-9.json", whole(9, NOW), NOW),
            ("other-9-a.json", whole(9, NOW), NOW),
        ] {
            put(folder.path(), name, &text, written);
        }
        let wrappers = folder.path().join(FOLDER);
        symlink(wrappers.join("heartbeat-1-a.json"), wrappers.join("heartbeat-10-a.json")).unwrap();
        let found = read(folder.path(), at(NOW), is_alive).unwrap();
        let of = |heartbeat: &Heartbeat| (heartbeat.pid, heartbeat.liveness);
        use Liveness::{Fresh, Orphan, Stale};
        let mut all: Vec<_> = found.iter().map(of).collect();
        all.sort_by_key(|(pid, _)| *pid);
        let want =
            [(1, Fresh), (2, Stale), (4, Fresh), (5, Fresh), (6, Stale), (300, Orphan), (700, Orphan), (800, Orphan)];
        assert_eq!(all, want);
        assert_eq!(found[0].version.as_deref(), Some("1.0.0"));
        let left = sweep(folder.path(), at(NOW), is_alive).unwrap();
        assert_eq!(left.len(), 5);
        assert_eq!(read(folder.path(), at(NOW), is_alive).unwrap(), left);
        assert_eq!(fs::read_dir(wrappers).unwrap().count(), 9);
    }

    #[test]
    fn the_writer_writes_complete_files_and_removes_them_on_drop() {
        let folder = tempfile::tempdir().unwrap();
        let mut beat = HeartbeatWriter::start(folder.path(), at(NOW)).unwrap();
        beat.refresh(at(NOW + 30)).unwrap();
        let found = read(folder.path(), at(NOW + 31), |_| true).unwrap();
        assert_eq!((found.len(), found[0].pid, found[0].last_refresh), (1, std::process::id(), at(NOW + 30)));
        let text: serde_json::Value = serde_json::from_slice(&fs::read(&found[0].path).unwrap()).unwrap();
        assert_eq!((&text["started_at"], &text["schema_version"]), (&"2023-11-14T22:13:20Z".into(), &1.into()));
        assert_eq!(text.as_object().unwrap().len(), 6);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&found[0].path), mode(&folder.path().join(FOLDER))), (0o600, 0o700));
        drop(beat);
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
        assert!(HeartbeatWriter::start(&folder.path().join("absent"), at(NOW)).is_err());
    }
}
