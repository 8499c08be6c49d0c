//! `iaid import`: stores the records of other programs or of another store.
//!
//! The format of each file is detected from its content (`import/format.rs`). A line that cannot be imported, a file
//! that cannot be read and a transcript of which something may have been missed are reported and the rest is imported; a failure of the daemon stops the command. Importing the
//! same input again changes nothing.

mod format;
mod reference;
mod walk;
mod zstd;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::lines::{LineReader, RawLine};
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::values::{counted, grouped, short_size};
use crate::client::{
    Client, ClientError, DeliveryGuarantee, FAILED, Pipeline, PipelineReply, RemoteError, WINDOW_BYTES,
};
use crate::transcript::{ReadTally, TranscriptReader};
use crate::wire::reply::code;

use self::format::{ImportFormat, LineRows};
use self::walk::{FileList, ImportFile};

const METHOD: &str = "store_import";

/// Size of a batch in bytes, after which it is sent. Half of what may be unanswered, so that one batch is prepared while
/// the daemon stores the other. Five times as much would take a quarter less time, and three times the daemon's memory.
const BATCH_BYTES: usize = WINDOW_BYTES / 2;

/// Size of a batch in rows, after which it is sent; the daemon accepts 1000 per call.
const BATCH_ROWS: usize = 500;

/// Longest line of a file. 64 MiB: a line of a transcript holds the images of a whole turn.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;

/// Lines after which a file of unknown format is skipped. Picked.
const UNKNOWN_LINES: u64 = 100;

/// Import records: an export, transcripts of Claude Code and Codex, a memory.jsonl
///
/// Records that exist already stay as they are, so importing twice changes nothing. In a folder, all files that end in
/// .jsonl, .ndjson or .jsonl.zst are read, and with Codex's folder of sessions those that it has archived.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Files or folders to import, such as ~/.claude/projects or ~/.codex/sessions; - is standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Outcome {
    new: u64,
    known: u64,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    row: usize,
    reason: String,
}

pub(crate) fn run(args: &ImportArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let mut tally = Tally::default();
    let mut sources = Vec::new();
    let mut total = Some(0);
    for path in &args.from {
        if path.as_os_str() == "-" {
            let bytes = console.input_bytes;
            total = total.zip(bytes).map(|(sum, bytes)| sum + bytes);
            sources.push(ImportFile { path: path.clone(), bytes: bytes.unwrap_or(0) });
            continue;
        }
        let FileList { files: found, failed } =
            walk::files(path).map_err(|error| CliError::File(path.clone(), error))?;
        for (folder, error) in failed {
            tally.unreadable(&folder, &error.to_string(), console);
        }
        total = total.map(|sum| sum + found.iter().map(|source| source.bytes).sum::<u64>());
        sources.extend(found);
    }
    let mut work = Importer {
        pipeline: client.pipeline(DeliveryGuarantee::AtLeastOnce),
        batch: Batch::default(),
        sent: VecDeque::new(),
        tally,
        progress: ProgressBar::new(total, Instant::now()),
        bytes_before: 0,
        bytes: 0,
    };
    let outcome = work.all(&sources, console);
    work.progress.clear(console);
    let said = match console.format {
        OutputFormat::Json => console.say(work.tally.as_json()),
        OutputFormat::Text => console.say(work.tally.in_words()),
    };
    outcome?;
    said.map_err(CliError::Output)?;
    match work.tally {
        Tally { refused: 0, unreadable: 0, .. } => Ok(()),
        Tally { refused: rows, unreadable: files, .. } => Err(CliError::PartialImport { rows, files }),
    }
}

/// Counts of files and rows by outcome.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    files: u64,
    unreadable: u64,
    new: u64,
    known: u64,
    refused: u64,
    /// Lines of transcripts of unknown kinds that have text.
    unknown_lines: u64,
    /// Transcripts with turns of the user or of the assistant only.
    one_sided: u64,
}

impl Tally {
    fn as_json(&self) -> serde_json::Value {
        let Tally { files, unreadable, new, known, refused, unknown_lines, one_sided } = self;
        let mut counts =
            json!({"files": files, "unreadable": unreadable, "new": new, "known": known, "refused": refused});
        for (key, count) in [("unknown_lines", *unknown_lines), ("one_sided", *one_sided)] {
            if count > 0 {
                counts[key] = count.into();
            }
        }
        counts
    }

    fn in_words(&self) -> String {
        let Tally { files, new, known, refused, unknown_lines, one_sided, .. } = self;
        let files = counted(*files, "file", "files");
        let mut words =
            format!("{files}: {} new, {} known, {} refused", grouped(*new), grouped(*known), grouped(*refused));
        if *unknown_lines > 0 {
            words += &format!(", {} of unknown kind with text", counted(*unknown_lines, "line", "lines"));
        }
        if *one_sided > 0 {
            words += &format!(", {} with one side of a conversation only", counted(*one_sided, "file", "files"));
        }
        words
    }

    fn unreadable(&mut self, path: &Path, what: &str, console: &mut Console) {
        self.unreadable += 1;
        let path = name(path);
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{path}: {what}")),
            OutputFormat::Json => console.warn(json!({"file": path, "error": {"code": FAILED, "message": what}})),
        }
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    if path.as_os_str() == "-" { "standard input".into() } else { path.to_string_lossy() }
}

/// The file and line of a row.
#[derive(Clone, Debug)]
struct RowOrigin {
    path: Rc<Path>,
    line: u64,
}

/// Rows that are sent in one call.
#[derive(Default)]
struct Batch {
    rows: Vec<Box<RawValue>>,
    origins: Vec<RowOrigin>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.rows.len() >= BATCH_ROWS
    }
}

struct Importer<'a> {
    pipeline: Pipeline<'a>,
    batch: Batch,
    /// Origins of the unanswered batches, oldest first.
    sent: VecDeque<Vec<RowOrigin>>,
    tally: Tally,
    progress: ProgressBar,
    /// Bytes of the files already read.
    bytes_before: u64,
    /// Bytes read of the current file.
    bytes: u64,
}

impl Importer<'_> {
    fn all(&mut self, sources: &[ImportFile], console: &mut Console) -> Result<(), CliError> {
        for source in sources {
            let input: Box<dyn Read> = if source.path.as_os_str() == "-" {
                mem::replace(&mut console.input, Box::new(io::empty()))
            } else {
                match File::open(&source.path).and_then(|file| zstd::decompressed(Box::new(file))) {
                    Ok(input) => input,
                    Err(error) => {
                        self.unreadable(&source.path, &error.to_string(), console);
                        continue;
                    }
                }
            };
            self.file(source.path.as_path().into(), LineReader::new(input, MAX_LINE_BYTES), console)?;
            self.bytes_before += mem::take(&mut self.bytes);
        }
        self.send(console)?;
        let finished = self.pipeline.finish();
        self.collect(console)?;
        finished.map_err(|error| self.stopped(error))
    }

    fn file(&mut self, path: Rc<Path>, mut lines: LineReader, console: &mut Console) -> Result<(), CliError> {
        let (mut format, mut unknown, mut reader) = (None, 0, TranscriptReader::default());
        loop {
            let line = match lines.next_raw() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.unreadable(&path, &error.to_string(), console);
                    break;
                }
            };
            self.bytes = lines.bytes;
            let stored = self.tally.new + self.tally.known;
            self.progress.show(self.bytes_before + self.bytes, stored, Instant::now(), console);
            let bytes = match &line {
                // A byte order mark is not part of the text.
                RawLine::Bytes(bytes) if lines.number == 1 => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
                RawLine::Bytes(bytes) => bytes,
                RawLine::TooLong => b"",
            }
            .trim_ascii();
            if bytes.is_empty() && line != RawLine::TooLong {
                continue;
            }
            format = format.or_else(|| ImportFormat::of_bytes(bytes));
            let Some(format) = format else {
                unknown += 1;
                if unknown >= UNKNOWN_LINES {
                    break;
                }
                continue;
            };
            let origin = RowOrigin { path: path.clone(), line: lines.number };
            let LineRows { rows, damage } = match line {
                RawLine::Bytes(_) => format.rows(bytes, &mut reader),
                RawLine::TooLong => {
                    let damage = Some(format!("longer than {} bytes", short_size(MAX_LINE_BYTES)));
                    LineRows { rows: Vec::new(), damage }
                }
            };
            self.add(rows, &origin, console)?;
            // The assistant is still writing the last line.
            let is_unfinished = format == ImportFormat::Transcript && lines.is_cut_off;
            if let Some(what) = damage.filter(|_| !is_unfinished) {
                self.refuse(&origin, &what, console);
            }
        }
        let origin = RowOrigin { path, line: lines.number };
        self.add(format::turn_rows(&reader.finish()), &origin, console)?;
        self.file_ended(origin.path, format.is_some(), unknown, reader.tally(), console);
        Ok(())
    }

    /// Counts a file, and reports what was not taken from it.
    fn file_ended(&mut self, path: Rc<Path>, is_known: bool, unknown: u64, tally: ReadTally, console: &mut Console) {
        match (is_known, unknown) {
            (false, 1..) => {
                let what = "unknown format; known are iaid export, Claude Code, Codex and the reference \
                            memory server";
                return self.unreadable(&path, what, console);
            }
            (_, 1..) => {
                let what = format!("{} before the format of this file was detected", counted(unknown, "line", "lines"));
                self.tally.refused += unknown - 1;
                self.refuse(&RowOrigin { path: path.clone(), line: 1 }, &what, console);
            }
            _ => {}
        }
        self.tally.files += 1;
        self.tally.unknown_lines += tally.unknown_lines;
        self.tally.one_sided += u64::from(tally.is_one_sided());
        if let Some(what) = tally.warning() {
            self.progress.clear(console);
            match console.format {
                OutputFormat::Text => console.warn(format_args!("{}: {what}", name(&path))),
                OutputFormat::Json => console.warn(json!({"file": name(&path), "warning": what})),
            }
        }
    }

    fn add(&mut self, rows: Vec<Box<RawValue>>, origin: &RowOrigin, console: &mut Console) -> Result<(), CliError> {
        for row in rows {
            let bytes = row.get().len();
            if !self.batch.rows.is_empty() && self.batch.bytes + bytes > BATCH_BYTES {
                self.send(console)?;
            }
            self.batch.bytes += bytes;
            self.batch.rows.push(row);
            self.batch.origins.push(origin.clone());
            if self.batch.is_full() {
                self.send(console)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, console: &mut Console) -> Result<(), CliError> {
        let Batch { rows, origins, .. } = mem::take(&mut self.batch);
        if rows.is_empty() {
            return Ok(());
        }
        self.sent.push_back(origins);
        let outcome = self.pipeline.send(0, METHOD, &json!({ "rows": rows }));
        self.collect(console)?;
        outcome.map_err(|error| self.stopped(error))
    }

    /// Counts the replies received so far.
    fn collect(&mut self, console: &mut Console) -> Result<(), CliError> {
        while let Some(PipelineReply { outcome, .. }) = self.pipeline.take_reply() {
            match outcome {
                Ok(result) => {
                    let outcome: Outcome =
                        serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
                    let origins = self.sent.pop_front().unwrap_or_default();
                    self.tally.new += outcome.new;
                    self.tally.known += outcome.known;
                    for Refused { row, reason } in outcome.refused {
                        if let Some(origin) = origins.get(row) {
                            self.refuse(origin, &reason, console);
                        }
                    }
                }
                // A row is longer than the daemon's longest line.
                Err(RemoteError { code: code::INVALID_REQUEST, message }) => {
                    for origin in self.sent.pop_front().unwrap_or_default() {
                        self.refuse(&origin, &message, console);
                    }
                }
                // A full disk or a stopping daemon would fail every further batch as well.
                Err(RemoteError { code, message }) => return Err(self.stopped(ClientError::Refused { code, message })),
            }
        }
        Ok(())
    }

    /// Returns the error that stops the import, with the first unanswered row.
    fn stopped(&self, error: ClientError) -> CliError {
        match self.sent.front().and_then(|origins| origins.first()) {
            Some(RowOrigin { path, line }) => CliError::ImportStopped(name(path).into(), *line, error),
            None => CliError::Client(error),
        }
    }

    fn refuse(&mut self, origin: &RowOrigin, what: &str, console: &mut Console) {
        self.tally.refused += 1;
        self.progress.clear(console);
        let (path, line) = (name(&origin.path), origin.line);
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{path}, line {line}: {what}")),
            OutputFormat::Json => {
                console.warn(json!({"file": path, "line": line, "error": {"code": FAILED, "message": what}}));
            }
        }
    }

    fn unreadable(&mut self, path: &Path, what: &str, console: &mut Console) {
        self.progress.clear(console);
        self.tally.unreadable(path, what, console);
    }
}
