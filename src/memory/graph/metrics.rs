//! Metrics of the link graph: clustering, path length, small-world coefficient, rich club.
//!
//! Consolidation measures them from samples and stores them; a call only reads them. Clustering and path length as in
//! Watts and Strogatz, "Collective dynamics of 'small-world' networks", 1998; sigma as in Humphries and Gurney, 2008.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::memory::store::meta;

/// Records in the sample for clustering.
const SAMPLE_SIZE: i64 = 64;

/// Records that shortest paths are measured from.
const PATH_SOURCES: usize = 2;

/// Records that are visited from each of them, at most.
const MAX_VISITED: usize = 500;

/// Links of one record that are read, in each direction.
const MAX_LINKS: i64 = 16;

/// Records in the rich club: those with the most links.
const CLUB_SIZE: i64 = 32;

/// Fewer linked records give no meaningful metrics.
const MIN_LINKED: u64 = 10;

/// With fewer linked records, a sigma below 1 is `developmental`. Picked.
const MATURE_LINKED: u64 = 200;

/// The meta key of the metrics.
const KEY: &str = "topology";

/// The metrics, as they are stored.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct GraphMetrics {
    /// The mean clustering coefficient of the sample.
    pub(crate) clustering: f64,
    /// The mean length of the shortest paths from the sources.
    pub(crate) path: f64,
    /// The small-world coefficient; `None` if there are too few links.
    pub(crate) sigma: Option<f64>,
    /// The number of records with links.
    pub(crate) linked: u64,
    /// The density of links within the rich club.
    pub(crate) club_ratio: f64,
    /// The rich club, the best-connected record first.
    pub(crate) club: Vec<i64>,
}

/// Returns the rich club as of the last consolidation, the best-connected record first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn rich_club(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    Ok(stored(connection)?.club)
}

/// Returns the small-world coefficient as of the last consolidation, if it is known.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn last_sigma(connection: &Connection) -> Result<Option<f64>, rusqlite::Error> {
    Ok(stored(connection)?.sigma)
}

/// Measures and stores the metrics.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn measure(connection: &Connection) -> Result<(), rusqlite::Error> {
    let (linked, ends): (u64, f64) =
        connection.query_row("SELECT count(*), coalesce(sum(degree), 0) FROM node WHERE degree > 0", [], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)? as f64))
        })?;
    let mut metrics = GraphMetrics { linked, ..GraphMetrics::default() };
    if linked > 0 {
        let mut club = connection
            .prepare_cached("SELECT record FROM node WHERE degree > 0 ORDER BY degree DESC, record DESC LIMIT ?1")?;
        metrics.club = club.query_map([CLUB_SIZE], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut links = Links { connection, cache: HashMap::new() };
        let sample = sample(connection)?;
        metrics.clustering = clustering(&mut links, &sample)?;
        metrics.path = path(&mut links, &sample)?;
        metrics.club_ratio = density(&mut links, &metrics.club)?;
        metrics.sigma = sigma(linked as f64, ends / linked as f64, metrics.clustering, metrics.path);
    }
    let text = serde_json::to_string(&metrics).unwrap_or_default();
    meta::write(connection, KEY, text)
}

/// Removes the stored metrics, until the next consolidation.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn clear(connection: &Connection) -> Result<(), rusqlite::Error> {
    meta::remove(connection, KEY)
}

/// Returns the stored metrics; the default if there are none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn stored(connection: &Connection) -> Result<GraphMetrics, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, KEY)?;
    // Metrics in the format of another release count as none; the next consolidation measures them again.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Returns the name of the regime that the metrics indicate.
pub(crate) fn regime(metrics: &GraphMetrics) -> &'static str {
    match metrics.sigma {
        _ if metrics.linked < MIN_LINKED => "insufficient_data",
        None => "insufficient_data",
        Some(sigma) if sigma >= 1.0 => "healthy",
        Some(_) if metrics.linked < MATURE_LINKED => "developmental",
        Some(_) => "mid_life_drift",
    }
}

/// Returns the small-world coefficient: clustering relative to a random graph, divided by path length relative to a
/// random graph. `None` if there are too few links.
fn sigma(linked: f64, degree: f64, clustering: f64, path: f64) -> Option<f64> {
    let random_clustering = degree / linked;
    let random_path = linked.ln() / degree.ln();
    if (linked as u64) < MIN_LINKED || degree <= 1.0 || path <= 0.0 || random_path <= 0.0 {
        return None;
    }
    Some((clustering / random_clustering) / (path / random_path))
}

/// Reads the links of records, each record's once.
struct Links<'c> {
    connection: &'c Connection,
    cache: HashMap<i64, Vec<i64>>,
}

impl Links<'_> {
    fn of(&mut self, seq: i64) -> Result<Vec<i64>, rusqlite::Error> {
        if let Some(cached) = self.cache.get(&seq) {
            return Ok(cached.clone());
        }
        let mut found = Vec::new();
        for sql in ["SELECT b FROM link WHERE a = ?1 LIMIT ?2", "SELECT a FROM link WHERE b = ?1 LIMIT ?2"] {
            let mut read = self.connection.prepare_cached(sql)?;
            for other in read.query_map((seq, MAX_LINKS), |row| row.get(0))? {
                found.push(other?);
            }
        }
        found.sort_unstable();
        found.dedup();
        self.cache.insert(seq, found.clone());
        Ok(found)
    }
}

/// Returns a sample of linked records, evenly spaced over the store.
fn sample(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    let last: i64 = connection.query_row("SELECT coalesce(max(record), 0) FROM node", [], |row| row.get(0))?;
    let mut read = connection
        .prepare_cached("SELECT record FROM node WHERE record >= ?1 AND degree > 0 ORDER BY record LIMIT 1")?;
    let mut sample = Vec::new();
    for i in 1..=SAMPLE_SIZE {
        sample.extend(
            read.query_row([(last * i + SAMPLE_SIZE - 1) / SAMPLE_SIZE], |row| row.get::<_, i64>(0)).optional()?,
        );
    }
    sample.dedup();
    Ok(sample)
}

/// Returns the mean over the sample of the share of a record's pairs of neighbors that are linked.
fn clustering(links: &mut Links<'_>, sample: &[i64]) -> Result<f64, rusqlite::Error> {
    let mut sum = 0.0;
    for &seq in sample {
        let neighbors = links.of(seq)?;
        sum += density(links, &neighbors)?;
    }
    Ok(sum / sample.len().max(1) as f64)
}

/// Returns the share of the pairs of these records that are linked.
fn density(links: &mut Links<'_>, records: &[i64]) -> Result<f64, rusqlite::Error> {
    let (mut pairs, mut linked) = (0, 0);
    for (i, &one) in records.iter().enumerate() {
        let neighbors = links.of(one)?;
        for other in &records[i + 1..] {
            pairs += 1;
            linked += u32::from(neighbors.binary_search(other).is_ok());
        }
    }
    Ok(f64::from(linked) / f64::from(pairs.max(1)))
}

/// Returns the mean length of the shortest paths from a few records of the sample to those that can be reached.
fn path(links: &mut Links<'_>, sample: &[i64]) -> Result<f64, rusqlite::Error> {
    let (mut sum, mut count) = (0, 0);
    for &source in sample.iter().step_by((sample.len() / PATH_SOURCES).max(1)).take(PATH_SOURCES) {
        let mut seen = HashSet::from([source]);
        let mut queue = VecDeque::from([(source, 0)]);
        while let Some((seq, distance)) = queue.pop_front() {
            (sum, count) = (sum + distance, count + u32::from(distance > 0));
            for other in links.of(seq)? {
                if seen.len() < MAX_VISITED && seen.insert(other) {
                    queue.push_back((other, distance + 1));
                }
            }
        }
    }
    Ok(f64::from(sum) / f64::from(count.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::graph::links::{self, LinkKind};
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;
    use serde_json::json;

    fn linked_store(records: usize, pairs: &[(i64, i64)]) -> Bench {
        let bench = Bench::new();
        for n in 0..records {
            bench.capture(&format!("the record of number {n}"), json!({}));
        }
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Write).unwrap();
        for &pair in pairs {
            links::add(&connection, pair, LinkKind::Associated, 500, Bench::NOW).unwrap();
        }
        measure(&connection).unwrap();
        bench
    }

    #[test]
    fn an_empty_store_has_no_metrics() {
        let want = json!({"N": 0, "C": 0.0, "L": 0.0, "sigma": null, "community_count": 0, "rich_club_ratio": 0.0,
            "regime": "insufficient_data"});
        assert_eq!(Bench::new().ok("topology", json!({})), want);
        assert_eq!(linked_store(0, &[]).ok("topology", json!({})), want);
    }

    #[test]
    fn a_triangle_with_a_tail_is_measured() {
        let got = linked_store(5, &[(1, 2), (2, 3), (1, 3), (3, 4)]).ok("topology", json!({}));
        assert_eq!((&got["N"], &got["sigma"]), (&json!(5), &json!(null)));
        // Linked pairs of neighbors: 1 of 1, 1 of 1, 1 of 3, and no pair.
        assert!((got["C"].as_f64().unwrap() - (1.0 + 1.0 + 1.0 / 3.0) / 4.0).abs() < 1e-9, "{got}");
        // Path lengths from record 1: 1, 1, 2; from record 3: 1, 1, 1.
        assert!((got["L"].as_f64().unwrap() - 7.0 / 6.0).abs() < 1e-9, "{got}");
        assert!((got["rich_club_ratio"].as_f64().unwrap() - 4.0 / 6.0).abs() < 1e-9, "{got}");
        assert_eq!(got["regime"], "insufficient_data");
    }

    #[test]
    fn cliques_on_a_ring_are_a_small_world_and_a_star_is_not() {
        let mut ring = Vec::new();
        for clique in 0..10 {
            let first = clique * 4 + 1;
            for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
                ring.push((first + a, first + b));
            }
            ring.push((first + 3, (first + 3) % 40 + 1));
        }
        let got = linked_store(40, &ring).ok("topology", json!({}));
        assert!(got["sigma"].as_f64().unwrap() > 1.0, "{got}");
        assert_eq!(got["regime"], "healthy");
        let star: Vec<_> = (2..=15).map(|n| (1, n)).collect();
        let got = linked_store(15, &star).ok("topology", json!({}));
        assert_eq!((&got["sigma"], &got["regime"]), (&json!(0.0), &json!("developmental")));
    }
}
