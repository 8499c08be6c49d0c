//! The store of this side: the daemon's methods for a sync, over its socket.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::cli::support::error::CliError;
use crate::client::{Client, ClientError, Policy};
use crate::wire::members::Members;
use crate::wire::reply::code;

const CHANGES: &str = "sync_changes";
const APPLY: &str = "sync_apply";
const PEERS: &str = "sync_peers";
const MET: &str = "sync_met";

/// The `kind` of an entry that says that a record was forgotten.
const FORGOTTEN: &str = "forgotten";

/// The kinds of peers: one at the other end of a pipe, and one whose file is in a folder.
pub(crate) const HOST: &str = "host";
pub(crate) const FOLDER: &str = "folder";

/// Most bytes of entries that are asked for at once. 512 KiB: with its envelope half of the daemon's longest line.
const BATCH_BYTES: u32 = 512 << 10;

/// The daemon of this side.
pub(crate) struct LocalStore<'c> {
    client: &'c mut Client,
    /// The id of its store.
    pub(crate) id: String,
    /// What this store has been synced with, as `sync_peers` lists it.
    pub(crate) peers: Vec<Value>,
}

/// Entries of the store, in the order in which it learned of them.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The text of a JSON array.
    pub(crate) entries: Box<RawValue>,
    /// The cursor behind these entries.
    pub(crate) next: String,
    /// True if there are no more.
    pub(crate) is_last: bool,
    /// The number of entries from the cursor on that was asked for, if it is known.
    pub(crate) total: Option<u64>,
    /// The number of entries that say that a record was forgotten, in the whole log as it is now.
    pub(crate) forgotten: u64,
}

impl Changes {
    /// Returns the number of entries, and how many of them say that a record was forgotten.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let entries: Vec<&RawValue> = serde_json::from_str(self.entries.get()).unwrap_or_default();
        let forgotten = entries.iter().filter(|entry| is_forgetting(entry)).count();
        (entries.len() as u64, forgotten as u64)
    }
}

/// How entries are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApplyMode {
    /// They change the store. Too many that forget records are refused.
    Apply,
    /// They change the store, whatever they forget.
    ApplyConfirmed,
    /// They are only counted.
    DryRun,
}

#[derive(Serialize)]
struct ApplyParams<'a> {
    peer: Option<&'a str>,
    entries: &'a [&'a RawValue],
    confirmed: bool,
    dry_run: bool,
}

/// Returns the policy of a sync: no reply timeout, since a store that forgets is rewritten, which takes long.
pub(crate) fn policy() -> Policy {
    Policy { reply_timeout: std::time::Duration::MAX, ..Policy::default() }
}

impl LocalStore<'_> {
    /// Asks the daemon which store it has, and which it has been synced with.
    ///
    /// # Errors
    /// [`CliError::Client`] if the daemon does not answer or knows no sync, [`CliError::Reply`] for another shape.
    pub(crate) fn open(client: &mut Client) -> Result<LocalStore<'_>, CliError> {
        let reply = peers(client)?;
        let id = reply["store"].as_str().unwrap_or_default().to_owned();
        let peers = reply["peers"].as_array().cloned().unwrap_or_default();
        Ok(LocalStore { client, id, peers })
    }

    /// Returns the entries behind a cursor, or from the beginning. Leaves out those that were learned from `peer`.
    /// Returns `None` if the store has no such cursor: it is that of another store, or this one was replaced by an
    /// older copy.
    ///
    /// # Errors
    /// As [`LocalStore::open`].
    pub(crate) fn changes(&mut self, since: Option<&str>, peer: Option<&str>) -> Result<Option<Changes>, CliError> {
        let params = json!({"since": since, "peer": peer, "max_bytes": BATCH_BYTES});
        let reply = match self.client.call(CHANGES, &params) {
            Err(ClientError::Refused { code: code::INVALID_PARAMS, .. }) if since.is_some() => return Ok(None),
            reply => reply?,
        };
        let failed = |error| CliError::Reply(CHANGES, error);
        let members = Members::read(reply.get()).map_err(failed)?;
        let member = |key: &str| members.value(key).map_or("null", RawValue::get);
        Ok(Some(Changes {
            entries: serde_json::from_str(member("entries")).map_err(failed)?,
            next: serde_json::from_str(member("next")).map_err(failed)?,
            is_last: member("done") == "true",
            total: member("total").parse().ok(),
            forgotten: serde_json::from_str(member("forgotten")).map_err(failed)?,
        }))
    }

    /// Gives entries to the daemon, those of the store `peer`. Returns the counts. Entries that do not fit into a line
    /// of the daemon are halved; a single one is refused.
    ///
    /// # Errors
    /// [`CliError::Client`] with the daemon's error; nothing of these entries is written then, unless they were halved.
    pub(crate) fn apply(
        &mut self,
        peer: Option<&str>,
        entries: &[&RawValue],
        mode: ApplyMode,
    ) -> Result<Vec<Value>, CliError> {
        let (confirmed, dry_run) = (mode == ApplyMode::ApplyConfirmed, mode == ApplyMode::DryRun);
        match self.client.call(APPLY, &ApplyParams { peer, entries, confirmed, dry_run }) {
            Ok(reply) => Ok(vec![serde_json::from_str(reply.get()).map_err(|error| CliError::Reply(APPLY, error))?]),
            Err(ClientError::Refused { code: code::INVALID_REQUEST, message }) => match entries.len() {
                0 | 1 => Ok(vec![json!({"refused": [{"index": 0, "reason": message}]})]),
                count => {
                    let (first, second) = entries.split_at(count / 2);
                    let mut replies = self.apply(peer, first, mode)?;
                    replies.extend(self.apply(peer, second, mode)?);
                    Ok(replies)
                }
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers that a peer was met now, and the cursors or file positions that are given.
    ///
    /// # Errors
    /// [`CliError::Client`] with the daemon's error.
    pub(crate) fn met(&mut self, row: &Value) -> Result<(), CliError> {
        Ok(self.client.call(MET, row).map(drop)?)
    }

    /// Returns the number of records.
    ///
    /// # Errors
    /// [`CliError::Client`] if the daemon does not answer.
    pub(crate) fn records(&mut self) -> Result<u64, CliError> {
        let status = self.client.control(&json!({"type": "status"}))?;
        let status: Value = serde_json::from_str(status.get()).map_err(|error| CliError::Reply("status", error))?;
        Ok(status["records"].as_u64().unwrap_or(0))
    }

    /// Returns the newest row of a peer at the other end of a pipe, under any name.
    pub(crate) fn newest_row(&self, peer: &str) -> Option<&Value> {
        let rows = self.peers.iter().filter(|row| row["peer"] == peer && row["kind"] == HOST);
        rows.max_by(|a, b| a["met"].as_str().cmp(&b["met"].as_str()))
    }

    /// Returns the row of the store `writer` in a folder.
    pub(crate) fn row_in_folder(&self, writer: &str, folder: &str) -> Option<&Value> {
        self.peers.iter().find(|row| row["peer"] == writer && row["kind"] == FOLDER && row["name"] == folder)
    }

    /// Returns the stored positions in the files of the store `writer` in a folder, by their names.
    pub(crate) fn marks_in_folder(&self, writer: &str, folder: &str) -> Map<String, Value> {
        let text = self.row_in_folder(writer, folder).and_then(|row| row["received"].as_str());
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// Returns the reply to `sync_peers`.
///
/// # Errors
/// As [`LocalStore::open`].
pub(crate) fn peers(client: &mut Client) -> Result<Value, CliError> {
    let reply = client.call(PEERS, &json!({}))?;
    serde_json::from_str(reply.get()).map_err(|error| CliError::Reply(PEERS, error))
}

/// Returns true if the entry says that a record was forgotten.
pub(crate) fn is_forgetting(entry: &RawValue) -> bool {
    Members::read(entry.get()).is_ok_and(|members| members.string("kind").as_deref() == Some(FORGOTTEN))
}
