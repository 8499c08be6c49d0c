//! The heartbeat file by which the daemon sees that this bridge runs.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::lifecycle::heartbeats::{HeartbeatWriter, INTERVAL_SECS};

/// Keeps the heartbeat file in the store's folder.
pub(crate) struct BridgeHeartbeat {
    /// The store's folder; without one no file is written.
    store: Option<PathBuf>,
    writer: Option<HeartbeatWriter>,
}

impl BridgeHeartbeat {
    pub(crate) fn new(store: Option<PathBuf>) -> BridgeHeartbeat {
        BridgeHeartbeat { store, writer: None }
    }

    /// Creates or refreshes the file and returns the time until the next call is due. If the file cannot
    /// be written, that time is `retry`: the daemon creates the store's folder, and may not have done so
    /// yet.
    pub(crate) fn refresh(&mut self, now: Timestamp, retry: Duration) -> Duration {
        let interval = Duration::from_secs(INTERVAL_SECS);
        let Some(store) = &self.store else { return interval };
        let written = match &mut self.writer {
            Some(writer) => writer.refresh(now),
            none => HeartbeatWriter::start(store, now).map(|writer| *none = Some(writer)),
        };
        match written {
            Ok(()) => interval,
            Err(error) => {
                log::debug!("no heartbeat in {}: {error}", store.display());
                retry
            }
        }
    }
}
