//! The trait by which a server is given its methods.

use std::sync::Arc;

use super::params::Params;
use super::reply::Reply;

/// Whether a call may start while an earlier call of its connection has no reply yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It starts after every earlier call of its connection has been answered, so it sees their effects.
    Ordered,
    /// It may start while earlier calls of this pace are unanswered, for example writes that one
    /// writer thread commits in order. Their replies are still sent in the order of the calls.
    Pipelined,
}

/// The methods of a server. One value is shared by all workers.
pub trait Dispatch: Send + Sync + 'static {
    /// State that each worker thread owns, such as a database connection or a cache. It is created by
    /// [`Dispatch::worker`] on the thread's first call, and created again after a call that panicked.
    type Worker;

    /// Creates the state of one worker thread. Runs on that thread, inside its first call: a panic
    /// here is handled as a panic of that call.
    fn worker(&self) -> Self::Worker;

    /// Returns the pace of a method, or `None` if there is no method of this name (the caller is then
    /// answered with an error of code -32601). Runs on the event loop's thread for each call, so it must
    /// neither block nor panic.
    fn method(&self, name: &str) -> Option<Pace>;

    /// Returns true if every reply to this method is at most a few kilobytes long, apart from the id, and every call takes
    /// a few milliseconds at most. Such calls are started before others, even while memory is short or all workers are
    /// busy: one worker more runs nothing else. Runs on the event loop's thread and on workers for each call, so it must
    /// neither block nor panic.
    fn has_small_replies(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Returns true if a call of this method is of no use once its peer has disconnected. Such a call is not started
    /// then. Runs on workers; it must neither block nor panic.
    fn needs_peer(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Carries out one call. `method` is a name for which [`Dispatch::method`] returned a pace.
    ///
    /// The call is answered through `reply`: before this function returns, or later with
    /// [`Reply::later`].
    ///
    /// - **Thread.** It runs on a worker thread, never on the event loop's. Calls of different
    ///   connections run at the same time on different workers. Calls of one connection run one at a
    ///   time, not always on the same worker. ([`serve::stdio`](crate::serve::stdio) has one peer and
    ///   runs every call on the thread that reads.)
    /// - **Blocking.** It may block. It then occupies its worker; the event loop and the other
    ///   workers go on. A call that waits for another thread takes [`Reply::later`] and returns, which
    ///   frees the worker.
    /// - **Order.** Calls of one connection start in the order in which they were received, and their
    ///   replies are sent in that order. A [`Pace::Ordered`] call starts after every earlier call of its
    ///   connection has been answered, late replies included. A [`Pace::Pipelined`] call may start
    ///   while late replies are outstanding, if all of them belong to pipelined calls. There is no order between
    ///   connections.
    /// - **Panics.** A panic is caught and logged. It discards `worker` and, unless the call has
    ///   been answered, answers it with an error of code -32001. Nothing else is affected.
    /// - **Disconnects.** A call is carried out even if its peer has disconnected, unless [`Dispatch::needs_peer`] is
    ///   true. Its reply is dropped.
    fn call(&self, worker: &mut Self::Worker, method: &str, params: Params<'_>, reply: Reply<'_>);
}

/// Forwards to the shared value.
impl<D: Dispatch> Dispatch for Arc<D> {
    type Worker = D::Worker;

    fn worker(&self) -> D::Worker {
        D::worker(self)
    }

    fn method(&self, name: &str) -> Option<Pace> {
        D::method(self, name)
    }

    fn has_small_replies(&self, name: &str) -> bool {
        D::has_small_replies(self, name)
    }

    fn needs_peer(&self, name: &str) -> bool {
        D::needs_peer(self, name)
    }

    fn call(&self, worker: &mut D::Worker, method: &str, params: Params<'_>, reply: Reply<'_>) {
        D::call(self, worker, method, params, reply);
    }
}
