//! Sends what a session's transcript gained since its last hook to the daemon, or to deferred-capture files.
//!
//! A transcript is read from the saved offset, and an offset is saved only for text that was handed over. So if a hook
//! ends early, the next one continues there. A turn that is read twice is stored once: the daemon
//! recognizes it (`memory/ingest/turn.rs`).

use std::cmp::Reverse;
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::heard::HeardTurn;
use super::last_capture::LastCapture;
use super::log::HookLog;
use super::offset::{self, SessionTranscript, TranscriptOffset};
use super::spool;
use crate::cli::import::MAX_LINE_BYTES;
use crate::cli::support::capture_gate::CaptureGate;
use crate::cli::support::files;
use crate::cli::support::lines::{LineReader, RawLine};
use crate::cli::support::project_finder::ProjectFinder;
use crate::cli::support::transcript_file;
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::lifecycle::private_dir;
use crate::lifecycle::process_session::{self, CAPTURE_STATE_DIR};
use crate::memory::spool::FOLDER;
use crate::sort;
use crate::transcript::row::records;
use crate::transcript::{ReadTally, TranscriptLine, TranscriptReader, TranscriptTurn};
use crate::wire::members::Members;

/// Bytes of transcripts that one hook reads at most; the next hook continues. 4 MiB: several hours of a session, read in
/// 20 ms.
const MAX_READ_BYTES: u64 = 4 << 20;

/// Time after which a hook leaves the rest to the next one. The first step is always completed, so that each hook makes
/// progress. Half of what a user of an assistant may have to wait.
const WORK_TIME: Duration = Duration::from_millis(25);

/// Bytes of rows per call, unless one row alone is longer. 64 KiB: stored in 10 ms, and longer than most turns.
const MAX_CALL_BYTES: usize = 64 << 10;

/// Rows per call; the daemon accepts 1000.
const MAX_CALL_ROWS: usize = 500;

/// Other sessions that the start of a session catches up on.
const MAX_OTHER_SESSIONS: usize = 16;

/// Time after which the offset of a transcript that no longer exists, and the session of a process, is removed.
const OFFSET_EXPIRY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The work of one hook on transcripts.
pub(crate) struct TranscriptCapture<'a> {
    pub(crate) store: &'a Path,
    pub(crate) client: &'a mut Client,
    pub(crate) log: &'a HookLog,
    projects: ProjectFinder,
    /// The daemon did not answer: turns go to deferred-capture files.
    pub(crate) is_down: bool,
    /// The hook's own session is in a folder that is not listened to.
    pub(crate) is_ignored: bool,
    gate: &'a CaptureGate,
    left: u64,
    end: Instant,
}

/// Whether the assistant may still write to a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TranscriptEnd {
    Open,
    /// The session has ended: turns that wait for further lines are certain.
    Complete,
}

/// A transcript that is being read.
struct OpenTranscript {
    lines: LineReader,
    reader: TranscriptReader,
    /// Offset at which reading began, in bytes.
    start: u64,
    /// Offset of the end of the last complete line read; `start <= end`.
    end: u64,
}

impl<'a> TranscriptCapture<'a> {
    pub(crate) fn new(
        store: &'a Path,
        client: &'a mut Client,
        log: &'a HookLog,
        gate: &'a CaptureGate,
        now: Instant,
    ) -> TranscriptCapture<'a> {
        let (left, end) = (MAX_READ_BYTES, now + WORK_TIME);
        let projects = ProjectFinder::new();
        TranscriptCapture { store, client, log, projects, is_down: false, is_ignored: false, gate, left, end }
    }

    /// Captures what the transcript of a session gained since its last hook, and then the turn that the hook's input has,
    /// unless the transcript had it. `cwd` is the project if neither the session nor the transcript names one.
    ///
    /// # Errors
    /// A message for any error of reading the transcript, of saving its offset, or of writing deferred captures. The turn
    /// of the input is captured nevertheless.
    pub(crate) fn session(
        &mut self,
        mut of: SessionTranscript,
        end: TranscriptEnd,
        cwd: Option<&str>,
        heard: &HeardTurn,
    ) -> Result<(), String> {
        let read = self.transcript(&mut of, end, cwd, heard).map_err(|error| format!("{}: {error}", of.path.display()));
        match (read, self.heard(heard, of.project)) {
            (Err(what), Err(error)) => Err(format!("{what}; and {error}")),
            (read, kept) => read.and(kept.map_err(|error| error.to_string())),
        }
    }

    /// Notes a session whose transcript does not exist yet, so that [`others`](TranscriptCapture::others) reads it if no
    /// further hook of the session runs.
    ///
    /// # Errors
    /// Any error of writing the offset file.
    pub(crate) fn expect(&self, of: SessionTranscript) -> io::Result<()> {
        let path = self.offset_path(&of.session);
        if path.exists() { Ok(()) } else { TranscriptOffset::beginning(of).save(&path) }
    }

    /// Captures the turn that the hook's input has, if it is still pending. Its project is the session's, if that is known.
    ///
    /// # Errors
    /// Any error of writing deferred captures.
    pub(crate) fn heard(&mut self, heard: &HeardTurn, project: Option<String>) -> io::Result<()> {
        let Some(mut turn) = heard.pending() else { return Ok(()) };
        turn.project = project.or(turn.project);
        self.hand_over(&[turn])?;
        heard.set(None);
        Ok(())
    }

    /// Captures what a transcript gained since its last hook. The session's project becomes that of its first turn if it
    /// is not known.
    ///
    /// # Errors
    /// `Other` if it is not a regular file; otherwise any error of reading it, of saving its offset, or of writing
    /// deferred captures.
    fn transcript(
        &mut self,
        of: &mut SessionTranscript,
        end: TranscriptEnd,
        cwd: Option<&str>,
        heard: &HeardTurn,
    ) -> io::Result<()> {
        let kept = self.offset_path(&of.session);
        let file = files::open_regular(&of.path)?;
        let saved = TranscriptOffset::load(&kept).filter(|saved| saved.of.path == of.path);
        let start = saved.as_ref().map_or(0, |saved| saved.start(&file));
        let before = saved.as_ref().filter(|_| start > 0).map(|saved| saved.tally).unwrap_or_default();
        of.project = of.project.take().or_else(|| saved.and_then(|saved| saved.of.project));
        let mut input = file.try_clone()?;
        input.seek(SeekFrom::Start(start))?;
        let project = of.project.clone().or_else(|| cwd.map(str::to_owned));
        let mut reader = TranscriptReader::new(Some(of.session.clone()), project);
        transcript_file::prime(&mut reader, &file, start)?;
        let mut source =
            OpenTranscript { lines: LineReader::new(Box::new(input), MAX_LINE_BYTES), reader, start, end: start };
        let (mut reached, mut tally) = (start, before);
        let outcome = loop {
            let outcome = self.read(&mut source).and_then(|turns| self.take(turns, of, heard));
            if outcome.is_err() || source.end == reached {
                break outcome;
            }
            reached = source.end;
            tally = before;
            tally.add(source.reader.tally());
            // Without a daemon there are no replies to wait for, so the time limit does not apply.
            if self.left == 0 || (!self.is_down && Instant::now() >= self.end) {
                break outcome;
            }
        };
        if source.reader.is_of_subagent() {
            heard.set(None);
        }
        let is_complete = end == TranscriptEnd::Complete && file.metadata()?.len() == reached;
        let outcome = outcome.and_then(|()| match is_complete {
            true => self.take(source.reader.finish(), of, heard),
            false => Ok(()),
        });
        if reached != start || !kept.exists() {
            TranscriptOffset::at(reached, &file, of.clone(), tally)?.save(&kept)?;
        }
        if let Some(what) = live_warning(tally).filter(|what| live_warning(before).as_ref() != Some(what)) {
            self.log.say(format_args!("{}: {what}", of.path.display()));
        }
        outcome
    }

    /// Hands turns over as turns of the session's project.
    fn take(
        &mut self,
        mut turns: Vec<TranscriptTurn>,
        of: &mut SessionTranscript,
        heard: &HeardTurn,
    ) -> io::Result<()> {
        of.project = of.project.take().or_else(|| turns.first().and_then(|turn| turn.project.clone()));
        turns.iter_mut().for_each(|turn| turn.project.clone_from(&of.project));
        heard.recognize(&turns);
        self.hand_over(&turns)
    }

    /// Captures what the transcripts of other sessions gained since their last hook. No hook runs at the end of a session
    /// that is interrupted.
    pub(crate) fn others(&mut self, session: &str) {
        let own = self.offset_path(session);
        let mut has_worked = false;
        for (path, changed) in self.recent_offsets() {
            let is_over = self.left == 0 || Instant::now() >= self.end;
            if path == own || (has_worked && is_over) {
                continue;
            }
            let Some(saved) = TranscriptOffset::load(&path) else { continue };
            let mut of = saved.of;
            let length = fs::metadata(&of.path).map(|found| found.len());
            match length {
                Ok(length) if length != saved.offset => {
                    has_worked = true;
                    if let Err(error) = self.transcript(&mut of, TranscriptEnd::Open, None, &HeardTurn::default()) {
                        self.log.say(format_args!("{}: {error}", of.path.display()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_expired(changed) => {
                    drop(fs::remove_file(&path));
                }
                _ => {}
            }
        }
    }

    /// Hands turns over to the daemon, or to deferred-capture files if it does not answer. Those that were said while
    /// capture was paused or in a folder that is not listened to are dropped: with the offset behind them, no later hook
    /// takes them either.
    ///
    /// # Errors
    /// `Other` if it is not known what was said while capture was paused: the offset must stay before the turns. Otherwise
    /// any error of writing the deferred-capture files.
    fn hand_over(&mut self, turns: &[TranscriptTurn]) -> io::Result<()> {
        if !turns.is_empty() {
            self.gate.check()?;
        }
        let is_taken = |turn: &&TranscriptTurn| !self.is_ignored && !self.gate.leaves_out(turn);
        let taken: Vec<TranscriptTurn> = turns.iter().filter(is_taken).cloned().collect();
        let turns = taken.as_slice();
        if turns.is_empty() {
            return Ok(());
        }
        if !self.is_down
            && let Err(error) = self.send(turns)
        {
            self.log.say(format_args!("{error}; the turns are kept in {}", FOLDER));
            self.is_down = true;
        }
        if self.is_down {
            let private = spool::write(self.store, turns, &mut self.projects, Timestamp::now())?;
            self.say_skipped(private);
        }
        if let Err(error) = LastCapture::note(self.store, turns, Timestamp::now(), self.is_down) {
            self.log.say(format_args!("{CAPTURE_STATE_DIR}: {error}"));
        }
        Ok(())
    }

    fn say_skipped(&self, private: u64) {
        if private > 0 {
            self.log.say(format_args!("skipped {}: not stored", counted(private, "private turn", "private turns")));
        }
    }

    fn send(&mut self, turns: &[TranscriptTurn]) -> Result<(), String> {
        let mut rows = Vec::new();
        let mut private = 0;
        for turn in turns {
            private += u64::from(!records(&turn.text, &self.projects.metadata(turn), &mut rows));
        }
        self.say_skipped(private);
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            while count < rows.len().min(MAX_CALL_ROWS)
                && (count == 0 || bytes + rows[count].get().len() <= MAX_CALL_BYTES)
            {
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
            self.log.say(format_args!("the daemon refused turns: {refused}"));
        }
        Ok(())
    }

    /// Returns the turns of the next lines: about as much as fits one call, or all if the daemon is down.
    fn read(&mut self, source: &mut OpenTranscript) -> io::Result<Vec<TranscriptTurn>> {
        let (mut turns, mut bytes) = (Vec::new(), 0);
        while self.left > 0 && (self.is_down || bytes < MAX_CALL_BYTES) {
            let Some(line) = source.lines.next_raw()? else { break };
            // The assistant is still writing this line.
            if source.lines.is_cut_off {
                break;
            }
            let end = source.start + source.lines.bytes;
            self.left = self.left.saturating_sub(end - source.end);
            source.end = end;
            let TranscriptLine { turns: said, damage } = match line {
                RawLine::Bytes(bytes) => source.reader.read(&bytes),
                RawLine::TooLong => {
                    let damage = Some(format!("a line is longer than {MAX_LINE_BYTES} bytes"));
                    TranscriptLine { turns: Vec::new(), damage }
                }
            };
            bytes += said.iter().map(|turn| turn.text.len()).sum::<usize>();
            turns.extend(said);
            if let Some(what) = damage {
                self.log
                    .say(format_args!("skipped a part of the line that ends at byte {end} of the transcript: {what}"));
            }
        }
        Ok(turns)
    }

    /// Captures the messages in a hook's input. `cwd` is the project if they name none.
    ///
    /// # Errors
    /// Any error of writing deferred captures.
    pub(crate) fn messages(&mut self, input: &[u8], cwd: Option<&str>) -> io::Result<()> {
        let mut reader = TranscriptReader::new(None, cwd.map(str::to_owned));
        let mut turns = reader.read(input.trim_ascii()).turns;
        turns.extend(reader.finish());
        if let Some(what) = live_warning(ReadTally { user_turns: 1, assistant_turns: 1, ..reader.tally() }) {
            self.log.say(format_args!("the session's messages: {what}"));
        }
        self.hand_over(&turns)
    }

    fn offset_path(&self, session: &str) -> PathBuf {
        offset::path(self.store, session)
    }

    /// Returns the paths of the offsets that changed last, with their modification times.
    fn recent_offsets(&self) -> Vec<(PathBuf, SystemTime)> {
        let folder = self.store.join(CAPTURE_STATE_DIR);
        let is_ours = private_dir::exists(&folder).unwrap_or(false);
        let entries = is_ours.then(|| fs::read_dir(folder)).into_iter().flatten().flatten().flatten();
        let (mut offsets, mut processes) = (Vec::new(), Vec::new());
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(changed) = entry.metadata().and_then(|about| about.modified()) else { continue };
            if name.ends_with(offset::SUFFIX) {
                offsets.push((entry.path(), changed));
            } else if name.starts_with(process_session::PREFIX) && is_expired(changed) {
                processes.push(entry.path());
            }
        }
        // Processes that were killed.
        processes.iter().for_each(|path| drop(fs::remove_file(path)));
        sort::sort_by_key(&mut offsets, |(_, changed)| Reverse(*changed));
        // The newest are caught up on. Of the rest, the oldest is included too, so that expired offsets are removed over time.
        let oldest = offsets.pop();
        offsets.truncate(MAX_OTHER_SESSIONS);
        offsets.extend(oldest);
        offsets
    }
}

/// Returns the warning about a transcript that is still written. An answer may be missing because it is not there yet.
fn live_warning(tally: ReadTally) -> Option<String> {
    let unanswered = ReadTally { user_turns: 0, ..tally };
    if tally.assistant_turns == 0 { unanswered.warning() } else { tally.warning() }
}

fn is_expired(changed: SystemTime) -> bool {
    changed.elapsed().is_ok_and(|age| age > OFFSET_EXPIRY)
}

/// Calls a method and returns its result.
///
/// # Errors
/// The message of the [`ClientError`](crate::client::ClientError).
#[inline(never)]
pub(crate) fn call(client: &mut Client, method: &str, params: &Value) -> Result<Box<RawValue>, String> {
    client.call(method, params).map_err(|error| error.to_string())
}
