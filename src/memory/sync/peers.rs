//! Other stores that this one has met: `sync_peers`, `sync_met`, and table `sync_peer`.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::model::record::PROJECT_BYTES;
use crate::memory::model::time::UnixMicros;
use crate::memory::params::check_len;
use crate::memory::store::commit_mark::StoreId;
use crate::memory::store::meetings::{self, Meeting};
use crate::memory::store::reader::Reader;
use crate::memory::store::sync_identity;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::task;

/// Most places that are remembered, the latest. Picked: far more than a person has machines and folders.
const KEPT_COUNT: i64 = 1000;

/// Longest name of a place, in bytes: Linux' longest path.
const NAME_BYTES: usize = PROJECT_BYTES;

/// Longest position that is kept for a place, in bytes.
const POSITION_BYTES: usize = 4096;

/// Returns the id of a store in param `name`; `None` if the param is null.
///
/// # Errors
/// -32602 if it is no such id.
pub(crate) fn parse_store(params: &Params<'_>, name: &str) -> Result<Option<StoreId>, CallError> {
    let Some(text) = params.string_opt(name)? else { return Ok(None) };
    let id =
        Uuid::try_parse(&text).map_err(|_| CallError::invalid(name, "the id of a store: 32 hexadecimal digits"))?;
    Ok(Some(id.into_bytes()))
}

/// Returns the number of a store; `None` if it has none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn number_of(connection: &Connection, store: StoreId) -> Result<Option<i64>, rusqlite::Error> {
    let sql = "SELECT number FROM sync_peer WHERE store = ?1";
    connection.prepare_cached(sql)?.query_row([store], |row| row.get(0)).optional()
}

/// Returns the number of a store, which gets one if it has none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn number_or_new(connection: &Connection, store: StoreId) -> Result<i64, rusqlite::Error> {
    if let Some(number) = number_of(connection, store)? {
        return Ok(number);
    }
    connection.prepare_cached("INSERT INTO sync_peer (store) VALUES (?1)")?.execute([store])?;
    Ok(connection.last_insert_rowid())
}

/// Returns how many records a store's present run has made this one forget without confirmation.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn unasked_count(connection: &Connection, number: i64) -> Result<u64, rusqlite::Error> {
    let sql = "SELECT unasked FROM sync_peer WHERE number = ?1";
    let count: Option<i64> = connection.prepare_cached(sql)?.query_row([number], |row| row.get(0)).optional()?;
    Ok(count.unwrap_or(0).unsigned_abs())
}

/// Adds to the number of [`unasked_count`].
///
/// # Errors
/// Any SQLite error.
pub(crate) fn add_unasked(connection: &Connection, number: i64, count: u64) -> Result<(), rusqlite::Error> {
    let sql = "UPDATE sync_peer SET unasked = unasked + ?2 WHERE number = ?1";
    connection.prepare_cached(sql)?.execute((number, count as i64)).map(drop)
}

/// Answers `sync_peers`.
///
/// # Errors
/// -32001 if the store cannot be read.
pub(crate) fn sync_peers(reader: &Reader) -> Result<Value, CallError> {
    let snapshot = reader.snapshot()?;
    let mut peers = Vec::new();
    for Meeting { store, kind, name, met, sent, received } in meetings::all(snapshot.connection())? {
        let peer = Uuid::from_bytes(store).simple().to_string();
        let met = met.to_string();
        peers.push(json!({"peer": peer, "name": name, "kind": kind, "met": met, "sent": sent, "received": received}));
    }
    let store = sync_identity::read(snapshot.connection())?.unwrap_or_default();
    Ok(json!({"store": Uuid::from_bytes(store).simple().to_string(), "peers": peers}))
}

/// What a call of `sync_met` says. A position that is left out stays what it is, null clears it.
struct Met {
    store: StoreId,
    kind: String,
    name: String,
    sent: Option<Option<String>>,
    received: Option<Option<String>>,
    now: UnixMicros,
}

/// Answers `sync_met`, after the commit.
pub(crate) fn sync_met(writer: &Writer, params: &Params<'_>, now: UnixMicros, reply: Reply<'_>) {
    match read_met(params, now) {
        Ok(met) => {
            let reply = reply.later();
            writer.submit(task(
                2 * POSITION_BYTES,
                move |transaction| Ok(store_met(transaction.connection, &met)?),
                |outcome| reply.send(outcome.map(|()| json!({}))),
            ));
        }
        Err(error) => reply.send::<()>(Err(error)),
    }
}

fn read_met(params: &Params<'_>, now: UnixMicros) -> Result<Met, CallError> {
    let store = parse_store(params, "peer")?.ok_or_else(|| CallError::missing("peer"))?;
    let kind = params.string("kind")?;
    if !matches!(&*kind, "host" | "folder") {
        return Err(CallError::invalid("kind", "one of host, folder"));
    }
    let name = params.string("name")?;
    check_len("name", &name, NAME_BYTES)?;
    let position = |key: &str| -> Result<Option<Option<String>>, CallError> {
        if params.raw(key).is_none() {
            return Ok(None);
        }
        let position = params.string_opt(key)?;
        check_len(key, position.as_deref().unwrap_or_default(), POSITION_BYTES)?;
        Ok(Some(position.map(String::from)))
    };
    let (sent, received) = (position("sent")?, position("received")?);
    Ok(Met { store, kind: kind.into_owned(), name: name.into_owned(), sent, received, now })
}

fn store_met(connection: &Connection, met: &Met) -> Result<(), rusqlite::Error> {
    let peer = number_or_new(connection, met.store)?;
    connection.prepare_cached("UPDATE sync_peer SET unasked = 0 WHERE number = ?1")?.execute([peer])?;
    let sql = "INSERT INTO sync_meeting (peer, kind, name, met, sent, received) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (peer, kind, name) DO UPDATE SET met = excluded.met,
                   sent = CASE WHEN ?7 THEN excluded.sent ELSE sent END,
                   received = CASE WHEN ?8 THEN excluded.received ELSE received END";
    connection.prepare_cached(sql)?.execute(rusqlite::params![
        peer,
        met.kind,
        met.name,
        met.now.0,
        met.sent.as_ref().and_then(Option::as_ref),
        met.received.as_ref().and_then(Option::as_ref),
        met.sent.is_some(),
        met.received.is_some(),
    ])?;
    let sql = "DELETE FROM sync_meeting WHERE (peer, kind, name) IN (
                   SELECT peer, kind, name FROM sync_meeting ORDER BY met DESC, peer, kind, name LIMIT -1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute([KEPT_COUNT]).map(drop)
}
