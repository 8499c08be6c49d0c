//! The digest: totals of the consolidation cycles since the last digest, shown by one recall at most every 18 hours.
//!
//! The totals are held in table `meta` and in memory. A recall takes them in memory, so concurrent recalls take them
//! once, and the store is written after the reply. If the process is killed in between, they are shown again.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::memory::graph::{metrics, patterns};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::{meta, records, tags};

/// Newest patterns of which the digest names the first that its reader is shown. Picked.
const PATTERN_READ_COUNT: usize = 16;

const HOUR: Duration = Duration::from_secs(3600);

/// Least time between two digests.
const DIGEST_INTERVAL: Duration = Duration::from_secs(18 * 3600);

/// Keys in table `meta`: the totals that no digest has shown, and when a digest was last shown.
const TOTALS_KEY: &str = "digest";
const SHOWN_KEY: &str = "digest_shown";

/// Totals of completed consolidation cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleTotals {
    /// Cycles completed.
    pub rem_cycles_completed: u64,
    /// Records processed by them.
    pub episodes_processed: u64,
    /// Patterns induced by them.
    pub schemas_induced_tier0: u64,
}

/// Totals of the cycles since the last digest, and the time of that digest. Shared by all threads.
#[derive(Debug)]
pub(crate) struct DigestState {
    /// When the daemon opened the store.
    loaded: UnixMicros,
    cycles: AtomicU64,
    episodes: AtomicU64,
    schemas: AtomicU64,
    /// When a digest was last shown, in microseconds since 1970; `i64::MIN` if never.
    shown: AtomicI64,
}

impl DigestState {
    /// Loads the totals that no digest has shown.
    ///
    /// # Errors
    /// Any error of reading table `meta`.
    pub(crate) fn load(connection: &Connection, now: UnixMicros) -> Result<DigestState, rusqlite::Error> {
        let totals = stored_totals(connection)?;
        let shown: Option<i64> = meta::read(connection, SHOWN_KEY)?;
        Ok(DigestState {
            loaded: now,
            cycles: AtomicU64::new(totals.rem_cycles_completed),
            episodes: AtomicU64::new(totals.episodes_processed),
            schemas: AtomicU64::new(totals.schemas_induced_tier0),
            shown: AtomicI64::new(shown.unwrap_or(i64::MIN)),
        })
    }

    /// Takes over the totals of `other`.
    pub(crate) fn replace(&self, other: &DigestState) {
        self.episodes.store(other.episodes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.schemas.store(other.schemas.load(Ordering::Relaxed), Ordering::Relaxed);
        self.cycles.store(other.cycles.load(Ordering::Relaxed), Ordering::Relaxed);
        self.shown.store(other.shown.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns the totals that no digest has shown; `None` if no cycle completed since the last digest. Never blocks.
    pub(crate) fn pending(&self) -> Option<CycleTotals> {
        let totals = CycleTotals {
            rem_cycles_completed: self.cycles.load(Ordering::Relaxed),
            episodes_processed: self.episodes.load(Ordering::Relaxed),
            schemas_induced_tier0: self.schemas.load(Ordering::Relaxed),
        };
        (totals.rem_cycles_completed > 0).then_some(totals)
    }

    /// Adds the totals of a completed cycle. Call after [`add_stored`] has committed.
    pub(crate) fn add(&self, totals: CycleTotals) {
        self.episodes.fetch_add(totals.episodes_processed, Ordering::Relaxed);
        self.schemas.fetch_add(totals.schemas_induced_tier0, Ordering::Relaxed);
        self.cycles.fetch_add(totals.rem_cycles_completed, Ordering::Relaxed);
    }

    /// Takes the pending totals, if there are any and no digest was shown in the last 18 hours.
    pub(crate) fn take(&self, now: UnixMicros) -> Option<CycleTotals> {
        self.pending()?;
        let shown = self.shown.load(Ordering::Relaxed);
        // If the last digest lies more than an hour in the future, the clock was set back, and the digest is shown; less
        // is two recalls side by side.
        let at = UnixMicros(shown);
        if at <= now + HOUR && now.since(at) < DIGEST_INTERVAL {
            return None;
        }
        self.shown.compare_exchange(shown, now.0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(CycleTotals {
            rem_cycles_completed: self.cycles.swap(0, Ordering::Relaxed),
            episodes_processed: self.episodes.swap(0, Ordering::Relaxed),
            schemas_induced_tier0: self.schemas.swap(0, Ordering::Relaxed),
        })
    }

    /// Undoes [`DigestState::take`]: the totals were not shown.
    pub(crate) fn put_back(&self, totals: CycleTotals) {
        self.shown.store(i64::MIN, Ordering::Relaxed);
        self.add(totals);
    }

    /// Returns the digest of a reply.
    ///
    /// # Errors
    /// Any error of reading tags, records or metrics.
    pub(crate) fn render(
        &self,
        connection: &Connection,
        totals: CycleTotals,
        projects: &ProjectFilter,
        now: UnixMicros,
    ) -> Result<Value, rusqlite::Error> {
        let insight = match totals.schemas_induced_tier0 {
            0 => None,
            _ => newest_pattern(connection, projects)?,
        };
        let hours = now.since(self.loaded).as_secs() / HOUR.as_secs();
        Ok(digest(totals, insight, metrics::last_sigma(connection)?, hours))
    }
}

/// Returns the digest of a reply that shows no totals.
pub(crate) fn empty() -> Value {
    digest(CycleTotals::default(), None, None, 0)
}

/// Adds the totals of a completed cycle to the stored ones.
///
/// # Errors
/// Any error of reading or writing table `meta`.
pub(crate) fn add_stored(connection: &Connection, more: CycleTotals) -> Result<(), rusqlite::Error> {
    let old = stored_totals(connection)?;
    let sum = CycleTotals {
        rem_cycles_completed: old.rem_cycles_completed + more.rem_cycles_completed,
        episodes_processed: old.episodes_processed + more.episodes_processed,
        schemas_induced_tier0: old.schemas_induced_tier0 + more.schemas_induced_tier0,
    };
    meta::write(connection, TOTALS_KEY, json!(sum).to_string())
}

/// Subtracts the totals that a digest has shown from the stored ones, and stores the time of the digest.
///
/// # Errors
/// Any error of reading or writing table `meta`.
pub(crate) fn record_shown(connection: &Connection, shown: CycleTotals, at: UnixMicros) -> Result<(), rusqlite::Error> {
    let old = stored_totals(connection)?;
    let rest = CycleTotals {
        rem_cycles_completed: old.rem_cycles_completed.saturating_sub(shown.rem_cycles_completed),
        episodes_processed: old.episodes_processed.saturating_sub(shown.episodes_processed),
        schemas_induced_tier0: old.schemas_induced_tier0.saturating_sub(shown.schemas_induced_tier0),
    };
    meta::write(connection, TOTALS_KEY, json!(rest).to_string())?;
    meta::write(connection, SHOWN_KEY, at.0)
}

fn stored_totals(connection: &Connection) -> Result<CycleTotals, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, TOTALS_KEY)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn newest_pattern(connection: &Connection, projects: &ProjectFilter) -> Result<Option<String>, rusqlite::Error> {
    for seq in tags::newest_with(connection, tags::PATTERN, PATTERN_READ_COUNT)? {
        if projects.admits_record(connection, seq)? {
            let text = records::text_of(connection, seq).optional()?;
            return Ok(text.map(|text| text.strip_prefix(patterns::PATTERN_PREFIX).map_or(text.clone(), str::to_owned)));
        }
    }
    Ok(None)
}

fn digest(totals: CycleTotals, insight: Option<String>, sigma: Option<f64>, hours: u64) -> Value {
    json!({
        "rem_cycles_completed": totals.rem_cycles_completed,
        "episodes_processed": totals.episodes_processed,
        "schemas_induced_tier0": totals.schemas_induced_tier0,
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

    /// Waits for the deferred writes of the last recall, by a write behind them.
    fn settle(bench: &Bench) {
        bench.ok("memory_reinforce", json!({"ids": []}));
    }

    #[test]
    fn the_digest_is_shown_once_in_18_hours() {
        let mut bench = Bench::new();
        let maintenance = bench.memory.maintenance();
        let digest = |bench: &Bench| recall(bench, "s")["overnight_digest"].clone();
        assert_eq!((digest(&bench), maintenance.pending_totals()), (empty(), None));
        for (session, text) in [("a", "guitar lessons on Monday"), ("b", "no guitar lessons"), ("c", "guitar lessons")]
        {
            bench.capture(text, json!({"session_id": session}));
        }
        bench.ok("memory_consolidate", json!({}));
        bench.ok("memory_consolidate", json!({}));
        let totals = CycleTotals { rem_cycles_completed: 2, episodes_processed: 3, schemas_induced_tier0: 1 };
        assert_eq!(maintenance.pending_totals(), Some(totals));
        bench.restart_at(|| at(2));
        assert_eq!(bench.memory.maintenance().pending_totals(), Some(totals), "the totals survive a restart");
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
        assert_eq!((digest(&bench), bench.memory.maintenance().pending_totals()), (empty(), None));
        bench.ok("memory_consolidate", json!({}));
        for (clock, cycles) in [((|| at(19)) as fn() -> UnixMicros, 0), (|| at(20), 1), (|| at(40), 0)] {
            bench.restart_at(clock);
            assert_eq!(digest(&bench)["rem_cycles_completed"], cycles, "{}", clock());
            settle(&bench);
        }
        bench.ok("memory_consolidate", json!({}));
        bench.restart_at(|| at(5));
        assert_eq!(digest(&bench)["rem_cycles_completed"], 1, "the clock was set back");
    }

    #[test]
    fn one_of_concurrent_recalls_shows_the_digest() {
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
