//! Weighted links between two records, and how their weights decay.
//!
//! A link is stored with its weight at its last use. The present weight follows from the time since ([`faded`]), so
//! decay needs no writes.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use crate::memory::model::time::UnixMicros;
use crate::sort;

/// The largest weight, 1. Weights are in whole thousandths, so that ten times 0.1 is 1.
pub(crate) const STRONGEST: i64 = 1000;

/// Time in which a link loses half of its weight. 60 days: picked.
const HALF_LIFE: Duration = Duration::from_secs(60 * 24 * 3600);

/// A link that has not been used for longer than this is stale.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Links of one record that are read, in each direction. Picked: more than all but the best-connected records have.
const MAX_LINKS: i64 = 64;

/// Successive replacements that are followed. Picked: a longer chain is a client's defect.
const MAX_CHAIN: usize = 1000;

/// The kind of a link. The store keeps the numbers, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// The records share rare terms, or are neighbors in a session. Undirected.
    Associated = 0,
    /// A client reported that they belong together. Undirected.
    Reinforced = 1,
    /// From a record to its replacement.
    Contradicts = 2,
    /// From a pattern to a record that shows it.
    Evidence = 3,
}

/// Kinds up to this number fade ([`faded`]); the others do not.
const LAST_FADING: LinkKind = LinkKind::Reinforced;

// `unsettled` in contradictions.rs has this number as a literal: SQLite uses the partial index `link_contradicts` only
// for a literal.
const _: () = assert!(LinkKind::Contradicts as i64 == 2 && LinkKind::Evidence as i64 == 3);

/// A record at the other end of an undirected link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbor {
    /// The record's seq.
    pub(crate) seq: i64,
    /// The present weight, in thousandths; the sum over the kinds of link, at most [`STRONGEST`].
    pub(crate) weight: i64,
    /// True if a link has not been used for longer than [`STALE_AFTER`].
    pub(crate) is_stale: bool,
}

impl LinkKind {
    const ALL: [LinkKind; 4] = [LinkKind::Associated, LinkKind::Reinforced, LinkKind::Contradicts, LinkKind::Evidence];

    /// Returns its name in calls and results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LinkKind::Associated => "associated",
            LinkKind::Reinforced => "reinforced",
            LinkKind::Contradicts => "contradicts",
            LinkKind::Evidence => "evidence",
        }
    }

    /// Returns the kind with this name.
    pub(crate) fn named(name: &str) -> Option<LinkKind> {
        LinkKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the kind with this number in the store.
    pub(crate) fn numbered(number: i64) -> Option<LinkKind> {
        LinkKind::ALL.into_iter().find(|kind| *kind as i64 == number)
    }
}

/// Returns the present weight of a link that had `weight` when it was `used` last. Only undirected kinds decay.
pub(crate) fn faded(kind: LinkKind, weight: i64, used: UnixMicros, now: UnixMicros) -> i64 {
    if matches!(kind, LinkKind::Contradicts | LinkKind::Evidence) {
        return weight;
    }
    let half_lives = now.since(used).div_duration_f64(HALF_LIFE);
    (weight as f64 * (-half_lives).exp2()).round() as i64
}

/// Adds a link, or raises its present weight to at least `weight` thousandths and sets its last use to `now`. Returns
/// true if the link is new.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn add(
    connection: &Connection,
    (a, b): (i64, i64),
    kind: LinkKind,
    weight: i64,
    now: UnixMicros,
) -> Result<bool, rusqlite::Error> {
    let (a, b) = ordered(a, b, kind);
    let before = weight_now(connection, (a, b), kind, now)?;
    put(connection, (a, b), kind, weight.max(before.unwrap_or(0)), now)?;
    Ok(before.is_none())
}

/// Adds `more` thousandths to the present weight of a link, up to [`STRONGEST`], and returns the sum. Adds the link if
/// there is none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn strengthen(
    connection: &Connection,
    (a, b): (i64, i64),
    kind: LinkKind,
    more: i64,
    now: UnixMicros,
) -> Result<i64, rusqlite::Error> {
    let (a, b) = ordered(a, b, kind);
    let before = weight_now(connection, (a, b), kind, now)?.unwrap_or(0);
    let weight = (before + more).min(STRONGEST);
    put(connection, (a, b), kind, weight, now)?;
    Ok(weight)
}

/// Sets the last use of the undirected links of these pairs to `now`.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn touch(connection: &Connection, pairs: &[(i64, i64)], now: UnixMicros) -> Result<(), rusqlite::Error> {
    let sql = "UPDATE link SET used = ?3 WHERE a = ?1 AND b = ?2 AND kind <= ?4 AND used < ?3";
    let mut renew = connection.prepare_cached(sql)?;
    for &(one, other) in pairs {
        renew.execute((one.min(other), one.max(other), now.0, LAST_FADING as i64))?;
    }
    Ok(())
}

/// The links of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordLinks {
    /// The records linked to it without direction, the heaviest link first.
    pub(crate) neighbors: Vec<Neighbor>,
    /// The records that it replaced, the latest first.
    pub(crate) predecessors: Vec<i64>,
    /// True if another record has replaced it.
    pub(crate) is_replaced: bool,
    /// True if it is a pattern with evidence.
    pub(crate) has_evidence: bool,
}

/// Returns the links of a record.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn links_of(connection: &Connection, seq: i64, now: UnixMicros) -> Result<RecordLinks, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT * FROM (SELECT b, kind, weight, used, 0 FROM link WHERE a = ?1 LIMIT ?2)
         UNION ALL SELECT * FROM (SELECT a, kind, weight, used, 1 FROM link WHERE b = ?1 LIMIT ?2)",
    )?;
    let mut rows = read.query((seq, MAX_LINKS))?;
    let mut links = RecordLinks::default();
    let mut replaced: Vec<(i64, i64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(kind) = LinkKind::numbered(row.get(1)?) else { continue };
        let (other, used, leads_here): (i64, i64, bool) = (row.get(0)?, row.get(3)?, row.get(4)?);
        match (kind, leads_here) {
            (LinkKind::Associated | LinkKind::Reinforced, _) => {
                let weight = faded(kind, row.get(2)?, UnixMicros(used), now);
                let is_stale = now.since(UnixMicros(used)) > STALE_AFTER;
                match links.neighbors.iter_mut().find(|one| one.seq == other) {
                    Some(known) => {
                        known.weight = (known.weight + weight).min(STRONGEST);
                        known.is_stale |= is_stale;
                    }
                    None => links.neighbors.push(Neighbor { seq: other, weight, is_stale }),
                }
            }
            (LinkKind::Contradicts, true) => replaced.push((used, other)),
            (LinkKind::Contradicts, false) => links.is_replaced = true,
            (LinkKind::Evidence, false) => links.has_evidence = true,
            (LinkKind::Evidence, true) => {}
        }
    }
    sort::sort_by_key(&mut links.neighbors, |one| (-one.weight, -one.seq));
    sort::sort_by(&mut replaced, |a, b| b.cmp(a));
    links.predecessors = replaced.into_iter().map(|(_, seq)| seq).collect();
    Ok(links)
}

/// Returns the record that replaced this one, the latest of several.
///
/// # Errors
/// Any SQLite error.
fn successor(connection: &Connection, seq: i64) -> Result<Option<i64>, rusqlite::Error> {
    let sql = "SELECT b FROM link WHERE a = ?1 AND kind = ?2 ORDER BY used DESC, b DESC LIMIT 1";
    let mut find = connection.prepare_cached(sql)?;
    find.query_row((seq, LinkKind::Contradicts as i64), |row| row.get(0)).optional()
}

/// Returns this record, its replacement, the replacement of that, and so on. If an import has made a cycle, the chain
/// ends before its first record would repeat.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn successor_chain(connection: &Connection, seq: i64) -> Result<Vec<i64>, rusqlite::Error> {
    let mut seen = HashSet::from([seq]);
    let mut chain = vec![seq];
    let mut last = seq;
    while let Some(next) = successor(connection, last)? {
        if seen.len() > MAX_CHAIN || !seen.insert(next) {
            break;
        }
        chain.push(next);
        last = next;
    }
    Ok(chain)
}

/// Merges a link that is stored elsewhere: of two uses the later counts, of two times of a replacement the earlier, and a
/// link of another kind that is known stays. Returns true if the link is new or has changed.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn merge(
    connection: &Connection,
    (a, b): (i64, i64),
    kind: LinkKind,
    weight: i64,
    used: i64,
) -> Result<bool, rusqlite::Error> {
    let (a, b) = ordered(a, b, kind);
    let sql = match kind {
        LinkKind::Contradicts => {
            "INSERT INTO link (a, b, kind, weight, used) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (a, b, kind) DO UPDATE SET used = excluded.used WHERE excluded.used < used"
        }
        LinkKind::Reinforced => {
            "INSERT INTO link (a, b, kind, weight, used) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (a, b, kind) DO UPDATE SET weight = excluded.weight, used = excluded.used
                 WHERE (excluded.used, excluded.weight) > (used, weight)"
        }
        _ => {
            "INSERT INTO link (a, b, kind, weight, used) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (a, b, kind) DO NOTHING"
        }
    };
    Ok(connection.prepare_cached(sql)?.execute((a, b, kind as i64, weight, used))? > 0)
}

/// Returns the order in which the store has the two records of a link.
pub(crate) fn ordered(a: i64, b: i64, kind: LinkKind) -> (i64, i64) {
    match kind {
        LinkKind::Associated | LinkKind::Reinforced => (a.min(b), a.max(b)),
        LinkKind::Contradicts | LinkKind::Evidence => (a, b),
    }
}

fn weight_now(
    connection: &Connection,
    (a, b): (i64, i64),
    kind: LinkKind,
    now: UnixMicros,
) -> Result<Option<i64>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT weight, used FROM link WHERE a = ?1 AND b = ?2 AND kind = ?3")?;
    let stored: Option<(i64, i64)> =
        read.query_row((a, b, kind as i64), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(stored.map(|(weight, used)| faded(kind, weight, UnixMicros(used), now)))
}

fn put(
    connection: &Connection,
    (a, b): (i64, i64),
    kind: LinkKind,
    weight: i64,
    now: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO link (a, b, kind, weight, used) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (a, b, kind) DO UPDATE SET weight = excluded.weight, used = max(used, excluded.used)";
    connection.prepare_cached(sql)?.execute((a, b, kind as i64, weight, now.0))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;
    use serde_json::json;

    fn with_records(count: usize) -> (Bench, Connection) {
        let bench = Bench::new();
        for n in 1..=count {
            bench.capture(&format!("the text of number {n}"), json!({}));
        }
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Write).unwrap();
        (bench, connection)
    }

    fn latest(connection: &Connection, seq: i64) -> Result<i64, rusqlite::Error> {
        Ok(*successor_chain(connection, seq)?.last().unwrap())
    }

    fn later(days: i64) -> UnixMicros {
        UnixMicros(Bench::NOW.0 + days * 24 * 3600 * 1_000_000)
    }

    #[test]
    fn weights_of_undirected_links_halve_in_sixty_days() {
        for (kind, days, want) in [
            (LinkKind::Associated, 0, 800),
            (LinkKind::Associated, 1, 791),
            (LinkKind::Reinforced, 60, 400),
            (LinkKind::Associated, 120, 200),
            (LinkKind::Associated, 10_000, 0),
            (LinkKind::Associated, -5, 800),
            (LinkKind::Contradicts, 10_000, 800),
            (LinkKind::Evidence, 60, 800),
        ] {
            assert_eq!(faded(kind, 800, Bench::NOW, later(days)), want, "{kind:?} {days}");
        }
        assert_eq!(faded(LinkKind::Associated, 1000, UnixMicros(i64::MIN), UnixMicros(i64::MAX)), 0);
    }

    #[test]
    fn strengthening_adds_to_the_present_weight() {
        let (_bench, connection) = with_records(2);
        let more = |days| strengthen(&connection, (2, 1), LinkKind::Reinforced, 100, later(days)).unwrap();
        assert_eq!([more(0), more(0), more(60)], [100, 200, 200]);
        for _ in 0..20 {
            more(60);
        }
        assert_eq!(more(60), STRONGEST);
        assert!(add(&connection, (2, 1), LinkKind::Associated, 300, later(60)).unwrap());
        assert!(!add(&connection, (1, 2), LinkKind::Associated, 200, later(60)).unwrap());
        let neighbors = |seq, at| links_of(&connection, seq, at).unwrap().neighbors;
        let both = neighbors(1, later(60));
        assert_eq!(both, [Neighbor { seq: 2, weight: STRONGEST, is_stale: false }]);
        assert_eq!(neighbors(2, later(120)), [Neighbor { seq: 1, weight: 650, is_stale: true }]);
    }

    #[test]
    fn touch_restores_the_weight_of_a_link() {
        let (_bench, connection) = with_records(3);
        add(&connection, (1, 2), LinkKind::Associated, 800, later(0)).unwrap();
        add(&connection, (2, 3), LinkKind::Associated, 800, later(0)).unwrap();
        touch(&connection, &[(2, 1)], later(60)).unwrap();
        let found = links_of(&connection, 2, later(60)).unwrap().neighbors;
        assert_eq!(
            found,
            [Neighbor { seq: 1, weight: 800, is_stale: false }, Neighbor { seq: 3, weight: 400, is_stale: true },]
        );
    }

    #[test]
    fn replacements_are_followed_to_the_last_and_cycles_end() {
        let (_bench, connection) = with_records(4);
        let replace = |a, b, days| add(&connection, (a, b), LinkKind::Contradicts, STRONGEST, later(days)).unwrap();
        assert_eq!((successor(&connection, 1), latest(&connection, 1)), (Ok(None), Ok(1)));
        replace(1, 2, 0);
        replace(1, 3, 1);
        replace(3, 4, 2);
        assert_eq!((successor(&connection, 1), latest(&connection, 1)), (Ok(Some(3)), Ok(4)));
        assert_eq!(links_of(&connection, 3, later(2)).unwrap().predecessors, [1]);
        let first = links_of(&connection, 1, later(2)).unwrap();
        assert!(first.is_replaced && !first.has_evidence && first.predecessors.is_empty(), "{first:?}");
        replace(4, 1, 3);
        assert_eq!((latest(&connection, 1), latest(&connection, 4)), (Ok(4), Ok(3)));
    }

    #[test]
    fn degrees_follow_added_and_removed_links() {
        let (bench, connection) = with_records(3);
        add(&connection, (1, 2), LinkKind::Associated, 800, later(0)).unwrap();
        add(&connection, (1, 2), LinkKind::Associated, 900, later(1)).unwrap();
        add(&connection, (1, 3), LinkKind::Evidence, 900, later(1)).unwrap();
        let degree = |seq| bench.row::<i64>("SELECT degree FROM node WHERE record = ?1", seq);
        assert_eq!((degree(1), degree(2), degree(3)), (2, 1, 1));
        connection.execute("DELETE FROM link WHERE b = 2", []).unwrap();
        assert_eq!((degree(1), degree(2), degree(3)), (1, 0, 1));
    }
}
