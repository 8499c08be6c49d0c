//! `iaid import`: stores the records of other programs or of another store.
//!
//! The format of each file is detected from its content (`import/format.rs`). A line that cannot be imported, a file that
//! cannot be read and a transcript of which something may have been missed are reported and the rest is imported; a
//! failure of the daemon stops the command. Importing the same input again changes nothing.

mod format;
mod importer;
mod peer;
mod reference;
mod slices;
mod tally;
pub(crate) mod walk;
pub(crate) mod zstd;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cli::support::capture_gate::{self, CaptureGate};
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::lines::{LineReader, RawLine};
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::project_finder::ProjectFinder;
use crate::cli::support::values::{counted, seconds, short_size};
use crate::client::{Client, DeliveryGuarantee};
use crate::transcript::{ReadTally, TranscriptReader};

use self::format::{ImportFormat, LineRows, SkippedTurns};
use self::importer::{Importer, RowBatch, RowOrigin};
use self::peer::PeerDaemon;
use self::tally::{Tally, name};
use self::walk::{FileList, ImportFile};

/// Longest line of a file. 64 MiB: a line of a transcript holds the images of a whole turn.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;

/// Lines after which a file of unknown format is skipped. Picked.
const UNKNOWN_LINES: u64 = 100;

/// Import records: an export, transcripts of assistants, a memory.jsonl, a daemon of iai-mcp 3
///
/// Records that exist already stay as they are, so importing twice changes nothing. In a folder, all files that end in
/// .jsonl, .ndjson or .jsonl.zst are read, opencode's database, and with Codex's folder of sessions those that it has
/// archived.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Files or folders to import, such as ~/.claude/projects or ~/.codex/sessions; - is standard input
    #[arg(required_unless_present = "from", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Import all records of the daemon of iai-mcp 3 that listens on this socket
    #[arg(long, value_name = "SOCKET", conflicts_with = "files")]
    from: Option<PathBuf>,
    /// Longest wait for a reply of that daemon, 0 to 3600, fractions allowed
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60", requires = "from")]
    timeout: Duration,
    /// Folder of the store, whose pauses and ignored folders count [default: $IAI_MCP_STORE, else that of the socket if
    /// it has a store, else ~/.iai-mcp]
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
}

pub(crate) fn run(args: &ImportArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let mut tally = Tally::default();
    let own = client.path().to_owned();
    let (sources, total) = sources(&args.files, &mut tally, console)?;
    let mut peer = args.from.as_deref().map(|socket| PeerDaemon::open(socket, &own, args.timeout)).transpose()?;
    let store = capture_gate::store_of(args.store.clone(), &own)?;
    let gate = CaptureGate::load(&store, Timestamp::now());
    for problem in &gate.problems {
        console.warn(problem);
    }
    let mut work = Importer {
        pipeline: client.pipeline(DeliveryGuarantee::AtLeastOnce),
        batch: RowBatch::default(),
        projects: ProjectFinder::new(),
        sent: VecDeque::new(),
        tally,
        progress: ProgressBar::new(total, Instant::now()),
        bytes_before: 0,
        bytes: 0,
        unit: if peer.is_some() { "record" } else { "line" },
        gate,
    };
    let outcome = match (&mut peer, &args.from) {
        (Some(peer), Some(socket)) => work.daemon(socket.as_path().into(), peer, console),
        _ => work.all(&sources, console),
    };
    work.progress.clear(console);
    let from = match &args.from {
        Some(socket) => name(socket).into_owned(),
        None => counted(work.tally.files, "file", "files"),
    };
    let said = match console.format {
        OutputFormat::Json => console.say(work.tally.as_json()),
        OutputFormat::Text => console.say(visible(&work.tally.in_words(&from), console.out_kind)),
    };
    outcome?;
    said.map_err(CliError::Output)?;
    match work.tally {
        Tally { refused: 0, unreadable: 0, .. } => Ok(()),
        Tally { refused: rows, unreadable: files, .. } => Err(CliError::PartialImport { rows, files }),
    }
}

/// Returns the files to import, and their size in bytes if it is known.
fn sources(
    paths: &[PathBuf],
    tally: &mut Tally,
    console: &mut Console,
) -> Result<(Vec<ImportFile>, Option<u64>), CliError> {
    let mut sources = Vec::new();
    let mut total = Some(0);
    for path in paths {
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
    Ok((sources, total))
}

/// Returns the rest of a file behind its first line, as far as a line may be long.
fn joined(first: &[u8], lines: &mut LineReader) -> Vec<u8> {
    let mut whole = first.to_vec();
    while let Ok(Some(RawLine::Bytes(line))) = lines.next_raw() {
        whole.push(b'\n');
        whole.extend_from_slice(&line);
        if whole.len() > MAX_LINE_BYTES {
            break;
        }
    }
    whole
}

impl Importer<'_> {
    fn all(&mut self, sources: &[ImportFile], console: &mut Console) -> Result<(), CliError> {
        for source in sources {
            let input: Box<dyn Read> = if source.path.as_os_str() == "-" {
                mem::replace(&mut console.input, Box::new(io::empty()))
            } else {
                match walk::open(&source.path).and_then(zstd::decompressed) {
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
        self.finish(console)
    }

    fn file(&mut self, path: Rc<Path>, mut lines: LineReader, console: &mut Console) -> Result<(), CliError> {
        let mut reader = TranscriptReader::new(None, walk::project_of(&path));
        let (mut format, mut unknown) = (None, 0);
        let mut whole;
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
            let mut bytes = bytes;
            if format.is_none() && bytes == b"{" {
                // A file with one object over many lines, such as an export of opencode.
                whole = joined(bytes, &mut lines);
                bytes = &whole;
            }
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
            let LineRows { rows, skipped, damage } = match line {
                RawLine::Bytes(_) => format.rows(bytes, &mut reader, &self.gate, &mut self.projects),
                RawLine::TooLong => {
                    let damage = Some(format!("longer than {} bytes", short_size(MAX_LINE_BYTES)));
                    LineRows { rows: Vec::new(), skipped: SkippedTurns::default(), damage }
                }
            };
            self.tally.skipped.add(skipped);
            self.add(rows, &origin, console)?;
            // The assistant is still writing the last line.
            let is_unfinished = format == ImportFormat::Transcript && lines.is_cut_off;
            if let Some(what) = damage.filter(|_| !is_unfinished) {
                self.refuse(&origin, &what, console);
            }
        }
        let origin = RowOrigin { path, line: lines.number };
        let (rows, skipped) = format::turn_rows(&reader.finish(), &self.gate, &mut self.projects);
        self.tally.skipped.add(skipped);
        self.add(rows, &origin, console)?;
        self.file_ended(origin.path, format.is_some(), unknown, reader.tally(), console);
        Ok(())
    }

    /// Counts a file, and reports what was not taken from it.
    fn file_ended(&mut self, path: Rc<Path>, is_known: bool, unknown: u64, tally: ReadTally, console: &mut Console) {
        match (is_known, unknown) {
            (false, 1..) => {
                let what = "unknown format; known are iaid export, the reference memory server, and the \
                            assistants that docs/assistants.md lists";
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
            self.warn(&path, &what, console);
        }
    }
}
