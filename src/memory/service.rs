//! The open store ([`Memory`]) and what each worker thread has of its own ([`Worker`]).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::dispatch::CallError;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::{ProfileCache, SharedProfile};
use crate::memory::session::SessionState;
use crate::memory::store::changes::ChangeTracker;
use crate::memory::store::error::StoreError;
use crate::memory::store::open::{self, OpenError};
use crate::memory::store::reader::Reader;
use crate::memory::store::writer::Writer;
use crate::memory::transfer::gate::MaintenanceLock;
use crate::sys::lock::FileLock;

/// An open store with its methods. Dropping it commits what waits and closes the store.
#[derive(Debug)]
pub struct Memory {
    /// The store's folder.
    pub(crate) folder: Arc<Path>,
    /// The database in it.
    pub(crate) path: Arc<Path>,
    clock: fn() -> UnixMicros,
    pub(crate) profiles: Arc<SharedProfile>,
    pub(crate) session_state: Arc<SessionState>,
    pub(crate) changes: Arc<ChangeTracker>,
    pub(crate) maintenance_lock: MaintenanceLock,
    // In this order: the lock goes once the writer has ended.
    pub(crate) writer: Writer,
    _lock: FileLock,
}

/// What a worker thread has of its own: a connection for reading, opened at its first question, and the
/// profile.
#[derive(Debug)]
pub struct Worker {
    pub(crate) path: Arc<Path>,
    pub(crate) profile: Option<ProfileCache>,
    pub(crate) reader: Option<Reader>,
}

impl Memory {
    /// Opens the store in `folder`, which is made (0700) if it is missing, and starts its writer.
    ///
    /// # Errors
    /// See [`OpenError`]: what is there was left as it was.
    pub fn open(folder: &Path) -> Result<Memory, OpenError> {
        Memory::open_with(folder, UnixMicros::now)
    }

    pub(crate) fn open_with(folder: &Path, clock: fn() -> UnixMicros) -> Result<Memory, OpenError> {
        let store = open::open(folder)?;
        let failed = |fault: StoreError| OpenError::from_fault(&store.path, fault);
        let profiles = Arc::new(SharedProfile::load(&store.connection).map_err(failed)?);
        let session_state = SessionState::load(&store.connection, clock()).map_err(|error| failed(error.into()))?;
        let changes = Arc::new(ChangeTracker::load(&store.connection).map_err(|error| failed(error.into()))?);
        let path: Arc<Path> = store.path.as_path().into();
        let writer = Writer::start(store.connection, changes.clone())
            .map_err(|error| OpenError::Failed { path: path.to_path_buf(), detail: format!("no thread: {error}") })?;
        Ok(Memory {
            folder: folder.into(),
            path,
            clock,
            profiles,
            session_state: Arc::new(session_state),
            changes,
            maintenance_lock: MaintenanceLock::default(),
            writer,
            _lock: store.lock,
        })
    }

    /// The number of records, kept current by the writer: to be read at any time from any thread.
    pub fn records(&self) -> Arc<AtomicU64> {
        self.changes.records().clone()
    }

    /// What whoever puts this memory to sleep needs of it. It keeps nothing open: once the memory is
    /// dropped, what it asks fails.
    pub fn maintenance(&self) -> Maintenance {
        Maintenance {
            writer: self.writer.handle(),
            session_state: self.session_state.clone(),
            folder: self.folder.clone(),
            changes: self.changes.clone(),
            clock: self.clock,
        }
    }

    pub(crate) fn now(&self) -> UnixMicros {
        (self.clock)()
    }
}

impl Worker {
    pub(crate) fn reader(&mut self) -> Result<&Reader, CallError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        Ok(self.reader.insert(reader))
    }
}
