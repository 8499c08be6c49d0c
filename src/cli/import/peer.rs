//! `iaid import --from`: reads the records of a running daemon of iai-mcp 3 over its socket.
//!
//! `memory_temporal_recall` with a time in the future returns all of its records in plain text: text, time, tier and tags,
//! of which `role:NAME` says whose words they are. The sessions of the newest turns are those of `episodes_recent`; of
//! other records the session is not known. A record is recognized by its id there, so a repeated import finds it even
//! once its session is not known any more.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::importer::{Importer, RowOrigin};
use super::slices::{Slice, Slices};
use crate::cli::support::console::Console;
use crate::cli::support::error::{CliError, Exit};
use crate::client::{Client, ClientError, Policy, ReplyFault, UnreachableReason};
use crate::memory::spool::SEALED;
use crate::transcript::TurnOrigin;
use crate::transcript::row::{RecordMetadata, records};
use crate::wire::reply::code;

/// Longest reply. Their clients read lines of up to this length, too.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// Turns whose sessions are asked for: the most that the method returns.
const MAX_TURN_COUNT: u32 = 1000;

const RECORDS_METHOD: &str = "memory_temporal_recall";

/// A daemon of iai-mcp, and what of it is still to be read.
pub(crate) struct PeerDaemon {
    client: Client,
    /// Sessions by the ids of records.
    sessions: HashMap<String, String>,
    pub(crate) slices: Slices,
}

/// The result of a method that returns records or turns.
#[derive(Deserialize)]
struct PeerResult<'a> {
    #[serde(borrow, alias = "turns")]
    hits: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Only a daemon of this program has it.
    #[serde(borrow)]
    truncated: Option<&'a RawValue>,
}

impl PeerDaemon {
    /// Connects to the daemon that listens on `socket`. `own` is the socket of the daemon that stores the records.
    ///
    /// # Errors
    /// [`CliError::Peer`] with a sentence if it does not answer as iai-mcp does.
    pub(crate) fn open(socket: &Path, own: &Path, timeout: Duration) -> Result<PeerDaemon, CliError> {
        let shown = socket.display();
        if let Ok(metadata) = fs::metadata(socket) {
            if !metadata.file_type().is_socket() {
                let what = format!("{shown} is no socket; import a file or folder with: iaid import {shown}");
                return Err(CliError::Peer(what, Exit::Failed));
            }
            if fs::metadata(own).is_ok_and(|own| (own.dev(), own.ino()) == (metadata.dev(), metadata.ino())) {
                let what = format!(
                    "{shown} is also the socket that the records are to be stored through; start iaid on another one \
                     with iaid serve --socket PATH, and name that one here: iaid --socket PATH import --from {shown}"
                );
                return Err(CliError::Peer(what, Exit::Failed));
            }
        }
        let policy = Policy {
            reply_timeout: timeout,
            wait_for_restart: Duration::ZERO,
            max_reply_bytes: MAX_REPLY_BYTES,
            ..Policy::default()
        };
        let slices = Slices::new(None, 0);
        let mut peer = PeerDaemon { client: Client::new(socket, policy), sessions: HashMap::new(), slices };
        let count = peer.optional("status_light", &json!({}))?;
        let count = count.and_then(|reply| serde_json::from_str::<Value>(reply.get()).ok()?["N"].as_u64());
        peer.slices = Slices::new(count, Timestamp::now().as_microsecond());
        if let Some(reply) = peer.optional("episodes_recent", &json!({"n": MAX_TURN_COUNT}))? {
            peer.sessions = peer.entries("episodes_recent", &reply)?.into_iter().filter_map(session_of).collect();
        }
        Ok(peer)
    }

    /// Calls a method that the daemon may lack.
    fn optional(&mut self, method: &str, params: &Value) -> Result<Option<Box<RawValue>>, CliError> {
        match self.client.call(method, params) {
            Ok(reply) => Ok(Some(reply)),
            Err(ClientError::Refused { .. } | ClientError::BadReply { fault: ReplyFault::TooLong { .. }, .. }) => {
                Ok(None)
            }
            Err(error) => Err(self.failed(method, &error)),
        }
    }

    /// Returns the reply with the next records; `None` if all were read. `report` is given what cannot be read. Each
    /// record of the reply is then to be passed to [`Slices::take`], and the reply ended by [`Slices::end_page`].
    ///
    /// # Errors
    /// [`CliError::Peer`] if there is no such reply.
    pub(crate) fn next(&mut self, mut report: impl FnMut(String)) -> Result<Option<Box<RawValue>>, CliError> {
        while let Some(Slice { since, until }) = self.slices.next() {
            let mut params = json!({"as_of": time_text(until), "limit": self.slices.limit});
            if let Some(since) = since {
                params["changed_since"] = time_text(since).into();
            }
            match self.client.call(RECORDS_METHOD, &params) {
                Ok(reply) => return Ok(Some(reply)),
                Err(ClientError::BadReply { fault: ReplyFault::TooLong { .. }, .. }) => {
                    self.slices.too_long().into_iter().for_each(&mut report);
                }
                Err(error) => return Err(self.failed(RECORDS_METHOD, &error)),
            }
        }
        Ok(None)
    }

    /// Returns the records of a reply.
    ///
    /// # Errors
    /// [`CliError::Peer`] if it has another shape.
    pub(crate) fn records<'r>(&self, reply: &'r RawValue) -> Result<Vec<&'r RawValue>, CliError> {
        self.entries(RECORDS_METHOD, reply)
    }

    fn entries<'r>(&self, method: &str, reply: &'r RawValue) -> Result<Vec<&'r RawValue>, CliError> {
        let path = self.client.path().display();
        let what = match serde_json::from_str::<PeerResult<'_>>(reply.get()) {
            Ok(PeerResult { truncated: Some(_), .. }) => format!(
                "the daemon on {path} is an iaid; import from it with: iaid --socket {path} export - | iaid import -"
            ),
            Ok(PeerResult { hits: Some(entries), .. }) => return Ok(entries),
            Ok(PeerResult { error: Some(error), .. }) => format!("the daemon on {path} refused {method}: {error}"),
            _ => format!("the daemon on {path} answers {method} in another form than iai-mcp 3 does"),
        };
        Err(CliError::Peer(what, Exit::Failed))
    }

    /// Reads a record of a reply and returns its rows; `None` if an earlier reply had it.
    ///
    /// # Errors
    /// A message if it cannot be imported.
    pub(crate) fn rows(&mut self, record: &RawValue) -> Option<Result<Vec<Box<RawValue>>, String>> {
        let text = record.get();
        let record: Value = match serde_json::from_str(text) {
            Ok(record) => record,
            Err(error) => {
                return self.slices.take(text, None).then(|| Err(format!("it is no valid text: {error}")));
            }
        };
        let id = record["id"].as_str().filter(|id| !id.is_empty());
        let at = record["created_at"].as_str().and_then(parse_time);
        let is_new = self.slices.take(id.unwrap_or(text), at.map(Timestamp::as_microsecond));
        is_new.then(|| rows_of(&record, id.unwrap_or_default(), at, &self.sessions))
    }

    /// Returns the error of a call, as a sentence about this daemon.
    fn failed(&self, method: &str, error: &ClientError) -> CliError {
        let path = self.client.path().display();
        let start = "start that daemon with: iai-mcp daemon start";
        let what = match error {
            ClientError::Unreachable { why, .. } => match why {
                UnreachableReason::NoSocket => format!("there is no socket at {path}; {start}"),
                UnreachableReason::NotListening => format!("no process listens on {path}; {start}"),
                UnreachableReason::PermissionDenied => {
                    format!("no permission to use {path}; run this as the user of that daemon")
                }
                UnreachableReason::NoReply(time) | UnreachableReason::NotAccepted(time) => format!(
                    "the daemon on {path} did not reply to {method} within {time:?}; it is busy or stuck: try again \
                     later, or with a longer --timeout"
                ),
                UnreachableReason::ConnectionLost => {
                    format!("the daemon on {path} closed the connection before its reply to {method}; its log says why")
                }
                UnreachableReason::PathTooLong { limit, .. } => {
                    format!("the path {path} is too long for a socket: the system takes {limit} bytes")
                }
                UnreachableReason::Io(kind) => format!("cannot connect to {path}: {kind}"),
            },
            ClientError::Refused { code: code::UNKNOWN_METHOD, message } => {
                format!("the daemon on {path} is no iai-mcp 3: {message}; update it, or import transcripts instead")
            }
            ClientError::Refused { message, .. } => format!("the daemon on {path} refused {method}: {message}"),
            ClientError::BadReply { fault: ReplyFault::Truncated, .. } => {
                format!("the daemon on {path} closed the connection within its reply to {method}; its log says why")
            }
            ClientError::BadReply { .. } | ClientError::Unsendable(_) => format!(
                "the program on {path} is no daemon of iai-mcp: its reply to {method} is not JSON-RPC 2.0; name that \
                 daemon's socket"
            ),
        };
        let is_unreachable = matches!(error, ClientError::Unreachable { .. });
        CliError::Peer(what, if is_unreachable { Exit::Unreachable } else { Exit::Failed })
    }
}

impl Importer<'_> {
    /// Imports the records of a daemon of iai-mcp. If it fails, those that it returned before are stored.
    pub(crate) fn daemon(
        &mut self,
        path: Rc<Path>,
        peer: &mut PeerDaemon,
        console: &mut Console,
    ) -> Result<(), CliError> {
        let mut origin = RowOrigin { path, line: 0 };
        let outcome = self.replies(&mut origin, peer, console);
        self.finish(console)?;
        outcome?;
        self.tally.files = 1;
        let read = peer.slices.read;
        if let Some(count) = peer.slices.expected.filter(|count| *count > read) {
            self.warn(&origin.path, &format!("it counts {count} records and returned {read}"), console);
        }
        Ok(())
    }

    fn replies(
        &mut self,
        origin: &mut RowOrigin,
        peer: &mut PeerDaemon,
        console: &mut Console,
    ) -> Result<(), CliError> {
        while let Some(reply) = peer.next(|what| self.unreadable(&origin.path, &what, console))? {
            self.bytes += reply.get().len() as u64;
            // The newest is first; in the order of time, the records of a session are neighbors.
            for record in peer.records(&reply)?.into_iter().rev() {
                let Some(rows) = peer.rows(record) else { continue };
                origin.line += 1;
                match rows {
                    Ok(rows) => self.add(rows, origin, console)?,
                    Err(what) => self.refuse(origin, &what, console),
                }
                self.progress.show(self.bytes, self.tally.new + self.tally.known, Instant::now(), console);
            }
            if let Some(what) = peer.slices.end_page() {
                self.unreadable(&origin.path, &what, console);
            }
        }
        Ok(())
    }
}

/// Returns the record's id and session of a turn.
fn session_of(turn: &RawValue) -> Option<(String, String)> {
    let turn: Value = serde_json::from_str(turn.get()).ok()?;
    let session = turn["session_id"].as_str().filter(|session| !session.is_empty())?;
    Some((turn["record_id"].as_str()?.to_owned(), session.to_owned()))
}

fn rows_of(
    record: &Value,
    id: &str,
    at: Option<Timestamp>,
    sessions: &HashMap<String, String>,
) -> Result<Vec<Box<RawValue>>, String> {
    let text = record["literal_surface"].as_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Err(format!("the record {id} has no text"));
    }
    if text.starts_with(SEALED) {
        return Err(format!("the record {id} is encrypted, and that daemon has no key for it"));
    }
    let tags = record["tags"].as_array().into_iter().flatten();
    let role = match tags.filter_map(Value::as_str).find_map(|tag| tag.strip_prefix("role:")) {
        Some("user") => "user",
        // A record without a role was written by that daemon or by an assistant.
        Some("assistant") | None => "assistant",
        Some(_) => "system",
    };
    let tier = match record["tier"].as_str() {
        Some("working") => "working",
        Some("semantic" | "semantic_pruned") => "semantic",
        Some("procedural") => "procedural",
        Some("parametric") => "parametric",
        _ => "episodic",
    };
    // As in a transcript, whose turns are recognized by their time to the millisecond.
    let ts = at.and_then(|at| Timestamp::from_millisecond(at.as_millisecond()).ok()).map(|at| at.to_string());
    let turn = TurnOrigin { id: Some(id.to_owned()).filter(|id| !id.is_empty()), ..TurnOrigin::default() };
    let metadata = RecordMetadata {
        role,
        tier: Some(tier),
        session_id: sessions.get(id).map(String::as_str),
        ts: ts.as_deref(),
        turn: Some((&turn, None)),
        ..RecordMetadata::default()
    };
    let mut rows = Vec::new();
    records(text, &metadata, &mut rows);
    Ok(rows)
}

/// Parses a time; without an offset it is in UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

fn time_text(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_row_with_what_its_shape_tells() {
        let sessions = HashMap::from([("u1".to_owned(), "monday".to_owned())]);
        for (record, want) in [
            (
                json!({"id": "u1", "literal_surface": "Tea is at five.", "tier": "episodic", "score": 0.0,
                    "created_at": "2026-05-01T10:00:00.123456+00:00", "updated_at": "2026-05-02T10:00:00+00:00",
                    "tags": ["capture", "role:user", "entity:tea"], "language": "en"}),
                json!({"kind": "record", "role": "user", "tier": "episodic", "session_id": "monday",
                    "ts": "2026-05-01T10:00:00.123Z", "turn": {"id": "u1"}, "text": "Tea is at five."}),
            ),
            (
                json!({"id": "u2", "literal_surface": "noted", "tier": "semantic_pruned", "tags": ["role:tool"],
                    "created_at": "2026-05-01T12:00:00+02:00"}),
                json!({"kind": "record", "role": "system", "tier": "semantic", "ts": "2026-05-01T10:00:00Z",
                    "turn": {"id": "u2"}, "text": "noted"}),
            ),
            (
                json!({"literal_surface": "a summary", "tier": "x", "created_at": null}),
                json!({"kind": "record", "role": "assistant", "tier": "episodic", "turn": {}, "text": "a summary"}),
            ),
        ] {
            let id = record["id"].as_str().unwrap_or_default();
            let at = record["created_at"].as_str().and_then(parse_time);
            let rows = rows_of(&record, id, at, &sessions).unwrap();
            let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row.get()).unwrap()).collect();
            assert_eq!(rows, [want]);
        }
        for text in [json!(""), json!(" \n"), json!(null), json!(5), json!("iai:enc:v1:AAEC")] {
            let refused = rows_of(&json!({"literal_surface": text}), "u3", None, &sessions).unwrap_err();
            assert!(refused.contains("u3"), "{refused}");
        }
    }

    #[test]
    fn times_with_and_without_an_offset_are_parsed() {
        for text in ["2026-05-01T10:00:00+00:00", "2026-05-01T10:00:00", "2026-05-01 10:00:00Z"] {
            assert_eq!(parse_time(text).unwrap().to_string(), "2026-05-01T10:00:00Z", "{text}");
        }
        assert_eq!(parse_time("yesterday"), None);
        assert_eq!(time_text(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
    }
}
