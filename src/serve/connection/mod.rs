//! A connection's state, and what happens to it outside of its turn.
//!
//! mio is edge-triggered: it reports once that a socket is readable, so this is remembered here until a
//! read shows that the socket is drained. WRITABLE is registered only while output waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Registry};

use crate::dispatch::{CallError, Dispatch};
use crate::limits::Limits;
use crate::serve::connection_id::ConnectionId;
use crate::serve::control_plane::{ControlPlane, LoopCommands, Now};
use crate::serve::memory_budget::{LineProgress, MemoryBudget};
use crate::serve::metrics::Metrics;
use crate::serve::pool::{Batch, Delivery, Pool, Remainder};
use crate::wire::reply;
use crate::wire::session::{Session, Storage};

pub(crate) mod turn;

/// The events that every connection is registered for. PRIORITY reports out-of-band data, on systems that have it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const READING: Interest = Interest::READABLE.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const READING: Interest = Interest::READABLE;

/// The state that a connection's turn uses besides the connection.
pub(crate) struct Core<D: Dispatch, P: ControlPlane> {
    pub(crate) limits: Limits,
    pub(crate) dispatch: Arc<D>,
    pub(crate) plane: P,
    pub(crate) commands: LoopCommands<P::Done>,
    pub(crate) pool: Pool<D, P::Done>,
    pub(crate) registry: Registry,
    pub(crate) budget: MemoryBudget,
    pub(crate) metrics: Metrics,
    /// The clocks, read once a turn of the loop.
    pub(crate) now: Now,
    /// Buffers lent to the connection that has the turn.
    pub(crate) storage: Storage,
}

/// One connection.
pub(crate) struct Connection<D: Dispatch, P: ControlPlane> {
    /// Names it in results of workers and the control plane.
    pub(crate) id: ConnectionId,
    /// Names it in events.
    pub(crate) token: usize,
    pub(crate) stream: UnixStream,
    pub(crate) session: Session,
    /// It is in the ready list.
    pub(crate) queued: bool,
    /// Unread input may wait in the socket.
    readable: bool,
    /// A short read does not mean that the socket is drained: the peer has shut down its side, or sent out-of-band
    /// data, at which reads end too (unix(7)).
    ragged: bool,
    /// WRITABLE is registered.
    writable: bool,
    /// Since when the peer has read none of the waiting output.
    pub(crate) stalled_since: Option<Instant>,
    /// When the loop checks whether the peer has stalled.
    pub(crate) stall_check_at: Option<Instant>,
    /// The progress of its incomplete line, unless it waits to be read. Boxed, since most connections have none.
    pub(crate) line_progress: Option<Box<LineProgress>>,
    /// Bytes that the memory budget counts for it.
    counted_input: usize,
    counted_output: usize,
    batch: Option<InFlight<D, P>>,
}

/// The batch that is at the workers.
struct InFlight<D: Dispatch, P: ControlPlane> {
    batch: Arc<Batch<D, P::Done>>,
    answered: usize,
    /// Whether it continues by itself.
    remainder: Remainder,
}

impl Delivery {
    /// Drops the replies, since their connection has closed or has refused the calls.
    pub(crate) fn forget<D: Dispatch, P: ControlPlane>(&self, core: &mut Core<D, P>) {
        core.metrics.late_results += self.count as u64;
        core.budget.replies().subtract(self.replies.len());
    }
}

impl<D: Dispatch, P: ControlPlane> Connection<D, P> {
    pub(crate) fn new(id: ConnectionId, token: usize, stream: UnixStream, limits: &Limits) -> Connection<D, P> {
        Connection {
            id,
            token,
            stream,
            session: Session::new(limits),
            queued: false,
            readable: false,
            ragged: false,
            writable: false,
            stalled_since: None,
            stall_check_at: None,
            line_progress: None,
            counted_input: 0,
            counted_output: 0,
            batch: None,
        }
    }

    /// Records that the socket is readable. `ragged`: from now on a short read does not mean that it is drained.
    pub(crate) fn became_readable(&mut self, ragged: bool) {
        self.readable = true;
        self.ragged |= ragged;
    }

    /// Records that the peer reads no more: calls that need it are not started from now on.
    pub(crate) fn peer_gone(&mut self, core: &mut Core<D, P>) {
        self.session.peer_gone();
        if let Some(in_flight) = &mut self.batch {
            in_flight.batch.abandon();
            // The rest may need neither a reader nor memory now.
            if std::mem::replace(&mut in_flight.remainder, Remainder::Continues) != Remainder::Continues {
                core.pool.resume(&in_flight.batch);
            }
        }
    }

    /// Returns true if the peer has read none of the waiting output for `time`.
    pub(crate) fn has_stalled_for(&self, time: Duration, now: Instant) -> bool {
        self.stalled_since.is_some_and(|since| since + time <= now)
    }

    /// Takes replies to some of its calls from a worker.
    pub(crate) fn delivered(&mut self, delivery: Delivery, core: &mut Core<D, P>) {
        let Some(in_flight) = &mut self.batch else {
            delivery.forget(core);
            return;
        };
        self.counted_output += delivery.replies.len();
        in_flight.answered += delivery.count;
        in_flight.remainder = delivery.remainder;
        if in_flight.answered == in_flight.batch.len()
            && let Some(in_flight) = self.batch.take()
        {
            core.pool.reuse(in_flight.batch);
        }
        core.metrics.in_flight -= delivery.count;
        self.session.answered(delivery.count, delivery.replies);
    }

    /// Takes the control plane's late reply to its control message.
    pub(crate) fn plane_answered(&mut self, line: &[u8], core: &mut Core<D, P>) {
        // The message has been refused at the end of a drain.
        if self.session.pending() == 0 {
            core.metrics.late_results += 1;
            return;
        }
        core.metrics.in_flight -= 1;
        self.session.answered(1, line.to_vec());
    }

    /// Answers all requests that are left with error -32001, at the end of a drain.
    pub(crate) fn refuse_remaining(&mut self, why: &str, core: &mut Core<D, P>) {
        let error = CallError::failed(why);
        let mut replies = Vec::new();
        let pending = self.session.pending();
        let mut errors = pending;
        match self.batch.take() {
            Some(in_flight) => {
                let (ready, count, failed) = in_flight.batch.cancel(in_flight.answered);
                self.counted_output += ready.len();
                replies = ready;
                errors -= count - failed;
                for id in in_flight.batch.ids_after(in_flight.answered + count) {
                    reply::error(&mut replies, Some(id), &error);
                }
            }
            None if pending > 0 => reply::control_refused(&mut replies, "control_plane_error", why),
            None => {}
        }
        core.metrics.in_flight -= pending;
        self.session.answered(pending, replies);
        core.metrics.errors += (errors + self.session.refuse_rest(why, &core.limits)) as u64;
    }

    /// Removes the connection from the memory budget and the metrics. Called when it is closed.
    pub(crate) fn forget(&mut self, core: &mut Core<D, P>) {
        core.budget.count_input(self.id.0, &mut self.counted_input, 0);
        core.budget.count_output(&mut self.counted_output, 0);
        core.budget.remove(self.id.0);
        core.metrics.in_flight -= self.session.pending();
        if let Some(in_flight) = &self.batch {
            in_flight.batch.abandon();
        }
    }
}
