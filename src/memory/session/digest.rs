//! What waits for somebody who comes back: sessions whose first recall is still to come, and what the
//! nights since the last digest have brought.
//!
//! The store keeps both. What a recall has to know of them before its reply, and must not write, stands
//! in memory beside it: so each is taken once, also by two recalls at the same time, and what was taken is
//! written afterwards. A kill in between lets it be shown again.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::memory::graph::{metrics, patterns};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::{meta, records, tags};

const HOUR: Duration = Duration::from_secs(3600);

/// Least time between two digests.
const DIGEST_EVERY: Duration = Duration::from_secs(18 * 3600);

/// Names in the store.
const DIGEST: &str = "digest";
const DIGEST_SHOWN: &str = "digest_shown";

/// What nights have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleTotals {
    /// Cycles that were finished.
    pub rem_cycles_completed: u64,
    /// Records that they looked at.
    pub episodes_processed: u64,
    /// Patterns that they found.
    pub schemas_induced_tier0: u64,
}

/// Totals of the cycles since the last digest, and when that was shown. Any thread may use it.
#[derive(Debug)]
pub(crate) struct DigestState {
    began: UnixMicros,
    cycles: AtomicU64,
    episodes: AtomicU64,
    schemas: AtomicU64,
    /// When a digest was shown last; `i64::MIN` is never.
    shown: AtomicI64,
}

impl DigestState {
    /// Reads what no digest has shown yet from the store.
    ///
    /// # Errors
    /// Any error of the database.
    pub(crate) fn load(connection: &Connection, now: UnixMicros) -> Result<DigestState, rusqlite::Error> {
        let totals = kept(connection)?;
        let shown: Option<i64> = meta::read(connection, DIGEST_SHOWN)?;
        Ok(DigestState {
            began: now,
            cycles: AtomicU64::new(totals.rem_cycles_completed),
            episodes: AtomicU64::new(totals.episodes_processed),
            schemas: AtomicU64::new(totals.schemas_induced_tier0),
            shown: AtomicI64::new(shown.unwrap_or(i64::MIN)),
        })
    }

    /// What waits to be shown; `None` where no cycle was finished since the last digest. Never waits.
    pub(crate) fn brought(&self) -> Option<CycleTotals> {
        let brought = CycleTotals {
            rem_cycles_completed: self.cycles.load(Ordering::Relaxed),
            episodes_processed: self.episodes.load(Ordering::Relaxed),
            schemas_induced_tier0: self.schemas.load(Ordering::Relaxed),
        };
        (brought.rem_cycles_completed > 0).then_some(brought)
    }

    /// A cycle's end, with what it brought, is committed.
    pub(crate) fn ended(&self, brought: CycleTotals) {
        self.episodes.fetch_add(brought.episodes_processed, Ordering::Relaxed);
        self.schemas.fetch_add(brought.schemas_induced_tier0, Ordering::Relaxed);
        self.cycles.fetch_add(brought.rem_cycles_completed, Ordering::Relaxed);
    }

    /// Takes the digest, if there is one and none was shown for 18 hours.
    pub(crate) fn take_digest(&self, now: UnixMicros) -> Option<CycleTotals> {
        self.brought()?;
        let shown = self.shown.load(Ordering::Relaxed);
        // One that was shown in the future, but for two recalls side by side, is a clock's that was set back.
        let at = UnixMicros(shown);
        if at <= now + HOUR && now.since(at) < DIGEST_EVERY {
            return None;
        }
        self.shown.compare_exchange(shown, now.0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(CycleTotals {
            rem_cycles_completed: self.cycles.swap(0, Ordering::Relaxed),
            episodes_processed: self.episodes.swap(0, Ordering::Relaxed),
            schemas_induced_tier0: self.schemas.swap(0, Ordering::Relaxed),
        })
    }

    /// Undoes [`DigestState::take_digest`]: the totals were not shown.
    pub(crate) fn put_back(&self, totals: CycleTotals) {
        self.shown.store(i64::MIN, Ordering::Relaxed);
        self.ended(totals);
    }

    /// The digest as a reply has it; with nothing in it where `brought` is none.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn digest(
        &self,
        connection: &Connection,
        brought: Option<CycleTotals>,
        now: UnixMicros,
    ) -> Result<Value, rusqlite::Error> {
        let Some(brought) = brought else { return Ok(digest(CycleTotals::default(), None, None, 0)) };
        let insight = match brought.schemas_induced_tier0 {
            0 => None,
            _ => newest_pattern(connection)?,
        };
        let hours = now.since(self.began).as_secs() / HOUR.as_secs();
        Ok(digest(brought, insight, metrics::last_sigma(connection)?, hours))
    }
}

/// The digest of a reply.
pub(crate) fn nothing() -> Value {
    digest(CycleTotals::default(), None, None, 0)
}

/// Adds what a finished cycle has brought.
///
/// # Errors
/// The database's.
pub(crate) fn keep_ended(connection: &Connection, more: CycleTotals) -> Result<(), rusqlite::Error> {
    let old = kept(connection)?;
    let sum = CycleTotals {
        rem_cycles_completed: old.rem_cycles_completed + more.rem_cycles_completed,
        episodes_processed: old.episodes_processed + more.episodes_processed,
        schemas_induced_tier0: old.schemas_induced_tier0 + more.schemas_induced_tier0,
    };
    meta::write(connection, DIGEST, json!(sum).to_string())
}

/// Keeps that this was shown. What was brought since then waits on.
///
/// # Errors
/// The database's.
pub(crate) fn keep_shown(connection: &Connection, shown: CycleTotals, at: UnixMicros) -> Result<(), rusqlite::Error> {
    let old = kept(connection)?;
    let rest = CycleTotals {
        rem_cycles_completed: old.rem_cycles_completed.saturating_sub(shown.rem_cycles_completed),
        episodes_processed: old.episodes_processed.saturating_sub(shown.episodes_processed),
        schemas_induced_tier0: old.schemas_induced_tier0.saturating_sub(shown.schemas_induced_tier0),
    };
    meta::write(connection, DIGEST, json!(rest).to_string())?;
    meta::write(connection, DIGEST_SHOWN, at.0)
}

fn kept(connection: &Connection) -> Result<CycleTotals, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, DIGEST)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn newest_pattern(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let Some(seq) = tags::newest_with(connection, tags::PATTERN, 1)?.pop() else { return Ok(None) };
    let text = records::text_of(connection, seq).optional()?;
    Ok(text.map(|text| text.strip_prefix(patterns::PATTERN_PREFIX).map_or(text.clone(), str::to_owned)))
}

fn digest(brought: CycleTotals, insight: Option<String>, sigma: Option<f64>, hours: u64) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::{Bench, call};

    fn at(hours: i64) -> UnixMicros {
        UnixMicros(Bench::NOW.0 + hours * 3_600_000_000)
    }

    fn recall(bench: &Bench, session: &str) -> Value {
        bench.ok("memory_recall", json!({"cue": "tea", "session_id": session, "project": "/p"}))
    }

    /// A job behind what the last recall has handed in.
    fn settled(bench: &Bench) {
        bench.ok("memory_reinforce", json!({"ids": []}));
    }

    #[test]
    fn the_digest_comes_once_and_not_again_for_eighteen_hours() {
        let mut bench = Bench::new();
        let maintenance = bench.memory.maintenance();
        let digest = |bench: &Bench| recall(bench, "s")["overnight_digest"].clone();
        assert_eq!((digest(&bench), maintenance.pending_totals()), (nothing(), None));
        for (session, text) in [("a", "guitar lessons on Monday"), ("b", "no guitar lessons"), ("c", "guitar lessons")]
        {
            bench.capture(text, json!({"session_id": session}));
        }
        bench.ok("memory_consolidate", json!({}));
        bench.ok("memory_consolidate", json!({}));
        let brought = CycleTotals { rem_cycles_completed: 2, episodes_processed: 3, schemas_induced_tier0: 1 };
        assert_eq!(maintenance.pending_totals(), Some(brought));
        bench.restart_at(|| at(2));
        assert_eq!(bench.memory.maintenance().pending_totals(), Some(brought), "it is kept");
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
        assert_eq!((digest(&bench), bench.memory.maintenance().pending_totals()), (nothing(), None));
        bench.ok("memory_consolidate", json!({}));
        for (clock, cycles) in [((|| at(19)) as fn() -> UnixMicros, 0), (|| at(20), 1), (|| at(40), 0)] {
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
