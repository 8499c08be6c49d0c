//! Checks of the files: the socket, the owners and modes of the store's files, free space, state files, leftovers,
//! heartbeats.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::context::DoctorContext;
use super::finding::{Findings, Fix};
use crate::cli::support::files::text;
use crate::cli::support::values::{counted, size_in_words};
use crate::lifecycle::heartbeats::{self, Liveness};
use crate::lifecycle::process_session::CAPTURE_STATE_DIR;
use crate::lifecycle::{state_file, status_file};
use crate::memory::spool;
use crate::sys::peer::own_uid;
use crate::sys::{disk, process};

/// Files that are checked at most per folder: ten times the bound of the deferred-capture folder.
const MAX_FILES: usize = 20_000;

/// Largest state file that is read.
const MAX_STATE_BYTES: u64 = 1 << 20;

/// Prefixes of the names of the store's files, and its folders, which have files of the store only.
const NAMES: [&str; 5] = ["memory.db", ".lock", state_file::NAME, status_file::NAME, ".daemon.sock.lock"];
const FOLDERS: [&str; 4] = ["wrappers", CAPTURE_STATE_DIR, "logs", spool::FOLDER];

/// Free space below which writes may fail, and below which a warning is due. Picked: a burst of captures, and a copy of
/// a store of usual size.
const MIN_FREE_BYTES: u64 = 64 << 20;
const LOW_FREE_BYTES: u64 = 512 << 20;

/// Age from which a temporary file counts as left behind; a write takes moments.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);

/// Checks who may connect to the socket.
pub(crate) fn socket(context: &mut DoctorContext, findings: &mut Findings) {
    let path = context.client.path();
    let shown = path.display();
    // A missing socket is reported by the daemon check.
    let Ok(about) = fs::symlink_metadata(path) else { return };
    if !about.file_type().is_socket() {
        let remedy = format_args!("move it, or give another path with --socket");
        return findings.fail(format_args!("{shown} is not a socket"), remedy);
    }
    if about.uid() != own_uid() {
        let what = format_args!("{shown} belongs to user {}", about.uid());
        return findings.fail(what, format_args!("give a socket of your own with --socket"));
    }
    if mode(&about) & 0o077 != 0 {
        let what = format_args!("{shown} has mode {:04o}: other users may connect", mode(&about));
        findings.fail(what, format_args!("chmod 600 {shown}"));
        return findings.fixed_by(vec![Fix::Mode(path.into(), 0o600)]);
    }
    folder(path.parent().unwrap_or(path), &context.store, findings);
    if findings.all.is_empty() {
        findings.pass(format_args!("{shown} is accessible only to you"));
    }
}

/// Reports a folder with a wrong owner or mode. The store's folder must be accessible only to its owner.
fn folder(folder: &Path, store: &Path, findings: &mut Findings) {
    let shown = folder.display();
    let about = match fs::metadata(folder) {
        Ok(about) => about,
        Err(error) => {
            return findings.fail(format_args!("{shown}: {error}"), format_args!("make it accessible to you"));
        }
    };
    let (is_ours, mode) = (folder == store, mode(&about));
    if about.uid() != own_uid() && about.uid() != 0 {
        let what = format_args!("the folder {shown} belongs to user {}", about.uid());
        return findings.fail(what, format_args!("use a folder of your own"));
    }
    // With the sticky bit only the owner of a file can remove it.
    let is_open = mode & 0o022 != 0 && mode & 0o1000 == 0;
    let remedy = format_args!("chmod 700 {shown}");
    if is_open {
        findings
            .fail(format_args!("the folder {shown} has mode {mode:04o}: other users may change its content"), remedy);
    } else if is_ours && mode & 0o077 != 0 {
        findings.warn(format_args!("the folder {shown} has mode {mode:04o}: other users may list it"), remedy);
    } else {
        return;
    }
    if is_ours {
        findings.fixed_by(vec![Fix::Mode(folder.into(), 0o700)]);
    }
}

/// Checks the owners and modes of the store's files.
pub(crate) fn modes(context: &mut DoctorContext, findings: &mut Findings) {
    let store = &context.store;
    if !store.exists() {
        let remedy =
            format_args!("start the daemon, which creates it: iaid serve; or give another folder with --store");
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
        let what = format_args!(
            "{} of {} files belong to another user, such as {}",
            foreign.len(),
            files.len(),
            first.display()
        );
        findings.fail(what, format_args!("take ownership of them: sudo chown"));
    }
    if let Some((first, _)) = open.first() {
        let what =
            format_args!("other users may read {} of {} files, such as {}", open.len(), files.len(), first.display());
        let remedy = format_args!("chmod go= for each");
        // Less severe if the store's folder is closed to others.
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
        findings.pass(format_args!("{count} in {}, accessible only to you", store.display()));
    }
}

/// Checks the free space of the store's disk.
pub(crate) fn space(context: &mut DoctorContext, findings: &mut Findings) {
    let there = context.store.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let shown = there.display();
    let bytes = match disk::free_bytes(there) {
        Ok(bytes) => bytes,
        Err(error) => {
            return findings.warn(format_args!("{shown}: {error}"), format_args!("check that the disk is mounted"));
        }
    };
    let free = size_in_words(bytes);
    let (what, remedy) = (format_args!("{free} free"), format_args!("free space on the disk of {shown}"));
    match bytes {
        0..MIN_FREE_BYTES => findings.fail(what, remedy),
        MIN_FREE_BYTES..LOW_FREE_BYTES => findings.warn(what, remedy),
        _ => findings.pass(what),
    }
}

/// Checks that the state files can be read and that none was set aside.
pub(crate) fn state(context: &mut DoctorContext, findings: &mut Findings) {
    for name in [state_file::NAME, status_file::NAME] {
        if let Err(error) = json_file(&context.store.join(name)) {
            let remedy =
                format_args!("none needed: at its next start the daemon sets it aside and starts with defaults");
            findings.warn(format_args!("{name} cannot be used: {error}"), remedy);
        }
    }
    for (path, _) in files(&context.store) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".bad-")) {
            let shown = path.display();
            findings.warn(
                format_args!("{shown} was unusable and has been set aside"),
                format_args!("inspect it, then remove it"),
            );
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".rescued-")) {
            let shown = path.display();
            let what = format_args!("{shown} has the records of a store whose files were removed or replaced");
            findings.warn(what, format_args!("iaid restore {shown}, or remove it"));
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".before-restore-")) {
            let shown = path.display();
            let what = format_args!("{shown} is the store as it was before a restore");
            findings.warn(what, format_args!("remove it when you do not need it any more"));
        }
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("state files are readable"));
    }
}

/// Checks for temporary files of killed processes.
pub(crate) fn leftovers(context: &mut DoctorContext, findings: &mut Findings) {
    let writer = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.rsplit_once(".tmp-")?.1.parse().ok() };
    for (path, about) in files(&context.store) {
        let is_old = || about.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFTOVER_AGE));
        if writer(&path).is_some_and(|pid| !process::is_alive(pid)) && is_old() {
            let shown = path.display();
            let what = format_args!("{shown} was left incomplete by a process that has ended");
            findings.warn(what, format_args!("remove it"));
            findings.fixed_by(vec![Fix::Remove(path)]);
        }
    }
}

/// Checks the heartbeats of the assistants' bridges.
pub(crate) fn clients(context: &mut DoctorContext, findings: &mut Findings) {
    let beats = match heartbeats::read(&context.store, context.now, process::is_alive) {
        Ok(beats) => beats,
        Err(error) => {
            return findings.warn(format_args!("wrappers: {error}"), format_args!("make it readable to you"));
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
                let remedy = format_args!("none needed: the daemon removes it when it becomes drowsy");
                findings.warn(format_args!("heartbeat of process {pid}, which has ended"), remedy);
                findings.fixed_by(vec![Fix::Remove(beat.path)]);
            }
        }
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("{}", counted(count, "bridge is running", "bridges are running")));
    }
}

/// Reads a small JSON file; `None` if there is no file.
///
/// # Errors
/// As [`text`]; `InvalidData` if the content is not JSON, `Other` if it is not an object.
pub(crate) fn json_file(path: &Path) -> io::Result<Option<Value>> {
    let Some(text) = text(path, MAX_STATE_BYTES)? else { return Ok(None) };
    let value: Value = serde_json::from_str(&text)?;
    if value.is_object() { Ok(Some(value)) } else { Err(io::Error::other("not a JSON object")) }
}

/// Returns the files and folders of the store, without symbolic links.
fn files(store: &Path) -> Vec<(PathBuf, Metadata)> {
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        NAMES.iter().any(|ours| name.starts_with(ours)) || FOLDERS.iter().any(|ours| name == *ours)
    };
    let mut files: Vec<(PathBuf, Metadata)> = listed(store).filter(|(path, _)| is_ours(path)).collect();
    for folder in FOLDERS {
        let path = store.join(folder);
        if fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir()) {
            files.extend(listed(&path).filter(|(_, about)| about.is_file()).take(MAX_FILES));
        }
    }
    files
}

/// Returns the files and folders in a folder, without symbolic links.
pub(crate) fn listed(folder: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FILES);
    let about = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?));
    entries.filter_map(about).filter(|(_, about)| about.is_file() || about.is_dir())
}

fn mode(about: &Metadata) -> u32 {
    about.mode() & 0o7777
}
