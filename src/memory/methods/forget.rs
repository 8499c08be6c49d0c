//! `memory_forget`: selects records and gives a token; with the token, forgets them (`forgetting/`).

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::{CallError, LateReply, Params, Reply};
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::chunks::run_chunks;
use crate::memory::consolidation::cycle;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::consolidation::step::Step;
use crate::memory::forgetting::pending::PendingSelections;
use crate::memory::forgetting::selection::{Confirmed, SelectionMark, Selector};
use crate::memory::forgetting::{job, run, set_aside};
use crate::memory::model::record::Role;
use crate::memory::model::time::UnixMicros;
use crate::memory::service::{Memory, Worker};
use crate::memory::store::{fulltext, records};
use crate::memory::text::excerpt::beginning;

/// Most records that a reply lists, the newest.
const LISTED_COUNT: usize = 100;

/// Characters of each.
const EXCERPT_CHARS: usize = 120;

/// Time for the selection of one call: that of a store of ten million records.
const SELECT_TIME: Duration = Duration::from_secs(20);

/// Answers `memory_forget`.
pub(crate) fn forget(memory: &Memory, worker: &mut Worker, params: &Params<'_>, reply: Reply<'_>) {
    match params.string_opt("token") {
        Ok(Some(token)) => confirm(memory, worker, params, &token, reply),
        Ok(None) => match read(memory, worker, params) {
            Ok((selector, true)) => reply.send(worker.read(|reader| {
                propose(
                    &memory.folder,
                    &memory.pending_selections,
                    reader.snapshot()?.connection(),
                    selector,
                    memory.now(),
                )
            })),
            Ok((selector, false)) => propose_when_indexed(memory, selector, reply.later()),
            Err(error) => reply.send::<()>(Err(error)),
        },
        Err(error) => reply.send::<()>(Err(error)),
    }
}

/// Returns what the params select, and whether the full-text index is as the selection needs it.
fn read(memory: &Memory, worker: &mut Worker, params: &Params<'_>) -> Result<(Selector, bool), CallError> {
    let selector = Selector::read(params)?;
    memory.forgetting().check_settled()?;
    let is_due =
        selector.needs_index() && worker.read(|reader| Ok(fulltext::is_due(reader.snapshot()?.connection())?))?;
    Ok((selector, !is_due))
}

/// Selects records by their words once the rebuild of the index, which is due, is at its end.
fn propose_when_indexed(memory: &Memory, selector: Selector, reply: LateReply) {
    let Maintenance { writer, folder, clock, .. } = memory.maintenance();
    let pending = memory.pending_selections.clone();
    run_chunks(
        writer,
        move |transaction| {
            if fulltext::is_due(transaction.connection)? {
                let caches = &mut StepCaches::default();
                cycle::run_step_chunk(Step::Reindex, transaction, caches, &folder, clock())?;
                return Ok(ControlFlow::Continue(()));
            }
            propose(&folder, &pending, transaction.connection, selector.clone(), clock()).map(ControlFlow::Break)
        },
        move |outcome| reply.send(outcome),
    );
}

fn confirm(memory: &Memory, worker: &mut Worker, params: &Params<'_>, token: &str, reply: Reply<'_>) {
    let selects = ["ids", "session", "project", "matching", "since", "until"];
    let started = match selects.iter().find(|name| params.raw(name).is_some_and(|value| value != "null")) {
        Some(name) => Err(CallError::invalid(name, "left out beside a token, which has its selection")),
        None => worker
            .read(|reader| Ok(job::pending(reader.snapshot()?.connection())?))
            .and_then(|interrupted| memory.forgetting().acquire(interrupted))
            .and_then(|lock| Ok((memory.pending_selections.take(token, memory.now())?, lock))),
    };
    match started {
        Ok((confirmed, lock)) => run::start(memory.forgetting(), lock, confirmed, reply.later()),
        Err(error) => reply.send::<()>(Err(error)),
    }
}

/// Selects records, and returns them with a token.
fn propose(
    folder: &Path,
    pending: &PendingSelections,
    connection: &Connection,
    selector: Selector,
    now: UnixMicros,
) -> Result<Value, CallError> {
    let (mut mark, mut newest) = (SelectionMark::default(), VecDeque::new());
    let mut found = |seq| {
        mark.add(seq);
        if newest.len() == LISTED_COUNT {
            newest.pop_front();
        }
        newest.push_back(seq);
        Ok(())
    };
    let deadline = Instant::now() + SELECT_TIME;
    if selector.scan(connection)?.run(connection, 0, deadline, &mut found)?.is_some() {
        return Err(CallError::failed("the store is too large to select these records in one call: select fewer"));
    }
    if mark.count == 0 {
        return Err(CallError::failed("no record is selected, so there is nothing to forget"));
    }
    let records = newest.iter().rev().map(|seq| listed(connection, *seq)).collect::<Result<Vec<_>, _>>()?;
    let files = set_aside::files(folder).map_err(|error| {
        CallError::failed(format!("nothing was forgotten: {} cannot be read: {error}", folder.display()))
    })?;
    let total = records::count(connection)?;
    let project = selector.project(connection)?;
    let (count, shown) = (mark.count, json!(files));
    let token = pending.add(Confirmed { selector, mark, files }, now);
    Ok(json!({"token": token, "count": count, "records": records, "total": total, "files": shown, "project": project}))
}

/// Returns what the list says of a record: its id, time, author, place, first words and number of links.
fn listed(connection: &Connection, seq: i64) -> Result<Value, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT id, ts, role, session.name, project.name, text FROM record
         JOIN session ON session.number = record.session JOIN project ON project.number = record.project
         WHERE seq = ?1",
    )?;
    let degree = "SELECT coalesce((SELECT degree FROM node WHERE record = ?1), 0)";
    let links: i64 = connection.prepare_cached(degree)?.query_row([seq], |row| row.get(0))?;
    read.query_row([seq], |row| {
        Ok(json!({
            "record_id": Uuid::from_bytes(row.get(0)?).to_string(),
            "ts": UnixMicros(row.get(1)?).to_string(),
            "role": Role::numbered(row.get(2)?).name(),
            "session_id": row.get::<_, String>(3)?,
            "project": row.get::<_, String>(4)?,
            "beginning": beginning(row.get_ref(5)?.as_str()?, EXCERPT_CHARS),
            "links": links,
        }))
    })
}
