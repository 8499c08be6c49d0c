//! The work of a forgetting, in chunks on the writer, so that other writes run between them.
//!
//! Once the selection is confirmed, table `forgetting` has the numbers of its records, and meta key [`PHASE`] where the
//! work is. Each chunk stores its progress in its own transaction, so a kill at any moment loses at most one chunk. Each
//! phase may run twice. `run.rs` runs the chunks.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::cycle;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::consolidation::step::{CHUNK_TIME, Step};
use crate::memory::forgetting::handle::Forgetting;
use crate::memory::forgetting::names::{self, SoughtName};
use crate::memory::forgetting::phase::ForgettingPhase;
use crate::memory::forgetting::result::{ForgetResult, LeftCopy};
use crate::memory::forgetting::selection::{Confirmed, SelectionMark};
use crate::memory::forgetting::{event_log, removal, rewrite, set_aside};
use crate::memory::ingest::drain;
use crate::memory::ingest::drain_report::NextRun;
use crate::memory::store::copies::{self, MadeCopy};
use crate::memory::store::copy::PartialFile;
use crate::memory::store::error::StoreError;
use crate::memory::store::meetings::{self, Meeting};
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{forgotten, fulltext, meta, records, segments, tags};

/// Meta key: the phase of a forgetting that is not at its end. Absent if there is none.
const PHASE: &str = "forgetting_phase";

/// Meta key: the files that were set aside and shown, one a line.
const FILES: &str = "forgetting_files";

/// Attempts to truncate the write-ahead log, some 100 ms each while a reader uses it. Picked: longer than any call of this
/// program reads.
pub(crate) const TRUNCATE_ATTEMPTS: u32 = 100;

/// New files that are made while other writes go on, before one is made while they wait. Picked.
const CONCURRENT_REWRITES: u32 = 3;

/// Why the write-ahead log was not truncated.
pub(crate) const KEPT_LOG: &str =
    "another program reads an older state of the store; the log is emptied once that program has ended";

/// Longest wait for deferred files that are being completed, and the waits for one. A hook's file is complete after a second.
const SPOOL_WAIT: Duration = Duration::from_secs(3);
const SPOOL_WAITS: u32 = 3;

/// A forgetting in progress.
pub(crate) struct ForgettingJob {
    pub(crate) forgetting: Forgetting,
    pub(crate) phase: ForgettingPhase,
    pub(crate) confirmed: Option<Confirmed>,
    /// What was selected until now, and the last record that was looked at.
    selected: (SelectionMark, i64),
    /// Records that the last chunk has deleted.
    uncounted: u64,
    /// The last event that was looked at, once no record is left to delete.
    cleaned_events: Option<i64>,
    result: ForgetResult,
    /// The chunk is the first of its phase since the work was taken up.
    is_first: bool,
    pub(crate) attempts: u32,
    spool_waits: u32,
    are_files_deleted: bool,
    /// Deferred files that were there when files were deleted.
    deferred: Vec<PathBuf>,
    /// The new file of the rewrite, and how many were made.
    new_file: Option<PartialFile>,
    new_files: u32,
    /// The outcome of work outside of a transaction.
    alone: Arc<Mutex<Option<Result<bool, StoreError>>>>,
}

/// Work off the writer's thread, after which the chunks go on.
pub(crate) enum OffThreadWork {
    /// The new file of the rewrite.
    WriteNewFile,
    /// Names that no record has any more are removed from the text files.
    ClearFiles(Vec<SoughtName>),
    Wait(Duration),
}

/// Returns the phase of a forgetting that is to be taken up again; `None` if there is none. Records that are noted as
/// forgotten and were not selected yet are to be deleted.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn pending(connection: &Connection) -> Result<Option<ForgettingPhase>, rusqlite::Error> {
    if forgotten::has_noted(connection)? {
        return Ok(Some(ForgettingPhase::Remove));
    }
    // With a number that this release does not know, nothing is deleted that nobody has confirmed.
    Ok(meta::read(connection, PHASE)?.map(|number| ForgettingPhase::numbered(number).unwrap_or(ForgettingPhase::Merge)))
}

impl ForgettingJob {
    pub(crate) fn new(forgetting: Forgetting, confirmed: Option<Confirmed>) -> ForgettingJob {
        ForgettingJob {
            forgetting,
            phase: ForgettingPhase::Reindex,
            confirmed,
            selected: (SelectionMark::default(), 0),
            uncounted: 0,
            cleaned_events: None,
            result: ForgetResult::default(),
            is_first: true,
            attempts: 0,
            spool_waits: 0,
            are_files_deleted: false,
            deferred: Vec::new(),
            new_file: None,
            new_files: 0,
            alone: Arc::default(),
        }
    }

    pub(crate) fn maintenance(&self) -> &Maintenance {
        &self.forgetting.maintenance
    }

    /// Makes the new file of the rewrite.
    pub(crate) fn write_new_file(&mut self) {
        self.new_files += 1;
        let outcome = rewrite::write_new(&self.maintenance().file);
        let outcome = outcome.map(|new| {
            self.new_file = Some(new);
            true
        });
        *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// Removes names from the text files.
    pub(crate) fn clear_files(&mut self, names: &[SoughtName]) {
        let folder = self.maintenance().folder.clone();
        names::clear_files(names, &folder, &mut |path, error| {
            let what = format!("the name of a session or project that was forgotten ({error})");
            self.result.left.push(LeftCopy::of(&path, what));
        });
    }

    /// Runs one chunk. Returns what is done before the next one, or the result and whether the log was truncated.
    pub(crate) fn chunk(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<ControlFlow<(ForgetResult, bool), Option<OffThreadWork>>, CallError> {
        // The chunk that deleted them is committed.
        let forgotten = std::mem::take(&mut self.uncounted);
        let changes = &self.maintenance().changes;
        changes.records_forgotten(forgotten);
        if forgotten > 0 {
            changes.assistants().set(tags::count_assistants(transaction.connection)?);
        }
        if self.phase == ForgettingPhase::Merge && self.is_first {
            changes.rewind_mark();
        }
        let connection = transaction.connection;
        let is_first = std::mem::replace(&mut self.is_first, false);
        let deadline = Instant::now() + CHUNK_TIME;
        match self.phase {
            ForgettingPhase::Reindex => {
                if fulltext::is_due(connection)? {
                    let Maintenance { folder, clock, .. } = self.maintenance();
                    let caches = &mut StepCaches::default();
                    cycle::run_step_chunk(Step::Reindex, transaction, caches, folder, clock())?;
                    return Ok(ControlFlow::Continue(None));
                }
                self.leave_reindex(connection)?;
            }
            ForgettingPhase::Select => self.select(connection, deadline)?,
            ForgettingPhase::Remove => self.remove(transaction, deadline)?,
            ForgettingPhase::Merge => {
                if is_first {
                    segments::begin_full_merge(connection)?;
                }
                while segments::merge(connection)? {
                    if Instant::now() >= deadline {
                        return Ok(ControlFlow::Continue(None));
                    }
                }
                self.enter(connection, ForgettingPhase::Files)?;
            }
            ForgettingPhase::Files => return self.take_in_files(transaction, deadline).map(ControlFlow::Continue),
            ForgettingPhase::Rewrite => return self.rewrite(transaction, is_first).map(ControlFlow::Continue),
            ForgettingPhase::Truncate if is_first => {
                self.run_alone(transaction, |connection, file| rewrite::truncate_log(connection, file))
            }
            ForgettingPhase::Truncate => {
                let is_truncated = self.finished_alone()?;
                if !is_truncated && self.attempts < TRUNCATE_ATTEMPTS {
                    self.attempts += 1;
                    self.run_alone(transaction, |connection, file| rewrite::truncate_log(connection, file));
                } else {
                    return Ok(ControlFlow::Break((self.finish(transaction, is_truncated)?, is_truncated)));
                }
            }
        }
        Ok(ControlFlow::Continue(None))
    }

    /// Takes in deferred captures, then deletes files that were set aside and names in the other files.
    fn take_in_files(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        deadline: Instant,
    ) -> Result<Option<OffThreadWork>, CallError> {
        let Maintenance { folder, clock, .. } = self.maintenance();
        let (folder, now) = (folder.clone(), clock());
        let wait = match drain::chunk(transaction, &folder, now, deadline)?.next {
            NextRun::Now => return Ok(None),
            NextRun::At(at) => Some(Duration::from_micros(at.saturating_sub(now.0).max(0).unsigned_abs())),
            NextRun::Nothing => None,
        };
        // A file that was just written is removed a moment later.
        if let Some(wait) = wait.filter(|wait| *wait <= SPOOL_WAIT && self.spool_waits < SPOOL_WAITS) {
            self.spool_waits += 1;
            return Ok(Some(OffThreadWork::Wait(wait)));
        }
        let connection = transaction.connection;
        if self.are_files_deleted {
            names::remove_stored(connection)?;
            self.enter(connection, ForgettingPhase::Rewrite)?;
            return Ok(None);
        }
        // The next batch deletes what the store has of the deleted files.
        self.are_files_deleted = true;
        let shown: Option<String> = meta::read(connection, FILES)?;
        let mut left = |path: PathBuf, what: String| self.result.left.push(LeftCopy::of(&path, what));
        set_aside::delete(&folder, &shown.unwrap_or_default(), &mut left);
        match set_aside::deferred(&folder) {
            Ok(paths) => self.deferred = paths,
            Err(error) => left(folder.to_path_buf(), format!("deferred captures cannot be looked for ({error})")),
        }
        let names = names::sought(connection, &folder)?;
        Ok((!names.is_empty()).then_some(OffThreadWork::ClearFiles(names)))
    }

    /// Replaces the content of the database by that of a new file, which is made again if something was written since.
    fn rewrite(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        is_first: bool,
    ) -> Result<Option<OffThreadWork>, CallError> {
        if is_first {
            if self.new_files < CONCURRENT_REWRITES {
                return Ok(Some(OffThreadWork::WriteNewFile));
            }
            self.run_alone(transaction, |connection, file| {
                let new = rewrite::write_new(file)?;
                rewrite::replace(connection, file, new.path())
            });
            return Ok(None);
        }
        let is_done = self.finished_alone()?;
        match self.new_file.take() {
            Some(new) => {
                self.run_alone(transaction, move |connection, file| rewrite::replace(connection, file, new.path()));
            }
            None if is_done => self.enter(transaction.connection, ForgettingPhase::Truncate)?,
            None => self.is_first = true,
        }
        Ok(None)
    }

    /// Goes to the phase in which the work was interrupted, or to the selection.
    fn leave_reindex(&mut self, connection: &Connection) -> Result<(), CallError> {
        // A new forgetting does the later phases of an interrupted one again.
        self.phase = match pending(connection)? {
            Some(phase) if self.confirmed.is_none() => {
                forgotten::select_noted(connection)?;
                meta::write(connection, PHASE, phase as i64)?;
                phase
            }
            _ => {
                rewrite::check_room(connection, &self.maintenance().file)?;
                connection.execute("DELETE FROM forgetting", [])?;
                ForgettingPhase::Select
            }
        };
        // Bytes are overwritten as they are deleted, before the rewrite.
        connection.pragma_update(None, "secure_delete", true)?;
        self.is_first = true;
        Ok(())
    }

    /// Stores the phase, which the next chunk enters.
    fn enter(&mut self, connection: &Connection, phase: ForgettingPhase) -> Result<(), CallError> {
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
                forgotten::select_noted(connection)?;
                self.enter(connection, ForgettingPhase::Remove)?;
            }
            None => return Err(changed(mark.count, selected.count)),
        }
        Ok(())
    }

    fn remove(&mut self, transaction: &mut WriteTransaction<'_>, deadline: Instant) -> Result<(), CallError> {
        let connection = transaction.connection;
        let now = (self.maintenance().clock)();
        if let Some(after) = self.cleaned_events {
            self.cleaned_events = event_log::clean(connection, after, now, deadline)?;
            if self.cleaned_events.is_none() {
                // So that the next sleep learns again what is learned of the other records.
                let changes = &self.maintenance().changes;
                changes.store_rewound_mark(connection)?;
                cycle::restart(connection, changes)?;
                self.enter(connection, ForgettingPhase::Merge)?;
            }
            return Ok(());
        }
        loop {
            let Some(seq) = removal::next(connection)? else {
                let names = removal::forget_derived(connection, now)?;
                self.forgetting.progress.add_sessions(&names.sessions);
                names.sessions.iter().for_each(|name| self.maintenance().session_state.first_turns.remove(name));
                transaction.masked = names.masked.or(transaction.masked.take());
                self.cleaned_events = Some(i64::MIN);
                return Ok(());
            };
            removal::forget(connection, seq, now)?;
            self.uncounted += 1;
            self.result.forgotten += 1;
            if Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// Runs `work` after the commit, outside of any transaction, before the next chunk.
    fn run_alone(
        &self,
        transaction: &mut WriteTransaction<'_>,
        work: impl FnOnce(&mut Connection, &StoreFile) -> Result<bool, StoreError> + Send + 'static,
    ) {
        let (file, outcome) = (self.maintenance().file.clone(), self.alone.clone());
        transaction.run_alone(Box::new(move |connection| {
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(connection, &file));
        }));
    }

    /// Ends the work, and adds the copies that this program has made. If the log was not truncated, that is tried again
    /// later.
    fn finish(&mut self, transaction: &WriteTransaction<'_>, is_truncated: bool) -> Result<ForgetResult, CallError> {
        let connection = transaction.connection;
        if self.confirmed.is_none() {
            // The last records before an error were deleted and not counted.
            let count = records::count(connection)?.unsigned_abs().saturating_sub(transaction.new_records);
            self.maintenance().changes.records().store(count, Ordering::Relaxed);
        }
        connection.pragma_update(None, "secure_delete", false)?;
        let mut result = std::mem::take(&mut self.result);
        let mut left = |path: &Path, what: String| result.left.push(LeftCopy::of(path, what));
        for path in self.deferred.iter().filter(|path| path.symlink_metadata().is_ok()) {
            left(path, "captures that wait to be stored; what was forgotten will be left out".to_owned());
        }
        if is_truncated {
            meta::remove(connection, PHASE)?;
            meta::remove(connection, FILES)?;
        } else {
            left(self.maintenance().file.wal(), KEPT_LOG.to_owned());
        }
        for MadeCopy { path, kind, at } in copies::all(connection)? {
            left(Path::new(&path), format!("{kind} of {at}"));
        }
        let mut named = Vec::new();
        for Meeting { kind, name, met, .. } in meetings::all(connection)? {
            // A folder has a row for each store, the latest first.
            let place = (kind.clone(), name.clone());
            if named.contains(&place) {
                continue;
            }
            named.push(place);
            let what = match kind.as_str() {
                "folder" => "a folder that the memory is exchanged through; what carries it may keep versions",
                _ => "a host that the memory is exchanged with",
            };
            left(Path::new(&name), format!("{what}; last met {met}"));
        }
        // The patterns that went with the records are not counted.
        result.forgotten = self.confirmed.as_ref().map_or(result.forgotten, |confirmed| confirmed.mark.count);
        Ok(result)
    }

    fn finished_alone(&self) -> Result<bool, CallError> {
        let outcome = self.alone.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It is missing if the work panicked, which the writer logs.
        let outcome = outcome.unwrap_or_else(|| Err(StoreError::Other("the work ended early".into())));
        outcome.map_err(|error| CallError::failed(error.without_storing()))
    }
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
