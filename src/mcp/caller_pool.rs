//! The threads that carry out calls: started when a call finds none idle, ended after a minute without
//! work.

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::bridge_state::BridgeState;
use super::call_queue::CallerDemand;
use super::caller::Caller;
use super::pending_calls::LineJob;

/// How long a caller keeps its connection without work. The daemon hibernates only without connections
/// (docs/sleep.md).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Stack of a caller's thread, in bytes. No recursion happens there: JSON stays text.
pub(crate) const STACK_BYTES: usize = 128 << 10;

/// Queues work and starts callers for it.
pub(crate) struct CallerPool<W: Write + Send + 'static> {
    state: Arc<BridgeState<W>>,
}

impl<W: Write + Send + 'static> CallerPool<W> {
    pub(crate) fn new(state: Arc<BridgeState<W>>) -> CallerPool<W> {
        CallerPool { state }
    }

    /// Queues a job, after waiting for space in the queue.
    pub(crate) fn push(&self, job: LineJob) {
        let demand = self.state.queue.push(job);
        self.meet(demand);
    }

    /// Queues the announcement of the session.
    pub(crate) fn announce(&self) {
        let demand = self.state.queue.announce();
        self.meet(demand);
    }

    fn meet(&self, demand: CallerDemand) {
        if demand == CallerDemand::None {
            return;
        }
        let caller = Caller::new(Arc::clone(&self.state));
        let name = "iaid-mcp-caller".to_owned();
        let started = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || caller.run(IDLE_TIMEOUT));
        match (started, demand) {
            (Ok(_), _) => {}
            (Err(error), CallerDemand::First) => {
                log::warn!("cannot start a thread for calls ({error}): carrying them out on the reading thread");
                Caller::new(Arc::clone(&self.state)).run(Duration::ZERO);
            }
            (Err(_), _) => self.state.queue.caller_not_started(),
        }
    }
}
