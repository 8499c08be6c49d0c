//! A step of the cycle: the links' figures are taken, and what sessions start with is rendered for
//! each project that was asked for.
//!
//! Its cursor counts what is done: the figures, no project's point of view, then each project's.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepCounts, StepOutcome};
use crate::memory::graph::metrics;
use crate::memory::session::briefing;

/// One chunk.
///
/// # Errors
/// The database's.
pub(crate) fn chunk(connection: &Connection, cursor: i64, deadline: Instant) -> Result<StepOutcome, CallError> {
    let mut rendered = 0;
    let mut at = cursor;
    if at == 0 {
        metrics::measure(connection)?;
        at = 1;
    }
    let projects = briefing::projects(connection)?;
    loop {
        let Some(project) = usize::try_from(at - 1).ok().and_then(|at| projects.get(at)) else {
            return Ok(StepOutcome {
                cursor: None,
                progress: Progress::Done,
                counts: StepCounts::from([("rendered", rendered)]),
                told: Vec::new(),
            });
        };
        if Instant::now() >= deadline {
            let counts = StepCounts::from([("rendered", rendered)]);
            return Ok(StepOutcome { cursor: Some(at), progress: Progress::More, counts, told: Vec::new() });
        }
        if briefing::cached(connection, project)?.is_none() {
            briefing::keep(connection, project)?;
            rendered += 1;
        }
        at += 1;
    }
}
