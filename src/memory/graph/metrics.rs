//! `topology`: how the records hang together, in a few figures.
//!
//! They are taken during consolidation, from samples, and kept; a request reads them and counts
//! nothing. Small-world figures as in Watts and Strogatz, "Collective dynamics of 'small-world'
//! networks", 1998; sigma as in Humphries and Gurney, 2008.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::memory::store::meta;

/// Records whose neighbors are looked at for clustering.
const SAMPLE: i64 = 64;

/// Records that paths are followed from, and records that each is followed to.
const SOURCES: usize = 2;
const REACHED: usize = 500;

/// Neighbours of one record that are looked at.
const FAN: i64 = 16;

/// The best-connected records that are the rich club.
const CLUB: i64 = 32;

/// Linked records under which the figures say nothing.
const LEAST: u64 = 10;

/// Linked records under which a memory is still growing up. Picked.
const GROWN: u64 = 200;

const KEY: &str = "topology";

/// The figures as they are kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) clustering: f64,
    pub(crate) path: f64,
    pub(crate) sigma: Option<f64>,
    pub(crate) linked: u64,
    pub(crate) club_ratio: f64,
    pub(crate) club: Vec<i64>,
}

/// The best-connected records at the last consolidation, the best first.
///
/// # Errors
/// The database's.
pub(crate) fn rich_club(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    Ok(kept(connection)?.club)
}

/// How small a world it was at the last consolidation, where that could be said.
///
/// # Errors
/// The database's.
pub(crate) fn last_sigma(connection: &Connection) -> Result<Option<f64>, rusqlite::Error> {
    Ok(kept(connection)?.sigma)
}

/// Takes the figures and keeps them.
///
/// # Errors
/// The database's.
pub(crate) fn measure(connection: &Connection) -> Result<(), rusqlite::Error> {
    let (linked, ends): (u64, f64) =
        connection.query_row("SELECT count(*), coalesce(sum(degree), 0) FROM node WHERE degree > 0", [], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)? as f64))
        })?;
    let mut figures = Figures { linked, ..Figures::default() };
    if linked > 0 {
        let mut club = connection
            .prepare_cached("SELECT record FROM node WHERE degree > 0 ORDER BY degree DESC, record DESC LIMIT ?1")?;
        figures.club = club.query_map([CLUB], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut links = Links { connection, known: HashMap::new() };
        let sample = sample(connection)?;
        figures.clustering = clustering(&mut links, &sample)?;
        figures.path = path(&mut links, &sample)?;
        figures.club_ratio = density(&mut links, &figures.club)?;
        figures.sigma = sigma(linked as f64, ends / linked as f64, figures.clustering, figures.path);
    }
    let text = serde_json::to_string(&figures).unwrap_or_default();
    meta::write(connection, KEY, text)
}

pub(crate) fn kept(connection: &Connection) -> Result<Figures, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, KEY)?;
    // Another release's figures are none: the next consolidation takes them anew.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

pub(crate) fn regime(figures: &Figures) -> &'static str {
    match figures.sigma {
        _ if figures.linked < LEAST => "insufficient_data",
        None => "insufficient_data",
        Some(sigma) if sigma >= 1.0 => "healthy",
        Some(_) if figures.linked < GROWN => "developmental",
        Some(_) => "mid_life_drift",
    }
}

/// The small-world coefficient: how much more clustered than at random, by how much longer its paths
/// are. `None` where there is too little to say.
fn sigma(linked: f64, degree: f64, clustering: f64, path: f64) -> Option<f64> {
    let random_clustering = degree / linked;
    let random_path = linked.ln() / degree.ln();
    if (linked as u64) < LEAST || degree <= 1.0 || path <= 0.0 || random_path <= 0.0 {
        return None;
    }
    Some((clustering / random_clustering) / (path / random_path))
}

/// Links, each record's read once.
struct Links<'c> {
    connection: &'c Connection,
    known: HashMap<i64, Vec<i64>>,
}

impl Links<'_> {
    fn of(&mut self, seq: i64) -> Result<Vec<i64>, rusqlite::Error> {
        if let Some(known) = self.known.get(&seq) {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        for sql in ["SELECT b FROM link WHERE a = ?1 LIMIT ?2", "SELECT a FROM link WHERE b = ?1 LIMIT ?2"] {
            let mut read = self.connection.prepare_cached(sql)?;
            for other in read.query_map((seq, FAN), |row| row.get(0))? {
                found.push(other?);
            }
        }
        found.sort_unstable();
        found.dedup();
        self.known.insert(seq, found.clone());
        Ok(found)
    }
}

/// Records of the whole length of the store.
fn sample(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    let last: i64 = connection.query_row("SELECT coalesce(max(record), 0) FROM node", [], |row| row.get(0))?;
    let mut read = connection
        .prepare_cached("SELECT record FROM node WHERE record >= ?1 AND degree > 0 ORDER BY record LIMIT 1")?;
    let mut sample = Vec::new();
    for i in 1..=SAMPLE {
        sample.extend(read.query_row([(last * i + SAMPLE - 1) / SAMPLE], |row| row.get::<_, i64>(0)).optional()?);
    }
    sample.dedup();
    Ok(sample)
}

/// Of the pairs of a record's neighbors, the share that are linked themselves, on average.
fn clustering(links: &mut Links<'_>, sample: &[i64]) -> Result<f64, rusqlite::Error> {
    let mut sum = 0.0;
    for &seq in sample {
        let neighbors = links.of(seq)?;
        sum += density(links, &neighbors)?;
    }
    Ok(sum / sample.len().max(1) as f64)
}

/// Of the pairs of these records, the share that are linked.
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

/// How many links lead from a record to another one on average, where any do.
fn path(links: &mut Links<'_>, sample: &[i64]) -> Result<f64, rusqlite::Error> {
    let (mut sum, mut count) = (0, 0);
    for &source in sample.iter().step_by((sample.len() / SOURCES).max(1)).take(SOURCES) {
        let mut seen = HashSet::from([source]);
        let mut queue = VecDeque::from([(source, 0)]);
        while let Some((seq, distance)) = queue.pop_front() {
            (sum, count) = (sum + distance, count + u32::from(distance > 0));
            for other in links.of(seq)? {
                if seen.len() < REACHED && seen.insert(other) {
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

    fn bound(records: usize, pairs: &[(i64, i64)]) -> Bench {
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
    fn an_empty_store_has_no_figures() {
        let want = json!({"N": 0, "C": 0.0, "L": 0.0, "sigma": null, "community_count": 0, "rich_club_ratio": 0.0,
            "regime": "insufficient_data"});
        assert_eq!(Bench::new().ok("topology", json!({})), want);
        assert_eq!(bound(0, &[]).ok("topology", json!({})), want);
    }

    #[test]
    fn a_triangle_with_a_tail_is_measured() {
        let got = bound(5, &[(1, 2), (2, 3), (1, 3), (3, 4)]).ok("topology", json!({}));
        assert_eq!((&got["N"], &got["sigma"]), (&json!(5), &json!(null)));
        // Of the neighbors' pairs: 1/1, 1/1, 1/3 and none.
        assert!((got["C"].as_f64().unwrap() - (1.0 + 1.0 + 1.0 / 3.0) / 4.0).abs() < 1e-9, "{got}");
        // From 1: 1, 1, 2; from 3: 1, 1, 1.
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
        let got = bound(40, &ring).ok("topology", json!({}));
        assert!(got["sigma"].as_f64().unwrap() > 1.0, "{got}");
        assert_eq!(got["regime"], "healthy");
        let star: Vec<_> = (2..=15).map(|n| (1, n)).collect();
        let got = bound(15, &star).ok("topology", json!({}));
        assert_eq!((&got["sigma"], &got["regime"]), (&json!(0.0), &json!("developmental")));
    }
}
