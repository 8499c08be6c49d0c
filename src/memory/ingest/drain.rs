//! Deferred captures into the store, exactly once, whatever is killed when: one small batch.
//!
//! How far a file is taken in stands in the store and is written in the transaction of its records, so a
//! batch that is done again begins behind what is there, even where that has been contradicted since. A
//! file goes, or is given up on, only in a transaction after that of its last line. Nothing is taken that
//! may still be being written: a line without its end waits until nobody has touched the file for a while.
//! A line that is no capture costs nobody but itself: the others are taken, and the file stays, given up
//! on, with an event that says which line it is kept for.
//!
//! What its caller keeps: it runs on the writer, and is called again while there is more.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, mem};

use rusqlite::Connection;
use serde_json::json;

use crate::dispatch::CallError;
use crate::memory::ingest::capture_params::ParsedCapture;
use crate::memory::ingest::spool::{self, Folder, PendingFile};
use crate::memory::ingest::spool_file::{self, FilePosition, HeaderRead, LineCounts, LineRead, SpoolReader};
use crate::memory::model::record::TEXT_BYTES;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::events::{self, MemoryEvent, Severity};
use crate::memory::store::new_record::{Draft, InsertOutcome, NewRecord};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::transcript::pieces::pieces;

/// Most texts in a batch: their terms are in memory until the commit.
const TEXTS: usize = 256;

/// A file is finished once nobody has written to it for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What cannot be read, renamed or removed is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Texts that are new in the store.
    pub inserted: u64,
    /// Texts that were there already.
    pub reinforced: u64,
    /// Texts that are too short to be kept.
    pub skipped: u64,
    /// Lines that are no captures.
    pub refused: u64,
    /// What is to be done next.
    pub next: NextRun,
    /// What became of files, to be told.
    pub told: Vec<FileOutcome>,
}

/// When there is more to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextRun {
    /// Nothing is left that will be ready by itself.
    #[default]
    Nothing,
    /// At once.
    Now,
    /// At this time, in microseconds since 1970 in UTC.
    At(i64),
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOutcome {
    /// All of it is in the store, and it is gone.
    Finished {
        /// Its name.
        file: String,
        /// Texts of it that were new.
        inserted: u64,
        /// Texts of it that were there already.
        reinforced: u64,
        /// Texts of it that were too short.
        skipped: u64,
    },
    /// It could not be read and is tried again.
    SetAside {
        /// Its name until now.
        file: String,
        /// How often it has failed.
        attempt: u32,
        /// When it is tried again, in microseconds since 1970 in UTC.
        retry_us: i64,
        /// Why.
        reason: String,
    },
    /// It stays, for somebody to look at.
    GivenUp {
        /// Its name now.
        file: String,
        /// Why.
        reason: String,
    },
}

/// Takes in what waits in the `store`'s folder, until `deadline`.
///
/// # Errors
/// The database's; nothing was taken then. What is wrong with a file is no error.
pub(crate) fn chunk(
    transaction: &mut WriteTransaction<'_>,
    store: &Path,
    now: UnixMicros,
    deadline: Instant,
) -> Result<DrainReport, CallError> {
    if !transaction.claim_drain() {
        return Ok(DrainReport { next: NextRun::Now, ..DrainReport::default() });
    }
    let mut batch = Batch { now, deadline, texts: 0, folder_changed: false, done: DrainReport::default() };
    let found = match spool::look(store, now) {
        Ok(found) => found,
        Err(error) => {
            log::warn!("{} cannot be read: {error}", store.join(spool::FOLDER).display());
            batch.done.next = NextRun::At((now + RETRY_AFTER).0);
            return Ok(batch.done);
        }
    };
    forget_gone(transaction.connection, &found)?;
    batch.done.next = found.next.map_or(NextRun::Nothing, |next| NextRun::At(next.0));
    for (at, file) in found.now.iter().enumerate() {
        // Each batch gets on, however late it is.
        let next = if at > 0 && batch.is_full() { NextRun::Now } else { batch.file(transaction, file)? };
        batch.done.next = batch.done.next.sooner(next);
    }
    if batch.folder_changed {
        // Before the commit, after which nothing remembers what is gone.
        let synced = File::open(store.join(spool::FOLDER)).and_then(|folder| folder.sync_all());
        synced.unwrap_or_else(|error| log::warn!("{} cannot be synced: {error}", spool::FOLDER));
    }
    Ok(batch.done)
}

/// When there will be something to do, where there is nothing now. Without the writer.
pub(crate) fn idle(store: &Path, now: UnixMicros) -> Option<NextRun> {
    // An error is said where it is met again.
    let found = spool::look(store, now).ok().filter(|found| found.now.is_empty())?;
    Some(found.next.map_or(NextRun::Nothing, |next| NextRun::At(next.0)))
}

/// Drops what is remembered of files that are gone.
fn forget_gone(connection: &Connection, found: &Folder) -> Result<(), rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT name FROM spool")?;
    let names: Vec<String> = read.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    names
        .into_iter()
        .filter(|name| !found.names.contains(name))
        .try_for_each(|name| spool_file::forget(connection, &name))
}

/// As a step of the cycle: what is not ready yet is the next cycle's.
impl NextRun {
    fn sooner(self, other: NextRun) -> NextRun {
        match (self, other) {
            (NextRun::Now, _) | (_, NextRun::Now) => NextRun::Now,
            (NextRun::Nothing, one) | (one, NextRun::Nothing) => one,
            (NextRun::At(one), NextRun::At(other)) => NextRun::At(one.min(other)),
        }
    }
}

struct Batch {
    now: UnixMicros,
    deadline: Instant,
    texts: usize,
    folder_changed: bool,
    done: DrainReport,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.texts >= TEXTS || Instant::now() >= self.deadline
    }

    /// Does what is to be done with a file next.
    fn file(&mut self, transaction: &mut WriteTransaction<'_>, about: &PendingFile) -> Result<NextRun, CallError> {
        let connection = transaction.connection;
        if let Some(reason) = spool_file::given_up(connection, &about.name.base)? {
            return self.put_away(connection, about, reason);
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&about.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(NextRun::Nothing),
            Err(error) => return self.fail(connection, about, &FilePosition::default(), &error.to_string()),
        };
        let known = spool_file::load(connection, &about.name.base, &file)?;
        let before = known.clone().unwrap_or_default();
        let mut reading = SpoolReader::new(&file, self.now);
        let ended = match self.lines(transaction, &mut reading, known, about)? {
            Ok(ended) => ended,
            Err(error) => ReadEnd::Failed(error.to_string()),
        };
        let place = &reading.place;
        self.count(place.state.counts.since(before.state.counts));
        let has_moved = *place != before && place.is_begun();
        if has_moved && let Err(error) = spool_file::save(connection, &about.name.base, &file, place)? {
            // Without that place the lines would be taken again: nothing of this batch is.
            return Err(CallError::failed(format!("{} cannot be read: {error}", about.path.display())));
        }
        match ended {
            ReadEnd::Left => Ok(NextRun::Nothing),
            ReadEnd::Failed(reason) => self.fail(connection, about, place, &reason),
            ReadEnd::Unfinished(at) => Ok(NextRun::At(at.0)),
            ReadEnd::Full => Ok(NextRun::Now),
            // Its lines are to be on disk before it goes.
            ReadEnd::AtEnd(_) if has_moved => Ok(NextRun::Now),
            ReadEnd::AtEnd(written) if written + SETTLED_AFTER > self.now => {
                Ok(NextRun::At((written + SETTLED_AFTER).0))
            }
            ReadEnd::AtEnd(_) => self.finish(connection, about, place),
        }
    }

    /// Takes the lines that come. The outer error is the database's, the inner one the file's.
    fn lines(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        reading: &mut SpoolReader<'_>,
        known: Option<FilePosition>,
        about: &PendingFile,
    ) -> Result<io::Result<ReadEnd>, CallError> {
        let begun = match known {
            Some(place) => reading.resume(place).map(|()| HeaderRead::Captures),
            None => reading.begin(about),
        };
        match begun {
            Ok(HeaderRead::Captures | HeaderRead::Nothing) => {}
            Ok(HeaderRead::Newer) => return Ok(Ok(ReadEnd::Left)),
            Ok(HeaderRead::Unfinished) => return Ok(reading.abandoned_at().map(ReadEnd::Unfinished)),
            Ok(HeaderRead::Bad(reason)) => return Ok(Ok(ReadEnd::Failed(reason))),
            Err(error) => return Ok(Err(error)),
        }
        loop {
            match reading.line() {
                Ok(LineRead::End) => return Ok(reading.written_until().map(ReadEnd::AtEnd)),
                Ok(LineRead::Unfinished) => return Ok(reading.abandoned_at().map(ReadEnd::Unfinished)),
                Ok(LineRead::Passed) => {}
                Ok(LineRead::Whole(line)) => self.line(transaction, reading, &line)?,
                Err(error) => return Ok(Err(error)),
            }
            if self.is_full() {
                return Ok(Ok(ReadEnd::Full));
            }
        }
    }

    /// Takes a line, or as many parts of it as there is time for.
    fn line(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        reading: &mut SpoolReader<'_>,
        line: &[u8],
    ) -> Result<(), CallError> {
        let said = reading.said(line);
        let place = &mut reading.place;
        match said {
            Ok(None) => {}
            Ok(Some(ParsedCapture::Enough(mut draft))) => {
                let text = mem::take(&mut draft.text);
                let parts = pieces(&text, TEXT_BYTES);
                while let Some(text) = parts.get(place.state.part) {
                    let part = (parts.len() > 1).then_some((place.state.part as i64 + 1, parts.len() as i64));
                    let draft = Draft { text: (*text).to_owned(), part: part.or(draft.part), ..draft.clone() };
                    match NewRecord::prepare(draft).insert_once(transaction)? {
                        InsertOutcome::New { .. } => place.state.counts.inserted += 1,
                        InsertOutcome::Known { .. } => place.state.counts.reinforced += 1,
                    }
                    self.texts += 1;
                    place.state.part += 1;
                    if place.state.part < parts.len() && self.is_full() {
                        return Ok(());
                    }
                }
            }
            Ok(Some(ParsedCapture::TooShort)) => place.state.counts.skipped += 1,
            Ok(Some(ParsedCapture::UnknownTier(name))) => place.refuse(&format!("invalid tier '{name}'")),
            Err(reason) => place.refuse(&reason),
        }
        place.took(line);
        Ok(())
    }

    fn count(&mut self, counts: LineCounts) {
        self.done.inserted += counts.inserted;
        self.done.reinforced += counts.reinforced;
        self.done.skipped += counts.skipped;
        self.done.refused += counts.refused;
    }

    /// All of it is in the store: it goes, or stays for what is none.
    fn finish(
        &mut self,
        connection: &Connection,
        about: &PendingFile,
        place: &FilePosition,
    ) -> Result<NextRun, CallError> {
        if let Some(reason) = place.complaint() {
            return self.give_up(connection, about, place, reason);
        }
        if let Err(error) = fs::remove_file(&about.path) {
            log::warn!("{} is done and cannot be removed: {error}", about.path.display());
            return Ok(NextRun::At((self.now + RETRY_AFTER).0));
        }
        self.folder_changed = true;
        spool_file::forget(connection, &about.name.base)?;
        let LineCounts { inserted, reinforced, skipped, .. } = place.state.counts;
        if place.is_begun() {
            self.done.told.push(FileOutcome::Finished { file: file_name(&about.path), inserted, reinforced, skipped });
        }
        Ok(NextRun::Nothing)
    }

    /// It could not be read: later again, or never.
    fn fail(
        &mut self,
        connection: &Connection,
        about: &PendingFile,
        place: &FilePosition,
        reason: &str,
    ) -> Result<NextRun, CallError> {
        let Some((name, attempt, retry)) = about.name.failed_again(self.now) else {
            return self.give_up(connection, about, place, reason.to_owned());
        };
        let file = file_name(&about.path);
        if let Err(error) = rename(&about.path, &name) {
            log::warn!("{file} cannot be taken in ({reason}) and not be set aside: {error}");
            return Ok(NextRun::At((self.now + RETRY_AFTER).0));
        }
        self.folder_changed = true;
        log::warn!("{file} cannot be taken in and is set aside (attempt {attempt}): {reason}");
        self.done.told.push(FileOutcome::SetAside { file, attempt, retry_us: retry.0, reason: reason.to_owned() });
        Ok(NextRun::At(retry.0))
    }

    /// Says that it stays, once; its name is changed when that is on disk.
    fn give_up(
        &mut self,
        connection: &Connection,
        about: &PendingFile,
        place: &FilePosition,
        reason: String,
    ) -> Result<NextRun, CallError> {
        let data = json!({"file": file_name(&about.path), "reason": reason, "lines": place.state.counts.refused});
        let (kind, severity) = ("deferred_capture_failed", Severity::Critical);
        let event = MemoryEvent { kind, severity, domain: None, ts: self.now, data, session: "-", sources: &[] };
        events::add(connection, &event)?;
        spool_file::give_up(connection, &about.name.base, &reason)?;
        Ok(NextRun::Now)
    }

    /// Gives the file the name of one that stays.
    fn put_away(&mut self, connection: &Connection, about: &PendingFile, reason: String) -> Result<NextRun, CallError> {
        let name = about.name.given_up(self.now);
        let file = file_name(&about.path);
        if let Err(error) = rename(&about.path, &name) {
            log::warn!("{file} is given up on ({reason}) and cannot be renamed: {error}");
            return Ok(NextRun::At((self.now + RETRY_AFTER).0));
        }
        self.folder_changed = true;
        spool_file::forget(connection, &about.name.base)?;
        log::error!("{file} is given up on and kept as {name}: {reason}");
        self.done.told.push(FileOutcome::GivenUp { file: name, reason });
        Ok(NextRun::Nothing)
    }
}

/// Where the reading of a file ended.
enum ReadEnd {
    /// Nobody's business.
    Left,
    /// It cannot be read.
    Failed(String),
    /// Before a line without its end, which is taken as it is from this moment on.
    Unfinished(UnixMicros),
    /// The batch is full.
    Full,
    /// At its end, which was written then.
    AtEnd(UnixMicros),
}

/// Within the folder, and over nothing that is there.
fn rename(path: &Path, name: &str) -> io::Result<()> {
    let to = path.with_file_name(name);
    match fs::symlink_metadata(&to) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there", to.display()))),
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
    use crate::memory::consolidation::step::CHUNK;
    use crate::memory::store::writer::job::task;
    use crate::memory::test_support::Bench;
    use serde_json::Value;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

        /// A file that was written an hour ago.
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

        /// Batches until nothing is left to be done at once.
        fn drain(&self) -> DrainReport {
            let mut all = DrainReport::default();
            for _ in 0..1000 {
                let one = self.batch();
                all.inserted += one.inserted;
                all.reinforced += one.reinforced;
                all.skipped += one.skipped;
                all.refused += one.refused;
                all.told.extend(one.told);
                all.next = one.next;
                if all.next != NextRun::Now {
                    return all;
                }
            }
            panic!("there is no end to it: {all:?}");
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

        fn remembered(&self) -> i64 {
            self.bench.row("SELECT count(*) FROM spool WHERE ?1", 1)
        }

        fn critical(&self) -> i64 {
            self.bench.row("SELECT count(*) FROM event WHERE severity = 'critical' AND ?1", 1)
        }

        /// What a kill leaves: another process, with what is on disk.
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
    fn a_file_is_taken_in_and_goes() {
        let spool = Spool::new();
        let extra = "{\"text\":\"a line with other keys\",\"role\":\"assistant\",\"unknown\":[1],\"ts\":null,\"project\":\"/q\"}\r\n";
        let mut text = file(&["the first of the texts", "short", "the first of the texts"]);
        text.extend_from_slice(b"\n");
        text.extend_from_slice(extra.as_bytes());
        spool.put("s-1.live-1717000000.jsonl", &text);
        let done = spool.drain();
        assert_eq!((counts(&done), done.next), ((2, 1, 1, 0), NextRun::Nothing));
        let told =
            FileOutcome::Finished { file: "s-1.live-1717000000.jsonl".into(), inserted: 2, reinforced: 1, skipped: 1 };
        assert_eq!(done.told, [told]);
        assert_eq!((spool.names().len(), spool.remembered()), (0, 0));
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
    fn nobody_elses_files_are_left_alone() {
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
        assert_eq!((counts(&done), done.next, done.told.len()), ((0, 0, 0, 0), NextRun::Nothing, 0));
        assert_eq!(
            spool.names(),
            ["a.live.jsonl", "b.permanent-failed-17.jsonl", "c.jsonl", "d.txt", "e.jsonl", "f.jsonl"]
        );
    }

    #[test]
    fn what_is_still_written_is_waited_for() {
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
        // The empty one may be a file that was made just now.
        assert_eq!((counts(&done), done.next), ((1, 0, 0, 0), NextRun::At((now + 1) * 1_000_000)));
        let mut more = File::options().append(true).open(spool.path("a-1.jsonl")).unwrap();
        io::Write::write_all(&mut more, end.as_bytes()).unwrap();
        spool.touch("a-1.jsonl", now - 9);
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
        assert_eq!(spool.names(), ["b-1.jsonl", "c-1.jsonl"]);
        assert_eq!(spool.texts(), ["the first of the texts", "the third of the texts"]);
    }

    #[test]
    fn a_last_line_without_its_end_is_taken_once_nobody_writes_it() {
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
    fn a_bad_line_costs_nobody_but_itself() {
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
        assert_eq!(done.told, [FileOutcome::GivenUp { file: kept, reason: reason.clone() }]);
        assert_eq!((spool.critical(), spool.remembered()), (1, 0));
        let data: String = spool.bench.row("SELECT data FROM event WHERE severity = 'critical' AND ?1", 1);
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data, json!({"file": "a-1.jsonl", "reason": reason, "lines": 7}));
    }

    #[test]
    fn a_file_that_is_none_is_tried_three_times_more() {
        for text in [&b"rubbish\n"[..], b"{}\n", b"{\"version\":\"1\"}\n", b"{\"version\":0}\n", b"[]\n", b"\n"] {
            let mut spool = Spool::new();
            spool.put("a-1.jsonl", text);
            for (attempt, wait) in [(1, 60), (2, 120), (3, 240)] {
                let done = spool.drain();
                let due = spool.now.0 + wait * 1_000_000;
                assert_eq!(done.next, NextRun::At(due));
                let [FileOutcome::SetAside { attempt: told, retry_us, .. }] = &done.told[..] else {
                    panic!("{done:?}")
                };
                assert_eq!((*told, *retry_us), (attempt, due));
                assert_eq!(spool.names(), [format!("a-1.failed-{}-attempt-{attempt}.jsonl", spool.now.0 / 1_000_000)]);
                spool.now = UnixMicros(due - 1);
                assert_eq!(spool.drain(), DrainReport { next: NextRun::At(due), ..DrainReport::default() });
                spool.now = UnixMicros(due);
            }
            let done = spool.drain();
            assert_eq!(done.next, NextRun::Nothing);
            assert!(matches!(&done.told[..], [FileOutcome::GivenUp { .. }]), "{done:?}");
            assert_eq!(spool.names(), [format!("a-1.permanent-failed-{}.jsonl", spool.now.0 / 1_000_000)]);
            assert_eq!((spool.critical(), spool.remembered()), (1, 0));
            assert_eq!(spool.drain(), DrainReport::default());
        }
    }

    #[test]
    fn a_file_that_is_mended_is_taken_at_its_next_turn() {
        let mut spool = Spool::new();
        spool.put("a-1.jsonl", b"rubbish\n");
        spool.drain();
        let name = spool.names().remove(0);
        spool.put(&name, &file(&["the first of the texts"]));
        spool.now = UnixMicros(spool.now.0 + 60_000_000);
        assert_eq!((counts(&spool.drain()), spool.names().len()), ((1, 0, 0, 0), 0));
    }

    #[test]
    fn a_file_without_a_first_line_of_its_own_has_its_names_session() {
        let spool = Spool::new();
        spool.put("s-7-1717000000.jsonl", line("the first of the texts").as_bytes());
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
        assert_eq!(spool.bench.row::<String>("SELECT name FROM session WHERE ?1", 1), "s-7");
    }

    #[test]
    fn a_long_turn_comes_in_parts_and_too_long_a_line_not() {
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
        let FileOutcome::GivenUp { reason, .. } = &done.told[0] else { panic!("{done:?}") };
        assert_eq!(reason, "a line is no capture: line 4: it is longer than 4194304 bytes");
    }

    #[test]
    fn wherever_it_is_killed_nothing_is_taken_twice() {
        let many: Vec<String> = (0..600).map(|n| format!("text number {n} of many")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for kill_after in 0..6 {
            let mut spool = Spool::new();
            spool.put("a-1.jsonl", &file(&many));
            for _ in 0..kill_after {
                spool.batch();
            }
            // What is contradicted is new when it comes back: a redo would show.
            spool.bench.sql("UPDATE record SET valid_to = 5");
            spool.restart();
            spool.drain();
            assert_eq!((spool.texts().len(), spool.names().len()), (600, 0), "after {kill_after}");
        }
    }

    #[test]
    fn what_is_undone_is_taken_again() {
        let spool = Spool::new();
        spool.put("a-1.jsonl", &file(&["the first of the texts"]));
        let store = spool.bench.folder.path().to_owned();
        let now = spool.now;
        let (sender, outcome) = mpsc::channel();
        let work = move |transaction: &mut WriteTransaction<'_>| {
            chunk(transaction, &store, now, Instant::now() + CHUNK)?;
            Err::<(), _>(CallError::failed("a test's"))
        };
        spool.bench.memory.writer.submit(task(0, work, move |done| sender.send(done).unwrap()));
        assert!(outcome.recv().unwrap().is_err());
        assert_eq!((spool.texts().len(), spool.remembered()), (0, 0));
        assert_eq!((counts(&spool.drain()), spool.names().len()), ((1, 0, 0, 0), 0));
    }

    #[test]
    fn another_file_of_the_same_name_is_taken_from_its_beginning() {
        let spool = Spool::new();
        spool.put("a-1.jsonl", &file(&["the first of the texts"]));
        spool.batch();
        assert_eq!(spool.remembered(), 1);
        spool.put("a-1.jsonl", &file(&["another text of another file"]));
        assert_eq!(counts(&spool.drain()), (1, 0, 0, 0));
        spool.put("b-1.jsonl", &file(&["the second of the texts"]));
        spool.batch();
        fs::remove_file(spool.path("b-1.jsonl")).unwrap();
        spool.put("c-1.jsonl", &file(&["the third of the texts"]));
        spool.drain();
        assert_eq!((spool.remembered(), spool.texts().len()), (0, 4));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let spool = Spool::new();
        fs::write(spool.path("a-1.jsonl"), file(&["the first of the texts"])).unwrap();
        assert!(SystemTime::now() > UNIX_EPOCH + Duration::from_micros(spool.now.0 as u64));
        assert_eq!((counts(&spool.drain()), spool.names().len()), ((1, 0, 0, 0), 0));
    }

    #[test]
    fn two_batches_of_one_transaction_remove_no_file_that_is_not_on_disk() {
        let spool = Spool::new();
        let line = "{\"text\":\"The tea is at five today.\"}\n";
        spool.put("s-1-1.jsonl", (HEADER.to_owned() + line).as_bytes());
        let (store, now) = (spool.bench.folder.path().to_owned(), spool.now);
        let (sender, outcome) = mpsc::channel();
        let there = spool.path("s-1-1.jsonl");
        let work = move |transaction: &mut WriteTransaction<'_>| {
            let deadline = Instant::now() + CHUNK;
            let first = chunk(transaction, &store, now, deadline)?;
            let second = chunk(transaction, &store, now, deadline)?;
            Ok((first.inserted, second, there.exists()))
        };
        let done = move |done: Result<_, CallError>| sender.send(done.unwrap()).unwrap();
        spool.bench.memory.maintenance().writer.submit(task(0, work, done));
        let (inserted, second, is_there) = outcome.recv().unwrap();
        assert_eq!((inserted, second.inserted, second.next, is_there), (1, 0, NextRun::Now, true));
        assert_eq!(spool.drain().told.len(), 1);
        assert!(!spool.path("s-1-1.jsonl").exists());
    }
}
