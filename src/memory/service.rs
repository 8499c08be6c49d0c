//! The open store ([`Memory`]) and the state of each worker thread ([`Worker`]).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use crate::dispatch::CallError;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::forgetting::handle::Forgetting;
use crate::memory::forgetting::job;
use crate::memory::forgetting::pending::PendingSelections;
use crate::memory::forgetting::progress::ForgettingProgress;
use crate::memory::model::time::{CallTime, UnixMicros, UserZone};
use crate::memory::profile::{ProfileCache, SharedProfile};
use crate::memory::session::SessionState;
use crate::memory::store::changes::{AssistantCounters, ChangeTracker};
use crate::memory::store::error::{StoreError, read_failed};
use crate::memory::store::open;
use crate::memory::store::open_error::OpenError;
use crate::memory::store::reader::Reader;
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::transaction::Reload;
use crate::memory::transfer::maintenance_lock::MaintenanceLock;
use crate::sys::lock::FileLock;
use crate::sys::{memory, reserve};

/// The time after which a recall answers with what it has read so far, by default.
const RECALL_LIMIT: Duration = Duration::from_millis(250);

/// An open store with its methods. Dropping it commits the jobs in the writer's queue and closes the store.
#[derive(Debug)]
pub struct Memory {
    /// The store's folder.
    pub(crate) folder: Arc<Path>,
    /// The database file in the folder, and its write-ahead log.
    pub(crate) file: Arc<StoreFile>,
    clock: fn() -> UnixMicros,
    zone: UserZone,
    recall_limit: Duration,
    pub(crate) profiles: Arc<SharedProfile>,
    pub(crate) session_state: Arc<SessionState>,
    pub(crate) changes: Arc<ChangeTracker>,
    pub(crate) maintenance_lock: MaintenanceLock,
    pub(crate) pending_selections: Arc<PendingSelections>,
    forgetting_progress: Arc<ForgettingProgress>,
    // Dropped in this order: the lock is released after the writer has ended.
    pub(crate) writer: Writer,
    _lock: FileLock,
}

/// The state of one worker thread: a connection for reading, opened by the first call that needs it, and a copy of the
/// profile.
#[derive(Debug)]
pub struct Worker {
    pub(crate) profile: Option<ProfileCache>,
    pub(crate) reader: Option<Reader>,
    /// Dropped after the reader.
    pub(crate) file: Arc<StoreFile>,
}

impl Memory {
    /// Opens the store in `folder` and starts its writer. Creates the folder, with mode 0700, if it is missing.
    ///
    /// # Errors
    /// See [`OpenError`]; existing files are unchanged.
    pub fn open(folder: &Path) -> Result<Memory, OpenError> {
        Memory::open_with(folder, UnixMicros::now)
    }

    pub(crate) fn open_with(folder: &Path, clock: fn() -> UnixMicros) -> Result<Memory, OpenError> {
        let store = open::open(folder)?;
        let failed = |fault: StoreError| OpenError::from_store(&store.path, fault);
        let profiles = Arc::new(SharedProfile::load(&store.connection).map_err(failed)?);
        let session_state = SessionState::load(&store.connection, clock()).map_err(|error| failed(error.into()))?;
        let changes = Arc::new(ChangeTracker::load(&store.connection).map_err(|error| failed(error.into()))?);
        let interrupted = job::pending(&store.connection).map_err(|error| failed(error.into()))?;
        let file = store.file;
        let writer = Writer::start(store.connection, file.clone(), changes.clone())
            .map_err(|error| OpenError::Failed { path: store.path, detail: format!("no thread: {error}") })?;
        let memory = Memory {
            folder: folder.into(),
            file,
            clock,
            zone: UserZone::new(TimeZone::UTC),
            recall_limit: RECALL_LIMIT,
            profiles,
            session_state: Arc::new(session_state),
            changes,
            maintenance_lock: MaintenanceLock::default(),
            pending_selections: Arc::default(),
            forgetting_progress: Arc::default(),
            writer,
            _lock: store.lock,
        };
        if interrupted.is_some() {
            let now = Instant::now();
            memory.forgetting_progress.set_interrupted(now);
            memory.forgetting().resume_if_due(now);
        }
        Ok(memory)
    }

    /// Sets the time zone in which times in a question are read; UTC otherwise.
    pub fn in_zone(mut self, zone: TimeZone) -> Memory {
        self.zone = UserZone::new(zone);
        self
    }

    /// Sets the time after which a recall answers with what it has read so far; 250 ms otherwise.
    pub fn recall_limit(mut self, limit: Duration) -> Memory {
        self.recall_limit = limit;
        self
    }

    /// Returns the number of records, kept current by the writer. Any thread may read it at any time.
    pub fn records(&self) -> Arc<AtomicU64> {
        self.changes.records().clone()
    }

    /// Returns the numbers of the assistants' records, kept current by the writer.
    pub fn assistants(&self) -> Arc<AssistantCounters> {
        self.changes.assistants().clone()
    }

    /// Returns the handle by which the daemon runs consolidation, ingests the spool and releases memory. The handle does
    /// not keep the store open: its calls fail once this `Memory` is dropped.
    pub fn maintenance(&self) -> Maintenance {
        Maintenance {
            writer: self.writer.handle(),
            session_state: self.session_state.clone(),
            folder: self.folder.clone(),
            file: self.file.clone(),
            changes: self.changes.clone(),
            clock: self.clock,
        }
    }

    /// Returns the handle by which the daemon finishes a forgetting that was interrupted. It does not keep the store open.
    pub fn forgetting(&self) -> Forgetting {
        Forgetting {
            maintenance: self.maintenance(),
            lock: self.maintenance_lock.clone(),
            progress: self.forgetting_progress.clone(),
        }
    }

    /// Returns what loads the state in memory again, after the store's whole content was replaced.
    pub(crate) fn reload(&self) -> Reload {
        let Memory { profiles, session_state, changes, pending_selections, clock, forgetting_progress, .. } = self;
        let (profiles, session_state, changes, pending, clock) =
            (profiles.clone(), session_state.clone(), changes.clone(), pending_selections.clone(), *clock);
        let progress = forgetting_progress.clone();
        Box::new(move |connection| {
            pending.clear();
            progress.reload(job::pending(connection)?.is_some(), Instant::now());
            profiles.reload(connection)?;
            session_state.reload(connection, clock())?;
            Ok(changes.reload(connection)?)
        })
    }

    pub(crate) fn now(&self) -> UnixMicros {
        (self.clock)()
    }

    pub(crate) fn call_time(&self) -> CallTime<'_> {
        CallTime { now: self.now(), zone: &self.zone, deadline: Instant::now() + self.recall_limit }
    }
}

impl Worker {
    /// Returns true if there is memory for another call. Otherwise the caller must refuse it: what this worker and the
    /// allocator keep is released, and that was not enough.
    pub(crate) fn has_memory(&mut self) -> bool {
        if reserve::is_short() {
            self.reader = None;
            memory::give_back();
        }
        reserve::restore()
    }

    /// Answers a call that only reads.
    ///
    /// # Errors
    /// The error of `work`, or of opening the reader.
    pub(crate) fn read<T>(&mut self, work: impl FnOnce(&Reader) -> Result<T, CallError>) -> Result<T, CallError> {
        self.reader().and_then(work).map_err(read_failed)
    }

    pub(crate) fn reader(&mut self) -> Result<&Reader, CallError> {
        let reader = match self.reader.take() {
            Some(reader) => self.file.check_not_lost().map(|()| reader)?,
            None => Reader::open(&self.file)?,
        };
        Ok(self.reader.insert(reader))
    }
}
