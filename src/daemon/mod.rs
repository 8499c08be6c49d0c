//! The daemon: starts the server with the memory as its dispatch and the lifecycle as its control plane.

mod clock;
mod control_plane;
mod idle_release;
mod journal_queue;
mod quiet_hours;
mod rem_cycle;
mod service_notifier;
pub(crate) mod socket_owner;
mod socket_watch;
mod spool_watch;
mod status;
mod status_writer;
mod task;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::signal::SIGXFSZ;

use crate::lifecycle::machine::Thresholds;
use crate::lifecycle::user_zone;
use crate::limits::{self, Limits};
use crate::memory::Memory;
use crate::serve::{Server, stdio};
use crate::sys::fd_limit;
use crate::sys::inherited::Inherited;
use crate::sys::listener::Listener;
use crate::sys::notify::Notifier;
use crate::sys::signals::{self, SIGHUP, SIGINT, SIGTERM};

use self::control_plane::{DaemonControlPlane, Parts};

/// Where the daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this descriptor, even if a listener was inherited.
    Fd(i32),
    /// On the inherited listener, or else on a new socket at this path.
    Path(PathBuf),
    /// On the inherited listener only. The text says why no path is known.
    Nowhere(String),
}

/// The daemon's options.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The folder of the store and the state files.
    pub store: PathBuf,
    /// The lifecycle's thresholds.
    pub thresholds: Thresholds,
    /// The interval, while awake, of the checks for deferred captures and of the socket's path.
    pub check_interval: Duration,
    /// The time after which a recall answers with what it has read so far. 250 ms by default.
    pub recall_limit: Option<Duration>,
    /// The idle time after which memory is released.
    pub release_after: Duration,
    /// The server's limits. [`Limits::max_connections`] is replaced by the value of the next field.
    pub limits: Limits,
    /// Maximum connections. By default as many as the file descriptor limit allows.
    pub max_connections: Option<usize>,
}

/// An error that ends the daemon, as a sentence with what to do.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Serves until SIGTERM or SIGINT. With an inherited listener it also returns at the end of hibernation.
///
/// # Errors
/// [`StartError`] if the signal handlers, the listener, the store or the event queue cannot be set up, or if
/// the event loop fails.
pub fn serve(
    options: DaemonOptions,
    listen: Listen,
    inherited: Inherited,
    notifier: Notifier,
) -> Result<(), StartError> {
    let stop = stop_signals().map_err(because("cannot install the signal handlers"))?;
    survive_file_size_limit().map_err(because("cannot install the signal handlers"))?;
    let limits = fit_to_descriptors(&options)?;
    let listener = open_listener(listen, inherited)?;
    let memory = open_memory(&options)?;
    let plane = DaemonControlPlane::new(Parts {
        store: options.store,
        records: memory.records(),
        assistants: memory.assistants(),
        maintenance: memory.maintenance(),
        forgetting: memory.forgetting(),
        notifier,
        thresholds: options.thresholds,
        socket: listener.bound_path(),
        check_interval: options.check_interval,
        release_after: options.release_after,
    });
    let server = Server::new(listener, memory).map_err(because("cannot create the event queue"))?;
    let server = server.limits(limits).plane(plane).stop_when_readable(stop);
    log::info!("iaid {} is ready", env!("CARGO_PKG_VERSION"));
    server.run().map_err(because("the event loop failed"))?;
    log::info!("stopped");
    Ok(())
}

/// Serves standard input and output until the input ends.
///
/// # Errors
/// [`StartError`] if the store cannot be opened, or if reading or writing fails.
pub fn serve_stdio(options: DaemonOptions) -> Result<(), StartError> {
    survive_file_size_limit().map_err(because("cannot install the signal handlers"))?;
    let memory = open_memory(&options)?;
    // Duplicated descriptors: the standard library's handles have locks and buffers of their own.
    let duplicate = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let (input, output) = (io::stdin(), io::stdout());
    duplicate(input.as_fd())
        .and_then(|input| stdio::serve(&memory, &options.limits, input, duplicate(output.as_fd())?))
        .map_err(because("cannot serve standard input and output"))
}

/// Opens the store; times in a question are read in the time zone of its user.
fn open_memory(options: &DaemonOptions) -> Result<Memory, StartError> {
    let memory = Memory::open(&options.store).map_err(|e| StartError(e.to_string()))?;
    let memory = memory.in_zone(user_zone::of(&options.store));
    Ok(match options.recall_limit {
        Some(limit) => memory.recall_limit(limit),
        None => memory,
    })
}

fn because(what: &str) -> impl FnOnce(io::Error) -> StartError {
    move |e| StartError(format!("{what}: {e}"))
}

fn open_listener(listen: Listen, inherited: Inherited) -> Result<Listener, StartError> {
    let inherited = match listen {
        Listen::Fd(_) => None,
        _ => inherited.listener().map_err(|e| StartError(e.to_string()))?,
    };
    if let Some(listener) = inherited {
        log::info!("listening on an inherited socket");
        return Ok(listener);
    }
    match listen {
        Listen::Fd(fd) => Listener::from_fd(fd).map_err(|e| StartError(e.to_string())),
        Listen::Nowhere(why) => Err(StartError(why)),
        Listen::Path(path) => {
            let listener = Listener::bind(&path).map_err(|e| StartError(socket_owner::named(e).to_string()))?;
            log::info!("listening on {}", path.display());
            Ok(listener)
        }
    }
}

fn fit_to_descriptors(options: &DaemonOptions) -> Result<Limits, StartError> {
    let descriptors = fd_limit::raise().map_err(because("cannot read the file descriptor limit"))?;
    let workers = options.limits.workers;
    let most = limits::most_connections(descriptors, workers);
    let wanted = options.max_connections.unwrap_or_else(|| limits::connections_for(descriptors, workers));
    if wanted > most {
        log::warn!("--max-connections {wanted} exceeds what {descriptors} file descriptors allow: {most} are used");
    }
    Ok(Limits { max_connections: wanted.min(most), ..options.limits.clone() })
}

/// Returns the end of a pipe that becomes readable at the first SIGTERM or SIGINT. A second one ends the
/// process at once with status 1. SIGHUP is ignored, because its default ends a daemon whose terminal closes.
fn stop_signals() -> io::Result<OwnedFd> {
    let (readable, writable) = UnixStream::pair()?;
    signals::stop_into(&writable, &[SIGTERM, SIGINT])?;
    signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false)))?;
    Ok(readable.into())
}

/// Makes a write beyond RLIMIT_FSIZE fail with an error, as a full disk does, instead of ending the process
/// (setrlimit(2)).
fn survive_file_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}
