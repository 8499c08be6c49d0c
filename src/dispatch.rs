//! What a server does with a call: the trait [`Dispatch`], the params it is given, the reply it gives.
//!
//! Nothing here knows of sockets, queues or threads: whoever runs the calls (the worker pool, or the
//! standard-input server) has a [`Runner`] for each thread that does so.

mod params;
mod reply;
mod runner;

use std::sync::Arc;

pub use self::params::Params;
pub use self::reply::{LateReply, Reply, ReplySink};
pub use self::runner::{Given, Panicked, Runner};
pub use crate::wire::reply::{CallError, code};

/// May a call start while an earlier one of its connection still waits for its reply?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// No: it sees all that the calls before it did.
    Ordered,
    /// Yes, behind other calls of this pace: writes that a single writer commits in order.
    Pipelined,
}

/// The methods of a server. Shared by all workers.
pub trait Dispatch: Send + Sync + 'static {
    /// What each worker thread has of its own (a reading connection, a cache). Made on the worker's
    /// first call and made anew after a panic.
    type Worker;

    /// A worker's own state.
    fn worker(&self) -> Self::Worker;

    /// How the method of this name is paced, or `None` where there is none of this name.
    fn method(&self, name: &str) -> Option<Pace>;

    /// Carries out one call, on a worker. Only called with names that [`Dispatch::method`] knows.
    /// The reply is given before this returns, or taken along as a [`LateReply`].
    fn call(&self, worker: &mut Self::Worker, method: &str, params: Params<'_>, reply: Reply<'_>);
}

/// Shared with somebody else, it dispatches all the same.
impl<D: Dispatch> Dispatch for Arc<D> {
    type Worker = D::Worker;

    fn worker(&self) -> D::Worker {
        D::worker(self)
    }

    fn method(&self, name: &str) -> Option<Pace> {
        D::method(self, name)
    }

    fn call(&self, worker: &mut D::Worker, method: &str, params: Params<'_>, reply: Reply<'_>) {
        D::call(self, worker, method, params, reply);
    }
}
