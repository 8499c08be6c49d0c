//! `iaid import`: stores the records of other programs or of another store.
//!
//! The format of each file is detected from its content (`import/format.rs`). A line that cannot be imported and a file
//! that cannot be read are reported and the rest is imported; a failure of the daemon stops the command. Importing the
//! same input again changes nothing.

mod format;
mod reference;
mod walk;

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
use crate::cli::support::lines::{InputLine, LineReader};
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::values::{counted, grouped, short_size};
use crate::client::{
    Client, ClientError, DeliveryGuarantee, FAILED, Pipeline, PipelineReply, RemoteError, WINDOW_BYTES,
};
use crate::transcript::TranscriptReader;
use crate::wire::reply::code;

use self::format::ImportFormat;
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
/// .jsonl or .ndjson are read.
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
}

impl Tally {
    fn as_json(&self) -> serde_json::Value {
        let Tally { files, unreadable, new, known, refused } = self;
        json!({"files": files, "unreadable": unreadable, "new": new, "known": known, "refused": refused})
    }

    fn in_words(&self) -> String {
        let Tally { files, new, known, refused, .. } = self;
        let files = counted(*files, "file", "files");
        format!("{files}: {} new, {} known, {} refused", grouped(*new), grouped(*known), grouped(*refused))
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
                match File::open(&source.path) {
                    Ok(file) => Box::new(file),
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
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.unreadable(&path, &error.to_string(), console);
                    return Ok(());
                }
            };
            self.bytes = lines.bytes;
            self.progress.show(
                self.bytes_before + self.bytes,
                self.tally.new + self.tally.known,
                Instant::now(),
                console,
            );
            let text = match &line {
                // A byte order mark is not part of the text.
                InputLine::Text(text) if lines.number == 1 => text.trim_start_matches('\u{feff}').trim(),
                InputLine::Text(text) => text.trim(),
                InputLine::TooLong | InputLine::NotUtf8 => "",
            };
            if text.is_empty() && matches!(line, InputLine::Text(_)) {
                continue;
            }
            format = format.or_else(|| ImportFormat::of(text));
            let Some(format) = format else {
                unknown += 1;
                if unknown >= UNKNOWN_LINES || !matches!(line, InputLine::Text(_)) {
                    break;
                }
                continue;
            };
            let origin = RowOrigin { path: path.clone(), line: lines.number };
            let rows = match line {
                InputLine::Text(_) => format.rows(text, &mut reader),
                InputLine::TooLong => Err(format!("longer than {} bytes", short_size(MAX_LINE_BYTES))),
                InputLine::NotUtf8 => Err("not UTF-8".into()),
            };
            match rows {
                Ok(rows) => self.add(rows, &origin, console)?,
                // The assistant is still writing this line.
                Err(_) if format == ImportFormat::Transcript && lines.is_cut_off => {}
                Err(what) => self.refuse(&origin, &what, console),
            }
        }
        match (format, unknown) {
            (None, 1..) => {
                let what = "unknown format; known are iaid export, Claude Code, Codex and the reference \
                            memory server";
                self.unreadable(&path, what, console);
            }
            (_, 1..) => {
                self.tally.files += 1;
                let what = format!("{} before the format of this file was detected", counted(unknown, "line", "lines"));
                self.tally.refused += unknown - 1;
                self.refuse(&RowOrigin { path, line: 1 }, &what, console);
            }
            _ => self.tally.files += 1,
        }
        Ok(())
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
