//! A sync through a folder that something else carries: a USB stick, Syncthing, a mounted share.
//!
//! Each store appends to one file of its own in `FOLDER/iaid-sync-v1` and reads those of all others, in any order. So
//! nothing has two writers, and a file may come late, twice or in part. Copies that a carrier makes of a file in
//! conflict are read as any other; files that are none of these are left alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::cli::support::console::Console;
use crate::cli::support::error::CliError;
use crate::cli::support::files;
use crate::cli::support::progress::ProgressBar;
use crate::cli::sync::exchange::ask;
use crate::cli::sync::folder_access::FolderAccess;
use crate::cli::sync::folder_file::{self, FileMark, ReadFault};
use crate::cli::sync::inbound::Inbound;
use crate::cli::sync::local_store::{FOLDER, LocalStore};
use crate::cli::sync::own_file::{self, Appended, MAX_TRIES, OwnFile, failure, number, sync_folder};
use crate::cli::sync::tally::SyncTally;

/// Most bytes of the positions in the files of one writer, which the daemon keeps; if they are more, the files are read
/// whole each time. A writer has one file, which takes a hundred bytes, and carriers may make copies.
const MAX_MARKS_BYTES: usize = 4096;

/// What a run through a folder did.
#[derive(Debug, Default)]
pub(crate) struct FolderTally {
    pub(crate) here: SyncTally,
    /// Entries that were written.
    pub(crate) written: u64,
    /// Other stores whose files are there.
    pub(crate) writers: u64,
    /// Files that could not be read to their end.
    pub(crate) problems: u64,
}

/// A file of another store, or a copy of one of this store.
struct OtherFile {
    name: String,
    /// The id of its store.
    store: String,
    bytes: u64,
}

/// What became of reading a file.
struct ReadFile {
    /// Where it ended; `None` if it cannot be read.
    mark: Option<FileMark>,
    problem: Option<String>,
}

/// One run in one folder.
pub(crate) struct FolderSync<'a, 'c> {
    store: &'a mut LocalStore<'c>,
    /// The folder as it is remembered.
    name: String,
    /// The folder with the files.
    files: PathBuf,
    machine: &'a str,
    is_confirmed: bool,
    inbound: Inbound,
    tally: FolderTally,
    /// The positions in the files of each store.
    marks: BTreeMap<String, Map<String, Value>>,
    /// Files of this store that are not its present one.
    outdated: Vec<String>,
    /// Ids of this store before it was restored from a backup, whose files are outdated. A copy of it on another machine
    /// may have such an id, too: it writes its file anew.
    former: Vec<String>,
    own: Option<OwnFile>,
    progress: ProgressBar,
}

impl<'a, 'c> FolderSync<'a, 'c> {
    pub(crate) fn open(
        folder: &Path,
        store: &'a mut LocalStore<'c>,
        machine: &'a str,
        is_confirmed: bool,
    ) -> Result<(FolderSync<'a, 'c>, File), CliError> {
        let is_known = |name: &str| store.peers.iter().any(|row| row["kind"] == FOLDER && row["name"] == name);
        let FolderAccess { name, files, lock } = FolderAccess::open(folder, &is_known)?;
        let inbound = Inbound::in_folder(&name);
        let sync = FolderSync {
            store,
            name,
            files,
            machine,
            is_confirmed,
            inbound,
            tally: FolderTally::default(),
            marks: BTreeMap::new(),
            outdated: Vec::new(),
            former: Vec::new(),
            own: None,
            progress: ProgressBar::new(None, Instant::now()),
        };
        Ok((sync, lock))
    }

    /// Reads what others have written, and writes what is new here.
    ///
    /// # Errors
    /// [`CliError::File`] for the own file or the folder, [`CliError::Client`] of the daemon, [`CliError::NotConfirmed`].
    /// What was read until then is kept, and read again.
    pub(crate) fn run(mut self, console: &mut Console) -> Result<FolderTally, CliError> {
        let outcome = self.read_and_write(console);
        self.progress.clear(console);
        outcome?;
        self.tally.here = self.inbound.tally;
        Ok(self.tally)
    }

    fn read_and_write(&mut self, console: &mut Console) -> Result<(), CliError> {
        let (others, present) = self.list(console)?;
        self.read_all(others, console)?;
        let forgotten = self.forget(console);
        // If the person does not agree, everything else is done all the same.
        if !matches!(forgotten, Err(CliError::NotConfirmed(_)) | Ok(())) {
            return forgotten;
        }
        if forgotten.is_ok() {
            self.remember_positions()?;
        } else {
            // Files of this store under another name may be the only ones that say what was forgotten.
            self.outdated.retain(|name| number(name, &self.store.id).is_some());
            self.former.clear();
        }
        self.write(present, console)?;
        let own = self.own.as_ref();
        if own.is_some_and(OwnFile::is_public) {
            self.progress.clear(console);
            let what = "its file system keeps no modes, so everybody who can read the medium can read this memory";
            console.warn(format_args!("{}: {what}", self.name));
        }
        let (cursor, mark) = (own.and_then(|own| own.cursor.as_deref()), own.map(|own| own.mark.as_json().to_string()));
        let row = json!({"peer": self.store.id, "name": self.name, "kind": FOLDER, "sent": cursor, "received": mark});
        self.store.met(&row)?;
        for former in &self.former {
            // Once: see its definition.
            self.store
                .met(&json!({"peer": former, "name": self.name, "kind": FOLDER, "sent": null, "received": null}))?;
        }
        self.forget(console)
    }

    /// Finds the files of others, and the number of the present file of this store.
    fn list(&mut self, console: &mut Console) -> Result<(Vec<OtherFile>, Option<u64>), CliError> {
        let (mut others, mut numbers) = (Vec::new(), Vec::new());
        let failed = |error| failure(&self.files, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.files).map_err(failed)? {
            // A name that is no text is none of ours.
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        for name in names {
            let path = self.files.join(&name);
            if self.is_partial(&name) {
                fs::remove_file(&path).map_err(|error| failure(&path, error))?;
                continue;
            }
            if !name.ends_with(own_file::SUFFIX) {
                continue;
            }
            if let Some(number) = number(&name, &self.store.id) {
                numbers.push(number);
                continue;
            }
            match self.other(&name, &path) {
                Ok(Some(other)) => others.push(other),
                Ok(None) => {}
                Err(what) => self.problem(&path, &what, console),
            }
        }
        let present = numbers.iter().copied().max();
        let former = numbers.into_iter().filter(|number| Some(*number) != present);
        self.outdated.extend(former.map(|number| own_file::name(&self.store.id, number)));
        Ok((others, present))
    }

    /// Returns true for a file that a run of this store has not completed, also under a former id.
    fn is_partial(&self, name: &str) -> bool {
        let is_former = |row: &Value| {
            let id = row["peer"].as_str().filter(|_| self.is_own_row(row));
            id.is_some_and(|id| own_file::is_partial(name, id))
        };
        own_file::is_partial(name, &self.store.id) || self.store.peers.iter().any(is_former)
    }

    /// Returns true if a row of this folder has what this store has written there.
    fn is_own_row(&self, row: &Value) -> bool {
        row["kind"] == FOLDER && row["name"] == self.name.as_str() && row["sent"].is_string()
    }

    /// Looks at a file that another store may have written. Returns `None` if none has.
    fn other(&mut self, name: &str, path: &Path) -> Result<Option<OtherFile>, String> {
        let Some((store, file)) = folder_file::open(path)? else { return Ok(None) };
        let is_own = store == self.store.id;
        let row = self.store.row_in_folder(&store, &self.name);
        let is_former = !is_own && row.is_some_and(|row| row["sent"].is_string());
        if is_own || is_former {
            self.outdated.push(name.to_owned());
            self.former.extend(is_former.then(|| store.clone()));
        }
        let bytes = file.metadata().map_or(0, |about| about.len());
        Ok(Some(OtherFile { name: name.to_owned(), store, bytes }))
    }

    fn read_all(&mut self, others: Vec<OtherFile>, console: &mut Console) -> Result<(), CliError> {
        let mut bytes = 0;
        let mut from = Vec::new();
        for other in &others {
            let marks = self
                .marks
                .entry(other.store.clone())
                .or_insert_with(|| self.store.marks_in_folder(&other.store, &self.name));
            let mark = FileMark::of_json(marks.get(&other.name).unwrap_or(&Value::Null));
            bytes += other.bytes.saturating_sub(mark.end);
            from.push(mark);
        }
        self.tally.writers = self.marks.keys().filter(|writer| **writer != self.store.id).count() as u64;
        self.progress = ProgressBar::new(Some(bytes), Instant::now());
        let mut before = 0;
        // Files that are gone are forgotten.
        self.marks
            .values_mut()
            .for_each(|marks| marks.retain(|name, _| others.iter().any(|other| other.name == *name)));
        for (other, from) in others.into_iter().zip(from) {
            let peer = Some(other.store.as_str()).filter(|peer| *peer != self.store.id);
            let path = self.files.join(&other.name);
            // One is open at a time: there may be more files than this process may open.
            let read = match folder_file::open(&path) {
                Ok(Some((store, file))) if store == other.store => {
                    self.read(file, peer, &from, &mut before, console)?
                }
                // The carrier has just replaced or removed it.
                Ok(_) => ReadFile { mark: None, problem: None },
                Err(what) => ReadFile { mark: None, problem: Some(what) },
            };
            if read.mark.is_none() {
                // It stays until it was read.
                self.outdated.retain(|name| *name != other.name);
            }
            if let Some((mark, marks)) = read.mark.zip(self.marks.get_mut(&other.store)) {
                marks.insert(other.name, mark.as_json());
            }
            if let Some(what) = read.problem {
                self.problem(&path, &what, console);
            }
        }
        Ok(())
    }

    /// Reads a file from a position.
    fn read(
        &mut self,
        file: File,
        peer: Option<&str>,
        from: &FileMark,
        before: &mut u64,
        console: &mut Console,
    ) -> Result<ReadFile, CliError> {
        let start = *before;
        let read = folder_file::read(file, from, &mut |frame, bytes| {
            self.inbound.take(peer, &frame.entries, self.store, console)?;
            let taken = self.inbound.tally.entries();
            *before = start + bytes;
            self.progress.show(*before, taken, Instant::now(), console);
            match self.inbound.is_full().then(|| self.forget(console)) {
                // Everything else is read all the same.
                None | Some(Err(CliError::NotConfirmed(_))) => Ok(()),
                Some(outcome) => outcome,
            }
        });
        match read {
            Ok(end) => {
                let remedy =
                    "everything else was read; remove the file, and its store writes it again at its next sync";
                let problem = end.damaged_at.map(|at| format!("damaged at byte {at}; {remedy}"));
                Ok(ReadFile { mark: Some(end.mark), problem })
            }
            Err(ReadFault::File(error)) => Ok(ReadFile { mark: None, problem: Some(error.to_string()) }),
            Err(ReadFault::Entries(error)) => Err(error),
        }
    }

    fn forget(&mut self, console: &mut Console) -> Result<(), CliError> {
        let (is_confirmed, name) = (self.is_confirmed, self.name.clone());
        self.progress.clear(console);
        let mut consent = |count, console: &mut Console| match is_confirmed {
            true => Ok(()),
            false => ask(&format!("the stores in {name} have forgotten"), count, "here", console),
        };
        self.inbound.forget(None, self.store, &mut consent, console)
    }

    /// Stores the positions of files in which something was read.
    fn remember_positions(&mut self) -> Result<(), CliError> {
        for (writer, marks) in &self.marks {
            if *writer == self.store.id
                || self.former.contains(writer)
                || *marks == self.store.marks_in_folder(writer, &self.name)
            {
                continue;
            }
            let text = Value::Object(marks.clone()).to_string();
            let received = if text.len() <= MAX_MARKS_BYTES { &text } else { "{}" };
            self.store.met(&json!({"peer": writer, "name": self.name, "kind": FOLDER, "received": received}))?;
        }
        Ok(())
    }

    /// Appends what is new to the present file of this store, or makes it anew.
    fn write(&mut self, present: Option<u64>, console: &mut Console) -> Result<(), CliError> {
        let known =
            self.store.row_in_folder(&self.store.id, &self.name).map_or(Value::Null, |row| row["received"].clone());
        let known = known.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        let opened = match present {
            Some(number) => OwnFile::open(&self.own_path(number), &FileMark::of_json(&known))?,
            None => None,
        };
        if let Some(mut own) = opened {
            match self.append(&mut own, console)? {
                Appended::All => {
                    self.own = Some(own);
                    return self.remove_outdated();
                }
                Appended::Forgotten => {}
                // This store was replaced by an older copy: what it had written comes back first.
                Appended::Unknown => self.read_back(&self.own_path(present.unwrap_or(0)), console)?,
            }
        }
        let next = self.own_path(present.map_or(1, |number| number + 1));
        self.outdated.extend(present.map(|number| own_file::name(&self.store.id, number)));
        for _ in 0..MAX_TRIES {
            let mut own = OwnFile::begin(&next, &self.store.id, self.machine)?;
            match self.append(&mut own, console) {
                Ok(Appended::All) => {
                    own.complete(&next)?;
                    self.own = Some(own);
                    return self.remove_outdated();
                }
                Ok(Appended::Forgotten | Appended::Unknown) => own.abandon(),
                Err(error) => {
                    own.abandon();
                    return Err(error);
                }
            }
        }
        let what =
            "records were forgotten each time that its file was written, or the store was replaced; run it again";
        Err(CliError::File(next, io::Error::other(what)))
    }

    /// Appends the entries behind the file's cursor. A file that has entries is left if a record was forgotten since.
    fn append(&mut self, own: &mut OwnFile, console: &mut Console) -> Result<Appended, CliError> {
        let is_new = own.cursor.is_none();
        let (mut forgotten, mut forgotten_before) = (0, None);
        loop {
            let Some(changes) = self.store.changes(own.cursor.as_deref(), None)? else {
                return Ok(Appended::Unknown);
            };
            let (count, forgettings) = changes.counted();
            if !is_new && forgettings > 0 {
                return Ok(Appended::Forgotten);
            }
            forgotten += forgettings;
            if count > 0 || is_new {
                own.append(&changes)?;
            }
            if forgotten_before.is_none() {
                forgotten_before = Some(changes.forgotten);
                self.progress.clear(console);
                self.progress = ProgressBar::new(changes.total, Instant::now());
            }
            self.tally.written += count;
            self.progress.show(self.tally.written, self.tally.written, Instant::now(), console);
            if changes.is_last {
                // A new file may have the text of a record that was forgotten while it was written.
                let is_late = is_new && forgotten_before.is_some_and(|before| forgotten > before);
                return Ok(if is_late { Appended::Forgotten } else { Appended::All });
            }
        }
    }

    fn own_path(&self, number: u64) -> PathBuf {
        self.files.join(own_file::name(&self.store.id, number))
    }

    /// Takes what the own file has and this store does not.
    fn read_back(&mut self, path: &Path, console: &mut Console) -> Result<(), CliError> {
        let file = files::open_unlinked(path).map_err(|error| failure(path, error))?;
        if let ReadFile { mark: None, problem: Some(what) } =
            self.read(file, None, &FileMark::default(), &mut 0, console)?
        {
            return Err(failure(path, io::Error::other(what)));
        }
        match self.forget(console) {
            // The end of the run says it.
            Err(CliError::NotConfirmed(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Removes the files of this store that the present one replaces.
    fn remove_outdated(&mut self) -> Result<(), CliError> {
        if self.outdated.is_empty() {
            return Ok(());
        }
        for name in std::mem::take(&mut self.outdated) {
            let path = self.files.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failure(&path, error)),
                _ => {}
            }
        }
        sync_folder(&self.files).map_err(|error| failure(&self.files, error))
    }

    fn problem(&mut self, path: &Path, what: &str, console: &mut Console) {
        self.progress.clear(console);
        self.tally.problems += 1;
        console.warn(format_args!("{}: {what}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::process::Command;

    use crate::cli::support::console::OutputFormat;
    use crate::cli::support::console::tests::console;
    use crate::cli::sync::folder_access::SUBFOLDER;
    use crate::cli::sync::testing::{FakeStore, SharedStore, answering};

    fn sync_as(store: &SharedStore, folder: &Path, yes: bool, console: &mut Console) -> Result<FolderTally, CliError> {
        let (tally, _) = store.with_client(|client| {
            let mut store = LocalStore::open(client)?;
            let (sync, _lock) = FolderSync::open(folder, &mut store, "machine", yes)?;
            sync.run(console)
        });
        tally
    }

    fn sync(store: &SharedStore, folder: &Path) -> FolderTally {
        sync_as(store, folder, false, &mut answering(None)).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder.join(SUBFOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| if name.contains(&name[..1].repeat(32)) { name[31..].to_owned() } else { name })
            .collect();
        names.sort();
        names
    }

    /// Returns the path of a file with this short name: an id is one digit, 32 times.
    fn path(folder: &Path, name: &str) -> PathBuf {
        let is_own = name.as_bytes()[1] == b'.' && name.as_bytes()[0].is_ascii_hexdigit();
        folder.join(SUBFOLDER).join(if is_own { name[..1].repeat(31) + name } else { name.to_owned() })
    }

    fn content(folder: &Path) -> String {
        names(folder).iter().map(|name| fs::read_to_string(path(folder, name)).unwrap()).collect()
    }

    #[test]
    fn three_stores_become_one_and_only_what_is_new_is_carried() {
        let folder = tempfile::tempdir().unwrap();
        let stores = [FakeStore::shared("a", 0..10), FakeStore::shared("b", 5..15), FakeStore::shared("c", [99])];
        for store in [&stores[0], &stores[1], &stores[2], &stores[0], &stores[1]] {
            sync(store, folder.path());
        }
        let all: Vec<u64> = (0..15).chain([99]).collect();
        stores.iter().for_each(|store| assert_eq!(store.records(), all));
        assert_eq!(names(folder.path()), ["a.1.jsonl", "b.1.jsonl", "c.1.jsonl"]);
        for name in names(folder.path()) {
            assert_eq!(fs::metadata(path(folder.path(), &name)).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(folder.path().join(SUBFOLDER)).unwrap().mode() & 0o777, 0o700);
        let before = content(folder.path());
        let tally = sync(&stores[0], folder.path());
        assert_eq!((tally.written, tally.here.entries(), tally.writers), (0, 0, 2));
        assert_eq!(content(folder.path()), before);
        stores[2].0.lock().unwrap().forget(1000, None);
    }

    #[test]
    fn a_file_under_a_former_id_stays_until_its_forgettings_are_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let before = FakeStore::shared("a", 0..20);
        sync(&before, folder.path());
        let restored = FakeStore::shared("b", 0..20);
        restored.0.lock().unwrap().rows = before.0.lock().unwrap().rows.clone();
        for id in 0..5 {
            before.0.lock().unwrap().forget(id, None);
        }
        sync(&before, folder.path());
        fs::write(path(folder.path(), "a.3.jsonl.partial"), "text of 7").unwrap();
        let refused = sync_as(&restored, folder.path(), false, &mut answering(None));
        assert!(matches!(refused, Err(CliError::NotConfirmed(_))));
        assert_eq!(names(folder.path()), ["a.2.jsonl", "b.1.jsonl"]);
        sync_as(&restored, folder.path(), true, &mut answering(None)).unwrap();
        assert_eq!(names(folder.path()), ["b.2.jsonl"]);
        assert_eq!(restored.records(), (5..20).collect::<Vec<u64>>());
    }

    #[test]
    fn names_that_this_store_has_not_given_are_no_numbers_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = FakeStore::shared("a", 0..3);
        sync(&store, folder.path());
        for name in ["a.18446744073709551615.jsonl", "a.07.jsonl", "a.+9.jsonl"] {
            fs::write(path(folder.path(), name), "").unwrap();
        }
        assert_eq!(sync(&store, folder.path()).written, 0);
        store.0.lock().unwrap().forget(1, None);
        sync(&store, folder.path());
        assert!(path(folder.path(), "a.2.jsonl").exists());
    }

    #[test]
    fn a_file_is_made_anew_without_what_was_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (FakeStore::shared("a", 0..30), FakeStore::shared("b", 0..0));
        sync(&a, folder.path());
        sync(&b, folder.path());
        assert_eq!(content(folder.path()).matches("\"text of 7\"").count(), 2);
        b.0.lock().unwrap().forget(7, None);
        let copy = path(folder.path(), "b.1.sync-conflict-20260514-100000-ABCDEFG.jsonl");
        fs::copy(path(folder.path(), "b.1.jsonl"), copy).unwrap();
        fs::write(path(folder.path(), "b.9.jsonl.partial"), "text of 7").unwrap();
        sync(&b, folder.path());
        assert_eq!(names(folder.path()), ["a.1.jsonl", "b.2.jsonl"]);
        sync(&a, folder.path());
        assert_eq!(names(folder.path()), ["a.2.jsonl", "b.2.jsonl"]);
        assert_eq!((a.records().len(), content(folder.path()).matches("\"text of 7\"").count()), (29, 0));
        for store in [&a, &b] {
            let tally = sync(store, folder.path());
            assert_eq!((tally.written, tally.here.as_json()["forgotten"].as_u64()), (0, Some(0)));
        }
        assert_eq!(names(folder.path()), ["a.2.jsonl", "b.2.jsonl"]);
    }

    #[test]
    fn a_record_that_is_forgotten_while_the_file_is_written_is_not_in_it() {
        for forgotten_before in [vec![], vec![4, 7]] {
            let folder = tempfile::tempdir().unwrap();
            let a = FakeStore::shared("a", 0..9);
            for record in forgotten_before {
                a.0.lock().unwrap().forget(record, None);
            }
            a.0.lock().unwrap().forgets_after_changes = Some((2, 1));
            sync(&a, folder.path());
            assert!(!content(folder.path()).contains("\"text of 1\""));
            assert_eq!((names(folder.path()), sync(&a, folder.path()).written), (vec!["a.1.jsonl".to_owned()], 0));
        }
    }

    #[test]
    fn an_own_file_that_was_cut_damaged_removed_or_is_of_another_past_is_continued_or_made_anew() {
        type Spoil = fn(&Path);
        let cases: [(&str, Spoil, &[&str]); 5] = [
            ("cut", |own| drop(File::options().write(true).open(own).unwrap().set_len(300)), &["a.1.jsonl"]),
            (
                "torn",
                |own| {
                    let text = fs::read_to_string(own).unwrap();
                    fs::write(own, text + "{\"sum\":\"12").unwrap();
                },
                &["a.1.jsonl"],
            ),
            (
                "damaged",
                |own| {
                    let text = fs::read_to_string(own).unwrap();
                    fs::write(own, text.replace("text of 3", "text_of 3").replace("text of 19", "")).unwrap();
                },
                &["a.2.jsonl"],
            ),
            ("emptied", |own| fs::write(own, "").unwrap(), &["a.2.jsonl"]),
            ("removed", |own| fs::remove_file(own).unwrap(), &["a.1.jsonl"]),
        ];
        for (case, spoil, wanted) in cases {
            let folder = tempfile::tempdir().unwrap();
            let (a, b) = (FakeStore::shared("a", 0..20), FakeStore::shared("b", 0..0));
            sync(&a, folder.path());
            spoil(&path(folder.path(), "a.1.jsonl"));
            sync(&a, folder.path());
            assert_eq!(names(folder.path()), wanted, "{case}");
            sync(&b, folder.path());
            assert_eq!(b.records(), a.records(), "{case}");
        }

        let folder = tempfile::tempdir().unwrap();
        let a = FakeStore::shared("a", 0..20);
        sync(&a, folder.path());
        let older = FakeStore::shared("a", [0, 1, 50]).0.lock().unwrap().clone();
        a.0.lock().unwrap().clone_from(&older);
        sync(&a, folder.path());
        assert_eq!(a.records(), (0..20).chain([50]).collect::<Vec<u64>>(), "it gets back what it has lost");
        let b = FakeStore::shared("b", 0..0);
        sync(&b, folder.path());
        assert_eq!(b.records(), a.records());

        // A store that was restored from a backup has another id, and replaces the file of the former one.
        a.0.lock().unwrap().clone_from(&older);
        let rows = vec![json!({"peer": "a".repeat(32), "kind": FOLDER, "name": folder.path().to_str(), "sent": "x"})];
        let mut renamed = FakeStore::shared("f", [7]).0.lock().unwrap().clone();
        renamed.rows = rows;
        a.0.lock().unwrap().clone_from(&renamed);
        let at = |name: &str| path(folder.path(), name);
        let former = fs::read(at("a.2.jsonl")).unwrap();
        sync(&a, folder.path());
        assert_eq!((a.records(), names(folder.path())), (b.records(), vec!["b.1.jsonl".into(), "f.1.jsonl".into()]));
        fs::write(at("a.9.jsonl"), former).unwrap();
        sync(&a, folder.path());
        assert_eq!(names(folder.path()).len(), 3, "it is removed once");
    }

    #[test]
    fn what_is_no_file_of_a_store_is_left_alone_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (FakeStore::shared("a", 0..5), FakeStore::shared("b", 0..0));
        sync(&a, folder.path());
        let at = |name: &str| path(folder.path(), name);
        fs::write(at("notes.jsonl"), "{\"mine\":1}\n").unwrap();
        fs::write(at(".stfolder"), "x").unwrap();
        fs::create_dir(at("folder.jsonl")).unwrap();
        symlink(at("a.1.jsonl"), at("link.jsonl")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe.jsonl")).status().unwrap().success());
        let (mut console, _, err) = console(OutputFormat::Text, b"");
        let tally = sync_as(&b, folder.path(), false, &mut console).unwrap();
        let said = err.text();
        assert_eq!((tally.problems, b.records().len()), (3, 5), "{said}");
        for name in ["folder.jsonl", "pipe.jsonl"] {
            assert!(said.contains(&format!("{name}: not a regular file")), "{said}");
        }
        assert!(said.contains("link.jsonl: a symbolic link"), "{said}");
        assert_eq!(fs::read_to_string(at("notes.jsonl")).unwrap(), "{\"mine\":1}\n");

        for (spoil, said) in [
            ((|own: &Path| fs::create_dir(own).unwrap()) as fn(&Path), "not a regular file"),
            (|own| symlink("elsewhere", own).unwrap(), "symbolic link"),
            (|own| assert!(Command::new("mkfifo").arg(own).status().unwrap().success()), "not a regular file"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            sync(&b, folder.path());
            let own = path(folder.path(), "b.1.jsonl");
            fs::remove_file(&own).unwrap();
            spoil(&own);
            let error = sync_as(&b, folder.path(), false, &mut answering(None)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("bbb.1.jsonl"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_missing_or_lost_its_files_is_an_error_and_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let (a, stick) = (FakeStore::shared("a", 0..5), folder.path().join("stick"));
        let fails = || sync_as(&a, &stick, false, &mut answering(None)).unwrap_err().to_string();
        assert!(fails().contains("no such folder"), "{}", fails());
        assert!(!stick.exists());
        fs::write(&stick, "x").unwrap();
        assert!(fails().contains("not a folder"), "{}", fails());
        fs::remove_file(&stick).unwrap();
        fs::create_dir(&stick).unwrap();
        sync(&a, &stick);
        fs::remove_dir_all(stick.join(SUBFOLDER)).unwrap();
        assert!(fails().contains("mount") && fails().contains("mkdir"), "{}", fails());
        assert!(!stick.join(SUBFOLDER).exists());
        symlink(folder.path(), stick.join(SUBFOLDER)).unwrap();
        assert!(fails().contains("symbolic links are not followed"), "{}", fails());
        fs::remove_file(stick.join(SUBFOLDER)).unwrap();
        fs::create_dir(stick.join(SUBFOLDER)).unwrap();
        assert_eq!(sync(&a, &stick).written, 5);
    }

    #[test]
    fn a_run_that_is_not_agreed_to_takes_everything_else_however_much_was_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (FakeStore::shared("a", 0..300), FakeStore::shared("b", 0..300));
        for record in 0..250 {
            a.0.lock().unwrap().forget(record, None);
        }
        sync(&a, folder.path());
        sync(&FakeStore::shared("c", 900..910), folder.path());
        let refused = sync_as(&b, folder.path(), false, &mut answering(None));
        assert!(matches!(refused, Err(CliError::NotConfirmed(_))));
        assert_eq!(b.records(), (0..300).chain(900..910).collect::<Vec<u64>>());
        assert!(names(folder.path()).contains(&"b.1.jsonl".to_owned()), "its own are written");
        sync_as(&b, folder.path(), true, &mut answering(None)).unwrap();
        assert_eq!(b.records(), (250..300).chain(900..910).collect::<Vec<u64>>());
    }

    #[test]
    fn what_others_forgot_is_asked_for_once_and_damage_is_named_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (
            FakeStore::shared("a", 0..20),
            FakeStore::shared("b", 0..20),
            FakeStore::shared("c", (0..20).chain([700])),
        );
        for record in 0..5 {
            a.0.lock().unwrap().forget(record, None);
            b.0.lock().unwrap().forget(record, None);
        }
        a.0.lock().unwrap().forget(900, None);
        sync(&a, folder.path());
        sync(&b, folder.path());
        let error = sync_as(&c, folder.path(), false, &mut answering(None)).unwrap_err().to_string();
        assert!(error.contains("5 records of the 21 here") && error.contains("--yes"), "{error}");
        assert_eq!(c.records().len(), 21);
        assert!(content(folder.path()).contains("\"text of 700\""), "its own are written");
        sync_as(&c, folder.path(), false, &mut answering(Some("y\n"))).unwrap();
        assert_eq!(c.records(), (5..20).chain([700]).collect::<Vec<u64>>());

        let other = path(folder.path(), "a.1.jsonl");
        let whole = fs::read_to_string(&other).unwrap();
        fs::write(&other, whole.replace("text of 9", "text-of 9")).unwrap();
        let d = FakeStore::shared("d", 0..0);
        fs::remove_file(path(folder.path(), "b.1.jsonl")).unwrap();
        fs::remove_file(path(folder.path(), "c.2.jsonl")).unwrap();
        for _ in 0..2 {
            let (mut console, _, err) = console(OutputFormat::Text, b"");
            let tally = sync_as(&d, folder.path(), true, &mut console).unwrap();
            assert_eq!(tally.problems, 1);
            assert!(err.text().contains("damaged at byte") && err.text().contains("remove the file"), "{}", err.text());
            assert!(!d.records().contains(&9) && d.records().contains(&19), "{:?}", d.records());
        }
        fs::write(&other, whole).unwrap();
        assert_eq!(sync(&d, folder.path()).problems, 0);
        assert_eq!(d.records(), (5..20).collect::<Vec<u64>>());
    }
}
