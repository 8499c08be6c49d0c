//! Which turns hooks and imports leave out: of ignored folders, and of the time while capture was paused.
//!
//! A folder is ignored if `config.toml` names it or a folder above it, or if there is a `.iaidignore` in it or in one above
//! it, up to the user's home. Real paths are compared.
//!
//! Capture is paused while `.capture-paused` is in the store's folder. The spans of pauses are kept in
//! `.capture-state/pauses`, so that a later hook or import that reads a transcript knows what was said meanwhile. Every
//! run brings that file up to date, also if the user has made or removed `.capture-paused` by hand.

use std::cell::RefCell;
use std::path::{Component, Path, PathBuf};
use std::{env, fs, io};

use jiff::Timestamp;

use super::config::UserConfig;
use super::files::{self, Durability, PRIVATE_MODE};
use crate::lifecycle::process_session::CAPTURE_STATE_DIR;
use crate::transcript::TranscriptTurn;

/// The file that pauses capture. It has the time at which that began; its modification time counts if it has none.
pub(crate) const PAUSED: &str = ".capture-paused";

/// A file of this name makes its folder one that is not listened to.
pub(crate) const IGNORE_FILE: &str = ".iaidignore";

/// The spans of pauses: a line each, `SINCE UNTIL`, the last one `SINCE -` while capture is paused.
const PAUSES: &str = "pauses";

/// Most spans that are kept: the newest. Picked: ten pauses a day for a year.
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
        let pauses = match up_to_date(store, now) {
            (pauses, Ok(())) => pauses,
            (pauses, Err(error)) => {
                problems.push(format!("{CAPTURE_STATE_DIR}/{PAUSES} cannot be read or written: {error}"));
                pauses
            }
        };
        let home = home.map(|home| real_path(&home));
        CaptureGate { ignored, home, pauses, known: RefCell::default(), problems }
    }

    /// Returns true if a turn is left out.
    pub(crate) fn leaves_out(&self, turn: &TranscriptTurn) -> bool {
        let ts = turn.ts.as_deref().and_then(|ts| ts.parse().ok());
        let is_paused = match ts {
            Some(ts) => self.pauses.iter().any(|pause| pause.since <= ts && pause.until.is_none_or(|until| ts < until)),
            None => self.paused_since().is_some(),
        };
        is_paused || turn.project.as_deref().is_some_and(|folder| self.ignores(folder))
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

/// Pauses capture from now on. Returns since when it is paused: earlier if it was already.
///
/// # Errors
/// Any error of writing the files.
pub(crate) fn pause(store: &Path, now: Timestamp) -> io::Result<Timestamp> {
    let path = store.join(PAUSED);
    if fs::symlink_metadata(&path).is_err() {
        files::make_folder(store)?;
        files::replace(&path, format!("{now}\n").as_bytes(), PRIVATE_MODE, Durability::Synced)?;
    }
    let (pauses, written) = up_to_date(store, now);
    written.map(|()| pauses.last().map_or(now, |pause| pause.since))
}

/// Ends a pause. Returns since when capture was paused; `None` if it was not.
///
/// # Errors
/// Any error of writing or removing the files. Capture stays paused if the file is still there.
pub(crate) fn resume(store: &Path, now: Timestamp) -> io::Result<Option<Timestamp>> {
    let (pauses, written) = up_to_date(store, now);
    written?;
    let since = pauses.last().filter(|pause| pause.until.is_none()).map(|pause| pause.since);
    match fs::remove_file(store.join(PAUSED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    up_to_date(store, now).1.map(|()| since)
}

/// Returns the pauses, after writing what has changed since they were last written.
fn up_to_date(store: &Path, now: Timestamp) -> (Vec<Pause>, io::Result<()>) {
    let path = store.join(CAPTURE_STATE_DIR).join(PAUSES);
    let (mut pauses, read) = match files::own_text(&path, MAX_PAUSES_BYTES) {
        Ok(text) => (text.unwrap_or_default().lines().filter_map(pause_of).collect(), Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    let is_open = pauses.last().is_some_and(|pause: &Pause| pause.until.is_none());
    match (marked_since(store, now), is_open) {
        (Some(since), false) => pauses.push(Pause { since, until: None }),
        (None, true) => {
            if let Some(last) = pauses.last_mut() {
                last.until = Some(now);
            }
        }
        _ => return (pauses, read),
    }
    let excess = pauses.len().saturating_sub(MAX_PAUSES);
    pauses.drain(..excess);
    let line = |Pause { since, until }: &Pause| match until {
        Some(until) => format!("{since} {until}\n"),
        None => format!("{since} -\n"),
    };
    let text: String = pauses.iter().map(line).collect();
    let written = read.and_then(|()| {
        files::make_own_folder(&store.join(CAPTURE_STATE_DIR))?;
        files::replace(&path, text.as_bytes(), PRIVATE_MODE, Durability::Synced)
    });
    (pauses, written)
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
    let about = fs::symlink_metadata(&path).ok()?;
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
