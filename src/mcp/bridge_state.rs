//! What the threads of the bridge share.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use super::call_queue::CallQueue;
use super::output::ClientOutput;

/// The state shared by the reader, the callers and the main thread.
pub(crate) struct BridgeState<W> {
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// The id of the host's session.
    pub(crate) session: String,
    pub(crate) queue: CallQueue,
    pub(crate) output: ClientOutput<W>,
    /// Lines read and jobs carried out so far. The main thread reads it to see whether the bridge is idle.
    pub(crate) activity: AtomicU64,
}

impl<W> BridgeState<W> {
    pub(crate) fn new(socket: PathBuf, session: String, output: ClientOutput<W>) -> BridgeState<W> {
        BridgeState { socket, session, queue: CallQueue::default(), output, activity: AtomicU64::new(0) }
    }
}
