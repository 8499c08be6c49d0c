//! A server: a listener and a [`Dispatch`], with the loop between them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Poll, Waker};

use crate::dispatch::Dispatch;
use crate::limits::{Limits, MAX_CONNECTIONS, MAX_LINE_BYTES, MIN_WORKERS};
use crate::serve::acceptor::Acceptor;
use crate::serve::connection::Core;
use crate::serve::control_plane::{ControlPlane, LoopCommands, Now, Unwired};
use crate::serve::event_loop::{EventLoop, WAKER};
use crate::serve::memory_budget::MemoryBudget;
use crate::serve::metrics::Metrics;
use crate::serve::pool::Pool;
use crate::sys::listener::Listener;
use crate::wire::session::Storage;

/// A server that has not started yet.
///
/// ```no_run
/// # use iaid::dispatch::{Dispatch, Pace, Params, Reply};
/// # struct Echo;
/// # impl Dispatch for Echo {
/// #     type Worker = ();
/// #     fn worker(&self) {}
/// #     fn method(&self, _: &str) -> Option<Pace> { None }
/// #     fn call(&self, _: &mut (), _: &str, _: Params<'_>, _: Reply<'_>) {}
/// # }
/// use iaid::serve::Server;
/// use iaid::sys::listener::Listener;
///
/// let listener = Listener::bind("/run/user/1000/echo.sock".as_ref())?;
/// Server::new(listener, Echo)?.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server<D: Dispatch, P: ControlPlane = Unwired> {
    poll: Poll,
    waker: Arc<Waker>,
    listener: Listener,
    dispatch: Arc<D>,
    plane: P,
    limits: Limits,
    stop_fd: Option<OwnedFd>,
    stop_asked: Arc<AtomicBool>,
}

/// Stops a running server from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    waker: Arc<Waker>,
    stop_asked: Arc<AtomicBool>,
}

impl<D: Dispatch> Server<D> {
    /// A server with the default limits and no control plane.
    ///
    /// # Errors
    /// The system's, where no event queue is to be had.
    pub fn new(listener: Listener, dispatch: D) -> io::Result<Server<D>> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Server {
            poll,
            waker,
            listener,
            dispatch: Arc::new(dispatch),
            plane: Unwired,
            limits: Limits::default(),
            stop_fd: None,
            stop_asked: Arc::new(AtomicBool::new(false)),
        })
    }
}

impl<D: Dispatch, P: ControlPlane> Server<D, P> {
    /// Serves within these limits. Fewer than [`MIN_WORKERS`] workers, more than [`MAX_CONNECTIONS`]
    /// connections or lines of more than [`MAX_LINE_BYTES`] are not to be had, and no bound of a turn or
    /// of the output that lets nothing move: those are at least 1.
    pub fn limits(mut self, limits: Limits) -> Server<D, P> {
        self.limits = Limits {
            max_line_bytes: limits.max_line_bytes.min(MAX_LINE_BYTES),
            workers: limits.workers.max(MIN_WORKERS),
            max_connections: limits.max_connections.min(MAX_CONNECTIONS),
            output_mark_bytes: limits.output_mark_bytes.max(1),
            turn_bytes: limits.turn_bytes.max(1),
            turn_lines: limits.turn_lines.max(1),
            turn_accepts: limits.turn_accepts.max(1),
            batch_calls: limits.batch_calls.max(1),
            ..limits
        };
        self
    }

    /// Answers control messages with this plane.
    pub fn plane<Q: ControlPlane>(self, plane: Q) -> Server<D, Q> {
        Server {
            plane,
            poll: self.poll,
            waker: self.waker,
            listener: self.listener,
            dispatch: self.dispatch,
            limits: self.limits,
            stop_fd: self.stop_fd,
            stop_asked: self.stop_asked,
        }
    }

    /// Stops when this descriptor becomes readable, for instance the end of a pipe that a signal
    /// handler writes to.
    pub fn stop_when_readable(mut self, fd: OwnedFd) -> Server<D, P> {
        self.stop_fd = Some(fd);
        self
    }

    /// A handle that stops the server.
    pub fn handle(&self) -> Handle {
        Handle { waker: Arc::clone(&self.waker), stop_asked: Arc::clone(&self.stop_asked) }
    }

    /// Serves on this thread until it is told to stop, and then until what it had read is answered
    /// or [`Limits::drain_timeout`] is over. Its workers take the processor from nobody when they are woken, unless
    /// this thread has a scheduling policy of its own (Linux: SCHED_BATCH, sched(7)).
    ///
    /// # Errors
    /// The system's, where threads cannot be started or waiting for events fails. Nothing that a
    /// peer does leads there.
    pub fn run(self) -> io::Result<()> {
        let waker = self.waker;
        let notify = move || {
            if let Err(e) = waker.wake() {
                log::error!("the loop cannot be woken: {e}");
            }
        };
        let core = Core {
            pool: Pool::start(Arc::clone(&self.dispatch), &self.limits, notify)?,
            dispatch: self.dispatch,
            plane: self.plane,
            commands: LoopCommands::new(),
            registry: self.poll.registry().try_clone()?,
            budget: MemoryBudget::default(),
            metrics: Metrics::new(),
            now: Now::read(),
            storage: Storage::default(),
            limits: self.limits,
        };
        EventLoop::new(self.poll, core, Acceptor::new(self.listener), self.stop_fd, self.stop_asked)?.run()
    }
}

impl Handle {
    /// Asks the server to stop. Asking again changes nothing.
    ///
    /// # Errors
    /// The system's, where the loop cannot be woken.
    pub fn stop(&self) -> io::Result<()> {
        self.stop_asked.store(true, Ordering::SeqCst);
        self.waker.wake()
    }
}
