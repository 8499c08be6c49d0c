//! Which turns hooks and imports leave out: of ignored folders, and of the time while capture was paused.
//!
//! A folder is ignored if `config.toml` names it or a folder above it, or if there is a `.iaidignore` in it or in one above
//! it, up to the user's home. Real paths are compared.
//!
//! Capture is paused while `.capture-paused` is in the store's folder. The spans of pauses are kept in
//! `.capture-state/pauses`, so that a later hook or import that reads a transcript knows what was said meanwhile. Every
//! run brings that file up to date, also if the user has made or removed `.capture-paused` by hand. While the file cannot
//! be read, nothing is taken: what was said in a pause would be.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::{env, fs, io};

use jiff::Timestamp;

use super::config::UserConfig;
use super::files::{self, Durability, PRIVATE_MODE};
use super::paths::{self, NoHome};
use crate::lifecycle::process_session::CAPTURE_STATE_DIR;
use crate::memory::FILE_NAME;
use crate::transcript::TranscriptTurn;

/// The file that pauses capture. It has the time at which that began; its modification time counts if it has none.
pub(crate) const PAUSED: &str = ".capture-paused";

/// A file of this name makes its folder one that is not listened to.
pub(crate) const IGNORE_FILE: &str = ".iaidignore";

/// The spans of pauses: a line each, `SINCE UNTIL`, the last one `SINCE -` while capture is paused.
const PAUSES: &str = "pauses";

/// The file that a process locks (flock(2)) while it changes the spans.
const PAUSES_LOCK: &str = "pauses.lock";

/// Most spans that are kept. Of more, the oldest two become one with the time between them, so that what was said in a
/// pause is never taken. Picked: ten pauses a day for a year.
const MAX_PAUSES: usize = 4096;

/// Largest files that are read.
const MAX_MARK_BYTES: u64 = 4 << 10;
const MAX_PAUSES_BYTES: u64 = 1 << 20;

/// The time of a pause: `since <= ts < until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    since: Timestamp,
    /// `None` while it lasts.
    until: Option<Timestamp>,
}

/// Decides which turns are left out.
#[derive(Debug, Default)]
pub(crate) struct CaptureGate {
    ignored: Vec<PathBuf>,
    home: Option<PathBuf>,
    pauses: Vec<Pause>,
    /// The pauses are not known: no turn is taken.
    is_closed: bool,
    /// Folders that were looked at, and whether they are ignored.
    known: RefCell<Vec<(String, bool)>>,
    /// What is wrong with `config.toml` and the files of pauses, a sentence each.
    pub(crate) problems: Vec<String>,
}

impl CaptureGate {
    /// Reads `config.toml` and the pauses, and brings the spans of pauses up to date.
    pub(crate) fn load(store: &Path, now: Timestamp) -> CaptureGate {
        let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let UserConfig { ignore, mut problems } = UserConfig::read(store);
        let whole = |folder: &String| match (folder.strip_prefix('~'), &home) {
            (Some(rest), Some(home)) => Some(real_path(&home.join(rest.trim_start_matches('/')))),
            (Some(_), None) => None,
            (None, _) => Some(real_path(Path::new(folder))),
        };
        let ignored = ignore.iter().filter_map(whole).collect();
        let (pauses, is_closed) = match up_to_date(store, now) {
            Ok(UpToDate { pauses, written }) => {
                if let Err(error) = written {
                    problems.push(format!("{CAPTURE_STATE_DIR}/{PAUSES} cannot be written: {error}"));
                }
                (pauses, false)
            }
            Err(error) => {
                problems.push(format!(
                    "nothing is captured: {CAPTURE_STATE_DIR}/{PAUSES}, which tells what was said while capture was \
                     paused, cannot be read ({error}); mend it, or remove it to have all of that taken"
                ));
                let pauses = marked_since(store, now).map(|since| Pause { since, until: None });
                (pauses.into_iter().collect(), true)
            }
        };
        let home = home.map(|home| real_path(&home));
        CaptureGate { ignored, home, pauses, is_closed, known: RefCell::default(), problems }
    }

    /// Fails if turns must wait until the pauses are known. While capture is paused, they are left out at once instead.
    ///
    /// # Errors
    /// `Other` with a sentence.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.problems.last().filter(|_| self.is_closed && self.pauses.is_empty()) {
            Some(problem) => Err(io::Error::other(problem.clone())),
            None => Ok(()),
        }
    }

    /// Returns true if a turn is left out.
    pub(crate) fn leaves_out(&self, turn: &TranscriptTurn) -> bool {
        let ts = turn.ts.as_deref().and_then(|ts| ts.parse().ok());
        let is_paused = match ts {
            Some(ts) => self.pauses.iter().any(|pause| pause.since <= ts && pause.until.is_none_or(|until| ts < until)),
            None => self.paused_since().is_some(),
        };
        self.is_closed || is_paused || turn.project.as_deref().is_some_and(|folder| self.ignores(folder))
    }

    /// Returns since when capture is paused, if it is.
    pub(crate) fn paused_since(&self) -> Option<Timestamp> {
        self.pauses.last().filter(|pause| pause.until.is_none()).map(|pause| pause.since)
    }

    /// Returns true if a folder is not listened to.
    pub(crate) fn ignores(&self, folder: &str) -> bool {
        if let Some((_, is_ignored)) = self.known.borrow().iter().find(|(known, _)| known == folder) {
            return *is_ignored;
        }
        let path = Path::new(folder);
        let is_ignored = path.is_absolute() && self.ignores_path(&real_path(path));
        self.known.borrow_mut().push((folder.to_owned(), is_ignored));
        is_ignored
    }

    fn ignores_path(&self, path: &Path) -> bool {
        if self.ignored.iter().any(|ignored| path.starts_with(ignored)) {
            return true;
        }
        for folder in path.ancestors() {
            if fs::symlink_metadata(folder.join(IGNORE_FILE)).is_ok() {
                return true;
            }
            if self.home.as_deref() == Some(folder) {
                return false;
            }
        }
        false
    }
}

/// Returns the folder of the store whose files count for a daemon on `socket`: the option, else `IAI_MCP_STORE`, else the
/// socket's folder if it has a store, else the default.
///
/// # Errors
/// [`NoHome`] if there is none of these and HOME is not set.
pub(crate) fn store_of(option: Option<PathBuf>, socket: &Path) -> Result<PathBuf, NoHome> {
    let env = |name: &str| env::var_os(name);
    let is_named = option.is_some() || env(paths::STORE).is_some_and(|store| !store.is_empty());
    let beside = socket.parent().filter(|folder| !is_named && folder.join(FILE_NAME).is_file());
    paths::store(option.or(beside.map(Path::to_owned)), &env)
}

/// Pauses capture from now on. Returns since when it is paused: earlier if it was already.
///
/// # Errors
/// Any error of reading or writing the files.
pub(crate) fn pause(store: &Path, now: Timestamp) -> io::Result<Timestamp> {
    let _lock = lock(store)?;
    let path = store.join(PAUSED);
    if fs::symlink_metadata(&path).is_err() {
        files::replace(&path, format!("{now}\n").as_bytes(), PRIVATE_MODE, Durability::Synced)?;
    }
    let pauses = update(store, now)?.whole()?;
    Ok(pauses.last().map_or(now, |pause| pause.since))
}

/// Ends a pause. Returns since when capture was paused; `None` if it was not.
///
/// # Errors
/// Any error of reading, writing or removing the files. Capture stays paused if the file is still there.
pub(crate) fn resume(store: &Path, now: Timestamp) -> io::Result<Option<Timestamp>> {
    let _lock = lock(store)?;
    let pauses = update(store, now)?.whole()?;
    let since = pauses.last().filter(|pause| pause.until.is_none()).map(|pause| pause.since);
    match fs::remove_file(store.join(PAUSED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    update(store, now)?.whole().map(|_| since)
}

/// The pauses as they are now.
struct UpToDate {
    pauses: Vec<Pause>,
    /// What has changed was written.
    written: io::Result<()>,
}

impl UpToDate {
    fn whole(self) -> io::Result<Vec<Pause>> {
        self.written.map(|()| self.pauses)
    }
}

/// Waits until no other process changes the spans of pauses, and keeps others from it until the file is dropped.
fn lock(store: &Path) -> io::Result<File> {
    let folder = store.join(CAPTURE_STATE_DIR);
    files::make_own_folder(&folder)?;
    let mut options = File::options();
    options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE_MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(folder.join(PAUSES_LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Returns the pauses, after writing what has changed since they were last written.
///
/// # Errors
/// Any error of reading the file.
fn up_to_date(store: &Path, now: Timestamp) -> io::Result<UpToDate> {
    let mut pauses = read_pauses(store)?;
    if !is_changed(store, &mut pauses, now) {
        return Ok(UpToDate { pauses, written: Ok(()) });
    }
    match lock(store) {
        Ok(_lock) => update(store, now),
        Err(error) => Ok(UpToDate { pauses, written: Err(error) }),
    }
}

/// Returns the pauses, after writing what has changed. The caller holds the lock.
///
/// # Errors
/// Any error of reading the file.
fn update(store: &Path, now: Timestamp) -> io::Result<UpToDate> {
    let mut pauses = read_pauses(store)?;
    let mut written = Ok(());
    if is_changed(store, &mut pauses, now) {
        while pauses.len() > MAX_PAUSES {
            let second = pauses.remove(1);
            pauses[0].until = second.until;
        }
        written = write_pauses(store, &pauses);
    }
    Ok(UpToDate { pauses, written })
}

fn write_pauses(store: &Path, pauses: &[Pause]) -> io::Result<()> {
    let line = |Pause { since, until }: &Pause| match until {
        Some(until) => format!("{since} {until}\n"),
        None => format!("{since} -\n"),
    };
    let text: String = pauses.iter().map(line).collect();
    let path = store.join(CAPTURE_STATE_DIR).join(PAUSES);
    files::replace(&path, text.as_bytes(), PRIVATE_MODE, Durability::Synced)
}

/// Adds a pause that has begun, or ends the last one, as `.capture-paused` says. Returns true if something changed.
fn is_changed(store: &Path, pauses: &mut Vec<Pause>, now: Timestamp) -> bool {
    let last = pauses.last_mut().filter(|pause| pause.until.is_none());
    match (marked_since(store, now), last) {
        (Some(since), None) => pauses.push(Pause { since, until: None }),
        (None, Some(last)) => last.until = Some(now),
        _ => return false,
    }
    true
}

/// Reads the spans of pauses. There are none if something without such a file is in the place of its folder.
///
/// # Errors
/// `InvalidData` for a line that is no span; otherwise any error of reading the file, also if it is behind a link.
fn read_pauses(store: &Path) -> io::Result<Vec<Pause>> {
    let path = store.join(CAPTURE_STATE_DIR).join(PAUSES);
    if is_absent(&path) {
        return Ok(Vec::new());
    }
    let text = files::own_text(&path, MAX_PAUSES_BYTES)?.unwrap_or_default();
    let mut pauses = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let what = || io::Error::new(io::ErrorKind::InvalidData, format!("line {} is no span of time", at + 1));
        pauses.push(pause_of(line).ok_or_else(what)?);
    }
    Ok(pauses)
}

/// Returns true if nothing has this path. False if that cannot be told.
fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            || error.raw_os_error() == Some(libc::ELOOP)
    })
}

fn pause_of(line: &str) -> Option<Pause> {
    let (since, until) = line.split_once(' ')?;
    let until = match until {
        "-" => None,
        until => Some(until.parse().ok()?),
    };
    Some(Pause { since: since.parse().ok()?, until })
}

/// Returns since when `.capture-paused` says that capture is paused; `None` if it is not there.
pub(crate) fn marked_since(store: &Path, now: Timestamp) -> Option<Timestamp> {
    let path = store.join(PAUSED);
    let about = match fs::symlink_metadata(&path) {
        Ok(about) => about,
        Err(_) if is_absent(&path) => return None,
        // It may be there.
        Err(_) => return Some(now),
    };
    let text = files::own_text(&path, MAX_MARK_BYTES).ok().flatten().unwrap_or_default();
    let written = || Timestamp::try_from(about.modified().ok()?).ok();
    Some(text.trim().parse().ok().or_else(written).unwrap_or(now).min(now))
}

/// Returns the path without links, `.` and `..`. Of a path that does not exist (any more), as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::CurDir => {}
            part => {
                real.push(part);
                if let Ok(whole) = fs::canonicalize(&real) {
                    real = whole;
                }
            }
        }
    }
    real
}
