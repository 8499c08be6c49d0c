//! What waits for somebody who comes back: sessions whose first recall is still to come, and what the
//! nights since the last digest have brought.
//!
//! The store keeps both. What a recall has to know of them before its reply, and must not write, stands
//! in memory beside it: so each is taken once, also by two recalls at the same time, and what was taken is
//! written afterwards. A kill in between lets it be shown again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::memory::consolidation::induce;
use crate::memory::consolidation::step::Report;
use crate::memory::graph::metrics;
use crate::memory::model::time::Moment;
use crate::memory::store::events::{self, Event, Severity};
use crate::memory::store::meta;
use crate::memory::store::tags;

/// Microseconds in an hour.
const HOUR: i64 = 3_600_000_000;

/// A first turn that nobody has taken for this long is forgotten.
const FIRST_TURN_KEPT: i64 = HOUR;

/// First turns that are kept: more sessions than anybody opens in an hour.
const FIRST_TURNS: i64 = 256;

/// Between two digests.
const DIGEST_EVERY: i64 = 18 * HOUR;

/// How long it is kept when a session was opened: what the quiet window is learned from, and a week.
const OPENED_KEPT: i64 = 35 * 24 * HOUR;

/// Longest session id that is kept, in characters (the contract of `session_open`).
const SESSION_CHARS: usize = 128;

/// The event of a session that was opened.
const OPENED: &str = "session_opened";

/// Names in the store.
const DIGEST: &str = "digest";
const DIGEST_SHOWN: &str = "digest_shown";

/// What nights have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Cycles that were finished.
    pub rem_cycles_completed: u64,
    /// Records that they looked at.
    pub episodes_processed: u64,
    /// Patterns that they found.
    pub schemas_induced_tier0: u64,
}

/// What waits. To be read at any time from any thread; only what takes a first turn locks, for moments.
#[derive(Debug)]
pub(crate) struct Morning {
    began: Moment,
    cycles: AtomicU64,
    episodes: AtomicU64,
    schemas: AtomicU64,
    /// When a digest was shown last; `i64::MIN` is never.
    shown: AtomicI64,
    first_turns: Mutex<BTreeMap<String, Moment>>,
}

impl Brought {
    /// What a finished cycle has.
    pub(crate) fn by(reports: &[Report]) -> Brought {
        let count = |name| reports.iter().map(|report| report.counts().of(name)).sum();
        let of = |step, name| {
            let mut steps = reports.iter().filter(|report| report.step() == step);
            steps.next().map_or(0, |report| report.counts().of(name))
        };
        Brought {
            rem_cycles_completed: 1,
            episodes_processed: of("associate", "examined"),
            schemas_induced_tier0: count("induced"),
        }
    }
}

impl Morning {
    /// Reads what waits in the store.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn load(connection: &Connection, now: Moment) -> Result<Morning, rusqlite::Error> {
        let brought = kept(connection)?;
        let mut read = connection.prepare("SELECT session, since FROM first_turn")?;
        let first_turns =
            read.query_map([], |row| Ok((row.get(0)?, Moment(row.get(1)?))))?.collect::<Result<_, _>>()?;
        let shown: Option<i64> = meta::read(connection, DIGEST_SHOWN)?;
        Ok(Morning {
            began: now,
            cycles: AtomicU64::new(brought.rem_cycles_completed),
            episodes: AtomicU64::new(brought.episodes_processed),
            schemas: AtomicU64::new(brought.schemas_induced_tier0),
            shown: AtomicI64::new(shown.unwrap_or(i64::MIN)),
            first_turns: Mutex::new(first_turns),
        })
    }

    /// What waits to be shown; `None` where no cycle was finished since the last digest. Never waits.
    pub(crate) fn brought(&self) -> Option<Brought> {
        let brought = Brought {
            rem_cycles_completed: self.cycles.load(Ordering::Relaxed),
            episodes_processed: self.episodes.load(Ordering::Relaxed),
            schemas_induced_tier0: self.schemas.load(Ordering::Relaxed),
        };
        (brought.rem_cycles_completed > 0).then_some(brought)
    }

    /// A cycle's end, with what it brought, is committed.
    pub(crate) fn ended(&self, brought: Brought) {
        self.episodes.fetch_add(brought.episodes_processed, Ordering::Relaxed);
        self.schemas.fetch_add(brought.schemas_induced_tier0, Ordering::Relaxed);
        self.cycles.fetch_add(brought.rem_cycles_completed, Ordering::Relaxed);
    }

    /// Takes the digest, if there is one and none was shown for 18 hours.
    pub(crate) fn take_digest(&self, now: Moment) -> Option<Brought> {
        self.brought()?;
        let shown = self.shown.load(Ordering::Relaxed);
        // One that was shown in the future, but for two recalls side by side, is a clock's that was set back.
        let since = now.0.saturating_sub(shown);
        if (-HOUR..DIGEST_EVERY).contains(&since) {
            return None;
        }
        self.shown.compare_exchange(shown, now.0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(Brought {
            rem_cycles_completed: self.cycles.swap(0, Ordering::Relaxed),
            episodes_processed: self.episodes.swap(0, Ordering::Relaxed),
            schemas_induced_tier0: self.schemas.swap(0, Ordering::Relaxed),
        })
    }

    /// That a session was opened is committed.
    pub(crate) fn opened(&self, session: &str, at: Moment) {
        let mut turns = self.turns();
        turns.retain(|_, since| is_kept(*since, at));
        turns.insert(cut(session), at);
        while turns.len() > FIRST_TURNS as usize {
            let oldest = turns.iter().min_by_key(|(_, since)| **since).map(|(session, _)| session.clone());
            oldest.and_then(|session| turns.remove(&session));
        }
    }

    /// Takes the first turn of a session, if it is still to come.
    pub(crate) fn take_first_turn(&self, session: &str, now: Moment) -> Option<FirstTurn> {
        let session = cut(session);
        let since = self.turns().remove(&session)?;
        is_kept(since, now).then_some(FirstTurn { session, since })
    }

    /// They were not shown after all.
    pub(crate) fn put_back(&self, turn: Option<FirstTurn>, brought: Option<Brought>) {
        if let Some(FirstTurn { session, since }) = turn {
            self.turns().entry(session).or_insert(since);
        }
        if let Some(brought) = brought {
            self.shown.store(i64::MIN, Ordering::Relaxed);
            self.ended(brought);
        }
    }

    /// The digest as a reply has it; with nothing in it where `brought` is none.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn digest(
        &self,
        connection: &Connection,
        brought: Option<Brought>,
        now: Moment,
    ) -> Result<Value, rusqlite::Error> {
        let Some(brought) = brought else { return Ok(digest(Brought::default(), None, None, 0)) };
        let insight = match brought.schemas_induced_tier0 {
            0 => None,
            _ => newest_pattern(connection)?,
        };
        let hours = now.0.saturating_sub(self.began.0).max(0) / HOUR;
        Ok(digest(brought, insight, metrics::last_sigma(connection)?, hours))
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<String, Moment>> {
        // Nothing panics between two consistent states.
        self.first_turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's first turn, taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstTurn {
    session: String,
    since: Moment,
}

impl FirstTurn {
    /// Keeps that it is taken.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn forget(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        // A session that was opened again meanwhile has another one.
        let sql = "DELETE FROM first_turn WHERE session = ?1 AND since <= ?2";
        connection.prepare_cached(sql)?.execute((&self.session, self.since.0))?;
        Ok(())
    }
}

/// The digest of a reply.
pub(crate) fn nothing() -> Value {
    digest(Brought::default(), None, None, 0)
}

/// Keeps that a session was opened: for its first turn, and for the quiet window.
///
/// # Errors
/// The database's.
pub(crate) fn keep_opened(connection: &Connection, session: &str, at: Moment) -> Result<(), rusqlite::Error> {
    let session = cut(session);
    let sql = "INSERT INTO first_turn (session, since) VALUES (?1, ?2)
               ON CONFLICT (session) DO UPDATE SET since = excluded.since";
    connection.prepare_cached(sql)?.execute((&session, at.0))?;
    let sql = "DELETE FROM first_turn WHERE since < ?1 OR session IN (
                   SELECT session FROM first_turn ORDER BY since DESC, session LIMIT -1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute((at.0 - FIRST_TURN_KEPT, FIRST_TURNS))?;
    let data = json!({"session_id": session});
    let (kind, severity) = (OPENED, Severity::Info);
    events::add(connection, &Event { kind, severity, domain: None, ts: at, data, session: &session, sources: &[] })?;
    let sql = "DELETE FROM event WHERE kind = ?1 AND ts < ?2";
    connection.prepare_cached(sql)?.execute((OPENED, at.0 - OPENED_KEPT))?;
    Ok(())
}

/// When sessions were opened since then, the first one first.
///
/// # Errors
/// The database's.
pub(crate) fn opened_since(connection: &Connection, since: Moment) -> Result<Vec<i64>, rusqlite::Error> {
    let sql = "SELECT ts FROM event WHERE kind = ?1 AND ts >= ?2 ORDER BY ts";
    connection.prepare_cached(sql)?.query_map((OPENED, since.0), |row| row.get(0))?.collect()
}

/// Adds what a finished cycle has brought.
///
/// # Errors
/// The database's.
pub(crate) fn keep_ended(connection: &Connection, more: Brought) -> Result<(), rusqlite::Error> {
    let old = kept(connection)?;
    let sum = Brought {
        rem_cycles_completed: old.rem_cycles_completed + more.rem_cycles_completed,
        episodes_processed: old.episodes_processed + more.episodes_processed,
        schemas_induced_tier0: old.schemas_induced_tier0 + more.schemas_induced_tier0,
    };
    meta::keep(connection, DIGEST, json!(sum).to_string())
}

/// Keeps that this was shown. What was brought since then waits on.
///
/// # Errors
/// The database's.
pub(crate) fn keep_shown(connection: &Connection, shown: Brought, at: Moment) -> Result<(), rusqlite::Error> {
    let old = kept(connection)?;
    let rest = Brought {
        rem_cycles_completed: old.rem_cycles_completed.saturating_sub(shown.rem_cycles_completed),
        episodes_processed: old.episodes_processed.saturating_sub(shown.episodes_processed),
        schemas_induced_tier0: old.schemas_induced_tier0.saturating_sub(shown.schemas_induced_tier0),
    };
    meta::keep(connection, DIGEST, json!(rest).to_string())?;
    meta::keep(connection, DIGEST_SHOWN, at.0)
}

fn kept(connection: &Connection) -> Result<Brought, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, DIGEST)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn newest_pattern(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let Some(seq) = tags::with(connection, tags::PATTERN, 1)?.pop() else { return Ok(None) };
    let mut read = connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?;
    let text: Option<String> = read.query_row([seq], |row| row.get(0)).optional()?;
    Ok(text.map(|text| text.strip_prefix(induce::BEGINNING).map_or(text.clone(), str::to_owned)))
}

fn digest(brought: Brought, insight: Option<String>, sigma: Option<f64>, hours: i64) -> Value {
    json!({
        "rem_cycles_completed": brought.rem_cycles_completed,
        "episodes_processed": brought.episodes_processed,
        "schemas_induced_tier0": brought.schemas_induced_tier0,
        "claude_call_used": false,
        "quota_used_pct": 0.0,
        "main_insight_text": insight,
        "sigma_observed": sigma,
        "s5_drift_alerts": [],
        "daemon_uptime_hours": hours,
        "timed_out_cycles": 0,
    })
}

/// Times to come, as after a clock was set back, are just now.
fn is_kept(since: Moment, now: Moment) -> bool {
    now.0.saturating_sub(since.0) <= FIRST_TURN_KEPT
}

fn cut(session: &str) -> String {
    session.chars().take(SESSION_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::{Bench, call};

    fn at(hours: i64) -> Moment {
        Moment(Bench::NOW.0 + hours * HOUR)
    }

    fn opened(bench: &Bench, session: &str, at: Moment) {
        bench.memory.night().session_opened(session, at.0).unwrap();
    }

    fn recall(bench: &Bench, session: &str) -> Value {
        bench.ok("memory_recall", json!({"cue": "tea", "session_id": session, "project": "/p"}))
    }

    /// A job behind what the last recall has handed in.
    fn settled(bench: &Bench) {
        bench.ok("memory_reinforce", json!({"ids": []}));
    }

    #[test]
    fn the_first_recall_of_a_session_says_where_things_stood() {
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
        // Over a restart, too.
        bench.restart();
        let first = recall(&bench, "new")["first_turn_recall"].clone();
        let hits = first["hits"].as_array().unwrap();
        let texts: Vec<_> = hits.iter().map(|hit| hit["literal_surface"].as_str().unwrap()).collect();
        assert_eq!(texts, ["the release is planned for Monday", "the weather was bad on the whole"]);
        let rest = json!({"budget_tokens": 400, "budget_used": 17, "warm_lru_size": 2, "warm_lru_source": "daemon"});
        for (key, want) in rest.as_object().unwrap() {
            assert_eq!(&first[key], want, "{key}");
        }
        assert_eq!(recall(&bench, "new").get("first_turn_recall"), None);
        settled(&bench);
        bench.restart();
        assert_eq!(recall(&bench, "new").get("first_turn_recall"), None, "that it was taken is kept");
        opened(&bench, "new", at(0));
        assert!(recall(&bench, "new").get("first_turn_recall").is_some(), "opened again");
    }

    #[test]
    fn of_many_recalls_at_once_one_has_it() {
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
    fn a_first_turn_is_forgotten_after_an_hour_and_there_are_not_too_many() {
        let bench = Bench::new();
        let morning = &bench.memory.morning;
        let long = "é".repeat(200);
        opened(&bench, &long, at(0));
        assert!(morning.take_first_turn(&long, at(1)).is_some());
        opened(&bench, "s", at(0));
        assert_eq!(morning.take_first_turn("s", Moment(at(1).0 + 1)), None);
        opened(&bench, "s", at(1));
        assert!(morning.take_first_turn("s", at(0)).is_some(), "the clock was set back");
        for n in 0..FIRST_TURNS + 10 {
            opened(&bench, &n.to_string(), Moment(at(2).0 + n));
        }
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM first_turn WHERE ?1", 1), FIRST_TURNS);
        let turns = morning.turns();
        assert_eq!((turns.len() as i64, turns.contains_key("9")), (FIRST_TURNS, false));
    }

    #[test]
    fn starts_are_kept_for_a_while() {
        let bench = Bench::new();
        let night = bench.memory.night();
        for hours in [-36 * 24, -35 * 24, -24, 0] {
            opened(&bench, "s", at(hours));
        }
        assert_eq!(night.session_starts(i64::MIN), Ok(vec![at(-35 * 24).0, at(-24).0, at(0).0]));
        assert_eq!(night.session_starts(at(-24).0), Ok(vec![at(-24).0, at(0).0]));
        let hidden = bench.ok("events_query", json!({"kind": OPENED}));
        assert!(hidden["error"].as_str().unwrap().contains("not user-visible"));
        drop(bench);
        assert!(night.session_opened("s", 0).is_err() && night.session_starts(0).is_err());
    }

    #[test]
    fn the_digest_comes_once_and_not_again_for_eighteen_hours() {
        let mut bench = Bench::new();
        let night = bench.memory.night();
        let digest = |bench: &Bench| recall(bench, "s")["overnight_digest"].clone();
        assert_eq!((digest(&bench), night.brought()), (nothing(), None));
        for (session, text) in [("a", "guitar lessons on Monday"), ("b", "no guitar lessons"), ("c", "guitar lessons")]
        {
            bench.capture(text, json!({"session_id": session}));
        }
        bench.ok("memory_consolidate", json!({}));
        bench.ok("memory_consolidate", json!({}));
        let brought = Brought { rem_cycles_completed: 2, episodes_processed: 3, schemas_induced_tier0: 1 };
        assert_eq!(night.brought(), Some(brought));
        bench.restart_at(|| at(2));
        assert_eq!(bench.memory.night().brought(), Some(brought), "it is kept");
        let got = digest(&bench);
        for (key, want) in [
            ("rem_cycles_completed", json!(2)),
            ("episodes_processed", json!(3)),
            ("schemas_induced_tier0", json!(1)),
            ("main_insight_text", json!("guitar, lessons")),
            ("claude_call_used", json!(false)),
            ("daemon_uptime_hours", json!(0)),
        ] {
            assert_eq!(got[key], want, "{key}");
        }
        assert_eq!((digest(&bench), bench.memory.night().brought()), (nothing(), None));
        bench.ok("memory_consolidate", json!({}));
        for (clock, cycles) in [((|| at(19)) as fn() -> Moment, 0), (|| at(20), 1), (|| at(40), 0)] {
            bench.restart_at(clock);
            assert_eq!(digest(&bench)["rem_cycles_completed"], cycles, "{}", clock());
            settled(&bench);
        }
        bench.ok("memory_consolidate", json!({}));
        bench.restart_at(|| at(5));
        assert_eq!(digest(&bench)["rem_cycles_completed"], 1, "the clock was set back");
    }

    #[test]
    fn of_many_recalls_at_once_one_has_the_digest() {
        let bench = Bench::new();
        bench.ok("memory_consolidate", json!({}));
        let shown: u64 = std::thread::scope(|scope| {
            let one = || call(&bench.memory, "memory_recall", Some(r#"{"cue":"tea"}"#)).unwrap();
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            let of = |got: Value| got["overnight_digest"]["rem_cycles_completed"].as_u64().unwrap();
            all.into_iter().map(|one| of(one.join().unwrap())).sum()
        });
        assert_eq!(shown, 1);
    }
}
