//! What lies on the disk: the socket, the store's files and their modes, state files, what was left behind.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::DoctorContext;
use super::finding::{Findings, Fix};
use crate::cli::hook::CAPTURE_STATE_DIR;
use crate::cli::support::files::text;
use crate::cli::support::values::{counted, size_in_words};
use crate::lifecycle::heartbeats::{self, Liveness};
use crate::lifecycle::{state_file, status_file};
use crate::memory::spool;
use crate::sys::peer::own_uid;
use crate::sys::{disk, process};

/// Files that are looked at; more than ever wait.
const MOST_FILES: usize = 20_000;

/// Largest state file that is read.
const STATE_BYTES: u64 = 1 << 20;

/// Files of the store, by the beginning of their names, and its folders, all of whose files are its own.
const NAMES: [&str; 5] = ["memory.db", ".lock", state_file::NAME, status_file::NAME, ".daemon.sock.lock"];
const FOLDERS: [&str; 4] = ["wrappers", CAPTURE_STATE_DIR, "logs", spool::FOLDER];

/// Under this no write can be relied on, and under the other it is time to make room. Picked: a burst of
/// captures, and a copy of a usual store.
const LEAST_BYTES: u64 = 64 << 20;
const FEW_BYTES: u64 = 512 << 20;

/// What is being written has its name for moments.
const BEING_WRITTEN: Duration = Duration::from_secs(60);

/// Who may come in by the socket?
pub(crate) fn socket(context: &mut DoctorContext, findings: &mut Findings) {
    let path = context.client.path();
    let shown = path.display();
    // Where none is, the daemon's own check says so.
    let Ok(about) = fs::symlink_metadata(path) else { return };
    if !about.file_type().is_socket() {
        let remedy = format_args!("move it away, or name another place with --socket");
        return findings.fail(format_args!("{shown} is no socket"), remedy);
    }
    if about.uid() != own_uid() {
        let what = format_args!("{shown} is user {}'s", about.uid());
        return findings.fail(what, format_args!("name a socket of your own with --socket"));
    }
    if mode(&about) & 0o077 != 0 {
        let what = format_args!("{shown} has mode {:04o}: others may use it", mode(&about));
        findings.fail(what, format_args!("chmod 600 {shown}"));
        return findings.fixed_by(vec![Fix::Mode(path.into(), 0o600)]);
    }
    folder(path.parent().unwrap_or(path), &context.store, findings);
    if findings.all.is_empty() {
        findings.pass(format_args!("{shown} is yours alone"));
    }
}

/// Says what is wrong with a folder, if anything is. The store's is to be its owner's alone.
fn folder(folder: &Path, store: &Path, findings: &mut Findings) {
    let shown = folder.display();
    let about = match fs::metadata(folder) {
        Ok(about) => about,
        Err(error) => return findings.fail(format_args!("{shown}: {error}"), format_args!("make it yours again")),
    };
    let (is_ours, mode) = (folder == store, mode(&about));
    if about.uid() != own_uid() && about.uid() != 0 {
        let what = format_args!("the folder {shown} is user {}'s", about.uid());
        return findings.fail(what, format_args!("use a folder of your own"));
    }
    // In a folder with the sticky bit only the owner takes a file away.
    let is_open = mode & 0o022 != 0 && mode & 0o1000 == 0;
    let remedy = format_args!("chmod 700 {shown}");
    if is_open {
        findings.fail(format_args!("the folder {shown} has mode {mode:04o}: others may change what is in it"), remedy);
    } else if is_ours && mode & 0o077 != 0 {
        findings.warn(format_args!("the folder {shown} has mode {mode:04o}: others may look into it"), remedy);
    } else {
        return;
    }
    if is_ours {
        findings.fixed_by(vec![Fix::Mode(folder.into(), 0o700)]);
    }
}

/// Whose are the store's files?
pub(crate) fn modes(context: &mut DoctorContext, findings: &mut Findings) {
    let store = &context.store;
    if !store.exists() {
        let remedy = format_args!("the daemon makes it: iaid serve; or name it with --store");
        return findings.warn(format_args!("there is no store in {} yet", store.display()), remedy);
    }
    folder(store, store, findings);
    let is_closed = findings.all.is_empty();
    let (mut foreign, mut open) = (Vec::new(), Vec::new());
    let files = files(store);
    for (path, about) in &files {
        if about.uid() != own_uid() {
            foreign.push(path);
        } else if mode(about) & 0o077 != 0 {
            open.push((path, about.is_dir()));
        }
    }
    if let Some(first) = foreign.first() {
        let what = format_args!("{} of {} not yours, such as {}", foreign.len(), files.len(), first.display());
        findings.fail(what, format_args!("give them back to yourself: sudo chown"));
    }
    if let Some((first, _)) = open.first() {
        let what = format_args!("others may read {} of {}, such as {}", open.len(), files.len(), first.display());
        let remedy = format_args!("chmod go= for each");
        // Behind a closed door it matters less.
        if is_closed {
            findings.warn(what, remedy)
        } else {
            findings.fail(what, remedy)
        }
        let private = |is_folder: bool| if is_folder { 0o700 } else { 0o600 };
        findings.fixed_by(open.into_iter().map(|(path, is)| Fix::Mode(path.clone(), private(is))).collect());
    }
    if findings.all.is_empty() {
        let count = counted(files.len() as u64, "file and folder", "files and folders");
        findings.pass(format_args!("{count} in {}, yours alone", store.display()));
    }
}

/// Is there room for more?
pub(crate) fn space(context: &mut DoctorContext, findings: &mut Findings) {
    let there = context.store.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let shown = there.display();
    let bytes = match disk::free_bytes(there) {
        Ok(bytes) => bytes,
        Err(error) => {
            return findings.warn(format_args!("{shown}: {error}"), format_args!("see that the disk is there"));
        }
    };
    let free = size_in_words(bytes);
    let (what, remedy) = (format_args!("{free} free"), format_args!("make room on the disk of {shown}"));
    match bytes {
        0..LEAST_BYTES => findings.fail(what, remedy),
        LEAST_BYTES..FEW_BYTES => findings.warn(what, remedy),
        _ => findings.pass(what),
    }
}

/// Can the state files be read, and was one set aside?
pub(crate) fn state(context: &mut DoctorContext, findings: &mut Findings) {
    for name in [state_file::NAME, status_file::NAME] {
        if let Err(error) = json_file(&context.store.join(name)) {
            let remedy = format_args!("nothing: at its next start the daemon sets it aside and begins with defaults");
            findings.warn(format_args!("{name} cannot be used: {error}"), remedy);
        }
    }
    for (path, _) in files(&context.store) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".bad-")) {
            let what = format_args!("{} could not be used and was set aside", path.display());
            findings.warn(what, format_args!("look at it, then remove it"));
        }
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("what the daemon keeps of itself can be read"));
    }
}

/// What a process that was killed has left.
pub(crate) fn leftovers(context: &mut DoctorContext, findings: &mut Findings) {
    let writer = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.rsplit_once(".tmp-")?.1.parse().ok() };
    for (path, about) in files(&context.store) {
        let is_old = || about.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > BEING_WRITTEN));
        if writer(&path).is_some_and(|pid| !process::is_alive(pid)) && is_old() {
            let what = format_args!("{} was half-written by a process that is gone", path.display());
            findings.warn(what, format_args!("remove it"));
            findings.fixed_by(vec![Fix::Remove(path)]);
        }
    }
}

/// Which assistants' bridges are there?
pub(crate) fn clients(context: &mut DoctorContext, findings: &mut Findings) {
    let beats = match heartbeats::read(&context.store, context.now, process::is_alive) {
        Ok(beats) => beats,
        Err(error) => {
            return findings.warn(format_args!("wrappers: {error}"), format_args!("make it readable for you"));
        }
    };
    let count = beats.len() as u64;
    for beat in beats {
        let pid = beat.pid;
        match beat.liveness {
            Liveness::Fresh => {}
            Liveness::Stale => {
                let what = format_args!("process {pid} has not refreshed its heartbeat since {}", beat.last_refresh);
                findings.warn(what, format_args!("if no assistant uses it: kill {pid}"));
            }
            Liveness::Orphan => {
                let remedy = format_args!("nothing: the daemon removes it when it gets drowsy");
                findings.warn(format_args!("a heartbeat of process {pid}, which is gone"), remedy);
                findings.fixed_by(vec![Fix::Remove(beat.path)]);
            }
        }
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("{}", counted(count, "bridge is there", "bridges are there")));
    }
}

/// A small file's JSON; `None` where there is no file.
///
/// # Errors
/// It is no file of this kind.
pub(crate) fn json_file(path: &Path) -> io::Result<Option<Value>> {
    let Some(text) = text(path, STATE_BYTES)? else { return Ok(None) };
    let value: Value = serde_json::from_str(&text)?;
    if value.is_object() { Ok(Some(value)) } else { Err(io::Error::other("it is no object")) }
}

/// The store's own files and folders, links left out.
fn files(store: &Path) -> Vec<(PathBuf, Metadata)> {
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        NAMES.iter().any(|ours| name.starts_with(ours)) || FOLDERS.iter().any(|ours| name == *ours)
    };
    let mut files: Vec<(PathBuf, Metadata)> = listed(store).filter(|(path, _)| is_ours(path)).collect();
    for folder in FOLDERS {
        let path = store.join(folder);
        if fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir()) {
            files.extend(listed(&path).filter(|(_, about)| about.is_file()).take(MOST_FILES));
        }
    }
    files
}

/// The files and folders in a folder.
pub(crate) fn listed(folder: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_FILES);
    let about = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?));
    entries.filter_map(about).filter(|(_, about)| about.is_file() || about.is_dir())
}

fn mode(about: &Metadata) -> u32 {
    about.mode() & 0o7777
}
