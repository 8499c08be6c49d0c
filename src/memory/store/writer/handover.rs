//! The writer's threads: starts one, and hands the work of one to another.
//!
//! The allocator caches freed memory per thread. So when the daemon is idle, the writer's thread ends and a new one
//! continues without such a cache.

use std::{io, thread};

use crate::oneshot;
use crate::sys::process;

/// Stack of the thread. SQLite's deepest parse needs under 100 KiB.
const STACK_BYTES: usize = 256 << 10;

type Work = Box<dyn FnOnce() + Send>;

/// A successor of the writer's thread that waits for its work. See [`WriteTransaction::request_handover`].
///
/// [`WriteTransaction::request_handover`]: crate::memory::store::writer::transaction::WriteTransaction::request_handover
pub(crate) struct WriterHandover {
    successor: Option<oneshot::Sender<Work>>,
    /// Dropped when the work has been handed over, or never will be.
    _finished: oneshot::Sender<()>,
}

impl WriterHandover {
    /// Starts the successor. The receiver's sender is dropped once the handover is over. If the system
    /// cannot start a thread, the present one continues.
    pub(crate) fn new() -> (WriterHandover, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel::<Work>();
        let (finished, is_finished) = oneshot::channel();
        let successor = match spawn(move || receiver.recv().into_iter().for_each(|work| work())) {
            Ok(()) => Some(sender),
            Err(error) => {
                log::debug!("cannot replace the store's writer thread: {error}");
                None
            }
        };
        (WriterHandover { successor, _finished: finished }, is_finished)
    }

    /// Returns true if a thread waits for the work.
    pub(crate) fn has_successor(&self) -> bool {
        self.successor.is_some()
    }

    /// Passes `work` to the successor. Runs it here if there is none or if its thread has ended.
    pub(crate) fn hand_over(self, work: impl FnOnce() + Send + 'static) {
        let work: Work = Box::new(work);
        let left = match &self.successor {
            Some(successor) => successor.send(work).err(),
            None => Some(work),
        };
        drop(self);
        if let Some(work) = left {
            work();
        }
    }
}

/// Starts a thread of the writer, scheduled so that waking it interrupts no other thread.
///
/// # Errors
/// The system's, if it cannot start a thread.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let work = move || {
        process::set_batch_scheduling();
        work();
    };
    thread::Builder::new().name("iaid-writer".into()).stack_size(STACK_BYTES).spawn(work).map(drop)
}
