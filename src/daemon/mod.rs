//! The daemon: the server, with the memory behind it and the lifecycle beside it.

mod control_plane;
mod idle_release;
mod journal_queue;
mod quiet_hours;
mod rem_cycle;
mod socket_watch;
mod spool_watch;
mod status;
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
use crate::limits::{self, Limits};
use crate::memory::Memory;
use crate::serve::{Server, stdio};
use crate::sys::fd_limit;
use crate::sys::inherited::Inherited;
use crate::sys::listener::Listener;
use crate::sys::notify::Notifier;
use crate::sys::signals::{self, SIGHUP, SIGINT, SIGTERM};

use self::control_plane::{DaemonPlane, Parts};

/// Where to listen, unless a listener was inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this descriptor, whatever was inherited.
    Fd(i32),
    /// On a socket of our own at this path.
    Path(PathBuf),
    /// Only where a listener was inherited: no path is known, for this reason.
    Nowhere(String),
}

/// How to run.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The folder of the store and the state files.
    pub store: PathBuf,
    /// When it gets drowsy, sleeps and hibernates.
    pub thresholds: Thresholds,
    /// How often it is looked, while awake, for deferred captures and whether the socket is in its place.
    pub look_every: Duration,
    /// How long after the last request memory is given back.
    pub rest_after: Duration,
    /// The bounds; [`Limits::max_connections`] is set from the next field.
    pub limits: Limits,
    /// Connections at once; by default what the descriptors allow.
    pub max_connections: Option<usize>,
}

/// Why the daemon cannot start, or could not go on: a sentence with the way out.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Serves until a signal stops it; with an inherited listener also until it has nothing left to do and
/// nobody is there.
///
/// # Errors
/// Why it could not start or go on.
pub fn serve(
    options: DaemonOptions,
    listen: Listen,
    inherited: Inherited,
    notifier: Notifier,
) -> Result<(), StartError> {
    let stop = stop_signals().map_err(because("signals cannot be caught"))?;
    outlive_file_limit().map_err(because("signals cannot be caught"))?;
    let limits = fit_to_descriptors(&options)?;
    let listener = open_listener(listen, inherited)?;
    let memory = Memory::open(&options.store).map_err(|e| StartError(e.to_string()))?;
    let plane = DaemonPlane::new(Parts {
        store: options.store,
        records: memory.records(),
        night: memory.night(),
        notifier,
        thresholds: options.thresholds,
        place: listener.place(),
        look_every: options.look_every,
        rest_after: options.rest_after,
    });
    let server = Server::new(listener, memory).map_err(because("no event queue is to be had"))?;
    let server = server.limits(limits).plane(plane).stop_when_readable(stop);
    log::info!("iaid {} is ready", env!("CARGO_PKG_VERSION"));
    server.run().map_err(because("the event loop ended"))?;
    log::info!("stopped");
    Ok(())
}

/// Serves standard input and output until the input ends.
///
/// # Errors
/// Why it could not start, or read and write.
pub fn serve_stdio(options: DaemonOptions) -> Result<(), StartError> {
    outlive_file_limit().map_err(because("signals cannot be caught"))?;
    let memory = Memory::open(&options.store).map_err(|e| StartError(e.to_string()))?;
    // Files of our own: the standard library's handles have locks and buffers, and others hold them.
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let (input, output) = (io::stdin(), io::stdout());
    own(input.as_fd())
        .and_then(|input| stdio::serve(&memory, &options.limits, input, own(output.as_fd())?))
        .map_err(because("standard input and output cannot be served"))
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
            let listener = Listener::bind(&path).map_err(|e| StartError(e.to_string()))?;
            log::info!("listening on {}", path.display());
            Ok(listener)
        }
    }
}

fn fit_to_descriptors(options: &DaemonOptions) -> Result<Limits, StartError> {
    let descriptors = fd_limit::raise().map_err(because("the limit of file descriptors cannot be read"))?;
    let workers = options.limits.workers;
    let most = limits::most_connections(descriptors, workers);
    let wanted = options.max_connections.unwrap_or_else(|| limits::connections_for(descriptors, workers));
    if wanted > most {
        log::warn!("--max-connections {wanted} is more than {descriptors} file descriptors allow: {most} are served");
    }
    Ok(Limits { max_connections: wanted.min(most), ..options.limits.clone() })
}

/// The end of a pipe that becomes readable at the first SIGTERM or SIGINT. A second one ends the
/// process at once, with status 1, whatever it is doing. SIGHUP does nothing: its default would end
/// a daemon whose terminal closes.
fn stop_signals() -> io::Result<OwnedFd> {
    let (readable, writable) = UnixStream::pair()?;
    signals::stop_into(&writable, &[SIGTERM, SIGINT])?;
    signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false)))?;
    Ok(readable.into())
}

/// Makes a write over RLIMIT_FSIZE an error of that write, as a full disk is, instead of the
/// process's end (setrlimit(2)).
fn outlive_file_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}
