//! The step Precache: measures the link graph, and renders the session briefing of each project for which one was
//! requested.
//!
//! Its cursor counts what is done: first the metrics, then the briefing without a project, then that of each project.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::graph::metrics;
use crate::memory::session::briefing;

/// Runs one chunk.
///
/// # Errors
/// -32001 if the store cannot be read or written.
pub(crate) fn chunk(connection: &Connection, cursor: i64, deadline: Instant) -> Result<StepOutcome, CallError> {
    let mut rendered = 0;
    let mut at = cursor;
    if at == 0 {
        metrics::measure(connection)?;
        at = 1;
    }
    let readers = briefing::readers(connection)?;
    loop {
        let Some(reader) = usize::try_from(at - 1).ok().and_then(|at| readers.get(at)) else {
            return Ok(StepOutcome::new(None, Progress::Done, [("rendered", rendered)]));
        };
        if Instant::now() >= deadline {
            return Ok(StepOutcome::new(Some(at), Progress::More, [("rendered", rendered)]));
        }
        if briefing::cached(connection, reader)?.is_none() {
            briefing::cache(connection, reader)?;
            rendered += 1;
        }
        at += 1;
    }
}
