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

use super::CAPTURE_STATE_DIR;
use super::last_capture::LastCapture;
use super::log::HookLog;
use super::offset::{self, TranscriptOffset};
use super::spool;
use crate::cli::import::LINE_BYTES;
use crate::cli::support::lines::{InputLine, LineReader};
use crate::client::Client;
use crate::lifecycle::private_dir;
use crate::memory::spool::FOLDER;
use crate::transcript::row::records;
use crate::transcript::{TranscriptReader, TranscriptTurn};
use crate::wire::json::Members;

/// Bytes of transcripts that one hook takes; the next one goes on. 4 MiB: a long session's evening, and
/// read in 20 ms.
const READ_BYTES: u64 = 4 << 20;

/// A hook that has worked for so long leaves the rest to the next one, but for the first step of its work, so
/// that it always comes further. Half of what an assistant's user may wait.
const WORK_TIME: Duration = Duration::from_millis(25);

/// A call has rows of so many bytes, if one alone has no more. 64 KiB: taken in 10 ms, and more than a
/// turn usually is.
const CALL_BYTES: usize = 64 << 10;

/// A call has so many rows; the daemon takes 1000.
const CALL_ROWS: usize = 500;

/// Other sessions that a session's start looks after.
const OTHERS: usize = 16;

/// A place whose transcript has gone is forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

/// A hook's work on transcripts.
pub(crate) struct TranscriptCapture<'a> {
    pub(crate) store: &'a Path,
    pub(crate) client: &'a mut Client,
    pub(crate) log: &'a HookLog,
    /// The daemon did not answer: what is taken waits in files.
    is_down: bool,
    left: u64,
    end: Instant,
}

/// A transcript that is being read.
struct OpenTranscript {
    lines: LineReader,
    reader: TranscriptReader,
    /// Where reading began, in bytes.
    start: u64,
    /// The end of the last whole line that was read.
    end: u64,
}

impl<'a> TranscriptCapture<'a> {
    pub(crate) fn new(
        store: &'a Path,
        client: &'a mut Client,
        log: &'a HookLog,
        now: Instant,
    ) -> TranscriptCapture<'a> {
        TranscriptCapture { store, client, log, is_down: false, left: READ_BYTES, end: now + WORK_TIME }
    }

    /// Takes what `session` has said since its last hook.
    ///
    /// # Errors
    /// The transcript cannot be read, or nothing can be written.
    pub(crate) fn session(&mut self, session: &str, transcript: &Path, cwd: Option<&str>) -> io::Result<()> {
        let kept = self.place_of(session);
        let file = File::open(transcript)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no plain file"));
        }
        let start =
            TranscriptOffset::load(&kept).filter(|place| place.transcript == transcript).map_or(0, |p| p.start(&file));
        let mut input = file.try_clone()?;
        input.seek(SeekFrom::Start(start))?;
        let reader = TranscriptReader::new(Some(session.into()), cwd.map(str::to_owned));
        let mut source =
            OpenTranscript { lines: LineReader::new(Box::new(input), LINE_BYTES), reader, start, end: start };
        let (mut reached, mut outcome) = (start, Ok(()));
        loop {
            outcome = outcome.and_then(|()| self.read(&mut source)).and_then(|turns| self.hand_over(&turns));
            if outcome.is_err() || source.end == reached {
                break;
            }
            reached = source.end;
            // With no daemon there is nothing to wait for.
            if self.left == 0 || (!self.is_down && Instant::now() >= self.end) {
                break;
            }
        }
        if reached != start || !kept.exists() {
            TranscriptOffset::at(reached, &file, session, transcript, cwd)?.save(&kept)?;
        }
        outcome
    }

    /// Takes what other sessions have said since their last hook: one that was interrupted, or whose
    /// assistant ended, has none at its end.
    pub(crate) fn others(&mut self, session: &str) {
        let own = self.place_of(session);
        let mut has_worked = false;
        for (path, changed) in self.places() {
            let is_over = self.left == 0 || Instant::now() >= self.end;
            if path == own || (has_worked && is_over) {
                continue;
            }
            let Some(place) = TranscriptOffset::load(&path) else { continue };
            let length = fs::metadata(&place.transcript).map(|found| found.len());
            match length {
                Ok(length) if length != place.offset => {
                    has_worked = true;
                    let outcome = self.session(&place.session, &place.transcript, place.cwd.as_deref());
                    if let Err(error) = outcome {
                        self.log.say(format_args!("{}: {error}", place.transcript.display()));
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

    /// Hands over what was said: to the daemon, else to the files that wait for it.
    ///
    /// # Errors
    /// It can be put nowhere.
    fn hand_over(&mut self, turns: &[TranscriptTurn]) -> io::Result<()> {
        let Some(last) = turns.last() else { return Ok(()) };
        if !self.is_down
            && let Err(error) = self.send(turns)
        {
            self.log.say(format_args!("{error}; what was said waits in {}", FOLDER));
            self.is_down = true;
        }
        if self.is_down {
            spool::write(self.store, turns, Timestamp::now())?;
        }
        self.remember(last);
        Ok(())
    }

    /// Takes something that stands in no transcript.
    ///
    /// # Errors
    /// It can be put nowhere.
    pub(crate) fn spoken(&mut self, turn: TranscriptTurn) -> io::Result<()> {
        self.hand_over(&[turn])
    }

    fn send(&mut self, turns: &[TranscriptTurn]) -> Result<(), String> {
        let mut rows = Vec::new();
        for turn in turns {
            records(&turn.text, &turn.metadata(), &mut rows);
        }
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
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
            self.log.say(format_args!("turns were refused: {refused}"));
        }
        Ok(())
    }

    /// What is said in the next lines: about as much as goes in one call, or where nobody takes it, all.
    fn read(&mut self, source: &mut OpenTranscript) -> io::Result<Vec<TranscriptTurn>> {
        let (mut turns, mut bytes) = (Vec::new(), 0);
        while self.left > 0 && (self.is_down || bytes < CALL_BYTES) {
            let Some(line) = source.lines.next()? else { break };
            // The assistant is still writing it.
            if source.lines.is_cut_off {
                break;
            }
            let end = source.start + source.lines.bytes;
            self.left = self.left.saturating_sub(end - source.end);
            source.end = end;
            let said = match line {
                InputLine::Text(text) => source.reader.turns(&text),
                InputLine::TooLong => Err(format!("a line is longer than {LINE_BYTES} bytes")),
                InputLine::NotUtf8 => Err("a line is not UTF-8".into()),
            };
            match said {
                Ok(said) => {
                    bytes += said.iter().map(|turn| turn.text.len()).sum::<usize>();
                    turns.extend(said);
                }
                Err(what) => self.log.say(format_args!("passed over at byte {end} of the transcript: {what}")),
            }
        }
        Ok(turns)
    }

    fn place_of(&self, session: &str) -> PathBuf {
        self.store.join(CAPTURE_STATE_DIR).join(offset::file_name(session) + offset::SUFFIX)
    }

    /// The places that changed last, and when.
    fn places(&self) -> Vec<(PathBuf, SystemTime)> {
        let folder = self.store.join(CAPTURE_STATE_DIR);
        let is_ours = private_dir::exists(&folder).unwrap_or(false);
        let entries = is_ours.then(|| fs::read_dir(folder)).into_iter().flatten().flatten().flatten();
        let mut places: Vec<(PathBuf, SystemTime)> = entries
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(offset::SUFFIX))
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?)))
            .collect();
        places.sort_unstable_by_key(|(_, changed)| std::cmp::Reverse(*changed));
        // The newest are looked after; of the others one each time, so that the forgotten ones go.
        let oldest = places.pop();
        places.truncate(OTHERS);
        places.extend(oldest);
        places
    }

    fn remember(&self, turn: &TranscriptTurn) {
        let last = LastCapture { ts: Timestamp::now(), is_spooled: self.is_down };
        if let Err(error) = last.save(self.store, turn.assistant, turn.session.as_deref()) {
            self.log.say(format_args!("{CAPTURE_STATE_DIR}: {error}"));
        }
    }
}

/// A call and its result, or why there is none.
///
/// # Errors
/// The client's, in words.
#[inline(never)]
pub(crate) fn call(client: &mut Client, method: &str, params: &Value) -> Result<Box<RawValue>, String> {
    client.call(method, params).map_err(|error| error.to_string())
}
