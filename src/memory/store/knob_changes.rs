//! Table `knob_change`: the last change of each knob by each store, of which the latest is the knob's value.

use rusqlite::{Connection, Row};

use crate::memory::store::commit_mark::StoreId;
use crate::memory::store::{change_log, sync_identity};

/// A change of a knob that another store has made or passed on.
#[derive(Debug)]
pub(crate) struct KnobChange {
    pub(crate) knob: &'static str,
    /// The store that has made it.
    pub(crate) store: StoreId,
    /// Grows with each change by that store.
    pub(crate) number: i64,
    /// In microseconds.
    pub(crate) at: i64,
    /// JSON.
    pub(crate) value: String,
}

/// The last change of a knob by a store, as it is stored.
pub(crate) struct StoredChange {
    pub(crate) store: StoreId,
    pub(crate) number: i64,
    pub(crate) at: i64,
    /// JSON.
    pub(crate) value: String,
}

/// Returns the last change of a knob by each store, the earliest first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn of(connection: &Connection, knob: &str) -> Result<Vec<StoredChange>, rusqlite::Error> {
    let sql = "SELECT store, number, at, value FROM knob_change WHERE knob = ?1 ORDER BY at, store";
    let change = |row: &Row<'_>| {
        Ok(StoredChange { store: row.get(0)?, number: row.get(1)?, at: row.get(2)?, value: row.get(3)? })
    };
    connection.prepare_cached(sql)?.query_map([knob], change)?.collect()
}

/// Stores a knob's value, set here at `now`, in microseconds. It is later than each change that is known, whatever the
/// clocks say.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn store_own(connection: &Connection, knob: &str, value: &str, now: i64) -> Result<(), rusqlite::Error> {
    let store = sync_identity::read(connection)?.unwrap_or_default();
    let known = of(connection, knob)?;
    let at = after(&known).max(now);
    let number = known.iter().find(|change| change.store == store).map_or(0, |own| own.number) + 1;
    put_change(connection, knob, &StoredChange { store, number, at, value: value.to_owned() })?;
    publish(connection, knob).map(drop)
}

/// Returns the time just after the latest change.
fn after(known: &[StoredChange]) -> i64 {
    known.last().map_or(i64::MIN, |latest| latest.at.saturating_add(1))
}

/// Merges a change by another store: of each store the last one counts, and of these the latest. A time after `now`, in
/// microseconds, counts as `now`, for all stores from then on; on a clock that is far behind, as just after the latest that
/// is known. Returns the knob's value if that has changed.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn merge(
    connection: &Connection,
    change: &KnobChange,
    now: i64,
    peer: i64,
) -> Result<Option<String>, rusqlite::Error> {
    let KnobChange { knob, store, number, at, value } = change;
    let mut known = of(connection, knob)?;
    let before = known.iter().position(|known| known.store == *store).map(|at| known.remove(at));
    let now = now.max(after(&known));
    let is_news = match before {
        Some(before) => *number > before.number || (*number == before.number && *at.min(&now) < before.at),
        None => true,
    };
    if !is_news {
        return Ok(None);
    }
    // The peer has another time than this store has now.
    let is_corrected = *at > now;
    if is_corrected {
        change_log::set_origin(connection, change_log::HERE)?;
    }
    let stored = StoredChange { store: *store, number: *number, at: now.min(*at), value: value.to_owned() };
    put_change(connection, knob, &stored)?;
    if is_corrected {
        change_log::set_origin(connection, peer)?;
    }
    publish(connection, knob)
}

fn put_change(connection: &Connection, knob: &str, change: &StoredChange) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO knob_change (knob, store, number, at, value) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (knob, store) DO UPDATE
                   SET number = excluded.number, at = excluded.at, value = excluded.value";
    let StoredChange { store, number, at, value } = change;
    connection.prepare_cached(sql)?.execute((knob, store, number, at, value)).map(drop)
}

/// Gives the knob the value of its latest change. Returns it if it is another one than before.
fn publish(connection: &Connection, knob: &str) -> Result<Option<String>, rusqlite::Error> {
    let Some(StoredChange { value, .. }) = of(connection, knob)?.pop() else { return Ok(None) };
    let sql = "INSERT INTO profile (knob, value) VALUES (?1, ?2)
               ON CONFLICT (knob) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";
    let changed = connection.prepare_cached(sql)?.execute((knob, &value))?;
    Ok((changed > 0).then_some(value))
}
