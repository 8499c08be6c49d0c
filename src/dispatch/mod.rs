//! What a server does with a call: the trait [`Dispatch`], the [`Params`] of a call and its [`Reply`].
//!
//! This module knows no socket, queue or thread. Each thread that carries out calls (a worker of the
//! pool, or the stdio server) owns a `Runner`.

mod handler;
mod params;
mod reply;
mod runner;

pub use self::handler::{Dispatch, Pace};
pub use self::params::Params;
#[doc(hidden)]
pub use self::reply::ReplySink;
pub use self::reply::{LateReply, Reply};
pub use self::runner::Panicked;
#[doc(hidden)]
pub use self::runner::{CallOutcome, Runner};
#[cfg(feature = "daemon")]
pub(crate) use crate::wire::reply::excerpt;
pub use crate::wire::reply::{CallError, code};
