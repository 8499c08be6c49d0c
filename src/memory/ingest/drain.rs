//! Stores deferred captures exactly once, even if the process is killed at any point: one batch.
//!
//! The position up to which a file is stored is kept in the store and is written in the transaction of the file's
//! records. A batch that is run again therefore continues after those records, even if they have been contradicted
//! since. A file is removed or given up on only in a transaction after that of its last line. A last line without a line
//! feed may still be in writing: it is not read until the file has not been written to for a while. A line that is not a
//! capture does not affect the others: they are stored, and the file is kept as given up on, with an event that names
//! the line. A file with lines that iai-mcp has encrypted stays in place for it.
//!
//! Caller's contract: a batch runs on the writer, and another one is run while [`DrainReport::next`] is [`NextRun::Now`].

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, mem};

use rusqlite::Connection;
use serde_json::json;

use crate::dispatch::CallError;
use crate::memory::ingest::capture_params::ParsedCapture;
use crate::memory::ingest::drain_report::{DrainReport, FileOutcome, NextRun};
use crate::memory::ingest::spool::{self, PendingFile, SpoolFolder};
use crate::memory::ingest::spool_file::{self, FilePosition, HeaderRead, LineCounts, LineRead, SpoolReader};
use crate::memory::model::record::TEXT_BYTES;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::events::{self, MemoryEvent, Severity};
use crate::memory::store::new_record::{Draft, InsertOutcome, NewRecord};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::transcript::pieces::pieces;

/// Most texts of a batch: their terms are in memory until the commit.
const BATCH_TEXTS: usize = 256;

/// A file is complete once it has not been written to for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A file or folder that cannot be read, renamed or removed is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Stores deferred captures of the folder in `store`, until `deadline`.
///
/// # Errors
/// -32001 if the store cannot be read or written, or if the position of a file cannot be saved. Nothing of the batch was
/// stored then. A file that cannot be read is no error but a [`FileOutcome`].
pub(crate) fn chunk(
    transaction: &mut WriteTransaction<'_>,
    store: &Path,
    now: UnixMicros,
    deadline: Instant,
) -> Result<DrainReport, CallError> {
    if !transaction.claim_drain() {
        return Ok(DrainReport { next: NextRun::Now, ..DrainReport::default() });
    }
    let mut batch = Batch { now, deadline, texts: 0, folder_changed: false, report: DrainReport::default() };
    let folder = match spool::read_folder(store, now) {
        Ok(folder) => folder,
        Err(error) => {
            log::warn!("{} cannot be read: {error}", store.join(spool::FOLDER).display());
            batch.report.next = NextRun::At((now + RETRY_AFTER).0);
            return Ok(batch.report);
        }
    };
    forget_removed(transaction.connection, &folder)?;
    batch.report.next = next_of(&folder);
    for (at, file) in folder.now.iter().enumerate() {
        // The first file is read even after the deadline, so that every batch makes progress.
        let next = if at > 0 && batch.is_full() { NextRun::Now } else { batch.process_file(transaction, file)? };
        batch.report.next = batch.report.next.earlier(next);
    }
    if batch.folder_changed {
        // Synced before the commit, because the commit drops the positions of the files that were removed.
        let synced = File::open(store.join(spool::FOLDER)).and_then(|folder| folder.sync_all());
        synced.unwrap_or_else(|error| log::warn!("{} cannot be synced: {error}", spool::FOLDER));
    }
    Ok(batch.report)
}

/// Returns when the next batch is due if no file is ready now; `None` if a batch is needed. Does not use the store.
pub(crate) fn next_if_idle(store: &Path, now: UnixMicros) -> Option<NextRun> {
    // If the folder cannot be read, the batch logs the error.
    spool::read_folder(store, now).ok().filter(|folder| folder.now.is_empty()).map(|folder| next_of(&folder))
}

/// Returns when the next file that is not ready becomes ready.
fn next_of(folder: &SpoolFolder) -> NextRun {
    folder.next.map_or(NextRun::Nothing, |next| NextRun::At(next.0))
}

/// Drops the positions of files that are no longer in the folder.
fn forget_removed(connection: &Connection, folder: &SpoolFolder) -> Result<(), rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT name FROM spool")?;
    let names: Vec<String> = read.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    names
        .into_iter()
        .filter(|name| !folder.names.contains(name))
        .try_for_each(|name| spool_file::forget(connection, &name))
}

/// A batch in progress.
struct Batch {
    now: UnixMicros,
    deadline: Instant,
    /// Number of texts that were stored.
    texts: usize,
    /// A file was removed or renamed.
    folder_changed: bool,
    report: DrainReport,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.texts >= BATCH_TEXTS || Instant::now() >= self.deadline
    }

    /// Reads and stores lines of a file, or removes or renames it if all of its lines are stored. Returns when the file
    /// must be processed again.
    fn process_file(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        pending: &PendingFile,
    ) -> Result<NextRun, CallError> {
        let connection = transaction.connection;
        if let Some(reason) = spool_file::given_up(connection, &pending.name.base)? {
            return self.rename_given_up(connection, pending, reason);
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&pending.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(NextRun::Nothing),
            Err(error) => return self.set_aside(connection, pending, &FilePosition::default(), &error.to_string()),
        };
        let known = spool_file::load(connection, &pending.name.base, &file)?;
        let before = known.clone().unwrap_or_default();
        let mut reader = SpoolReader::new(&file, self.now);
        let end = match self.store_lines(transaction, &mut reader, known, pending)? {
            Ok(end) => end,
            Err(error) => ReadEnd::Failed(error.to_string()),
        };
        let position = &reader.position;
        self.count(position.state.counts.since(before.state.counts));
        let has_moved = *position != before && position.is_begun();
        if has_moved && let Err(error) = spool_file::save(connection, &pending.name.base, &file, position)? {
            // Without the position the lines would be stored a second time, so the whole batch fails.
            return Err(CallError::failed(format!("{} cannot be read: {error}", pending.path.display())));
        }
        match end {
            ReadEnd::NotReadable => Ok(NextRun::Nothing),
            ReadEnd::Failed(reason) => self.set_aside(connection, pending, position, &reason),
            ReadEnd::Unfinished(at) => Ok(NextRun::At(at.0)),
            ReadEnd::BatchFull => Ok(NextRun::Now),
            // The lines must be committed before the file is removed.
            ReadEnd::EndOfFile(_) if has_moved => Ok(NextRun::Now),
            ReadEnd::EndOfFile(written) if written + SETTLED_AFTER > self.now => {
                Ok(NextRun::At((written + SETTLED_AFTER).0))
            }
            ReadEnd::EndOfFile(_) => self.finish(connection, pending, position),
        }
    }

    /// Reads and stores lines until the end of the file, or until the batch is full. The outer error is the store's,
    /// the inner one is the file's.
    fn store_lines(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        reader: &mut SpoolReader<'_>,
        known: Option<FilePosition>,
        pending: &PendingFile,
    ) -> Result<io::Result<ReadEnd>, CallError> {
        let header = match known {
            Some(position) => reader.resume(position).map(|()| HeaderRead::Captures),
            None => reader.read_header(pending),
        };
        match header {
            Ok(HeaderRead::Captures | HeaderRead::Empty) => {}
            Ok(HeaderRead::NewerVersion | HeaderRead::Sealed) => return Ok(Ok(ReadEnd::NotReadable)),
            Ok(HeaderRead::Unfinished) => return Ok(reader.abandoned_at().map(ReadEnd::Unfinished)),
            Ok(HeaderRead::Invalid(reason)) => return Ok(Ok(ReadEnd::Failed(reason))),
            Err(error) => return Ok(Err(error)),
        }
        loop {
            match reader.next_line() {
                Ok(LineRead::EndOfFile) => return Ok(reader.last_write().map(ReadEnd::EndOfFile)),
                Ok(LineRead::Unfinished) => return Ok(reader.abandoned_at().map(ReadEnd::Unfinished)),
                Ok(LineRead::Skipped) => {}
                Ok(LineRead::Line(line)) => self.store_line(transaction, reader, &line)?,
                Err(error) => return Ok(Err(error)),
            }
            if self.is_full() {
                return Ok(Ok(ReadEnd::BatchFull));
            }
        }
    }

    /// Stores the text of a line. A text that is too long for one record is stored in parts, of which the batch stores
    /// as many as it has time for.
    fn store_line(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        reader: &mut SpoolReader<'_>,
        line: &[u8],
    ) -> Result<(), CallError> {
        if spool_file::is_sealed(line) {
            reader.position.state.counts.sealed += 1;
            reader.position.advance(line);
            return Ok(());
        }
        let capture = reader.parse_line(line).map(|line| line.map(|line| (line.capture, line.key, line.masked)));
        let position = &mut reader.position;
        match capture {
            Ok(None) => {}
            Ok(Some((ParsedCapture::Accepted(draft), ..))) if draft.text.starts_with(spool::SEALED) => {
                position.state.counts.sealed += 1;
            }
            Ok(Some((ParsedCapture::Accepted(mut draft), key, masked))) => {
                let text = mem::take(&mut draft.text);
                let parts = pieces(&text, TEXT_BYTES);
                while let Some(text) = parts.get(position.state.part) {
                    let part = (parts.len() > 1).then_some((position.state.part as i64 + 1, parts.len() as i64));
                    let draft = Draft { text: (*text).to_owned(), part: part.or(draft.part), ..draft.clone() };
                    let mut new = NewRecord::prepare(draft);
                    new.masked = masked.clone();
                    // The first part counts the secrets of all.
                    if position.state.part > 0
                        && let Some(masked) = &mut new.masked
                    {
                        masked.kinds.clear();
                    }
                    let outcome = match &key {
                        Some(key) => key.insert_once(&mut new, transaction)?,
                        None => new.insert_unless_forgotten(transaction)?,
                    };
                    match outcome {
                        Some(InsertOutcome::New { .. }) => position.state.counts.inserted += 1,
                        Some(InsertOutcome::Known { .. }) | None => position.state.counts.reinforced += 1,
                    }
                    self.texts += 1;
                    position.state.part += 1;
                    if position.state.part < parts.len() && self.is_full() {
                        return Ok(());
                    }
                }
            }
            Ok(Some((ParsedCapture::TooShort, ..))) => position.state.counts.skipped += 1,
            // The reason is logged, so it does not quote the file.
            Ok(Some((ParsedCapture::UnknownTier(_), ..))) => position.refuse("its tier is unknown"),
            Err(reason) => position.refuse(&reason),
        }
        position.advance(line);
        Ok(())
    }

    fn count(&mut self, counts: LineCounts) {
        self.report.inserted += counts.inserted;
        self.report.reinforced += counts.reinforced;
        self.report.skipped += counts.skipped;
        self.report.refused += counts.refused;
    }

    /// Removes a file whose lines are all stored. Renames it to `.permanent-failed-…` if it has lines that are not captures.
    /// A file with encrypted lines is left alone.
    fn finish(
        &mut self,
        connection: &Connection,
        pending: &PendingFile,
        position: &FilePosition,
    ) -> Result<NextRun, CallError> {
        if position.state.counts.sealed > 0 {
            return Ok(NextRun::Nothing);
        }
        if let Some(reason) = position.refusal() {
            return self.give_up(connection, pending, position, reason);
        }
        if let Err(error) = fs::remove_file(&pending.path) {
            log::warn!("{} is stored and cannot be removed: {error}", pending.path.display());
            return Ok(NextRun::At((self.now + RETRY_AFTER).0));
        }
        self.folder_changed = true;
        spool_file::forget(connection, &pending.name.base)?;
        let LineCounts { inserted, reinforced, skipped, .. } = position.state.counts;
        if position.is_begun() {
            let file = file_name(&pending.path);
            self.report.files.push(FileOutcome::Finished { file, inserted, reinforced, skipped });
        }
        Ok(NextRun::Nothing)
    }

    /// Renames a file that cannot be read, so that it is tried again later. After the last attempt it is renamed to `.permanent-failed-…`.
    fn set_aside(
        &mut self,
        connection: &Connection,
        pending: &PendingFile,
        position: &FilePosition,
        reason: &str,
    ) -> Result<NextRun, CallError> {
        let Some((name, attempt, retry)) = pending.name.after_failure(self.now) else {
            return self.give_up(connection, pending, position, reason.to_owned());
        };
        let file = file_name(&pending.path);
        if let Err(error) = rename(&pending.path, &name) {
            log::warn!("{file} cannot be read ({reason}), and cannot be renamed: {error}");
            return Ok(NextRun::At((self.now + RETRY_AFTER).0));
        }
        self.folder_changed = true;
        log::warn!("{file} cannot be read (attempt {attempt}), and is tried again later: {reason}");
        self.report.files.push(FileOutcome::SetAside { file, attempt, retry_us: retry.0, reason: reason.to_owned() });
        Ok(NextRun::At(retry.0))
    }

    /// Stores the event that a file is given up on. The next batch renames the file, once that is committed.
    fn give_up(
        &mut self,
        connection: &Connection,
        pending: &PendingFile,
        position: &FilePosition,
        reason: String,
    ) -> Result<NextRun, CallError> {
        let data = json!({"file": file_name(&pending.path), "reason": reason, "lines": position.state.counts.refused});
        let (kind, severity) = ("deferred_capture_failed", Severity::Critical);
        let event = MemoryEvent { kind, severity, domain: None, ts: self.now, data, session: "-", sources: &[] };
        events::add(connection, &event)?;
        spool_file::give_up(connection, &pending.name.base, &reason)?;
        Ok(NextRun::Now)
    }

    /// Renames a file that was given up on.
    fn rename_given_up(
        &mut self,
        connection: &Connection,
        pending: &PendingFile,
        reason: String,
    ) -> Result<NextRun, CallError> {
        let name = pending.name.after_giving_up(self.now);
        let file = file_name(&pending.path);
        if let Err(error) = rename(&pending.path, &name) {
            log::warn!("{file} is given up on ({reason}), and cannot be renamed: {error}");
            return Ok(NextRun::At((self.now + RETRY_AFTER).0));
        }
        self.folder_changed = true;
        spool_file::forget(connection, &pending.name.base)?;
        log::error!("{file} is given up on and kept as {name}: {reason}");
        self.report.files.push(FileOutcome::GivenUp { file: name, reason });
        Ok(NextRun::Nothing)
    }
}

/// Where the reading of a file ended in this batch.
enum ReadEnd {
    /// At the header, which is of a newer version or encrypted. The file is left alone.
    NotReadable,
    /// At an error.
    Failed(String),
    /// Before a last line without a line feed. It is read as it is from this time on.
    Unfinished(UnixMicros),
    /// Between two lines, or two parts of one, because the batch is full.
    BatchFull,
    /// At the end of the file, which was last written to at this time.
    EndOfFile(UnixMicros),
}

/// Renames a file within its folder. Fails if there is a file of the new name.
fn rename(path: &Path, name: &str) -> io::Result<()> {
    let to = path.with_file_name(name);
    match fs::symlink_metadata(&to) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists", to.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(path, to),
        Err(error) => Err(error),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::writer::job::task;
    use crate::memory::test_support::Bench;
    use serde_json::Value;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    const BATCH_TIME: Duration = Duration::from_millis(20);

    const HEADER: &str =
        "{\"version\":1,\"deferred_at\":\"2024-05-01T10:00:00Z\",\"session_id\":\"s-1\",\"cwd\":\"/p\"}\n";

    struct Spool {
        bench: Bench,
        now: UnixMicros,
    }

    impl Spool {
        fn new() -> Spool {
            let bench = Bench::new();
            fs::create_dir(bench.folder.path().join(spool::FOLDER)).unwrap();
            Spool { bench, now: Bench::NOW }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.bench.folder.path().join(spool::FOLDER).join(name)
        }

        /// Writes a file, as of an hour ago.
        fn put(&self, name: &str, text: &[u8]) {
            fs::write(self.path(name), text).unwrap();
            self.touch(name, self.now.0 / 1_000_000 - 3600);
        }

        fn touch(&self, name: &str, seconds: i64) {
            let file = File::options().append(true).open(self.path(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds as u64)).unwrap();
        }

        fn batch(&self) -> DrainReport {
            self.bench.memory.maintenance().drain(self.now.0).unwrap()
        }

        /// Runs batches until none is due at once.
        fn drain(&self) -> DrainReport {
            let mut all = DrainReport::default();
            for _ in 0..1000 {
                let one = self.batch();
                all.inserted += one.inserted;
                all.reinforced += one.reinforced;
                all.skipped += one.skipped;
                all.refused += one.refused;
                all.files.extend(one.files);
                all.next = one.next;
                if all.next != NextRun::Now {
                    return all;
                }
            }
            panic!("the batches do not end: {all:?}");
        }

        fn names(&self) -> Vec<String> {
            let folder = fs::read_dir(self.path("")).unwrap();
            let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn texts(&self) -> Vec<String> {
            let rows = self.bench.ok("store_export", json!({}));
            let rows = rows["rows"].as_array().unwrap();
            rows.iter().filter_map(|row| row["text"].as_str().map(str::to_owned)).collect()
        }

        fn stored_positions(&self) -> i64 {
            self.bench.row("SELECT count(*) FROM spool WHERE ?1", 1)
        }

        fn critical_events(&self) -> i64 {
            self.bench.row("SELECT count(*) FROM event WHERE severity = 'critical' AND ?1", 1)
        }

        /// Opens the store again, as another process does after a kill.
        fn restart(&mut self) {
            self.bench.restart();
        }
    }

    fn line(text: &str) -> String {
        format!(
            "{}\n",
            json!({"text": text, "cue": "", "tier": "episodic", "role": "user", "ts": "2024-05-02T10:00:00+00:00"})
        )
    }

    fn file(texts: &[&str]) -> Vec<u8> {
        let lines: String = texts.iter().map(|text| line(text)).collect();
        format!("{HEADER}{lines}").into_bytes()
    }

    fn counts(done: &DrainReport) -> (u64, u64, u64, u64) {
        (done.inserted, done.reinforced, done.skipped, done.refused)
    }

    #[test]
    fn a_file_is_stored_and_removed() {
        let spool = Spool::new();
        let extra = "{\"text\":\"a line with other keys\",\"role\":\"assistant\",\"unknown\":[1],\"ts\":null,\"project\":\"/q\"}\r\n";
        let mut text = file(&["the first of the texts", " ", "the first of the texts"]);
        text.extend_from_slice(b"\n");
        text.extend_from_slice(extra.as_bytes());
        spool.put("s-1.live-1717000000.jsonl", &text);
        let done = spool.drain();
        assert_eq!((counts(&done), done.next), ((2, 1, 1, 0), NextRun::Nothing));
        let finished =
            FileOutcome::Finished { file: "s-1.live-1717000000.jsonl".into(), inserted: 2, reinforced: 1, skipped: 1 };
        assert_eq!(done.files, [finished]);
        assert_eq!((spool.names().len(), spool.stored_positions()), (0, 0));
        let row: String = spool.bench.row(
            "SELECT group_concat(concat_ws('|', ts, role, s.name, p.name, text), ';') FROM record
             JOIN session s ON s.number = session JOIN project p ON p.number = project WHERE ?1",
            1,
        );
        assert_eq!(
            row,
            "1714644000000000|0|s-1|/p|the first of the texts;1714557600000000|1|s-1|/q|a line with other keys"
        );
        assert_eq!(spool.batch(), DrainReport::default());
    }

    #[test]
    fn encrypted_lines_are_left_to_the_program_that_has_the_key() {
        let spool = Spool::new();
        let sealed = "iai:enc:v1:AAECAwQFBgcICQoLDA0ODw==\n";
        let mixed = [file(&["the first in clear"]), sealed.into(), line("the last in clear").into()].concat();
        let field = file(&["iai:enc:v1:AAECAwQFBgcICQoLDA0ODw=="]);
        let all = [
            ("a-17.jsonl", [sealed, sealed].concat().into_bytes()),
            ("b.live-17.jsonl", mixed),
            ("c.failed-17-attempt-2.jsonl", sealed.into()),
            ("d.jsonl", field),
        ];
        all.iter().for_each(|(name, text)| spool.put(name, text));
        assert_eq!(counts(&spool.drain()), (2, 0, 0, 0));
        for _ in 0..3 {
            let again = spool.batch();
            assert_eq!((counts(&again), again.next, again.files.len()), ((0, 0, 0, 0), NextRun::Nothing, 0));
        }
        for (name, text) in &all {
            assert_eq!(fs::read(spool.path(name)).unwrap(), *text, "{name}");
        }
        assert_eq!(spool.texts(), ["the first in clear", "the last in clear"]);
        assert_eq!(spool.critical_events(), 0);
        // Lines that are added later are read.
        let mut open = File::options().append(true).open(spool.path("b.live-17.jsonl")).unwrap();
        io::Write::write_all(&mut open, line("added later").as_bytes()).unwrap();
        spool.touch("b.live-17.jsonl", spool.now.0 / 1_000_000 - 60);
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
    }

    #[test]
    fn files_of_other_kinds_or_in_writing_are_left_alone() {
        let spool = Spool::new();
        spool.put("a.live.jsonl", &file(&["is being written now"]));
        spool.put("b.permanent-failed-17.jsonl", &file(&["was given up on before"]));
        spool.put(
            "c.jsonl",
            format!("{{\"version\":2,\"session_id\":\"s\"}}\n{}", line("of a newer version")).as_bytes(),
        );
        spool.put("d.txt", &file(&["is another kind of file"]));
        symlink(spool.path("a.live.jsonl"), spool.path("e.jsonl")).unwrap();
        fs::create_dir(spool.path("f.jsonl")).unwrap();
        spool.put("g.jsonl", b"");
        let done = spool.drain();
        assert_eq!((counts(&done), done.next, done.files.len()), ((0, 0, 0, 0), NextRun::Nothing, 0));
        assert_eq!(
            spool.names(),
            ["a.live.jsonl", "b.permanent-failed-17.jsonl", "c.jsonl", "d.txt", "e.jsonl", "f.jsonl"]
        );
    }

    #[test]
    fn a_file_in_writing_is_read_once_it_is_complete() {
        let spool = Spool::new();
        let now = spool.now.0 / 1_000_000;
        let half = line("the third of the texts");
        let (begin, end) = half.split_at(20);
        let mut text = file(&["the first of the texts"]);
        text.extend_from_slice(begin.as_bytes());
        spool.put("a-1.jsonl", &text);
        spool.touch("a-1.jsonl", now - 9);
        spool.put("b-1.jsonl", b"{\"version\":1,");
        spool.touch("b-1.jsonl", now);
        spool.put("c-1.jsonl", b"");
        spool.touch("c-1.jsonl", now);
        let done = spool.drain();
        // The empty file may have been created just now.
        assert_eq!((counts(&done), done.next), ((1, 0, 0, 0), NextRun::At((now + 1) * 1_000_000)));
        let mut more = File::options().append(true).open(spool.path("a-1.jsonl")).unwrap();
        io::Write::write_all(&mut more, end.as_bytes()).unwrap();
        spool.touch("a-1.jsonl", now - 9);
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
        assert_eq!(spool.names(), ["b-1.jsonl", "c-1.jsonl"]);
        assert_eq!(spool.texts(), ["the first of the texts", "the third of the texts"]);
    }

    #[test]
    fn a_last_line_without_a_line_feed_is_read_after_ten_seconds() {
        let spool = Spool::new();
        let mut text = file(&["the first of the texts"]);
        text.extend_from_slice(line("the last of the texts").trim_end().as_bytes());
        spool.put("a-1.jsonl", &text);
        text.truncate(text.len() - 5);
        spool.put("b-1.jsonl", &text);
        let done = spool.drain();
        assert_eq!(counts(&done), (2, 1, 0, 1));
        let names = spool.names();
        assert!(names.len() == 1 && names[0].starts_with("b-1.permanent-failed-"), "{names:?}");
        assert_eq!(fs::read(spool.path(&names[0])).unwrap(), text);
    }

    #[test]
    fn a_bad_line_does_not_affect_the_others() {
        let spool = Spool::new();
        let bad: [&[u8]; 7] = [
            b"no JSON at all\n",
            b"[1]\n",
            b"{\"cue\":\"no text\"}\n",
            b"{\"text\":\"a tier that is none\",\"tier\":\"x\"}\n",
            b"{\"text\":\"a role that is none\",\"role\":\"tool\"}\n",
            b"{\"text\":\"\xff no UTF-8 at all\"}\n",
            b"{\"text\":\"a date that is none\",\"ts\":\"soon\"}\n",
        ];
        let mut text = file(&["the first of the texts"]);
        text.extend(bad.concat());
        text.extend_from_slice(line("the last of the texts").as_bytes());
        spool.put("a-1.jsonl", &text);
        let done = spool.drain();
        assert_eq!((counts(&done), done.next), ((2, 0, 0, 7), NextRun::Nothing));
        let kept = format!("a-1.permanent-failed-{}.jsonl", spool.now.0 / 1_000_000);
        assert_eq!(spool.names(), std::slice::from_ref(&kept));
        assert_eq!(fs::read(spool.path(&kept)).unwrap(), text, "nothing is lost");
        let reason = "7 lines are no captures, the first: line 3: it is no JSON object".to_owned();
        assert_eq!(done.files, [FileOutcome::GivenUp { file: kept, reason: reason.clone() }]);
        assert_eq!((spool.critical_events(), spool.stored_positions()), (1, 0));
        let data: String = spool.bench.row("SELECT data FROM event WHERE severity = 'critical' AND ?1", 1);
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data, json!({"file": "a-1.jsonl", "reason": reason, "lines": 7}));
    }

    #[test]
    fn a_file_that_is_no_spool_file_is_retried_three_times() {
        for text in [&b"rubbish\n"[..], b"{}\n", b"{\"version\":\"1\"}\n", b"{\"version\":0}\n", b"[]\n", b"\n"] {
            let mut spool = Spool::new();
            spool.put("a-1.jsonl", text);
            for (attempt, wait) in [(1, 60), (2, 120), (3, 240)] {
                let done = spool.drain();
                let due = spool.now.0 + wait * 1_000_000;
                assert_eq!(done.next, NextRun::At(due));
                let [FileOutcome::SetAside { attempt: reported, retry_us, .. }] = &done.files[..] else {
                    panic!("{done:?}")
                };
                assert_eq!((*reported, *retry_us), (attempt, due));
                assert_eq!(spool.names(), [format!("a-1.failed-{}-attempt-{attempt}.jsonl", spool.now.0 / 1_000_000)]);
                spool.now = UnixMicros(due - 1);
                assert_eq!(spool.drain(), DrainReport { next: NextRun::At(due), ..DrainReport::default() });
                spool.now = UnixMicros(due);
            }
            let done = spool.drain();
            assert_eq!(done.next, NextRun::Nothing);
            assert!(matches!(&done.files[..], [FileOutcome::GivenUp { .. }]), "{done:?}");
            assert_eq!(spool.names(), [format!("a-1.permanent-failed-{}.jsonl", spool.now.0 / 1_000_000)]);
            assert_eq!((spool.critical_events(), spool.stored_positions()), (1, 0));
            assert_eq!(spool.drain(), DrainReport::default());
        }
    }

    #[test]
    fn a_corrected_file_is_stored_at_its_next_attempt() {
        let mut spool = Spool::new();
        spool.put("a-1.jsonl", b"rubbish\n");
        spool.drain();
        let name = spool.names().remove(0);
        spool.put(&name, &file(&["the first of the texts"]));
        spool.now = UnixMicros(spool.now.0 + 60_000_000);
        assert_eq!((counts(&spool.drain()), spool.names().len()), ((1, 0, 0, 0), 0));
    }

    #[test]
    fn a_file_without_a_header_takes_the_session_of_its_name() {
        let spool = Spool::new();
        spool.put("s-7-1717000000.jsonl", line("the first of the texts").as_bytes());
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
        assert_eq!(spool.bench.row::<String>("SELECT name FROM session WHERE ?1", 1), "s-7");
    }

    #[test]
    fn a_long_turn_is_stored_in_parts_and_too_long_a_line_is_refused() {
        let spool = Spool::new();
        let long: String = (0..3 * TEXT_BYTES / 16 + 1).map(|n| format!("line {n:010}\n")).collect();
        let huge = line(&"x".repeat(5 << 20));
        let text =
            format!("{HEADER}{}{}{huge}{}", line("the first of the texts"), line(&long), line("the last of the texts"));
        spool.put("a-1.jsonl", text.as_bytes());
        let done = spool.drain();
        assert_eq!(counts(&done), (6, 0, 0, 1));
        let texts = spool.texts();
        assert_eq!(texts[1..5].concat(), long);
        assert_eq!((texts[0].as_str(), texts[5].as_str()), ("the first of the texts", "the last of the texts"));
        let parts: String = spool.bench.row("SELECT group_concat(part || '/' || parts) FROM record WHERE ?1", 1);
        assert_eq!(parts, "1/4,2/4,3/4,4/4");
        assert!(spool.names()[0].starts_with("a-1.permanent-failed-"));
        let FileOutcome::GivenUp { reason, .. } = &done.files[0] else { panic!("{done:?}") };
        assert_eq!(reason, "a line is no capture: line 4: it is longer than 4194304 bytes");
    }

    #[test]
    fn a_kill_after_any_batch_stores_nothing_twice() {
        let many: Vec<String> = (0..600).map(|n| format!("text number {n} of many")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for kill_after in 0..6 {
            let mut spool = Spool::new();
            spool.put("a-1.jsonl", &file(&many));
            for _ in 0..kill_after {
                spool.batch();
            }
            // A contradicted text would be stored as a new record if its line were read again.
            spool.bench.sql("UPDATE record SET valid_to = 5");
            spool.restart();
            spool.drain();
            assert_eq!((spool.texts().len(), spool.names().len()), (600, 0), "after {kill_after}");
        }
    }

    #[test]
    fn a_batch_that_is_rolled_back_is_run_again() {
        let spool = Spool::new();
        spool.put("a-1.jsonl", &file(&["the first of the texts"]));
        let store = spool.bench.folder.path().to_owned();
        let now = spool.now;
        let (sender, outcome) = mpsc::channel();
        let work = move |transaction: &mut WriteTransaction<'_>| {
            chunk(transaction, &store, now, Instant::now() + BATCH_TIME)?;
            Err::<(), _>(CallError::failed("a test's"))
        };
        spool.bench.memory.writer.submit(task(0, work, move |done| sender.send(done).unwrap()));
        assert!(outcome.recv().unwrap().is_err());
        assert_eq!((spool.texts().len(), spool.stored_positions()), (0, 0));
        assert_eq!((counts(&spool.drain()), spool.names().len()), ((1, 0, 0, 0), 0));
    }

    #[test]
    fn another_file_of_the_same_name_is_read_from_its_beginning() {
        let spool = Spool::new();
        spool.put("a-1.jsonl", &file(&["the first of the texts"]));
        spool.batch();
        assert_eq!(spool.stored_positions(), 1);
        spool.put("a-1.jsonl", &file(&["another text of another file"]));
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
        spool.put("b-1.jsonl", &file(&["the second of the texts"]));
        spool.batch();
        fs::remove_file(spool.path("b-1.jsonl")).unwrap();
        spool.put("c-1.jsonl", &file(&["the third of the texts"]));
        spool.drain();
        assert_eq!((spool.stored_positions(), spool.texts().len()), (0, 4));
    }

    #[test]
    fn a_clock_that_was_set_back_delays_nothing() {
        let spool = Spool::new();
        fs::write(spool.path("a-1.jsonl"), file(&["the first of the texts"])).unwrap();
        assert!(SystemTime::now() > UNIX_EPOCH + Duration::from_micros(spool.now.0 as u64));
        assert_eq!((counts(&spool.drain()), spool.names().len()), ((1, 0, 0, 0), 0));
    }

    #[test]
    fn a_second_batch_of_a_transaction_removes_no_file() {
        let spool = Spool::new();
        let line = "{\"text\":\"The tea is at five today.\"}\n";
        spool.put("s-1-1.jsonl", (HEADER.to_owned() + line).as_bytes());
        let (store, now) = (spool.bench.folder.path().to_owned(), spool.now);
        let (sender, outcome) = mpsc::channel();
        let there = spool.path("s-1-1.jsonl");
        let work = move |transaction: &mut WriteTransaction<'_>| {
            let deadline = Instant::now() + BATCH_TIME;
            let first = chunk(transaction, &store, now, deadline)?;
            let second = chunk(transaction, &store, now, deadline)?;
            Ok((first.inserted, second, there.exists()))
        };
        let done = move |done: Result<_, CallError>| sender.send(done.unwrap()).unwrap();
        spool.bench.memory.maintenance().writer.submit(task(0, work, done));
        let (inserted, second, is_there) = outcome.recv().unwrap();
        assert_eq!((inserted, second.inserted, second.next, is_there), (1, 0, NextRun::Now, true));
        assert_eq!(spool.drain().files.len(), 1);
        assert!(!spool.path("s-1-1.jsonl").exists());
    }
}
