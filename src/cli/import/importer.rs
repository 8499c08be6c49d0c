//! Sends the rows of an import in batches, and reports those that are refused.

use std::collections::VecDeque;
use std::mem;
use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::tally::{Tally, name};
use crate::cli::support::capture_gate::CaptureGate;
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::project_finder::ProjectFinder;
use crate::client::{ClientError, FAILED, Pipeline, PipelineReply, RemoteError, WINDOW_BYTES};
use crate::wire::reply::code;

const METHOD: &str = "store_import";

/// Size of a batch in bytes, after which it is sent. Half of what may be unanswered, so that one batch is prepared while
/// the daemon stores the other. Five times as much would take a quarter less time, and three times the daemon's memory.
const BATCH_BYTES: usize = WINDOW_BYTES / 2;

/// Size of a batch in rows, after which it is sent; the daemon accepts 1000 per call.
const BATCH_ROWS: usize = 500;

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

/// The file and line of a row, or the socket and the number of its record.
#[derive(Clone, Debug)]
pub(crate) struct RowOrigin {
    pub(crate) path: Rc<Path>,
    pub(crate) line: u64,
}

/// Rows that are sent in one call.
#[derive(Default)]
pub(crate) struct RowBatch {
    rows: Vec<Box<RawValue>>,
    origins: Vec<RowOrigin>,
    bytes: usize,
}

impl RowBatch {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.rows.len() >= BATCH_ROWS
    }
}

/// An import in progress.
pub(crate) struct Importer<'a> {
    pub(crate) pipeline: Pipeline<'a>,
    pub(crate) batch: RowBatch,
    /// The projects of the folders that turns name.
    pub(crate) projects: ProjectFinder,
    /// Origins of the unanswered batches, oldest first.
    pub(crate) sent: VecDeque<Vec<RowOrigin>>,
    pub(crate) tally: Tally,
    pub(crate) progress: ProgressBar,
    /// Bytes of the files already read.
    pub(crate) bytes_before: u64,
    /// Bytes read of the current file.
    pub(crate) bytes: u64,
    /// What [`RowOrigin::line`] counts.
    pub(crate) unit: &'static str,
    /// Which turns are left out.
    pub(crate) gate: CaptureGate,
}

impl Importer<'_> {
    /// Sends what is left, and waits for all replies.
    pub(crate) fn finish(&mut self, console: &mut Console) -> Result<(), CliError> {
        self.send(console)?;
        let finished = self.pipeline.finish();
        self.collect(console)?;
        finished.map_err(|error| self.stopped(error))
    }

    pub(crate) fn add(
        &mut self,
        rows: Vec<Box<RawValue>>,
        origin: &RowOrigin,
        console: &mut Console,
    ) -> Result<(), CliError> {
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
        let RowBatch { rows, origins, .. } = mem::take(&mut self.batch);
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

    pub(crate) fn refuse(&mut self, origin: &RowOrigin, what: &str, console: &mut Console) {
        self.tally.refused += 1;
        self.progress.clear(console);
        let (path, line, unit) = (name(&origin.path), origin.line, self.unit);
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{path}, {unit} {line}: {what}")),
            OutputFormat::Json => {
                console.warn(json!({"file": path, unit: line, "error": {"code": FAILED, "message": what}}));
            }
        }
    }

    pub(crate) fn unreadable(&mut self, path: &Path, what: &str, console: &mut Console) {
        self.progress.clear(console);
        self.tally.unreadable(path, what, console);
    }

    pub(crate) fn warn(&mut self, path: &Path, what: &str, console: &mut Console) {
        self.progress.clear(console);
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{}: {what}", name(path))),
            OutputFormat::Json => console.warn(json!({"file": name(path), "warning": what})),
        }
    }
}
