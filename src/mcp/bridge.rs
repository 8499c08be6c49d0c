//! The loop around the pure part: a thread reads, a few carry out calls, the first one waits for the
//! end and keeps the heartbeat.
//!
//! A caller thread has a connection of its own, so a slow call holds up no other. It is started when
//! a call finds none idle, and ends with its connection after [`IDLE`] without use. A stop, the end
//! of input or of the parent ends the reading; what was received by then is still carried out.

use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::caller::{self, Caller};
use super::calls::{Calls, Job, Ticket, Wanted};
use super::host::Host;
use super::translate::Translator;
use crate::dispatch::{CallError, code};
use crate::lifecycle::heartbeats::{HeartbeatWriter, INTERVAL_SECS};
use crate::limits::Limits;
use crate::sys::{memory, signals};
use crate::wire::line::{Line, LineBuffer};
use crate::wire::reply;

/// Most calls under way at once. Picked: an assistant seldom has more, and the daemon two workers.
const CALLERS: usize = 4;

/// How long a caller and its connection are kept without use, so that the daemon can hibernate
/// (LIFECYCLE.md, Hibernation).
const IDLE: Duration = Duration::from_secs(60);

/// How often the parent is looked for, and whether all is quiet. Picked: mostly the end of input
/// says first that the parent has gone.
const LOOK: Duration = Duration::from_secs(5);

/// Stack of a thread here. Nothing nests: JSON stays text.
const STACK: usize = 128 << 10;

/// Input read at once.
const READ_BYTES: usize = 16 << 10;

/// Output collected before a write: a reply of ordinary size in one piece, and a large one without
/// holding it a second time.
const WRITE_BYTES: usize = 8 << 10;

/// Where the bridge leads to and for whom it stands.
#[derive(Debug)]
pub struct Options {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The store's folder, where the heartbeat is kept; without one there is none.
    pub store: Option<PathBuf>,
    /// What stands in for arguments that a call leaves out.
    pub host: Host,
}

/// What the threads share.
pub(crate) struct Shared<W> {
    pub(crate) socket: PathBuf,
    pub(crate) session: String,
    state: Mutex<State>,
    /// A job waits, or no more will.
    work: Condvar,
    /// A job was taken, or a caller ended.
    room: Condvar,
    output: Mutex<W>,
    /// A byte into it ends the reading.
    end: UnixStream,
    /// Lines read.
    lines: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    calls: Calls,
    opening: Opening,
    callers: usize,
    idle: usize,
    reading: Reading,
}

/// How far the daemon knows of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Opening {
    /// Nobody has sat down yet.
    #[default]
    NotDue,
    Due,
    /// It could not be told; the next call tries again.
    DueWithNextCall,
    Told,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    GoesOn,
    Ended,
}

/// Does the daemon have to be told of the session first?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    First,
    Nothing,
}

/// What says that this process sits here.
struct Heart {
    store: Option<PathBuf>,
    beat: Option<HeartbeatWriter>,
}

/// What a caller does next.
#[derive(Debug)]
pub(crate) enum Next {
    Job(Job, Tell),
    /// Tell the daemon of the session.
    Open,
    /// Nothing came, or nothing more will.
    End,
}

/// Serves a client on `input` and `output` until its input ends, its process does, or a signal comes.
///
/// # Errors
/// Where no thread or signal handler is to be had.
pub fn serve(
    options: Options,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<()> {
    let parent = parent_id();
    memory::keep_little();
    memory::release_code_pages();
    let (ended, end) = UnixStream::pair()?;
    signals::stop_into(&end, &[signals::SIGTERM, signals::SIGINT, signals::SIGHUP])?;
    let shared = Arc::new(Shared {
        socket: options.socket,
        session: options.host.session.clone(),
        state: Mutex::default(),
        work: Condvar::new(),
        room: Condvar::new(),
        output: Mutex::new(output),
        end,
        lines: AtomicU64::new(0),
    });
    let reader = Reader { shared: Arc::clone(&shared), translator: Translator::new(options.host) };
    thread::Builder::new().name("iaid-mcp-reader".into()).stack_size(STACK).spawn(move || reader.read(input))?;
    let mut heart = Heart { store: options.store, beat: None };
    shared.wait_for_the_end(ended, parent, &mut heart)?;
    shared.finish();
    Ok(())
}

impl<W: Write + Send + 'static> Shared<W> {
    /// Blocks until reading is to end. Meanwhile it keeps the heartbeat, and after a while without a
    /// line gives back what the last ones needed.
    fn wait_for_the_end(&self, mut ended: UnixStream, parent: u32, heart: &mut Heart) -> io::Result<()> {
        ended.set_read_timeout(Some(LOOK))?;
        let mut next_beat = Instant::now();
        let (mut seen, mut tidied) = (0, None);
        loop {
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + heart.beat(Timestamp::now());
            }
            match ended.read(&mut [0]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => return Ok(()),
            }
            if parent_id() != parent {
                return Ok(());
            }
            let lines = self.lines.load(Ordering::Relaxed);
            if lines == seen && tidied != Some(lines) {
                memory::give_back();
                memory::release_code_pages();
                tidied = Some(lines);
            }
            seen = lines;
        }
    }

    /// Waits until all that was received is carried out.
    fn finish(&self) {
        let mut state = self.lock();
        state.reading = Reading::Ended;
        self.work.notify_all();
        while state.callers > 0 || state.calls.waiting() > 0 {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the caller that asks does next; it waits for that no longer than `patience`.
    pub(crate) fn next(&self, patience: Duration) -> Next {
        let give_up = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(job) = state.calls.pop() {
                self.room.notify_all();
                return Next::Job(job, state.opening.take());
            }
            if state.opening == Opening::Due {
                state.opening = Opening::Told;
                return Next::Open;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if state.reading == Reading::Ended || left.is_zero() {
                state.callers -= 1;
                self.room.notify_all();
                return Next::End;
            }
            state.idle += 1;
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    /// A caller panicked.
    pub(crate) fn lost_a_caller(&self) {
        self.lock().callers -= 1;
        self.room.notify_all();
    }

    /// The daemon could not be told of the session.
    pub(crate) fn not_told(&self) {
        self.lock().opening = Opening::DueWithNextCall;
    }

    pub(crate) fn wanted(&self, ticket: Ticket) -> Wanted {
        self.lock().calls.wanted(ticket)
    }

    pub(crate) fn close(&self, ticket: Ticket) -> Wanted {
        self.lock().calls.close(ticket)
    }

    /// Writes one reply, whole. A client that takes none any more ends the reading.
    pub(crate) fn write(&self, reply: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffered = BufWriter::with_capacity(WRITE_BYTES, &mut *output);
        let written = reply(&mut buffered).and_then(|()| buffered.flush());
        // What could not be written is not tried again when the buffer goes.
        let (output, _) = buffered.into_parts();
        if let Err(error) = written.and_then(|()| output.flush()) {
            log::debug!("a reply cannot be written: {error}");
            self.end_reading();
        }
    }

    fn end_reading(&self) {
        if let Err(error) = (&self.end).write(&[0]) {
            log::debug!("the end cannot be said: {error}");
        }
    }

    /// Hands a job to a caller, after waiting for room.
    fn push(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        while !state.calls.has_room(&job) {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.calls.push(job);
        self.staff(state);
    }

    /// The session is to be told of.
    fn open(self: &Arc<Self>) {
        let mut state = self.lock();
        state.opening = Opening::Due;
        self.staff(state);
    }

    /// Sees that somebody does what is to be done.
    fn staff(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let tasks = state.calls.waiting() + usize::from(state.opening == Opening::Due);
        if tasks <= state.idle || state.callers == CALLERS {
            return self.work.notify_one();
        }
        state.callers += 1;
        let alone = state.callers == 1;
        drop(state);
        let caller = Caller::new(Arc::clone(self));
        let name = "iaid-mcp-caller".to_owned();
        let started = thread::Builder::new().name(name).stack_size(STACK).spawn(move || caller.run(IDLE));
        match started {
            Ok(_) => {}
            // Better slowly than not at all.
            Err(error) if alone => {
                log::warn!("no thread for calls ({error}): one is carried out at a time");
                Caller::new(Arc::clone(self)).run(Duration::ZERO);
            }
            Err(_) => {
                self.lock().callers -= 1;
                self.work.notify_one();
            }
        }
    }
}

impl Heart {
    /// Writes the first heartbeat, or the next one, and gives the time until another is due. A store
    /// that is not there is the daemon's to make, and looked for until it is.
    fn beat(&mut self, now: Timestamp) -> Duration {
        let every = Duration::from_secs(INTERVAL_SECS);
        let Some(store) = &self.store else { return every };
        let written = match &mut self.beat {
            Some(beat) => beat.refresh(now),
            none => HeartbeatWriter::start(store, now).map(|beat| *none = Some(beat)),
        };
        match written {
            Ok(()) => every,
            Err(error) => {
                log::debug!("no heartbeat in {}: {error}", store.display());
                LOOK
            }
        }
    }
}

impl Opening {
    /// What a caller with a job does about it; from then on it is done.
    fn take(&mut self) -> Tell {
        match self {
            Opening::NotDue | Opening::Told => Tell::Nothing,
            Opening::Due | Opening::DueWithNextCall => {
                *self = Opening::Told;
                Tell::First
            }
        }
    }
}

struct Reader<W> {
    shared: Arc<Shared<W>>,
    translator: Translator,
}

impl<W: Write + Send + 'static> Reader<W> {
    fn read(mut self, mut input: impl Read) {
        let limit = Limits::default().max_line_bytes;
        let mut lines = LineBuffer::new(limit);
        loop {
            let count = match input.read(lines.room(READ_BYTES)) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    log::warn!("standard input cannot be read: {e}");
                    break;
                }
            };
            lines.filled(count);
            self.take_lines(&mut lines, limit);
            // A long line's storage is not kept.
            lines.give_back(&mut Vec::new());
        }
        lines.ended();
        self.take_lines(&mut lines, limit);
        self.shared.end_reading();
    }

    fn take_lines(&mut self, lines: &mut LineBuffer, limit: usize) {
        while let Some(line) = lines.line() {
            match line {
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => self.take(line),
                Line::TooLong => self.shared.write(|out| {
                    let message = format!("line exceeds {limit} bytes; send less at once");
                    let mut reply = Vec::new();
                    reply::error(&mut reply, None, &CallError { code: code::INVALID_REQUEST, message });
                    out.write_all(&reply)
                }),
            }
            lines.consume();
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.shared.lines.fetch_add(1, Ordering::Relaxed);
        let steps = self.translator.take(line);
        if self.translator.sat_down() {
            self.shared.open();
        }
        let job = self.shared.lock().calls.job(steps, line.len());
        match job {
            Some(job) if job.needs_daemon() => self.shared.push(job),
            Some(job) => self.shared.write(|out| caller::write_ready(&job, out)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;

    const TOPOLOGY: &[u8] = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"topology"}}"#;

    fn shared(socket: PathBuf) -> Arc<Shared<Vec<u8>>> {
        Arc::new(Shared {
            socket,
            session: "s".into(),
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            output: Mutex::default(),
            end: UnixStream::pair().unwrap().1,
            lines: AtomicU64::new(0),
        })
    }

    #[test]
    fn a_caller_tells_of_the_session_first_and_closes_its_connection_when_nothing_comes() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let daemon = thread::spawn(move || {
            let mut peer = BufReader::new(listener.accept().unwrap().0);
            let mut seen = Vec::new();
            for reply in [&b"{\"ok\":true}\n"[..], b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n", b""] {
                let mut line = String::new();
                peer.read_line(&mut line).unwrap();
                seen.push(line);
                peer.get_mut().write_all(reply).unwrap();
            }
            seen
        });
        let shared = shared(folder.path().join("s"));
        let mut translator = Translator::new(Host { session: "s".into(), project: None });
        {
            let mut state = shared.lock();
            let job = state.calls.job(translator.take(TOPOLOGY), TOPOLOGY.len()).unwrap();
            state.calls.push(job);
            state.opening = Opening::Due;
            state.callers = 1;
        }
        Caller::new(Arc::clone(&shared)).run(Duration::ZERO);
        let seen = daemon.join().unwrap();
        assert_eq!(seen[0], "{\"type\":\"session_open\",\"session_id\":\"s\"}\n");
        assert!(seen[1].contains("\"method\":\"topology\""), "{}", seen[1]);
        assert_eq!(seen[2], "", "the connection is closed");
        let state = shared.lock();
        assert_eq!((state.callers, state.opening), (0, Opening::Told));
        drop(state);
        let said = String::from_utf8(shared.output.lock().unwrap().clone()).unwrap();
        assert!(said.starts_with("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{") && said.ends_with("}\n"), "{said}");
    }

    #[test]
    fn a_session_that_cannot_be_told_of_is_due_with_the_next_call_alone() {
        let folder = tempfile::tempdir().unwrap();
        // A path too long is no matter of patience.
        let shared = shared(folder.path().join("x".repeat(200)));
        {
            let mut state = shared.lock();
            state.opening = Opening::Due;
            state.callers = 1;
        }
        Caller::new(Arc::clone(&shared)).run(Duration::ZERO);
        assert_eq!(shared.lock().opening, Opening::DueWithNextCall);
    }
}
