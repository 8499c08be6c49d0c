//! Reads a spool file line by line from a position on, and stores that position. It inserts no records.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::dispatch::{CallError, Params};
use crate::memory::ingest::capture_params::{self, CaptureDefaults, ParsedCapture};
use crate::memory::ingest::masked_text;
use crate::memory::ingest::spool::{self, PendingFile, VERSION};
use crate::memory::ingest::turn::TurnKey;
use crate::memory::model::record::{PROJECT_BYTES, SESSION_BYTES, digest};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::store::masked::MaskedFrom;

/// Length of the longest line. 4 MiB, picked: a turn of a thousand pages, and a quarter of the daemon's memory budget.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// Bytes at a file's beginning, and as many before its position, whose digest identifies the file.
const FINGERPRINT_BYTES: u64 = 4096;

/// A last line without a line feed is complete once the file has not been written to for this long.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);

/// Characters of a reason that are stored.
const REASON_CHARS: usize = 300;

/// Up to where a file is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilePosition {
    /// Offset of the first byte that is not stored.
    offset: u64,
    pub(crate) state: FileState,
}

/// What is stored of a file between two batches, besides its position. The names of the fields are stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FileState {
    /// The defaults of the header, or of the file's name and time.
    session: String,
    project: String,
    ts: i64,
    /// Number of lines before the position.
    lines: u64,
    /// The position is inside a line that is too long.
    is_inside: bool,
    /// Parts of the line at the position that are stored.
    pub(crate) part: usize,
    pub(crate) counts: LineCounts,
    /// The number and the error of the first line that was refused.
    first_refused: String,
}

/// The outcomes of a file's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineCounts {
    /// Texts that were new.
    pub(crate) inserted: u64,
    /// Texts that the store had.
    pub(crate) reinforced: u64,
    /// Texts that are white space alone.
    pub(crate) skipped: u64,
    /// Lines that are not captures.
    pub(crate) refused: u64,
    /// Lines that are encrypted.
    pub(crate) sealed: u64,
}

/// Reads a file from a position on.
pub(crate) struct SpoolReader<'f> {
    input: BufReader<&'f File>,
    file: &'f File,
    now: UnixMicros,
    pub(crate) position: FilePosition,
}

/// The outcome of reading a file's header.
pub(crate) enum HeaderRead {
    /// The reader is at the first capture.
    Captures,
    /// The file is empty.
    Empty,
    /// The first line may still be in writing.
    Unfinished,
    /// The file is of a newer version.
    NewerVersion,
    /// The first line is encrypted.
    Sealed,
    /// The file is not a spool file.
    Invalid(String),
}

/// A capture of a file.
pub(crate) struct SpoolLine {
    pub(crate) capture: ParsedCapture,
    pub(crate) key: Option<TurnKey>,
    /// What was done to its text by the hook, or here.
    pub(crate) masked: Option<MaskedFrom>,
}

/// The outcome of reading a line.
pub(crate) enum LineRead {
    EndOfFile,
    /// The last line has no line feed, and may still be in writing.
    Unfinished,
    /// A line with its line feed, if it has one.
    Line(Vec<u8>),
    /// A part of a line that is too long. The reader is behind it.
    Skipped,
}

impl FilePosition {
    /// Moves behind a line that was processed.
    pub(crate) fn advance(&mut self, line: &[u8]) {
        self.offset += line.len() as u64;
        self.state.lines += 1;
        self.state.part = 0;
    }

    /// Counts the line at the position as refused.
    pub(crate) fn refuse(&mut self, reason: &str) {
        if self.state.counts.refused == 0 {
            let reason: String = reason.chars().take(REASON_CHARS).collect();
            self.state.first_refused = format!("line {}: {reason}", self.state.lines + 1);
        }
        self.state.counts.refused += 1;
    }

    /// Returns the reason for which the file must be kept; `None` if no line was refused.
    pub(crate) fn refusal(&self) -> Option<String> {
        let FileState { counts, first_refused, .. } = &self.state;
        match counts.refused {
            0 => None,
            1 => Some(format!("a line is no capture: {first_refused}")),
            more => Some(format!("{more} lines are no captures, the first: {first_refused}")),
        }
    }

    /// Returns true if anything of the file was processed.
    pub(crate) fn is_begun(&self) -> bool {
        self.offset > 0 || self.state.part > 0
    }
}

impl LineCounts {
    /// Returns the difference to an earlier count.
    pub(crate) fn since(self, before: LineCounts) -> LineCounts {
        LineCounts {
            inserted: self.inserted - before.inserted,
            reinforced: self.reinforced - before.reinforced,
            skipped: self.skipped - before.skipped,
            refused: self.refused - before.refused,
            sealed: self.sealed - before.sealed,
        }
    }
}

impl<'f> SpoolReader<'f> {
    /// Creates a reader at the beginning of the file.
    pub(crate) fn new(file: &'f File, now: UnixMicros) -> SpoolReader<'f> {
        SpoolReader { input: BufReader::with_capacity(64 << 10, file), file, now, position: FilePosition::default() }
    }

    /// Moves to a position.
    ///
    /// # Errors
    /// Any error of seeking.
    pub(crate) fn resume(&mut self, position: FilePosition) -> io::Result<()> {
        self.input.seek(SeekFrom::Start(position.offset))?;
        self.position = position;
        Ok(())
    }

    /// Reads the first line. A file whose first line is a capture has no header: its name gives the session.
    ///
    /// # Errors
    /// Any error of reading the file.
    pub(crate) fn read_header(&mut self, pending: &PendingFile) -> io::Result<HeaderRead> {
        let line = match self.next_line()? {
            LineRead::EndOfFile => return Ok(HeaderRead::Empty),
            LineRead::Unfinished => return Ok(HeaderRead::Unfinished),
            LineRead::Skipped => {
                return Ok(HeaderRead::Invalid(format!("its first line is longer than {MAX_LINE_BYTES} bytes")));
            }
            LineRead::Line(line) if is_sealed(&line) => return Ok(HeaderRead::Sealed),
            LineRead::Line(line) => line,
        };
        let header = match parse_header(&line) {
            Ok(header) => header,
            Err(reason) => {
                return Ok(HeaderRead::Invalid(format!("its first line is not that of deferred captures: {reason}")));
            }
        };
        if header.version > VERSION {
            return Ok(HeaderRead::NewerVersion);
        }
        let written = pending.written.min(self.now);
        let state = &mut self.position.state;
        state.session = header.session.unwrap_or_else(|| pending.name.session().to_owned());
        state.project = header.project.unwrap_or_default();
        state.ts = header.ts.filter(|ts| ts.is_plausible()).unwrap_or(written).0;
        if state.session.len() > SESSION_BYTES || state.project.len() > PROJECT_BYTES {
            let limits = format!("{SESSION_BYTES} bytes, or its folder more than {PROJECT_BYTES}");
            return Ok(HeaderRead::Invalid(format!("its session has more than {limits}")));
        }
        match header.first_line {
            FirstLine::Header => self.position.advance(&line),
            FirstLine::Capture => self.resume(self.position.clone())?,
        }
        Ok(HeaderRead::Captures)
    }

    /// Reads the next line. A line that is too long is refused and skipped in parts. The position is behind a line only
    /// after [`FilePosition::advance`].
    ///
    /// # Errors
    /// Any error of reading the file.
    pub(crate) fn next_line(&mut self) -> io::Result<LineRead> {
        let mut line = Vec::new();
        (&mut self.input).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            self.position.state.is_inside = false;
            return Ok(LineRead::EndOfFile);
        }
        let has_end = line.last() == Some(&b'\n');
        let is_too_long = !has_end && line.len() as u64 > MAX_LINE_BYTES;
        if !self.position.state.is_inside {
            if !has_end && !is_too_long && self.abandoned_at()? > self.now {
                return Ok(LineRead::Unfinished);
            }
            if !is_too_long {
                return Ok(LineRead::Line(line));
            }
            self.position.refuse(&format!("it is longer than {MAX_LINE_BYTES} bytes"));
            self.position.state.lines += 1;
        }
        self.position.state.is_inside = !has_end;
        self.position.offset += line.len() as u64;
        Ok(LineRead::Skipped)
    }

    /// Moves behind the lines that begin before the last `bytes` of the file.
    ///
    /// # Errors
    /// Any error of reading the file.
    pub(crate) fn skip_to_tail(&mut self, bytes: u64) -> io::Result<()> {
        let tail = self.file.metadata()?.len().saturating_sub(bytes);
        if tail > self.position.offset {
            self.input.seek(SeekFrom::Start(tail))?;
            self.position.offset = tail + self.input.skip_until(b'\n')? as u64;
        }
        Ok(())
    }

    /// Returns when the file was last written to. A time in the future, as after the clock was set back, is replaced by
    /// 1970-01-01.
    ///
    /// # Errors
    /// Any error of reading the metadata.
    pub(crate) fn last_write(&self) -> io::Result<UnixMicros> {
        let written = spool::last_write(&self.file.metadata()?);
        Ok(if written > self.now { UnixMicros(0) } else { written })
    }

    /// Returns the time from which on a last line without a line feed is complete.
    ///
    /// # Errors
    /// Any error of reading the metadata.
    pub(crate) fn abandoned_at(&self) -> io::Result<UnixMicros> {
        Ok(self.last_write()? + ABANDONED_AFTER)
    }

    /// Parses a line, and masks its secrets unless the hook has; `None` if it is blank.
    ///
    /// # Errors
    /// The reason for which the line is not a capture.
    pub(crate) fn parse_line(&self, line: &[u8]) -> Result<Option<SpoolLine>, String> {
        let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8")?.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let FileState { session, project, ts, .. } = &self.position.state;
        let defaults = CaptureDefaults { session, project, ts: UnixMicros(*ts) };
        let params = parse_params(line)?;
        let key = TurnKey::parse(&params).map_err(|error| error.message)?;
        let mut capture = capture_params::parse_capture(&params, &defaults).map_err(|error| error.message)?;
        let mut masked = masked_text::parse(&params).map_err(|error| error.message)?;
        if let (ParsedCapture::Accepted(draft), None) = (&mut capture, &masked) {
            masked = masked_text::mask(draft);
            if draft.text.is_empty() {
                capture = ParsedCapture::TooShort;
            }
        }
        Ok(Some(SpoolLine { capture, key, masked }))
    }
}

/// Returns true if iai-mcp has encrypted the line.
pub(crate) fn is_sealed(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(spool::SEALED.as_bytes())
}

/// The kind of a file's first line.
enum FirstLine {
    Header,
    Capture,
}

struct SpoolHeader {
    first_line: FirstLine,
    version: u64,
    session: Option<String>,
    project: Option<String>,
    ts: Option<UnixMicros>,
}

fn parse_header(line: &[u8]) -> Result<SpoolHeader, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8")?.trim();
    let params = parse_params(line)?;
    if params.raw("version").is_none() && params.raw("text").is_some() {
        return Ok(SpoolHeader {
            first_line: FirstLine::Capture,
            version: VERSION,
            session: None,
            project: None,
            ts: None,
        });
    }
    header_of(&params).map_err(|error| error.message)
}

fn header_of(params: &Params<'_>) -> Result<SpoolHeader, CallError> {
    let string = |name| -> Result<Option<String>, CallError> {
        Ok(params.string_opt(name)?.filter(|text| !text.is_empty()).map(Cow::into_owned))
    };
    let version = params.integer_opt("version", 1..=i64::MAX)?.ok_or_else(|| CallError::missing("version"))?;
    let project = match string("project")? {
        Some(project) => Some(project),
        None => string("cwd")?,
    };
    let ts = string("deferred_at")?.and_then(|text| UnixMicros::parse(&text, DateBound::Start));
    Ok(SpoolHeader {
        first_line: FirstLine::Header,
        version: version.unsigned_abs(),
        session: string("session_id")?,
        project,
        ts,
    })
}

fn parse_params(line: &str) -> Result<Params<'_>, String> {
    if !line.starts_with('{') {
        return Err("it is no JSON object".into());
    }
    // The reason is logged, so it does not quote the file, as the message of a duplicate key would.
    Params::read(Some(line)).map_err(|_| "it is no JSON object, or has a key twice".into())
}

/// Returns the stored position of the file of this name; `None` if there is none, if another file has the name now, or if
/// the file cannot be read.
///
/// # Errors
/// Any error of SQLite.
pub(crate) fn load(connection: &Connection, name: &str, file: &File) -> Result<Option<FilePosition>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT position, mark, state FROM spool WHERE name = ?1")?;
    let row = read
        .query_row([name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, String>(2)?)))
        .optional()?;
    Ok(row.and_then(|(offset, known, state)| {
        let offset = offset.unsigned_abs();
        let is_same = fingerprint(file, offset).is_ok_and(|fingerprint| fingerprint == known);
        let state = serde_json::from_str(&state).ok()?;
        is_same.then_some(FilePosition { offset, state })
    }))
}

/// Stores a file's position.
///
/// # Errors
/// The outer error is any of SQLite, the inner one any of reading the file.
pub(crate) fn save(
    connection: &Connection,
    name: &str,
    file: &File,
    position: &FilePosition,
) -> Result<io::Result<()>, rusqlite::Error> {
    let fingerprint = match fingerprint(file, position.offset) {
        Ok(fingerprint) => fingerprint,
        Err(error) => return Ok(Err(error)),
    };
    let state = serde_json::to_string(&position.state)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let sql = "INSERT INTO spool (name, position, mark, state) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (name) DO UPDATE SET position = excluded.position, mark = excluded.mark, state = excluded.state";
    connection.prepare_cached(sql)?.execute((name, position.offset.cast_signed(), fingerprint, state))?;
    Ok(Ok(()))
}

/// Records that a file is given up on, with the reason.
///
/// # Errors
/// Any error of SQLite.
pub(crate) fn give_up(connection: &Connection, name: &str, reason: &str) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO spool (name, position, mark, state, given_up) VALUES (?1, 0, zeroblob(16), '{}', ?2)
               ON CONFLICT (name) DO UPDATE SET given_up = excluded.given_up";
    connection.prepare_cached(sql)?.execute((name, reason))?;
    Ok(())
}

/// Returns the reason for which the file of this name was given up on; `None` if it was not.
///
/// # Errors
/// Any error of SQLite.
pub(crate) fn given_up(connection: &Connection, name: &str) -> Result<Option<String>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT given_up FROM spool WHERE name = ?1")?;
    Ok(read.query_row([name], |row| row.get(0)).optional()?.flatten())
}

/// Drops what is stored of a file's reading.
///
/// # Errors
/// Any error of SQLite.
pub(crate) fn forget(connection: &Connection, name: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM spool WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// Returns the digest by which a file is recognized that was read up to `offset`.
fn fingerprint(file: &File, offset: u64) -> io::Result<[u8; 16]> {
    let length = offset.min(FINGERPRINT_BYTES);
    let mut bytes = vec![0; 2 * length as usize];
    let (first, last) = bytes.split_at_mut(length as usize);
    file.read_exact_at(first, 0)?;
    file.read_exact_at(last, offset - length)?;
    Ok(digest(&bytes).to_be_bytes())
}
