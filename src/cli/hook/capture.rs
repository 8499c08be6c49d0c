//! What a session said since its last hook → the daemon, or the files that wait for it.
//!
//! A transcript is read from where the last hook stopped, and a place is kept only behind what has been
//! taken over; so whatever ends a hook early, the next one goes on there. What is read twice is known again by
//! its words: the daemon stores the same text of the same session and role once.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::files::{self, Durability, PRIVATE};
use super::super::import::LINE_BYTES;
use super::super::lines::{Line, Lines};
use super::journal::Journal;
use super::place::{self, Place};
use super::spool;
use crate::client::Client;
use crate::transcript::row::records;
use crate::transcript::{Reader, Turn};
use crate::wire::json::Members;

/// Bytes of transcripts that one hook takes; the next one goes on. 4 MiB: a long session's evening, and
/// read in 20 ms.
const READ_BYTES: u64 = 4 << 20;

/// A hook that has worked for so long leaves the rest to the next one, but for the first call of each
/// kind of work, so that there is always a next step. Half of what an assistant's user may wait.
const WORK_TIME: Duration = Duration::from_millis(25);

/// A call has rows of so many bytes, if one alone has no more. 64 KiB: taken in 10 ms, and more than a
/// turn usually is.
const CALL_BYTES: usize = 64 << 10;

/// A call has so many rows; the daemon takes 1000.
const CALL_ROWS: usize = 500;

/// The folder of places under the store's.
const PLACES: &str = ".capture-state";

/// Other sessions that a session's start looks after.
const OTHERS: usize = 16;

/// A place whose transcript has gone is forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

/// A hook's work on transcripts.
pub(super) struct Capture<'a> {
    pub(super) store: &'a Path,
    pub(super) client: &'a mut Client,
    pub(super) journal: &'a Journal,
    /// The daemon did not answer: what is taken waits in files.
    is_down: bool,
    left: u64,
    end: Instant,
}

/// A turn and where its line ends.
struct Taken {
    turn: Turn,
    end: u64,
}

impl<'a> Capture<'a> {
    pub(super) fn new(store: &'a Path, client: &'a mut Client, journal: &'a Journal, now: Instant) -> Capture<'a> {
        Capture { store, client, journal, is_down: false, left: READ_BYTES, end: now + WORK_TIME }
    }

    /// Takes what `session` has said since its last hook.
    ///
    /// # Errors
    /// The transcript cannot be read, or nothing can be written.
    pub(super) fn session(&mut self, session: &str, transcript: &Path, cwd: Option<&str>) -> io::Result<()> {
        let kept = self.place_of(session);
        let file = File::open(transcript)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no plain file"));
        }
        let start = Place::load(&kept).filter(|place| place.transcript == transcript).map_or(0, |p| p.start(&file));
        let (taken, read_to) = self.read(&file, start, Reader::new(Some(session.into()), cwd.map(str::to_owned)))?;
        let reached = self.hand_over(&taken)?.unwrap_or(read_to);
        if reached != start || !kept.exists() {
            Place::at(reached, &file, session, transcript, cwd)?.save(&kept)?;
        }
        Ok(())
    }

    /// Takes what other sessions have said since their last hook: one that was interrupted, or whose
    /// assistant ended, has none at its end.
    pub(super) fn others(&mut self, session: &str) {
        let own = self.place_of(session);
        let mut has_worked = false;
        for (path, changed) in self.places() {
            let is_over = self.left == 0 || Instant::now() >= self.end;
            if path == own || (has_worked && is_over) {
                continue;
            }
            let Some(place) = Place::load(&path) else { continue };
            let length = fs::metadata(&place.transcript).map(|found| found.len());
            match length {
                Ok(length) if length != place.offset => {
                    has_worked = true;
                    let outcome = self.session(&place.session, &place.transcript, place.cwd.as_deref());
                    if let Err(error) = outcome {
                        self.journal.say(format_args!("{}: {error}", place.transcript.display()));
                    }
                }
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && changed.elapsed().is_ok_and(|age| age > FORGOTTEN) =>
                {
                    drop(fs::remove_file(&path));
                }
                _ => {}
            }
        }
    }

    /// Hands over what was said: to the daemon, else to the files that wait for it. Where the time is up
    /// before all of it is with the daemon: the end of the last line that is.
    ///
    /// # Errors
    /// It can be put nowhere.
    fn hand_over(&mut self, taken: &[Taken]) -> io::Result<Option<u64>> {
        let mut at = 0;
        while at < taken.len() && !self.is_down {
            if at > 0 && Instant::now() >= self.end {
                self.remember(&taken[at - 1].turn);
                return Ok(Some(taken[at - 1].end));
            }
            let (rows, next) = next_call(&taken[at..]);
            match self.send(&rows) {
                Ok(()) => at += next,
                Err(error) => {
                    self.journal.say(format_args!("{error}; what was said waits in {}", spool::FOLDER));
                    self.is_down = true;
                }
            }
        }
        if at < taken.len() {
            let turns: Vec<Turn> = taken[at..].iter().map(|taken| taken.turn.clone()).collect();
            spool::write(self.store, &turns, Timestamp::now())?;
        }
        if let Some(Taken { turn, .. }) = taken.last() {
            self.remember(turn);
        }
        Ok(None)
    }

    /// Takes something that stands in no transcript.
    ///
    /// # Errors
    /// It can be put nowhere.
    pub(super) fn spoken(&mut self, turn: Turn) -> io::Result<()> {
        self.hand_over(&[Taken { turn, end: 0 }]).map(drop)
    }

    fn send(&mut self, mut rows: &[Box<RawValue>]) -> Result<(), String> {
        while !rows.is_empty() {
            // A turn of many pieces is more than one call takes.
            let (mut count, mut bytes) = (0, 0);
            while count < rows.len().min(CALL_ROWS) && (count == 0 || bytes + rows[count].get().len() <= CALL_BYTES) {
                bytes += rows[count].get().len();
                count += 1;
            }
            self.call(&rows[..count])?;
            rows = &rows[count..];
        }
        Ok(())
    }

    fn call(&mut self, rows: &[Box<RawValue>]) -> Result<(), String> {
        let result = call(self.client, "store_import", &json!({ "rows": rows }))?;
        let outcome = Members::read(result.get()).map_err(|error| error.to_string())?;
        if let Some(refused) = outcome.value("refused").map(RawValue::get).filter(|refused| *refused != "[]") {
            self.journal.say(format_args!("turns were refused: {refused}"));
        }
        Ok(())
    }

    /// What is said from `start` on, and the end of the last line that was read.
    fn read(&mut self, file: &File, start: u64, mut reader: Reader) -> io::Result<(Vec<Taken>, u64)> {
        let mut input = file.try_clone()?;
        input.seek(SeekFrom::Start(start))?;
        let mut lines = Lines::new(Box::new(input), LINE_BYTES);
        let (mut taken, mut end) = (Vec::new(), start);
        while lines.bytes < self.left {
            let Some(line) = lines.next()? else { break };
            // The assistant is still writing it.
            if lines.is_cut_off {
                break;
            }
            end = start + lines.bytes;
            let turns = match line {
                Line::Text(text) => reader.turns(&text),
                Line::TooLong => Err(format!("a line is longer than {LINE_BYTES} bytes")),
                Line::NotUtf8 => Err("a line is not UTF-8".into()),
            };
            match turns {
                Ok(turns) => taken.extend(turns.into_iter().map(|turn| Taken { turn, end })),
                Err(what) => self.journal.say(format_args!("passed over at byte {end} of the transcript: {what}")),
            }
        }
        self.left = self.left.saturating_sub(end - start);
        Ok((taken, end))
    }

    fn place_of(&self, session: &str) -> PathBuf {
        self.store.join(PLACES).join(place::file_name(session) + place::SUFFIX)
    }

    /// The places that changed last, and when.
    fn places(&self) -> Vec<(PathBuf, SystemTime)> {
        let entries = fs::read_dir(self.store.join(PLACES)).into_iter().flatten().flatten();
        let mut places: Vec<(PathBuf, SystemTime)> = entries
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(place::SUFFIX))
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?)))
            .collect();
        places.sort_unstable_by_key(|(_, changed)| std::cmp::Reverse(*changed));
        // The newest are looked after; of the others one each time, so that the forgotten ones go.
        let oldest = places.pop();
        places.truncate(OTHERS);
        places.extend(oldest);
        places
    }

    /// When an assistant's words were taken last, for who wants to know whether its hooks run.
    fn remember(&self, turn: &Turn) {
        let folder = self.store.join(PLACES);
        let path = folder.join(format!("last-{}.json", turn.assistant.name()));
        let last = json!({"ts": Timestamp::now().to_string(), "session_id": turn.session, "spooled": self.is_down});
        let made = files::make_folder(&folder);
        let written =
            made.and_then(|()| files::replace(&path, last.to_string().as_bytes(), PRIVATE, Durability::Cached));
        if let Err(error) = written {
            self.journal.say(format_args!("{}: {error}", path.display()));
        }
    }
}

/// The rows that go next, and how many turns they are: whole lines.
fn next_call(taken: &[Taken]) -> (Vec<Box<RawValue>>, usize) {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for (at, Taken { turn, end }) in taken.iter().enumerate() {
        let begins_a_line = at > 0 && taken[at - 1].end != *end;
        if begins_a_line && (bytes >= CALL_BYTES || rows.len() >= CALL_ROWS) {
            return (rows, at);
        }
        let before = rows.len();
        records(&turn.text, &turn.about(), &mut rows);
        bytes += rows[before..].iter().map(|row| row.get().len()).sum::<usize>();
    }
    (rows, taken.len())
}

/// A call and its result, or why there is none.
///
/// # Errors
/// The client's, in words.
#[inline(never)]
pub(super) fn call(client: &mut Client, method: &str, params: &Value) -> Result<Box<RawValue>, String> {
    client.call(method, params).map_err(|error| error.to_string())
}
