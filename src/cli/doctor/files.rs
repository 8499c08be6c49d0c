//! What lies on the disk: the socket, the store's files and their modes, state files, what was left behind.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::super::files::text;
use super::super::hook::PLACES;
use super::super::values::{counted, size_in_words};
use super::Patient;
use super::finding::{Finding, Fix};
use crate::lifecycle::heartbeats::{self, Condition};
use crate::lifecycle::{record, state_file};
use crate::memory::spool;
use crate::sys::peer::own_uid;
use crate::sys::{disk, process};

/// Files that are looked at; more than ever wait.
const MOST_FILES: usize = 20_000;

/// Largest state file that is read.
const STATE_BYTES: u64 = 1 << 20;

/// Files of the store, by the beginning of their names, and its folders, all of whose files are its own.
const NAMES: [&str; 5] = ["memory.db", ".lock", state_file::NAME, record::NAME, ".daemon.sock.lock"];
const FOLDERS: [&str; 4] = ["wrappers", PLACES, "logs", spool::FOLDER];

/// Under this no write can be relied on, and under the other it is time to make room. Picked: a burst of
/// captures, and a copy of a usual store.
const LEAST_BYTES: u64 = 64 << 20;
const FEW_BYTES: u64 = 512 << 20;

/// What is being written has its name for moments.
const BEING_WRITTEN: Duration = Duration::from_secs(60);

/// Files that are named in a finding.
const NAMED: usize = 3;

/// Who may come in by the socket?
pub(super) fn socket(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "socket";
    let path = patient.client.path();
    let shown = path.display();
    // Where none is, the daemon's own check says so.
    let Ok(about) = fs::symlink_metadata(path) else { return Vec::new() };
    if !about.file_type().is_socket() {
        let remedy = "move it away, or name another place with --socket";
        return vec![Finding::fail(CHECK, format!("{shown} is no socket"), remedy)];
    }
    if about.uid() != own_uid() {
        let remedy = "name a socket of your own with --socket";
        return vec![Finding::fail(CHECK, format!("{shown} is user {}'s", about.uid()), remedy)];
    }
    if mode(&about) & 0o077 != 0 {
        let what = format!("{shown} has mode {:04o}: others may use it", mode(&about));
        let fix = Fix::Mode(path.into(), 0o600);
        return vec![Finding::fail(CHECK, what, format!("chmod 600 {shown}")).fixed_by(vec![fix])];
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    vec![match fs::metadata(folder) {
        Ok(about) => match folder_finding(CHECK, folder, &about, folder == patient.store) {
            Some(finding) => finding,
            None => Finding::pass(CHECK, format!("{shown} is yours alone")),
        },
        Err(error) => Finding::fail(CHECK, format!("{}: {error}", folder.display()), "make it readable for you"),
    }]
}

/// What is wrong with a folder, if anything is. One of ours is to be its owner's alone.
fn folder_finding(check: &'static str, folder: &Path, about: &Metadata, is_ours: bool) -> Option<Finding> {
    let (shown, mode) = (folder.display(), mode(about));
    let fix = || if is_ours { vec![Fix::Mode(folder.into(), 0o700)] } else { Vec::new() };
    if about.uid() != own_uid() && about.uid() != 0 {
        let remedy = "use a folder of your own";
        return Some(Finding::fail(check, format!("the folder {shown} is user {}'s", about.uid()), remedy));
    }
    // In a folder with the sticky bit only the owner takes a file away.
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        let what = format!("the folder {shown} has mode {mode:04o}: others may put a file of theirs in its place");
        return Some(Finding::fail(check, what, format!("chmod 700 {shown}")).fixed_by(fix()));
    }
    if is_ours && mode & 0o077 != 0 {
        let what = format!("the folder {shown} has mode {mode:04o}: others may look into it");
        return Some(Finding::warn(check, what, format!("chmod 700 {shown}")).fixed_by(fix()));
    }
    None
}

/// Whose are the store's files?
pub(super) fn modes(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "files";
    let store = &patient.store;
    let about = match fs::metadata(store) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no store in {} yet", store.display());
            return vec![Finding::warn(CHECK, what, "the daemon makes it: iaid serve; or name it with --store")];
        }
        Err(error) => {
            return vec![Finding::fail(CHECK, format!("{}: {error}", store.display()), "make it yours again")];
        }
    };
    let mut findings: Vec<Finding> = folder_finding(CHECK, store, &about, true).into_iter().collect();
    let files = files(store);
    let foreign: Vec<&Path> =
        files.iter().filter(|(_, about)| about.uid() != own_uid()).map(|(path, _)| path.as_path()).collect();
    if !foreign.is_empty() {
        let remedy = "give them back to yourself: sudo chown";
        findings.push(Finding::fail(CHECK, format!("not yours: {}", named(&foreign, store)), remedy));
    }
    let is_open = |about: &Metadata| about.uid() == own_uid() && mode(about) & 0o077 != 0;
    let open: Vec<&Path> = files.iter().filter(|(_, about)| is_open(about)).map(|(path, _)| path.as_path()).collect();
    if !open.is_empty() {
        let is_folder = |path: &Path| FOLDERS.iter().any(|folder| path == store.join(folder));
        let private = |path: &Path| if is_folder(path) { 0o700 } else { 0o600 };
        let fixes = open.iter().map(|path| Fix::Mode((*path).into(), private(path))).collect();
        let what = format!("others may read: {}", named(&open, store));
        let remedy = "chmod go= for each";
        // Behind a closed door it matters less.
        let is_closed = mode(&fs::metadata(store).unwrap_or(about)) & 0o077 == 0;
        let finding = if is_closed { Finding::warn(CHECK, what, remedy) } else { Finding::fail(CHECK, what, remedy) };
        findings.push(finding.fixed_by(fixes));
    }
    if findings.is_empty() {
        let count = counted(files.len() as u64, "file and folder", "files and folders");
        findings.push(Finding::pass(CHECK, format!("{count} in {}, yours alone", store.display())));
    }
    findings
}

/// Is there room for more?
pub(super) fn space(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "disk";
    let there = patient.store.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    vec![match disk::free_bytes(there) {
        Ok(bytes) => {
            let what = format!("{} free", size_in_words(bytes));
            let remedy = format!("make room on the disk of {}", there.display());
            match bytes {
                0..LEAST_BYTES => Finding::fail(CHECK, what, remedy),
                LEAST_BYTES..FEW_BYTES => Finding::warn(CHECK, what, remedy),
                _ => Finding::pass(CHECK, what),
            }
        }
        Err(error) => Finding::warn(CHECK, format!("{}: {error}", there.display()), "see that the disk is there"),
    }]
}

/// Can the state files be read, and was one set aside?
pub(super) fn state(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "state";
    let mut findings = Vec::new();
    for name in [state_file::NAME, record::NAME] {
        if let Err(error) = json_file(&patient.store.join(name)) {
            let remedy = "nothing: at its next start the daemon sets it aside and begins with defaults";
            findings.push(Finding::warn(CHECK, format!("{name} cannot be used: {error}"), remedy));
        }
    }
    let files = files(&patient.store);
    let aside: Vec<&Path> = files.iter().map(|(path, _)| path.as_path()).filter(|path| has(path, ".bad-")).collect();
    if !aside.is_empty() {
        let what = format!("set aside, since it could not be used: {}", named(&aside, &patient.store));
        findings.push(Finding::warn(CHECK, what, "look at it, then remove it"));
    }
    if findings.is_empty() {
        findings.push(Finding::pass(CHECK, "what the daemon keeps of itself can be read"));
    }
    findings
}

/// What a process that was killed has left.
pub(super) fn leftovers(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "leftovers";
    let writer = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.rsplit_once(".tmp-")?.1.parse().ok() };
    let is_old =
        |about: &Metadata| about.modified().is_ok_and(|written| written.elapsed().is_ok_and(|age| age > BEING_WRITTEN));
    let files = files(&patient.store);
    let dead: Vec<&Path> = files
        .iter()
        .filter(|(path, about)| writer(path).is_some_and(|pid| !process::is_alive(pid)) && is_old(about))
        .map(|(path, _)| path.as_path())
        .collect();
    if dead.is_empty() {
        return Vec::new();
    }
    let what = format!("half-written by a process that is gone: {}", named(&dead, &patient.store));
    let fixes = dead.iter().map(|path| Fix::Remove((*path).into())).collect();
    vec![Finding::warn(CHECK, what, "remove them").fixed_by(fixes)]
}

/// Which assistants' bridges are there?
pub(super) fn clients(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "clients";
    let beats = match heartbeats::read(&patient.store, patient.now, process::is_alive) {
        Ok(beats) => beats,
        Err(error) => return vec![Finding::warn(CHECK, format!("wrappers: {error}"), "make it readable for you")],
    };
    let of = |condition| beats.iter().filter(move |beat| beat.condition == condition);
    let mut findings = Vec::new();
    let gone: Vec<Fix> = of(Condition::Orphan).map(|beat| Fix::Remove(beat.path.clone())).collect();
    if !gone.is_empty() {
        let what = format!("{} of processes that are gone", counted(gone.len() as u64, "heartbeat", "heartbeats"));
        let remedy = "nothing: the daemon removes them when it gets drowsy";
        findings.push(Finding::warn(CHECK, what, remedy).fixed_by(gone));
    }
    for stale in of(Condition::Stale) {
        let what = format!("process {} has not refreshed its heartbeat since {}", stale.pid, stale.last_refresh);
        findings.push(Finding::warn(CHECK, what, format!("if no assistant uses it: kill {}", stale.pid)));
    }
    if findings.is_empty() {
        let count = counted(beats.len() as u64, "bridge is", "bridges are");
        findings.push(Finding::pass(CHECK, format!("{count} there")));
    }
    findings
}

/// A small file's JSON; `None` where there is no file.
///
/// # Errors
/// It is no file of this kind.
pub(super) fn json_file(path: &Path) -> io::Result<Option<Value>> {
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
pub(super) fn listed(folder: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_FILES);
    let about = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?));
    entries.filter_map(about).filter(|(_, about)| about.is_file() || about.is_dir())
}

/// Some paths, shown from a folder.
fn named(paths: &[&Path], folder: &Path) -> String {
    let shown = |path: &&Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let mut text = paths.iter().take(NAMED).map(shown).collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED {
        text.push_str(&format!(" and {} more", paths.len() - NAMED));
    }
    text
}

fn has(path: &Path, part: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(part))
}

fn mode(about: &Metadata) -> u32 {
    about.mode() & 0o7777
}
