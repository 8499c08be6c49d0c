//! `topology` and `status_light`: the metrics of the link graph, as of the last consolidation.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::dispatch::CallError;
use crate::memory::graph::metrics::{regime, stored};
use crate::memory::store::reader::Reader;

/// The result of `topology`.
#[derive(Serialize)]
pub(crate) struct Topology {
    #[serde(rename = "N")]
    records: u64,
    #[serde(rename = "C")]
    clustering: f64,
    #[serde(rename = "L")]
    path: f64,
    sigma: Option<f64>,
    community_count: u64,
    rich_club_ratio: f64,
    regime: &'static str,
}

/// Answers `topology`.
///
/// # Errors
/// -32001 if the store cannot be read.
pub(crate) fn topology(reader: &Reader, records: &AtomicU64) -> Result<Topology, CallError> {
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let metrics = stored(connection)?;
    let communities: i64 = connection.query_row("SELECT count(*) FROM community", [], |row| row.get(0))?;
    Ok(Topology {
        records: records.load(Ordering::Relaxed),
        clustering: metrics.clustering,
        path: metrics.path,
        sigma: metrics.sigma,
        community_count: communities.unsigned_abs(),
        rich_club_ratio: metrics.club_ratio,
        regime: regime(&metrics),
    })
}

/// The result of `status_light`.
#[derive(Serialize)]
pub(crate) struct StatusLight {
    #[serde(rename = "N")]
    records: u64,
    regime: &'static str,
    sigma: Option<f64>,
    topology_cached: bool,
}

/// Answers `status_light`: a part of `topology` that takes the time of one row.
///
/// # Errors
/// -32001 if the store cannot be read.
pub(crate) fn status_light(reader: &Reader, records: &AtomicU64) -> Result<StatusLight, CallError> {
    let snapshot = reader.snapshot()?;
    let metrics = stored(snapshot.connection())?;
    Ok(StatusLight {
        records: records.load(Ordering::Relaxed),
        regime: regime(&metrics),
        sigma: metrics.sigma,
        topology_cached: metrics.linked > 0,
    })
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn status_light_is_a_part_of_topology() {
        let bench = Bench::new();
        bench.capture("one record that is stored", json!({}));
        let (light, whole) = (bench.ok("status_light", json!({})), bench.ok("topology", json!({})));
        assert_eq!(light["topology_cached"], false);
        for key in ["N", "regime", "sigma"] {
            assert_eq!(light[key], whole[key], "{key}");
        }
        assert_eq!(light["N"], 1);
    }
}
