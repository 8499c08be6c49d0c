//! The conversation of two sides over a pipe: a greeting of each, then numbered lines with a checksum.
//!
//! The side that was started by a person speaks first, and from then on the sides take turns, so neither waits for the
//! other to read. At most one batch of entries is on the way.

use std::io::{self, Write};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cli::support::lines::{LineReader, RawLine};
use crate::cli::sync::frame;

/// The version of the protocol and of the folder's format.
pub(crate) const FORMAT: u64 = 1;

/// The key by which a greeting is recognized.
const GREETING_KEY: &[u8] = b"\"iaid_sync\":";

/// Lines and bytes before the greeting that are skipped: a shell's start files may print something. Picked.
const MAX_BANNER_LINES: u64 = 1000;
const MAX_BANNER_BYTES: u64 = 256 << 10;

/// Longest name of a peer, in characters: the longest name of a host.
const MAX_NAME_CHARS: usize = 253;

/// Why the conversation ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PipeEnd {
    /// It was closed before the greeting.
    Silent,
    /// What was read is no greeting; with what it begins.
    NoGreeting(String),
    /// The other side has another version of the protocol: its own, and its program's.
    Version(u64, String),
    /// It was closed, or cut within a line.
    Closed,
    /// A line was damaged on the way, or is missing.
    Damaged,
    /// The other side says that it failed.
    Failed(String),
    /// The system's error.
    Io(io::ErrorKind),
}

/// The other side, as it has introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerGreeting {
    /// The id of its store.
    pub(crate) store: String,
    /// The name of its machine.
    pub(crate) name: String,
    /// Lines that were skipped before it, and the first of them.
    pub(crate) skipped: u64,
    pub(crate) first_skipped: String,
}

/// A message of the other side.
pub(crate) struct PeerMessage {
    line: Vec<u8>,
    pub(crate) about: Value,
}

impl PeerMessage {
    pub(crate) fn entries(&self) -> Vec<&RawValue> {
        frame::decode(&self.line).map(|frame| frame.entries).unwrap_or_default()
    }
}

/// Both directions of the pipe.
pub(crate) struct Pipe {
    lines: LineReader,
    out: Box<dyn Write>,
    sent: u64,
    received: u64,
}

impl Pipe {
    pub(crate) fn new(mut lines: LineReader, out: Box<dyn Write>) -> Pipe {
        lines.stops_at_long = true;
        Pipe { lines, out, sent: 0, received: 0 }
    }

    /// Sends the greeting: the store and this machine's name, or why there will be no sync.
    ///
    /// # Errors
    /// [`PipeEnd::Closed`] if nobody reads it.
    pub(crate) fn greet(&mut self, store: &str, name: &str, error: Option<&str>) -> Result<(), PipeEnd> {
        self.write(&format!("{}\n", greeting(store, name, error)))
    }

    /// Reads the greeting of the other side.
    ///
    /// # Errors
    /// [`PipeEnd`] but `Damaged`.
    pub(crate) fn greeted(&mut self) -> Result<PeerGreeting, PipeEnd> {
        let (mut skipped, mut first) = (0, String::new());
        loop {
            let line = match self.next_line() {
                Ok(line) => line,
                Err(PipeEnd::Closed) if skipped == 0 => return Err(PipeEnd::Silent),
                Err(PipeEnd::Closed) => return Err(PipeEnd::NoGreeting(first)),
                Err(error) => return Err(error),
            };
            if is_greeting(&line) {
                return read_greeting(&line).map(|(store, name)| PeerGreeting {
                    store,
                    name,
                    skipped,
                    first_skipped: first,
                });
            }
            if skipped == 0 {
                first = String::from_utf8_lossy(&line).chars().take(100).collect();
            }
            skipped += 1;
            if skipped > MAX_BANNER_LINES || self.lines.bytes > MAX_BANNER_BYTES {
                return Err(PipeEnd::NoGreeting(first));
            }
        }
    }

    /// Sends a message. `entries` is the text of a JSON array.
    ///
    /// # Errors
    /// [`PipeEnd::Closed`] if nobody reads it.
    pub(crate) fn send(&mut self, about: &Value, entries: &str) -> Result<(), PipeEnd> {
        self.sent += 1;
        let line = frame::encode(self.sent, about, entries).map_err(|_| PipeEnd::Io(io::ErrorKind::InvalidData))?;
        self.write(&line)
    }

    /// Reads the next message. Lines that the pipe has doubled are skipped.
    ///
    /// # Errors
    /// [`PipeEnd::Closed`], [`PipeEnd::Damaged`], [`PipeEnd::Failed`], [`PipeEnd::Io`].
    pub(crate) fn receive(&mut self) -> Result<PeerMessage, PipeEnd> {
        loop {
            let line = self.next_line()?;
            if self.received == 0 && is_greeting(&line) {
                continue;
            }
            let (n, about) = match frame::decode(&line) {
                Some(frame) => (frame.n, frame.about),
                None => return Err(PipeEnd::Damaged),
            };
            if n <= self.received {
                continue;
            }
            if n != self.received + 1 {
                return Err(PipeEnd::Damaged);
            }
            self.received = n;
            if let Some(error) = about["error"].as_str() {
                return Err(PipeEnd::Failed(error.to_owned()));
            }
            return Ok(PeerMessage { line, about });
        }
    }

    fn next_line(&mut self) -> Result<Vec<u8>, PipeEnd> {
        match self.lines.next_raw() {
            Ok(None) => Err(PipeEnd::Closed),
            Ok(Some(_)) if self.lines.is_cut_off => Err(PipeEnd::Closed),
            Ok(Some(RawLine::Bytes(line))) => Ok(line),
            Ok(Some(RawLine::TooLong)) => Err(PipeEnd::Damaged),
            Err(error) => Err(PipeEnd::Io(error.kind())),
        }
    }

    fn write(&mut self, line: &str) -> Result<(), PipeEnd> {
        match self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(PipeEnd::Closed),
            written => written.map_err(|error| PipeEnd::Io(error.kind())),
        }
    }
}

/// Returns the greeting as JSON.
pub(crate) fn greeting(store: &str, name: &str, error: Option<&str>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let mut greeting = json!({"iaid_sync": FORMAT, "version": version, "store": store, "name": name});
    if let Some(error) = error {
        greeting["error"] = error.into();
    }
    greeting
}

/// Returns true if the daemon takes this for the id of a store.
pub(crate) fn is_store_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_greeting(line: &[u8]) -> bool {
    line.starts_with(b"{") && memchr::memmem::find(line, GREETING_KEY).is_some()
}

/// Reads a greeting: the store's id and the machine's name.
fn read_greeting(line: &[u8]) -> Result<(String, String), PipeEnd> {
    let shown = || String::from_utf8_lossy(line).chars().take(100).collect();
    let greeting: Value = serde_json::from_slice(line).map_err(|_| PipeEnd::NoGreeting(shown()))?;
    let text = |key: &str| greeting[key].as_str().unwrap_or_default();
    match greeting["iaid_sync"].as_u64() {
        Some(FORMAT) => {}
        Some(other) => return Err(PipeEnd::Version(other, text("version").to_owned())),
        None => return Err(PipeEnd::NoGreeting(shown())),
    }
    if let Some(error) = greeting["error"].as_str() {
        return Err(PipeEnd::Failed(error.to_owned()));
    }
    if !is_store_id(text("store")) {
        return Err(PipeEnd::NoGreeting(shown()));
    }
    let name = text("name").chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    Ok((text("store").to_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    use crate::cli::sync::frame::MAX_FRAME_BYTES;

    #[test]
    fn a_line_that_does_not_end_is_not_read_to_its_end() {
        let greeting = format!("{}\n", greeting(&"a".repeat(32), "desk", None));
        for (before, is_greeted) in [("", false), (greeting.as_str(), true)] {
            let endless = io::Cursor::new(before.to_owned()).chain(io::repeat(b'x').take(1 << 30));
            let mut pipe = Pipe::new(LineReader::new(Box::new(endless), MAX_FRAME_BYTES), Box::new(io::sink()));
            assert_eq!(pipe.greeted().is_ok(), is_greeted);
            let end = if is_greeted { pipe.receive().err() } else { pipe.greeted().err() };
            assert_eq!(end, Some(PipeEnd::Damaged));
        }
    }
}
