//! What hangs on the records that a recall has found: the ones that replaced them come before them,
//! the ones that they are linked to are named, and patterns are told apart from what was said.
//!
//! It reads; which links were of use it only says ([`Related::used`]).

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use crate::memory::graph::links::{self, RecordLinks};
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::rank::RankedHit;
use crate::memory::sort;
use crate::memory::store::tags;
use crate::memory::text::phrase::PhraseMatch;

/// RankedHit records that may have to make room: patterns, and what their replacement pushes down.
pub(crate) const SPARE: usize = 8;

/// Replaced records that are shown apart. Picked.
const ANTI: usize = 10;

/// Linked records that are named with one hit, and with all together. Picked.
const ADJACENT: usize = 3;
const ACTIVATED: usize = 10;

/// Records found, and what hangs on them.
#[derive(Debug, Default)]
pub(crate) struct Related {
    /// The best first, each under the one that replaced it.
    pub(crate) found: Vec<RankedHit>,
    /// Records that were replaced by what was found, or were found and have been replaced.
    pub(crate) anti: Vec<i64>,
    /// Records that are linked to those found and were not found, the closest first.
    pub(crate) activated: Vec<i64>,
    /// Pairs of records found whose link has not been used for a while.
    pub(crate) used: Vec<(i64, i64)>,
    ties: HashMap<i64, RecordLinks>,
    adjacent: HashMap<i64, Vec<i64>>,
    replaced: HashSet<i64>,
    added: HashSet<i64>,
}

impl Related {
    /// No bonds are looked for: what was found stands as it is.
    pub(crate) fn none(found: Vec<RankedHit>) -> Related {
        Related { found, ..Related::default() }
    }

    /// Of the best `limit` of what was found.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn of(
        connection: &Connection,
        found: Vec<RankedHit>,
        limit: usize,
        now: UnixMicros,
    ) -> Result<Related, rusqlite::Error> {
        let mut bonds = Related::none(Vec::with_capacity(found.len()));
        for one in &found {
            bonds.ties.insert(one.seq, links::links_of(connection, one.seq, now)?);
        }
        let found = bonds.without_patterns(connection, found)?;
        bonds.place(connection, found, now)?;
        bonds.found.truncate(limit);
        bonds.look_back();
        bonds.look_around();
        Ok(bonds)
    }

    /// The records that a hit is linked to, the closest first.
    pub(crate) fn adjacent(&self, seq: i64) -> &[i64] {
        self.adjacent.get(&seq).map_or(&[], Vec::as_slice)
    }

    /// Why a hit is one, from why its words make it one.
    pub(crate) fn reason(&self, seq: i64, own: String) -> String {
        if self.added.contains(&seq) {
            "replaces what matches".into()
        } else if self.replaced.contains(&seq) {
            own + " · stale"
        } else {
            own
        }
    }

    /// Patterns are shown as such, by the records that have them; unless nothing else was found.
    fn without_patterns(
        &self,
        connection: &Connection,
        found: Vec<RankedHit>,
    ) -> Result<Vec<RankedHit>, rusqlite::Error> {
        let mut said = Vec::with_capacity(found.len());
        for one in &found {
            if !(self.ties[&one.seq].has_evidence && tags::has(connection, one.seq, tags::PATTERN)?) {
                said.push(one.clone());
            }
        }
        Ok(if said.is_empty() { found } else { said })
    }

    /// Puts each record under all that replaced it; the last of them is added if it was not found.
    fn place(
        &mut self,
        connection: &Connection,
        found: Vec<RankedHit>,
        now: UnixMicros,
    ) -> Result<(), rusqlite::Error> {
        let by_seq: HashMap<i64, &RankedHit> = found.iter().map(|one| (one.seq, one)).collect();
        let mut placed = HashSet::new();
        for one in &found {
            let is_replaced = self.ties[&one.seq].is_replaced;
            let chain = if is_replaced { links::successor_chain(connection, one.seq)? } else { vec![one.seq] };
            let last = chain.last().copied().filter(|last| *last != one.seq);
            for &seq in chain.iter().rev() {
                let known = by_seq.get(&seq).copied();
                if (known.is_none() && Some(seq) != last) || !placed.insert(seq) {
                    continue;
                }
                if last.is_some_and(|last| last != seq) {
                    self.replaced.insert(seq);
                }
                // As good as the one it replaces, whatever words it has.
                let added = || RankedHit {
                    seq,
                    terms: Vec::new(),
                    alike: Vec::new(),
                    quotes: PhraseMatch::None,
                    ..one.clone()
                };
                if known.is_none() {
                    self.added.insert(seq);
                    self.ties.insert(seq, links::links_of(connection, seq, now)?);
                }
                self.found.push(RankedHit {
                    score: one.score,
                    phrase: one.phrase,
                    place: one.place,
                    ..known.cloned().unwrap_or_else(added)
                });
            }
        }
        Ok(())
    }

    fn look_back(&mut self) {
        self.anti = self.found.iter().map(|one| one.seq).filter(|seq| self.replaced.contains(seq)).collect();
        for one in &self.found {
            for seq in &self.ties[&one.seq].predecessors {
                if !self.anti.contains(seq) {
                    self.anti.push(*seq);
                }
            }
        }
        self.anti.truncate(ANTI);
    }

    fn look_around(&mut self) {
        let found: HashSet<i64> = self.found.iter().map(|one| one.seq).collect();
        let mut activated: HashMap<i64, i64> = HashMap::new();
        for one in &self.found {
            let neighbors = &self.ties[&one.seq].neighbors;
            for neighbor in neighbors {
                if !found.contains(&neighbor.seq) {
                    *activated.entry(neighbor.seq).or_default() += neighbor.weight;
                } else if neighbor.is_stale && one.seq < neighbor.seq {
                    self.used.push((one.seq, neighbor.seq));
                }
            }
            let closest = neighbors.iter().take(ADJACENT).map(|neighbor| neighbor.seq).collect();
            self.adjacent.insert(one.seq, closest);
        }
        let mut activated: Vec<(i64, i64)> = activated.into_iter().collect();
        sort::sort_by_key(&mut activated, |&(seq, weight)| (-weight, -seq));
        self.activated = activated.into_iter().take(ACTIVATED).map(|(seq, _)| seq).collect();
    }
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
    fn what_replaced_a_match_comes_before_it_whatever_its_words() {
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
        // What was replaced is told, even if it was not found.
        let recalled = bench.ok("memory_recall", json!({"cue": "halibut"}));
        assert_eq!(texts(&recalled["hits"])[0], "it was changed to halibut");
        assert_eq!(recalled["anti_hits"][0]["record_id"], json!(id));
    }

    #[test]
    fn linked_records_are_named_and_patterns_are_told_apart() {
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
    fn use_makes_links_new_and_nothing_else_is_written() {
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
