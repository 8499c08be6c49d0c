//! First turns: sessions that were opened and have not recalled yet. The first recall of such a session also shows the
//! newest records of other sessions.
//!
//! They are held in table `first_turn` and in memory. A recall takes its turn in memory, so concurrent recalls take it
//! once, and the store is written after the reply. If the process is killed in between, the turn is shown again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::memory::model::time::UnixMicros;
use crate::memory::store::events::{self, MemoryEvent, Severity};

/// Age at which a first turn expires.
const FIRST_TURN_TTL: Duration = Duration::from_secs(3600);

/// Most first turns: more sessions than one user opens in an hour.
const MAX_FIRST_TURN_COUNT: i64 = 256;

/// Age at which the event of an opened session is deleted: the days that the quiet window is learned from, and a week.
const OPENED_TTL: Duration = Duration::from_secs(35 * 24 * 3600);

/// Longest session id, in characters (the contract of `session_open`); a longer one is cut.
const SESSION_CHARS: usize = 128;

/// The event kind of an opened session.
const OPENED_KIND: &str = "session_opened";

/// The sessions that were opened and have not recalled yet, by id, each with the time it was opened. Shared by all
/// threads; the lock is held for no longer than a map operation.
#[derive(Debug)]
pub(crate) struct FirstTurns(Mutex<BTreeMap<String, UnixMicros>>);

impl FirstTurns {
    /// Loads the pending first turns from the store.
    ///
    /// # Errors
    /// Any error of reading table `first_turn`.
    pub(crate) fn load(connection: &Connection) -> Result<FirstTurns, rusqlite::Error> {
        let mut read = connection.prepare("SELECT session, since FROM first_turn")?;
        let mut rows = read.query([])?;
        let mut turns = BTreeMap::new();
        while let Some(row) = rows.next()? {
            turns.insert(row.get(0)?, UnixMicros(row.get(1)?));
        }
        Ok(FirstTurns(Mutex::new(turns)))
    }

    /// Takes over the first turns of `other`.
    pub(crate) fn replace(&self, other: FirstTurns) {
        *self.turns() = other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// Adds the first turn of a session. Call after [`record_opened`] has committed.
    pub(crate) fn add(&self, session: &str, at: UnixMicros) {
        let mut turns = self.turns();
        turns.retain(|_, since| is_valid(*since, at));
        turns.insert(cut(session), at);
        while turns.len() > MAX_FIRST_TURN_COUNT as usize {
            let oldest = turns.iter().min_by_key(|(_, since)| **since).map(|(session, _)| session.clone());
            oldest.and_then(|session| turns.remove(&session));
        }
    }

    /// Takes the first turn of a session, if it is pending and has not expired.
    pub(crate) fn take(&self, session: &str, now: UnixMicros) -> Option<FirstTurn> {
        let session = cut(session);
        let since = self.turns().remove(&session)?;
        is_valid(since, now).then_some(FirstTurn { session, since })
    }

    /// Undoes [`FirstTurns::take`]: the turn was not shown.
    pub(crate) fn put_back(&self, turn: FirstTurn) {
        self.turns().entry(turn.session).or_insert(turn.since);
    }

    /// Removes the first turn of a session, whose row was deleted.
    pub(crate) fn remove(&self, session: &str) {
        self.turns().remove(&cut(session));
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<String, UnixMicros>> {
        // No code panics while the map is inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A first turn that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstTurn {
    session: String,
    since: UnixMicros,
}

impl FirstTurn {
    /// Deletes the turn from the store.
    ///
    /// # Errors
    /// Any error of writing table `first_turn`.
    pub(crate) fn delete(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        // If the session was opened again since, its new turn stays.
        let sql = "DELETE FROM first_turn WHERE session = ?1 AND since <= ?2";
        connection.prepare_cached(sql)?.execute((&self.session, self.since.0))?;
        Ok(())
    }
}

/// Records that a session was opened: a row for its first turn, and an event from which the quiet window is learned.
/// Deletes expired rows and events.
///
/// # Errors
/// Any error of writing tables `first_turn` and `event`.
pub(crate) fn record_opened(connection: &Connection, session: &str, at: UnixMicros) -> Result<(), rusqlite::Error> {
    let session = cut(session);
    let sql = "INSERT INTO first_turn (session, since) VALUES (?1, ?2)
               ON CONFLICT (session) DO UPDATE SET since = excluded.since";
    connection.prepare_cached(sql)?.execute((&session, at.0))?;
    let sql = "DELETE FROM first_turn WHERE since < ?1 OR session IN (
                   SELECT session FROM first_turn ORDER BY since DESC, session LIMIT -1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute(((at - FIRST_TURN_TTL).0, MAX_FIRST_TURN_COUNT))?;
    let data = json!({"session_id": session});
    let (kind, severity) = (OPENED_KIND, Severity::Info);
    events::add(
        connection,
        &MemoryEvent { kind, severity, domain: None, ts: at, data, session: &session, sources: &[] },
    )?;
    let sql = "DELETE FROM event WHERE kind = ?1 AND ts < ?2";
    connection.prepare_cached(sql)?.execute((OPENED_KIND, (at - OPENED_TTL).0))?;
    Ok(())
}

/// Returns the times at which sessions were opened since `since`, in microseconds since 1970, rising.
///
/// # Errors
/// Any error of reading table `event`.
pub(crate) fn opened_since(connection: &Connection, since: UnixMicros) -> Result<Vec<i64>, rusqlite::Error> {
    let sql = "SELECT ts FROM event WHERE kind = ?1 AND ts >= ?2 ORDER BY ts";
    connection.prepare_cached(sql)?.query_map((OPENED_KIND, since.0), |row| row.get(0))?.collect()
}

/// Returns true if a turn has not expired. A time in the future, as after the clock was set back, is valid.
fn is_valid(since: UnixMicros, now: UnixMicros) -> bool {
    now.since(since) <= FIRST_TURN_TTL
}

/// Returns the name of a session as `session_open` records it.
pub(crate) fn cut(session: &str) -> String {
    session.chars().take(SESSION_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::{Bench, call};
    use serde_json::Value;

    fn at(hours: i64) -> UnixMicros {
        UnixMicros(Bench::NOW.0 + hours * 3_600_000_000)
    }

    fn opened(bench: &Bench, session: &str, at: UnixMicros) {
        bench.memory.maintenance().session_opened(session, at.0, true).unwrap();
    }

    fn recall(bench: &Bench, session: &str) -> Value {
        bench.ok("memory_recall", json!({"cue": "tea", "session_id": session, "project": "/p"}))
    }

    /// Waits for the deferred writes of the last recall, by a write behind them.
    fn settle(bench: &Bench) {
        bench.ok("memory_reinforce", json!({"ids": []}));
    }

    #[test]
    fn the_first_recall_of_a_session_shows_the_newest_records_of_others() {
        let mut bench = Bench::new();
        let texts = [
            ("a", "the tea is at five in the garden", "/p"),
            ("c", "the release is planned for Monday", "/p"),
            ("b", "the weather was bad on the whole", "/q"),
            ("new", "what this session said itself", "/p"),
        ];
        for (session, text, project) in texts {
            bench.capture(text, json!({"session_id": session, "project": project}));
        }
        bench.capture(&"x".repeat(1601), json!({"session_id": "a", "project": "/p"}));
        assert_eq!(recall(&bench, "new").get("first_turn_recall"), None);
        opened(&bench, "new", Bench::NOW);
        assert_eq!(recall(&bench, "other").get("first_turn_recall"), None);
        // The first turn survives a restart.
        bench.restart();
        let first = recall(&bench, "new")["first_turn_recall"].clone();
        let hits = first["hits"].as_array().unwrap();
        let texts: Vec<_> = hits.iter().map(|hit| hit["literal_surface"].as_str().unwrap()).collect();
        assert_eq!(texts, ["the release is planned for Monday", "the weather was bad on the whole"]);
        let rest = json!({"budget_tokens": 400, "budget_used": 14, "warm_lru_size": 2, "warm_lru_source": "daemon"});
        for (key, want) in rest.as_object().unwrap() {
            assert_eq!(&first[key], want, "{key}");
        }
        assert_eq!(recall(&bench, "new").get("first_turn_recall"), None);
        settle(&bench);
        bench.restart();
        assert_eq!(
            recall(&bench, "new").get("first_turn_recall"),
            None,
            "a taken first turn stays taken after a restart"
        );
        opened(&bench, "new", at(0));
        assert!(recall(&bench, "new").get("first_turn_recall").is_some(), "opened again");
    }

    #[test]
    fn one_of_concurrent_recalls_takes_the_first_turn() {
        let bench = Bench::new();
        bench.ok("memory_consolidate", json!({}));
        for _ in 0..20 {
            opened(&bench, "s", Bench::NOW);
            let params = json!({"cue": "tea", "session_id": "s"}).to_string();
            let taken: usize = std::thread::scope(|scope| {
                let one = || call(&bench.memory, "memory_recall", Some(&params)).unwrap();
                let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
                let has = |got: Value| usize::from(got.get("first_turn_recall").is_some());
                all.into_iter().map(|one| has(one.join().unwrap())).sum()
            });
            assert_eq!(taken, 1);
        }
    }

    #[test]
    fn first_turns_expire_after_an_hour_and_their_number_is_bounded() {
        let bench = Bench::new();
        let turns = &bench.memory.session_state.first_turns;
        let long = "é".repeat(200);
        opened(&bench, &long, at(0));
        assert!(turns.take(&long, at(1)).is_some());
        opened(&bench, "s", at(0));
        assert_eq!(turns.take("s", UnixMicros(at(1).0 + 1)), None);
        opened(&bench, "s", at(1));
        assert!(turns.take("s", at(0)).is_some(), "the clock was set back");
        for n in 0..MAX_FIRST_TURN_COUNT + 10 {
            opened(&bench, &n.to_string(), UnixMicros(at(2).0 + n));
        }
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM first_turn WHERE ?1", 1), MAX_FIRST_TURN_COUNT);
        let turns = turns.turns();
        assert_eq!((turns.len() as i64, turns.contains_key("9")), (MAX_FIRST_TURN_COUNT, false));
    }

    #[test]
    fn session_starts_are_kept_for_35_days() {
        let bench = Bench::new();
        let maintenance = bench.memory.maintenance();
        for hours in [-36 * 24, -35 * 24, -24, 0] {
            opened(&bench, "s", at(hours));
        }
        assert_eq!(maintenance.session_starts(i64::MIN), Ok(vec![at(-35 * 24).0, at(-24).0, at(0).0]));
        assert_eq!(maintenance.session_starts(at(-24).0), Ok(vec![at(-24).0, at(0).0]));
        let hidden = bench.ok("events_query", json!({"kind": OPENED_KIND}));
        assert!(hidden["error"].as_str().unwrap().contains("not user-visible"));
        drop(bench);
        assert!(maintenance.session_opened("s", 0, true).is_err() && maintenance.session_starts(0).is_err());
    }
}
