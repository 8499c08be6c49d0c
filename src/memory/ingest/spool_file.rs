//! A file of deferred captures, from where it is taken in to: its lines, and how that place is kept in the
//! store.
//!
//! It says what a line is, and inserts nothing.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::dispatch::{CallError, Params};
use crate::memory::ingest::capture_params::{self, CaptureDefaults, ParsedCapture};
use crate::memory::ingest::spool::{self, PendingFile, VERSION};
use crate::memory::model::record::{PROJECT_BYTES, SESSION_BYTES, digest};
use crate::memory::model::time::{DateBound, UnixMicros};

/// Longest line. 4 MiB, picked: a turn of a thousand pages, and a quarter of what the daemon may need.
const LINE_BYTES: u64 = 4 << 20;

/// Bytes at a file's beginning, and before the place that it is taken in to, by which it is known again.
const MARK_BYTES: u64 = 4096;

/// A last line without its end is all there will be once nobody has written to its file for this long.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);

/// Characters of a reason that is kept.
const REASON_CHARS: usize = 300;

/// How far a file is taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilePosition {
    /// Bytes that are taken.
    position: u64,
    pub(crate) state: FileState,
}

/// What else is to be remembered of a file between two batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FileState {
    /// What its first line said, or its name.
    session: String,
    project: String,
    ts: i64,
    /// Lines before the position.
    lines: u64,
    /// The position is inside a line that is too long.
    is_inside: bool,
    /// Parts of the line at the position that are taken.
    pub(crate) part: usize,
    pub(crate) counts: LineCounts,
    /// The first line that was refused, and why.
    first_refused: String,
}

/// What became of a file's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineCounts {
    /// Texts that were new.
    pub(crate) inserted: u64,
    /// Texts that were there already.
    pub(crate) reinforced: u64,
    /// Texts that are too short to be kept.
    pub(crate) skipped: u64,
    /// Lines that are no captures.
    pub(crate) refused: u64,
}

/// A file that is being read.
pub(crate) struct SpoolReader<'f> {
    input: BufReader<&'f File>,
    file: &'f File,
    now: UnixMicros,
    pub(crate) place: FilePosition,
}

/// What a file's first line says.
pub(crate) enum HeaderRead {
    /// Captures come, from here on.
    Captures,
    /// Nothing is in it.
    Nothing,
    /// It is still being written.
    Unfinished,
    /// It is of a newer version.
    Newer,
    /// It is no such file.
    Bad(String),
}

/// A file's next line.
pub(crate) enum LineRead {
    /// There is none.
    End,
    /// It has no end, and may still get one.
    Unfinished,
    /// It, and its end.
    Whole(Vec<u8>),
    /// A piece of one that is too long, which is passed over.
    Passed,
}

impl FilePosition {
    /// A whole line was taken.
    pub(crate) fn took(&mut self, line: &[u8]) {
        self.position += line.len() as u64;
        self.state.lines += 1;
        self.state.part = 0;
    }

    /// The line at the position is no capture.
    pub(crate) fn refuse(&mut self, reason: &str) {
        if self.state.counts.refused == 0 {
            let reason: String = reason.chars().take(REASON_CHARS).collect();
            self.state.first_refused = format!("line {}: {reason}", self.state.lines + 1);
        }
        self.state.counts.refused += 1;
    }

    /// Why the file is to be kept though all of it was looked at, if it is.
    pub(crate) fn complaint(&self) -> Option<String> {
        let FileState { counts, first_refused, .. } = &self.state;
        match counts.refused {
            0 => None,
            1 => Some(format!("a line is no capture: {first_refused}")),
            more => Some(format!("{more} lines are no captures, the first: {first_refused}")),
        }
    }

    /// Is anything to be remembered?
    pub(crate) fn is_begun(&self) -> bool {
        self.position > 0 || self.state.part > 0
    }
}

impl LineCounts {
    /// What came since `before`.
    pub(crate) fn since(self, before: LineCounts) -> LineCounts {
        LineCounts {
            inserted: self.inserted - before.inserted,
            reinforced: self.reinforced - before.reinforced,
            skipped: self.skipped - before.skipped,
            refused: self.refused - before.refused,
        }
    }
}

impl<'f> SpoolReader<'f> {
    /// From the beginning.
    pub(crate) fn new(file: &'f File, now: UnixMicros) -> SpoolReader<'f> {
        SpoolReader { input: BufReader::with_capacity(64 << 10, file), file, now, place: FilePosition::default() }
    }

    /// Goes on from a place that it was taken in to.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn resume(&mut self, place: FilePosition) -> io::Result<()> {
        self.input.seek(SeekFrom::Start(place.position))?;
        self.place = place;
        Ok(())
    }

    /// Reads the first line. A file whose first line is a capture has none that says more than its name.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn begin(&mut self, about: &PendingFile) -> io::Result<HeaderRead> {
        let line = match self.line()? {
            LineRead::End => return Ok(HeaderRead::Nothing),
            LineRead::Unfinished => return Ok(HeaderRead::Unfinished),
            LineRead::Passed => {
                return Ok(HeaderRead::Bad(format!("its first line is longer than {LINE_BYTES} bytes")));
            }
            LineRead::Whole(line) => line,
        };
        let header = match header(&line) {
            Ok(header) => header,
            Err(reason) => {
                return Ok(HeaderRead::Bad(format!("its first line is not that of deferred captures: {reason}")));
            }
        };
        if header.version > VERSION {
            return Ok(HeaderRead::Newer);
        }
        let written = about.written.min(self.now);
        let state = &mut self.place.state;
        state.session = header.session.unwrap_or_else(|| about.name.session().to_owned());
        state.project = header.project.unwrap_or_default();
        state.ts = header.ts.filter(|ts| ts.is_plausible()).unwrap_or(written).0;
        if state.session.len() > SESSION_BYTES || state.project.len() > PROJECT_BYTES {
            let limits = format!("{SESSION_BYTES} bytes, or its folder more than {PROJECT_BYTES}");
            return Ok(HeaderRead::Bad(format!("its session has more than {limits}")));
        }
        match header.kind {
            Kind::Header => self.place.took(&line),
            Kind::Capture => self.resume(self.place.clone())?,
        }
        Ok(HeaderRead::Captures)
    }

    /// The next line; what is passed over is counted at once.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn line(&mut self) -> io::Result<LineRead> {
        let mut line = Vec::new();
        (&mut self.input).take(LINE_BYTES + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            self.place.state.is_inside = false;
            return Ok(LineRead::End);
        }
        let has_end = line.last() == Some(&b'\n');
        let is_too_long = !has_end && line.len() as u64 > LINE_BYTES;
        if !self.place.state.is_inside {
            if !has_end && !is_too_long && self.abandoned_at()? > self.now {
                return Ok(LineRead::Unfinished);
            }
            if !is_too_long {
                return Ok(LineRead::Whole(line));
            }
            self.place.refuse(&format!("it is longer than {LINE_BYTES} bytes"));
            self.place.state.lines += 1;
        }
        self.place.state.is_inside = !has_end;
        self.place.position += line.len() as u64;
        Ok(LineRead::Passed)
    }

    /// When the file was written to last. A time to come, as after a clock was set back, is long ago.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn written_until(&self) -> io::Result<UnixMicros> {
        let written = spool::written(&self.file.metadata()?);
        Ok(if written > self.now { UnixMicros(0) } else { written })
    }

    /// When a last line without its end is all there will be.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn abandoned_at(&self) -> io::Result<UnixMicros> {
        Ok(self.written_until()? + ABANDONED_AFTER)
    }

    /// What a line says; `None` where it is blank.
    ///
    /// # Errors
    /// Why it is no capture.
    pub(crate) fn said(&self, line: &[u8]) -> Result<Option<ParsedCapture>, String> {
        let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8")?.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let FileState { session, project, ts, .. } = &self.place.state;
        let about = CaptureDefaults { session, project, ts: UnixMicros(*ts) };
        capture_params::said(&params(line)?, &about).map(Some).map_err(|error| error.message)
    }
}

/// What a file's first line is.
enum Kind {
    Header,
    Capture,
}

struct Header {
    kind: Kind,
    version: u64,
    session: Option<String>,
    project: Option<String>,
    ts: Option<UnixMicros>,
}

fn header(line: &[u8]) -> Result<Header, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8")?.trim();
    let params = params(line)?;
    if params.raw("version").is_none() && params.raw("text").is_some() {
        return Ok(Header { kind: Kind::Capture, version: VERSION, session: None, project: None, ts: None });
    }
    read_header(&params).map_err(|error| error.message)
}

fn read_header(params: &Params<'_>) -> Result<Header, CallError> {
    let string = |name| -> Result<Option<String>, CallError> {
        Ok(params.string_opt(name)?.filter(|text| !text.is_empty()).map(Cow::into_owned))
    };
    let version = params.integer_opt("version", 1..=i64::MAX)?.ok_or_else(|| CallError::missing("version"))?;
    let project = match string("project")? {
        Some(project) => Some(project),
        None => string("cwd")?,
    };
    let ts = string("deferred_at")?.and_then(|text| UnixMicros::parse(&text, DateBound::Start));
    Ok(Header { kind: Kind::Header, version: version.unsigned_abs(), session: string("session_id")?, project, ts })
}

fn params(line: &str) -> Result<Params<'_>, String> {
    if !line.starts_with('{') {
        return Err("it is no JSON object".into());
    }
    Params::read(Some(line)).map_err(|error| format!("it is no JSON object: {}", error.message))
}

/// How far a file of this name is taken in, if it is still the same one.
///
/// # Errors
/// The database's. A file that cannot be read is another one.
pub(crate) fn load(connection: &Connection, name: &str, file: &File) -> Result<Option<FilePosition>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT position, mark, state FROM spool WHERE name = ?1")?;
    let row = read
        .query_row([name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, String>(2)?)))
        .optional()?;
    Ok(row.and_then(|(position, known, state)| {
        let position = position.unsigned_abs();
        let is_same = mark(file, position).is_ok_and(|mark| mark == known);
        let state = serde_json::from_str(&state).ok()?;
        is_same.then_some(FilePosition { position, state })
    }))
}

/// Remembers how far a file is taken in.
///
/// # Errors
/// The database's, or the system's in words.
pub(crate) fn save(
    connection: &Connection,
    name: &str,
    file: &File,
    place: &FilePosition,
) -> Result<io::Result<()>, rusqlite::Error> {
    let mark = match mark(file, place.position) {
        Ok(mark) => mark,
        Err(error) => return Ok(Err(error)),
    };
    let state =
        serde_json::to_string(&place.state).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let sql = "INSERT INTO spool (name, position, mark, state) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (name) DO UPDATE SET position = excluded.position, mark = excluded.mark, state = excluded.state";
    connection.prepare_cached(sql)?.execute((name, place.position.cast_signed(), mark, state))?;
    Ok(Ok(()))
}

/// Remembers that a file stays, and why.
///
/// # Errors
/// The database's.
pub(crate) fn give_up(connection: &Connection, name: &str, reason: &str) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO spool (name, position, mark, state, given_up) VALUES (?1, 0, zeroblob(16), '{}', ?2)
               ON CONFLICT (name) DO UPDATE SET given_up = excluded.given_up";
    connection.prepare_cached(sql)?.execute((name, reason))?;
    Ok(())
}

/// Why a file of this name stays, if it was given up on.
///
/// # Errors
/// The database's.
pub(crate) fn given_up(connection: &Connection, name: &str) -> Result<Option<String>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT given_up FROM spool WHERE name = ?1")?;
    Ok(read.query_row([name], |row| row.get(0)).optional()?.flatten())
}

/// Drops what is remembered of a file.
///
/// # Errors
/// The database's.
pub(crate) fn forget(connection: &Connection, name: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM spool WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// By what a file is known again that was taken in to `position`.
fn mark(file: &File, position: u64) -> io::Result<[u8; 16]> {
    let length = position.min(MARK_BYTES);
    let mut bytes = vec![0; 2 * length as usize];
    let (first, last) = bytes.split_at_mut(length as usize);
    file.read_exact_at(first, 0)?;
    file.read_exact_at(last, position - length)?;
    Ok(digest(&bytes).to_be_bytes())
}
