//! The client's end of the bridge's output: whole replies, one thread at a time.

use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// Size of the buffer in front of the client's stream, in bytes: an ordinary reply is one write, and a
/// large one is not held a second time.
const BUFFER_BYTES: usize = 8 << 10;

/// Writes replies to the client, and stops the bridge if the client reads no more.
pub(crate) struct ClientOutput<W> {
    writer: Mutex<W>,
    /// A byte written to it ends the bridge.
    stop: UnixStream,
}

impl<W: Write> ClientOutput<W> {
    pub(crate) fn new(writer: W, stop: UnixStream) -> ClientOutput<W> {
        ClientOutput { writer: Mutex::new(writer), stop }
    }

    /// Writes one whole reply and flushes it. If that fails, the bridge is stopped.
    pub(crate) fn write(&self, reply: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, &mut *writer);
        let written = reply(&mut buffered).and_then(|()| buffered.flush());
        // Taken apart, so that dropping the buffer does not write the rest of a failed reply.
        let (writer, _) = buffered.into_parts();
        if let Err(error) = written.and_then(|()| writer.flush()) {
            log::debug!("cannot write a reply: {error}");
            self.stop();
        }
    }

    /// Makes the main thread stop the bridge.
    pub(crate) fn stop(&self) {
        if let Err(error) = (&self.stop).write(&[0]) {
            log::debug!("cannot wake the main thread: {error}");
        }
    }

    #[cfg(test)]
    pub(crate) fn writer(&self) -> std::sync::MutexGuard<'_, W> {
        self.writer.lock().unwrap()
    }
}
