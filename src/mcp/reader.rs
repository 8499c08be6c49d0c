//! The thread that reads the client's lines.

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::bridge_state::BridgeState;
use super::caller::write_ready;
use super::caller_pool::CallerPool;
use super::translate::Translator;
use crate::dispatch::{CallError, code};
use crate::lifecycle::process_session;
use crate::limits::Limits;
use crate::wire::line::{Line, LineBuffer};
use crate::wire::reply;

/// Most bytes of one read.
const READ_BYTES: usize = 16 << 10;

/// The assistant's process, whose session hooks write to a file.
#[derive(Debug)]
pub(crate) struct HostProcess {
    /// The store's folder.
    pub(crate) store: PathBuf,
    pub(crate) pid: u32,
    /// When the bridge started.
    pub(crate) since: SystemTime,
}

/// Reads lines, answers those that need no daemon, and queues the others.
pub(crate) struct InputReader<W: Write + Send + 'static> {
    state: Arc<BridgeState<W>>,
    callers: CallerPool<W>,
    translator: Translator,
    process: Option<HostProcess>,
}

impl<W: Write + Send + 'static> InputReader<W> {
    pub(crate) fn new(
        state: Arc<BridgeState<W>>,
        translator: Translator,
        process: Option<HostProcess>,
    ) -> InputReader<W> {
        InputReader { callers: CallerPool::new(Arc::clone(&state)), state, translator, process }
    }

    /// Reads until `input` ends or fails, then stops the bridge.
    pub(crate) fn run(mut self, mut input: impl Read) {
        let limit = Limits::default().max_line_bytes;
        let mut lines = LineBuffer::new(limit);
        loop {
            let count = match input.read(lines.room(READ_BYTES)) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    log::warn!("cannot read standard input: {e}");
                    break;
                }
            };
            lines.filled(count);
            self.take_lines(&mut lines, limit);
            // Frees the buffer of a long line.
            lines.give_back(&mut Vec::new());
        }
        lines.ended();
        self.take_lines(&mut lines, limit);
        self.state.output.stop();
    }

    fn take_lines(&mut self, lines: &mut LineBuffer, limit: usize) {
        while let Some(line) = lines.line() {
            match line {
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => self.take(line),
                Line::TooLong => self.state.output.write(|out| {
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
        self.state.activity.fetch_add(1, Ordering::Relaxed);
        let session = |of: &HostProcess| process_session::read(&of.store, of.pid, of.since);
        if let Some(session) = self.process.as_ref().and_then(session) {
            self.translator.set_session(session);
        }
        let actions = self.translator.take(line);
        if self.translator.take_initialized() {
            self.callers.announce();
        }
        match self.state.queue.job(actions, line.len()) {
            Some(job) if job.needs_daemon() => self.callers.push(job),
            Some(job) => self.state.output.write(|out| write_ready(&job, out)),
            None => {}
        }
    }
}
