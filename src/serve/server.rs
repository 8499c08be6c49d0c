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
use crate::serve::event::WAKER;
use crate::serve::event_loop::EventLoop;
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
    /// Creates a server with the default limits and no control plane.
    ///
    /// # Errors
    /// Those of creating an event queue (epoll or kqueue) and its waker.
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
    /// Sets the limits. Values out of range are clamped: at least [`MIN_WORKERS`] workers, at most [`MAX_CONNECTIONS`]
    /// connections, lines of at most [`MAX_LINE_BYTES`], and at least 1 for the limits of a turn, a batch and the
    /// output mark.
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

    /// Sets the control plane, which answers control messages.
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

    /// Stops the server when this descriptor becomes readable, for instance the read end of a pipe that a signal
    /// handler writes to.
    pub fn stop_when_readable(mut self, fd: OwnedFd) -> Server<D, P> {
        self.stop_fd = Some(fd);
        self
    }

    /// Returns a handle that stops the server.
    pub fn handle(&self) -> Handle {
        Handle { waker: Arc::clone(&self.waker), stop_asked: Arc::clone(&self.stop_asked) }
    }

    /// Serves on this thread until it is asked to stop, and then until the requests that were read are answered
    /// or [`Limits::drain_timeout`] is over. Workers run under SCHED_BATCH (Linux, sched(7)), so waking one does not
    /// preempt the loop, unless this thread has a scheduling policy other than the default.
    ///
    /// # Errors
    /// Those of starting the worker threads, of registering the listener, and of waiting for events. No peer can cause
    /// them.
    pub fn run(self) -> io::Result<()> {
        let waker = self.waker;
        let notify = move || {
            if let Err(e) = waker.wake() {
                log::error!("cannot wake the event loop: {e}");
            }
        };
        let budget = MemoryBudget::new(&self.limits);
        let core = Core {
            pool: Pool::start(Arc::clone(&self.dispatch), &self.limits, Arc::clone(budget.replies()), notify)?,
            dispatch: self.dispatch,
            plane: self.plane,
            commands: LoopCommands::new(),
            registry: self.poll.registry().try_clone()?,
            budget,
            metrics: Metrics::new(),
            now: Now::read(),
            storage: Storage::default(),
            limits: self.limits,
        };
        EventLoop::new(self.poll, core, Acceptor::new(self.listener), self.stop_fd, self.stop_asked)?.run()
    }
}

impl Handle {
    /// Asks the server to stop. Later calls have no effect.
    ///
    /// # Errors
    /// Those of waking the event loop.
    pub fn stop(&self) -> io::Result<()> {
        self.stop_asked.store(true, Ordering::SeqCst);
        self.waker.wake()
    }
}
