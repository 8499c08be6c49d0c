//! Result expansion along links: puts records before those that they supersede, names linked records, and takes
//! patterns out of the hits.
//!
//! Only reads. The links to renew are returned in [`Related::used`].

use rusqlite::Connection;

use crate::memory::graph::links::{self, RecordLinks};
use crate::memory::model::seq_map::{SeqMap, SeqSet};
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::copies::TextHashes;
use crate::memory::recall::hit::RankedHit;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::tags;
use crate::sort;

/// Hits to search beyond the limit: patterns are taken out, and superseding records push others down.
pub(crate) const SPARE_HIT_COUNT: usize = 8;

/// Most superseded records in a reply. Picked.
const MAX_SUPERSEDED_COUNT: usize = 10;

/// Most linked records named with one hit, and with all hits together. Picked.
const MAX_ADJACENT_COUNT: usize = 3;
const MAX_ACTIVATED_COUNT: usize = 10;

/// Hits, and the records that links connect with them.
#[derive(Debug, Default)]
pub(crate) struct Related {
    /// The best first, each after the records that supersede it.
    pub(crate) hits: Vec<RankedHit>,
    /// The superseded hits, then the records that hits supersede (`anti_hits` on the wire).
    pub(crate) superseded: Vec<i64>,
    /// Records linked to hits that are no hits, the most strongly linked first.
    pub(crate) activated: Vec<i64>,
    /// Pairs of hits whose link is to be renewed.
    pub(crate) used: Vec<(i64, i64)>,
    links: SeqMap<RecordLinks>,
    adjacent: SeqMap<Vec<i64>>,
    superseded_hits: SeqSet,
    /// Hits that were added because they supersede others.
    added: SeqSet,
}

impl Related {
    /// Returns the hits as they are, without reading links.
    pub(crate) fn none(hits: Vec<RankedHit>) -> Related {
        Related { hits, ..Related::default() }
    }

    /// Expands the hits along their links and keeps the best `limit`.
    ///
    /// # Errors
    /// Any error of reading links, tags or records.
    pub(crate) fn of(
        connection: &Connection,
        hits: Vec<RankedHit>,
        projects: &ProjectFilter,
        limit: usize,
        now: UnixMicros,
    ) -> Result<Related, rusqlite::Error> {
        let mut related = Related::none(Vec::with_capacity(hits.len()));
        for one in &hits {
            related.links.insert(one.seq, shown_links(connection, one.seq, projects, now)?);
        }
        let hits = related.without_patterns(connection, hits)?;
        related.order_by_succession(connection, hits, projects, now)?;
        let repeated = related.take_repeated();
        related.hits.truncate(limit);
        related.collect_superseded(repeated);
        related.collect_neighbors();
        Ok(related)
    }

    /// Returns the records that a hit is linked to, the most strongly linked first.
    pub(crate) fn adjacent(&self, seq: i64) -> &[i64] {
        self.adjacent.get(&seq).map_or(&[], Vec::as_slice)
    }

    /// Returns a hit's reason, given the reason by its words.
    pub(crate) fn reason(&self, seq: i64, own: String) -> String {
        if self.added.contains(&seq) {
            "replaces what matches".into()
        } else if self.superseded_hits.contains(&seq) {
            own + " · stale"
        } else {
            own
        }
    }

    /// Returns the hits without patterns, unless all hits are patterns.
    fn without_patterns(
        &self,
        connection: &Connection,
        hits: Vec<RankedHit>,
    ) -> Result<Vec<RankedHit>, rusqlite::Error> {
        let mut said = Vec::with_capacity(hits.len());
        for one in &hits {
            if !(self.links[&one.seq].has_evidence && tags::has(connection, one.seq, tags::PATTERN)?) {
                said.push(one.clone());
            }
        }
        Ok(if said.is_empty() { hits } else { said })
    }

    /// Orders each hit after all records that supersede it; the last of them is added if it is no hit.
    fn order_by_succession(
        &mut self,
        connection: &Connection,
        hits: Vec<RankedHit>,
        projects: &ProjectFilter,
        now: UnixMicros,
    ) -> Result<(), rusqlite::Error> {
        let by_seq: SeqMap<&RankedHit> = hits.iter().map(|one| (one.seq, one)).collect();
        // A record with the text of a hit counts as that hit.
        let copies =
            hits.iter().flat_map(|one| one.copies.iter().flat_map(|group| &group.seqs).map(|seq| (*seq, one.seq)));
        let copy_of: SeqMap<i64> = copies.collect();
        let mut placed = SeqSet::default();
        for one in &hits {
            let is_replaced = self.links[&one.seq].is_replaced;
            let mut chain = if is_replaced { shown_chain(connection, one.seq, projects)? } else { vec![one.seq] };
            chain.iter_mut().for_each(|seq| *seq = copy_of.get(seq).copied().unwrap_or(*seq));
            let last = chain.last().copied().filter(|last| *last != one.seq);
            for &seq in chain.iter().rev() {
                let known = by_seq.get(&seq).copied();
                if (known.is_none() && Some(seq) != last) || !placed.insert(seq) {
                    continue;
                }
                if last.is_some_and(|last| last != seq) {
                    self.superseded_hits.insert(seq);
                }
                // An added record ranks as the one it supersedes, whatever its words.
                let added = || RankedHit::plain(seq, one.score, one.project_match);
                if known.is_none() {
                    self.added.insert(seq);
                    self.links.insert(seq, shown_links(connection, seq, projects, now)?);
                }
                self.hits.push(RankedHit {
                    score: one.score,
                    phrase: one.phrase,
                    project_match: one.project_match,
                    ..known.cloned().unwrap_or_else(added)
                });
            }
        }
        Ok(())
    }

    /// Takes the superseded hits out whose text another hit has: one that holds, or one that ranks before it.
    fn take_repeated(&mut self) -> Vec<i64> {
        let is_superseded = |one: &RankedHit| self.superseded_hits.contains(&one.seq);
        let valid = self.hits.iter().filter(|one| !is_superseded(one));
        let mut texts: TextHashes = valid.filter_map(|one| one.text_hash).collect();
        let is_repeated =
            |one: &RankedHit| is_superseded(one) && one.text_hash.is_some_and(|text_hash| !texts.insert(text_hash));
        let (repeated, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.hits).into_iter().partition(is_repeated);
        self.hits = kept;
        repeated.iter().map(|one| one.seq).collect()
    }

    /// Collects the superseded hits, those taken out, and the records that hits supersede.
    fn collect_superseded(&mut self, repeated: Vec<i64>) {
        let hits = self.hits.iter().map(|one| one.seq).filter(|seq| self.superseded_hits.contains(seq));
        self.superseded = hits.chain(repeated).collect();
        for one in &self.hits {
            for seq in &self.links[&one.seq].predecessors {
                if !self.superseded.contains(seq) {
                    self.superseded.push(*seq);
                }
            }
        }
        self.superseded.truncate(MAX_SUPERSEDED_COUNT);
    }

    /// Collects linked records and the links to renew.
    fn collect_neighbors(&mut self) {
        let hits: SeqSet = self.hits.iter().map(|one| one.seq).collect();
        let mut activated: SeqMap<i64> = SeqMap::default();
        for one in &self.hits {
            let neighbors = &self.links[&one.seq].neighbors;
            for neighbor in neighbors {
                if !hits.contains(&neighbor.seq) {
                    *activated.entry(neighbor.seq).or_default() += neighbor.weight;
                } else if neighbor.is_stale && one.seq < neighbor.seq {
                    self.used.push((one.seq, neighbor.seq));
                }
            }
            let closest = neighbors.iter().take(MAX_ADJACENT_COUNT).map(|neighbor| neighbor.seq).collect();
            self.adjacent.insert(one.seq, closest);
        }
        let mut activated: Vec<(i64, i64)> = activated.into_iter().collect();
        sort::sort_by_key(&mut activated, |&(seq, weight)| (-weight, -seq));
        self.activated = activated.into_iter().take(MAX_ACTIVATED_COUNT).map(|(seq, _)| seq).collect();
    }
}

/// Returns the links of a record to those that the filter shows.
fn shown_links(
    connection: &Connection,
    seq: i64,
    projects: &ProjectFilter,
    now: UnixMicros,
) -> Result<RecordLinks, rusqlite::Error> {
    let mut links = links::links_of(connection, seq, now)?;
    if projects.is_only() {
        links.predecessors = shown_of(connection, links.predecessors, projects)?;
        let neighbors = links.neighbors.iter().map(|one| one.seq).collect();
        let shown = shown_of(connection, neighbors, projects)?;
        links.neighbors.retain(|one| shown.contains(&one.seq));
    }
    Ok(links)
}

/// Returns the record and those that supersede it, one after the other, as far as the filter shows them.
///
/// # Errors
/// Any error of reading links or records.
pub(crate) fn shown_chain(
    connection: &Connection,
    seq: i64,
    projects: &ProjectFilter,
) -> Result<Vec<i64>, rusqlite::Error> {
    shown_of(connection, links::successor_chain(connection, seq)?, projects)
}

fn shown_of(connection: &Connection, seqs: Vec<i64>, projects: &ProjectFilter) -> Result<Vec<i64>, rusqlite::Error> {
    let mut shown = Vec::with_capacity(seqs.len());
    for seq in seqs {
        if projects.admits_record(connection, seq)? {
            shown.push(seq);
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::UnixMicros;
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn texts(hits: &Value) -> Vec<&str> {
        hits.as_array().unwrap().iter().map(|hit| hit["literal_surface"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_chain_of_five_shows_the_newest_first() {
        let bench = Bench::new();
        let mut id = bench.capture("Momo lives in Rome", json!({}));
        for city in ["Paris", "Berlin", "Madrid", "Vienna"] {
            let fact = format!("Momo lives in {city} now, says the family");
            let got = bench.ok("memory_contradict", json!({"id": id, "new_fact": fact}));
            id = got["new_record_id"].as_str().unwrap().to_owned();
        }
        bench.capture("who lives in Rome and who does not", json!({}));
        let got = bench.ok("memory_recall", json!({"cue": "where does Momo live?"}));
        let order: Vec<_> = texts(&got["hits"])
            .iter()
            .filter_map(|text| {
                ["Rome", "Paris", "Berlin", "Madrid", "Vienna"].into_iter().find(|city| text.contains(city))
            })
            .collect();
        assert_eq!(order[..5], ["Vienna", "Madrid", "Berlin", "Paris", "Rome"]);
        let scores: Vec<f64> =
            got["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.windows(2).all(|two| two[0] > two[1]), "{scores:?}");
        assert_eq!(got["hits"][0]["valid_to"], json!(null));
        assert_eq!(got["hits"][1]["valid_to"], "2024-06-01T12:00:00Z");
        assert!(got["hits"][1]["reason"].as_str().unwrap().ends_with(" · stale"));
        assert_eq!(got["anti_hits"].as_array().unwrap().len(), 4);
        assert_eq!(got["anti_hits"][0]["score"], 0.0);
    }

    #[test]
    fn a_superseding_record_ranks_before_the_match_it_supersedes() {
        let bench = Bench::new();
        let id = bench.capture("the password of the router is swordfish", json!({}));
        for n in 0..9 {
            bench.capture(&format!("something else, number {n}"), json!({}));
        }
        let got = bench.ok("memory_contradict", json!({"id": id, "new_fact": "it was changed to halibut"}));
        for limit in [1, 2] {
            let recalled = bench.ok("memory_recall", json!({"cue": "swordfish", "limit": limit}));
            assert_eq!(recalled["hits"].as_array().unwrap().len(), limit, "{recalled}");
            assert_eq!(recalled["hits"][0]["record_id"], got["new_record_id"]);
            assert_eq!(recalled["hits"][0]["reason"], "replaces what matches");
            assert_eq!(texts(&recalled["anti_hits"]), ["the password of the router is swordfish"], "{limit}");
        }
        // A superseded record is named even if its words do not match.
        let recalled = bench.ok("memory_recall", json!({"cue": "halibut"}));
        assert_eq!(texts(&recalled["hits"])[0], "it was changed to halibut");
        assert_eq!(recalled["anti_hits"][0]["record_id"], json!(id));
    }

    #[test]
    fn linked_records_and_patterns_are_named_beside_the_hits() {
        let bench = Bench::new();
        let ids: Vec<String> = ["a", "b", "c"]
            .map(|session| bench.capture(&format!("guitar lessons, part {session}"), json!({"session_id": session})))
            .into();
        let other = bench.capture("nothing to do with it at all", json!({}));
        bench.ok("memory_reinforce", json!({"ids": [ids[0], other]}));
        bench.ok("memory_consolidate", json!({}));
        let got = bench.ok("memory_recall", json!({"cue": "guitar lessons"}));
        assert_eq!(texts(&got["hits"]).len(), 3);
        assert_eq!(got["activation_trace"], json!([other]));
        let schema = &bench.ok("schema_list", json!({}))["schemas"][0];
        let pattern = json!({"pattern": "guitar, lessons", "evidence_count": 3, "schema_id": schema["id"]});
        assert_eq!(got["patterns_observed"], json!([pattern]));
        let hit = got["hits"].as_array().unwrap().iter().find(|hit| hit["record_id"] == ids[0].as_str()).unwrap();
        assert!(hit["adjacent_suggestions"].as_array().unwrap().contains(&json!(other)), "{hit}");
        assert_eq!(bench.ok("memory_recall", json!({"cue": "verbatim guitar"}))["patterns_observed"], json!([]));
        bench.ok("profile_set", json!({"knob": "task_support", "value": "blank_recall"}));
        let got = bench.ok("memory_recall", json!({"cue": "guitar lessons"}));
        assert!(got["hits"].as_array().unwrap().iter().all(|hit| hit["adjacent_suggestions"] == json!([])), "{got}");
    }

    #[test]
    fn a_recall_renews_the_links_between_its_hits_and_writes_nothing_else() {
        let mut bench = Bench::new();
        let ids = ["the first of two things", "the second of two things"].map(|text| bench.capture(text, json!({})));
        bench.ok("memory_reinforce", json!({ "ids": ids }));
        let used = |bench: &Bench| bench.row::<i64>("SELECT used FROM link WHERE kind = ?1", 1);
        let settle = |bench: &Bench| bench.ok("profile_set", json!({"knob": "masking_off", "value": true}));
        let before = used(&bench);
        bench.ok("memory_recall", json!({"cue": "things"}));
        settle(&bench);
        assert_eq!(used(&bench), before);
        bench.restart_at(|| UnixMicros(Bench::NOW.0 + 48 * 3600 * 1_000_000));
        bench.ok("memory_recall", json!({"cue": "first", "limit": 1}));
        settle(&bench);
        assert_eq!(used(&bench), before);
        bench.ok("memory_recall", json!({"cue": "things"}));
        settle(&bench);
        assert_eq!(used(&bench), before + 48 * 3600 * 1_000_000);
    }
}
