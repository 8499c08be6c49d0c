//! The work of a forgetting, in chunks on the writer, so that other writes run between them.
//!
//! Once the selection is confirmed, table `forgetting` has the numbers of its records, and meta key [`PHASE`] where the
//! work is. Each chunk stores its progress in its own transaction, so a kill at any moment loses at most one chunk, and
//! [`resume`] takes the rest up when the store is opened again. Each phase may run twice.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use serde::Serialize;

use crate::dispatch::{CallError, LateReply};
use crate::memory::consolidation::chunks::run_chunks;
use crate::memory::consolidation::cooccurrence::CooccurrenceLearner;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::consolidation::step::{CHUNK_TIME, Step};
use crate::memory::consolidation::{cycle, optimize};
use crate::memory::forgetting::selection::{Confirmed, SelectionMark};
use crate::memory::forgetting::{removal, rewrite, set_aside};
use crate::memory::ingest::drain;
use crate::memory::ingest::drain_report::NextRun;
use crate::memory::store::copies::{self, MadeCopy};
use crate::memory::store::error::StoreError;
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{fulltext, meta, tags};
use crate::memory::transfer::maintenance_lock::MaintenanceGuard;

/// Meta key: the phase of a forgetting that is not at its end. Absent if there is none.
const PHASE: &str = "forgetting_phase";

/// Meta key: the files that were set aside and shown, one a line.
const FILES: &str = "forgetting_files";

/// Attempts to truncate the write-ahead log, some 100 ms each while a reader uses it. Picked: an export of a large store.
const TRUNCATE_ATTEMPTS: u32 = 300;

/// The phases, in order. Their numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// The records are selected.
    Select,
    /// The full-text index gets its present rules: a term can only be taken out of it by the rules that put it in.
    Reindex,
    /// The records are deleted.
    Remove,
    /// The segments of the full-text index are merged into one, which drops the deleted terms.
    Merge,
    /// Deferred captures are taken in, those of the records left out, and files that were set aside are deleted.
    Files,
    /// The database is rewritten.
    Rewrite,
    /// The write-ahead log is truncated.
    Truncate,
}

const PHASES: [Phase; 7] =
    [Phase::Select, Phase::Reindex, Phase::Remove, Phase::Merge, Phase::Files, Phase::Rewrite, Phase::Truncate];

/// A place where a copy of what was forgotten may be.
#[derive(Debug, Serialize)]
pub(crate) struct LeftCopy {
    r#where: String,
    line: Option<u64>,
    /// What it is.
    what: String,
}

/// The result of a forgetting.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ForgetResult {
    forgotten: u64,
    left: Vec<LeftCopy>,
}

/// A forgetting in progress.
struct Job {
    maintenance: Maintenance,
    phase: Phase,
    confirmed: Option<Confirmed>,
    /// What was selected until now, and the last record that was looked at.
    selected: (SelectionMark, i64),
    /// Records that the last chunk has deleted.
    uncounted: u64,
    result: ForgetResult,
    /// The chunk is the first of its phase since the work was taken up.
    is_first: bool,
    attempts: u32,
    are_files_deleted: bool,
    /// The outcome of work outside of a transaction.
    alone: Arc<Mutex<Option<Result<bool, StoreError>>>>,
}

/// Forgets the records of a selection, and answers.
pub(crate) fn start(maintenance: Maintenance, lock: MaintenanceGuard, confirmed: Confirmed, reply: LateReply) {
    Job::new(maintenance, Some(confirmed)).run(lock, |outcome| reply.send(outcome));
}

/// Returns true if a forgetting is to be taken up again.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn is_pending(connection: &Connection) -> Result<bool, rusqlite::Error> {
    Ok(meta::read::<i64>(connection, PHASE)?.is_some())
}

/// Takes up a forgetting that a kill or an error has interrupted.
pub(crate) fn resume(maintenance: Maintenance, lock: MaintenanceGuard) {
    Job::new(maintenance, None).run(lock, |outcome| match outcome {
        Ok(result) => {
            log::info!("a forgetting that was interrupted is at its end: {} more records", result.forgotten);
            for LeftCopy { r#where, what, .. } in result.left {
                log::info!("a copy may be left in {}: {what}", r#where);
            }
        }
        Err(error) => log::error!("a forgetting that was interrupted cannot be continued: {}", error.message),
    });
}

impl Job {
    fn new(maintenance: Maintenance, confirmed: Option<Confirmed>) -> Job {
        Job {
            maintenance,
            phase: Phase::Reindex,
            confirmed,
            selected: (SelectionMark::default(), 0),
            uncounted: 0,
            result: ForgetResult::default(),
            is_first: true,
            attempts: 0,
            are_files_deleted: false,
            alone: Arc::default(),
        }
    }

    /// Runs the chunks. `lock` is released before `done` is called, so that what follows can take it.
    fn run(mut self, lock: MaintenanceGuard, done: impl FnOnce(Result<ForgetResult, CallError>) + Send + 'static) {
        let writer = self.maintenance.writer.clone();
        run_chunks(
            writer,
            move |transaction| {
                let phase = self.phase;
                self.chunk(transaction).map_err(|error| if phase > Phase::Select { interrupted(&error) } else { error })
            },
            move |outcome| {
                drop(lock);
                done(outcome);
            },
        );
    }

    fn chunk(&mut self, transaction: &mut WriteTransaction<'_>) -> Result<ControlFlow<ForgetResult>, CallError> {
        // The chunk that deleted them is committed.
        let changes = &self.maintenance.changes;
        let forgotten = std::mem::take(&mut self.uncounted);
        changes.records_forgotten(forgotten);
        if forgotten > 0 {
            changes.assistants().set(tags::count_assistants(transaction.connection)?);
        }
        if self.phase == Phase::Merge && self.is_first {
            changes.rewind_mark();
        }
        let connection = transaction.connection;
        let is_first = std::mem::replace(&mut self.is_first, false);
        let deadline = Instant::now() + CHUNK_TIME;
        match self.phase {
            Phase::Reindex => {
                if fulltext::is_due(connection)? {
                    let Maintenance { folder, clock, .. } = &self.maintenance;
                    let learner = &mut CooccurrenceLearner::default();
                    cycle::run_step_chunk(Step::Reindex, transaction, learner, folder, clock())?;
                    return Ok(ControlFlow::Continue(()));
                }
                self.leave_reindex(connection)?;
            }
            Phase::Select => self.select(connection, deadline)?,
            Phase::Remove => self.remove(connection, deadline)?,
            Phase::Merge => {
                if is_first {
                    optimize::begin_full_merge(connection)?;
                }
                while optimize::merge(connection)? {
                    if Instant::now() >= deadline {
                        return Ok(ControlFlow::Continue(()));
                    }
                }
                self.enter(connection, Phase::Files)?;
            }
            Phase::Files => {
                let Maintenance { folder, clock, .. } = &self.maintenance;
                if drain::chunk(transaction, folder, clock(), deadline)?.next == NextRun::Now {
                    return Ok(ControlFlow::Continue(()));
                }
                if self.are_files_deleted {
                    self.enter(connection, Phase::Rewrite)?;
                } else {
                    // The next batch deletes what the store has of the deleted files.
                    self.are_files_deleted = true;
                    let folder = folder.clone();
                    let shown: Option<String> = meta::read(connection, FILES)?;
                    self.delete_files(&folder, &shown.unwrap_or_default());
                }
            }
            Phase::Rewrite if is_first => {
                self.run_alone(transaction, |connection, file| rewrite::rewrite(connection, file).map(|()| true))
            }
            Phase::Rewrite => {
                self.finished_alone()?;
                self.enter(connection, Phase::Truncate)?;
            }
            Phase::Truncate if is_first => self.run_alone(transaction, rewrite::truncate_log),
            Phase::Truncate => {
                let is_truncated = self.finished_alone()?;
                if !is_truncated && self.attempts < TRUNCATE_ATTEMPTS {
                    self.attempts += 1;
                    self.run_alone(transaction, rewrite::truncate_log);
                } else {
                    return self.finish(connection, is_truncated).map(ControlFlow::Break);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Goes to the phase in which the work was interrupted, or to the selection.
    fn leave_reindex(&mut self, connection: &Connection) -> Result<(), CallError> {
        let stored: Option<i64> = meta::read(connection, PHASE)?;
        let stored = stored.and_then(|number| PHASES.get(usize::try_from(number).ok()?).copied());
        self.phase = match stored {
            Some(phase) => phase,
            None => {
                rewrite::check_room(connection, &self.maintenance.file)?;
                connection.execute("DELETE FROM forgetting", [])?;
                Phase::Select
            }
        };
        // Bytes are overwritten as they are deleted, before the rewrite.
        connection.pragma_update(None, "secure_delete", true)?;
        self.is_first = true;
        Ok(())
    }

    /// Stores the phase, which the next chunk enters.
    fn enter(&mut self, connection: &Connection, phase: Phase) -> Result<(), CallError> {
        meta::write(connection, PHASE, phase as i64)?;
        (self.phase, self.is_first) = (phase, true);
        Ok(())
    }

    /// Puts selected records into table `forgetting`. At the end they must be those that were confirmed.
    fn select(&mut self, connection: &Connection, deadline: Instant) -> Result<(), CallError> {
        let Some(Confirmed { selector, mark, files }) = &self.confirmed else {
            return Err(CallError::failed("nothing is left to forget"));
        };
        let mut put = connection.prepare_cached("INSERT INTO forgetting (seq) VALUES (?1)")?;
        let (selected, after) = &mut self.selected;
        let next = selector.scan(connection)?.run(connection, *after, deadline, &mut |seq| {
            selected.add(seq);
            put.execute([seq]).map(drop)
        })?;
        match next {
            Some(next) => *after = next,
            None if selected == mark => {
                let files: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
                meta::write(connection, FILES, files.join("\n"))?;
                self.enter(connection, Phase::Remove)?;
            }
            None => return Err(changed(mark.count, selected.count)),
        }
        Ok(())
    }

    fn remove(&mut self, connection: &Connection, deadline: Instant) -> Result<(), CallError> {
        let now = (self.maintenance.clock)();
        loop {
            let Some(seq) = removal::next(connection)? else {
                removal::forget_derived(connection)?;
                // So that the next sleep learns again what is learned of the other records.
                self.maintenance.changes.store_rewound_mark(connection)?;
                return self.enter(connection, Phase::Merge);
            };
            removal::forget(connection, seq, now)?;
            self.uncounted += 1;
            self.result.forgotten += 1;
            if Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// Deletes the files that were set aside and `shown`, one a line. One that was set aside since or cannot be deleted is
    /// left, as are deferred files that wait.
    fn delete_files(&mut self, folder: &Path, shown: &str) {
        let mut left = |path: PathBuf, what: String| {
            self.result.left.push(LeftCopy { r#where: path.display().to_string(), line: None, what });
        };
        match set_aside::files(folder) {
            Ok(paths) => {
                for path in paths {
                    if !shown.lines().any(|one| one == path.to_string_lossy()) {
                        left(path, "set aside since the selection was shown".to_owned());
                        continue;
                    }
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            left(path, format!("it cannot be deleted ({error})"));
                        }
                        _ => {}
                    }
                }
            }
            Err(error) => left(folder.to_owned(), format!("files that were set aside cannot be looked for ({error})")),
        }
        match set_aside::deferred(folder) {
            Ok(paths) => {
                for path in paths {
                    left(path, "captures that wait to be stored; what was forgotten will be left out".to_owned());
                }
            }
            Err(error) => left(folder.to_owned(), format!("deferred captures cannot be looked for ({error})")),
        }
    }

    /// Runs `work` after the commit, outside of any transaction, before the next chunk.
    fn run_alone(
        &self,
        transaction: &mut WriteTransaction<'_>,
        work: fn(&Connection, &StoreFile) -> Result<bool, StoreError>,
    ) {
        let (file, outcome) = (self.maintenance.file.clone(), self.alone.clone());
        transaction.run_alone(Box::new(move |connection| {
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(connection, &file));
        }));
    }

    /// Ends the work, and adds the copies that this program has made. If the log was not truncated, the next start of the
    /// daemon tries it again.
    fn finish(&mut self, connection: &Connection, is_truncated: bool) -> Result<ForgetResult, CallError> {
        connection.pragma_update(None, "secure_delete", false)?;
        let mut result = std::mem::take(&mut self.result);
        if is_truncated {
            meta::remove(connection, PHASE)?;
            meta::remove(connection, FILES)?;
        } else {
            let what = "another program reads an older state of the store; end it and restart the daemon".to_owned();
            result.left.push(LeftCopy { r#where: self.maintenance.file.wal().display().to_string(), line: None, what });
        }
        for MadeCopy { path, kind, at } in copies::all(connection)? {
            result.left.push(LeftCopy { r#where: path, line: None, what: format!("{kind} of {at}") });
        }
        // The patterns that went with the records are not counted.
        result.forgotten = self.confirmed.as_ref().map_or(result.forgotten, |confirmed| confirmed.mark.count);
        Ok(result)
    }

    fn finished_alone(&self) -> Result<bool, CallError> {
        let outcome = self.alone.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It is missing if the work panicked, which the writer logs.
        outcome.unwrap_or_else(|| Err(StoreError::Other("the work ended early".into()))).map_err(|error| {
            CallError::failed(format!(
                "the records are forgotten, but bytes of them may be left in the store's file, which could not be \
                 rewritten ({}); mend that and restart the daemon, which tries it again",
                error.without_storing()
            ))
        })
    }
}

/// Returns the error of a forgetting that has begun to delete.
fn interrupted(error: &CallError) -> CallError {
    CallError::failed(format!(
        "records are partly forgotten: {}; the next memory_forget or start of the daemon goes on",
        error.message
    ))
}

/// Returns the error of a selection that is not the one that was confirmed.
fn changed(before: u64, now: u64) -> CallError {
    CallError::invalid(
        "token",
        format_args!(
            "of the present selection, which has changed: it had {before} records and has {now}; nothing was forgotten, \
             ask for a new token"
        ),
    )
}
