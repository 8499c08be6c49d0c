//! Runs the bridge: starts the reader, keeps the heartbeat, and waits for the end.
//!
//! One thread reads, up to four callers carry out calls over a connection each, so a slow call delays
//! no other, and the thread of [`serve`] waits. The bridge stops when the input ends, the parent
//! process ends, the client stops reading, or a signal is received; jobs received by then are still
//! carried out.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::bridge_state::BridgeState;
use super::caller_pool::STACK_BYTES;
use super::heartbeat::BridgeHeartbeat;
use super::host::{Host, SessionSource};
use super::output::ClientOutput;
use super::reader::{HostProcess, InputReader};
use super::tools::ToolSet;
use super::translate::Translator;
use crate::sys::{memory, signals};

/// How often the main thread checks for the end of the parent process and for idleness. Picked: the end
/// of the input usually comes first when the parent ends.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The daemon and the host of a bridge.
#[derive(Debug)]
pub struct BridgeOptions {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The store's folder, where the heartbeat file is kept. Without one there is no heartbeat.
    pub store: Option<PathBuf>,
    /// The values of session and project for calls that leave them out.
    pub host: Host,
    /// The tools that are offered.
    pub tools: ToolSet,
}

/// Serves a client on `input` and `output` until the bridge stops.
///
/// # Errors
/// The operating system's, if a thread, a socket pair or the signal handlers cannot be created.
pub fn serve(
    options: BridgeOptions,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<()> {
    let parent = parent_id();
    memory::keep_little();
    memory::release_code_pages();
    let (stopped, stop) = UnixStream::pair()?;
    signals::stop_into(&stop, &[signals::SIGTERM, signals::SIGINT, signals::SIGHUP])?;
    let output = ClientOutput::new(output, stop);
    let state = Arc::new(BridgeState::new(options.socket, options.host.session.clone(), output));
    let process = options.store.clone().filter(|_| options.host.session_source == SessionSource::ClaudeCode);
    let process = process.map(|store| HostProcess { store, pid: parent, since: SystemTime::now() });
    let reader = InputReader::new(Arc::clone(&state), Translator::new(options.host, options.tools), process);
    thread::Builder::new().name("iaid-mcp-reader".into()).stack_size(STACK_BYTES).spawn(move || reader.run(input))?;
    wait_for_stop(&state, stopped, parent, BridgeHeartbeat::new(options.store))?;
    state.queue.finish();
    Ok(())
}

/// Blocks until the bridge stops. Meanwhile it refreshes the heartbeat, and releases free memory once a
/// poll interval has passed without activity.
fn wait_for_stop<W>(
    state: &BridgeState<W>,
    mut stopped: UnixStream,
    parent: u32,
    mut heartbeat: BridgeHeartbeat,
) -> io::Result<()> {
    stopped.set_read_timeout(Some(POLL_INTERVAL))?;
    let mut next_beat = Instant::now();
    let (mut last_seen, mut released_at) = (0, None);
    loop {
        if Instant::now() >= next_beat {
            next_beat = Instant::now() + heartbeat.refresh(Timestamp::now(), POLL_INTERVAL);
        }
        match stopped.read(&mut [0]) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return Ok(()),
        }
        if parent_id() != parent {
            return Ok(());
        }
        let activity = state.activity.load(Ordering::Relaxed);
        if activity == last_seen && released_at != Some(activity) {
            memory::give_back();
            memory::release_code_pages();
            released_at = Some(activity);
        }
        last_seen = activity;
    }
}
