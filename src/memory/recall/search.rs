//! `memory_search` and `claim_check`: recalls in the shapes that clients of the other daemon of this protocol expect.
//!
//! Neither ends a session's first turn, shows the digest or renews links: only `memory_recall` does.

use std::time::Instant;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::Tier;
use crate::memory::model::time::{CallTime, UnixMicros};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::recall::candidates;
use crate::memory::recall::hit::RankedHit;
use crate::memory::recall::mode::{CueMode, quoted};
use crate::memory::recall::preferences::Preferences;
use crate::memory::recall::recall_query::{RecallFilter, RecallQuery};
use crate::memory::recall::related::{Related, SPARE_HIT_COUNT};
use crate::memory::recall::rendered_hit::MatchReason;
use crate::memory::recall::reply::{RecallResponse, scores};
use crate::memory::session::context::OwnTurns;
use crate::memory::store::error::StoreError;
use crate::memory::store::reader::{Reader, Snapshot};
use crate::memory::text::cue_terms::CueTerms;
use crate::memory::text::phrase::QuotedPhrase;

/// Characters of a hit of `memory_search` (the contract).
const SURFACE_CHARS: usize = 500;

/// Hits of a claim check.
const CLAIM_HIT_COUNT: usize = 10;

/// A hit that is so much newer than the best one makes a claim unconfirmed (the contract): 7 days, in microseconds.
const NEWER_US: i64 = 7 * 24 * 3600 * 1_000_000;

/// Returns the best `limit` records for `cue` of those read by `deadline`, or the newest if it has no terms.
///
/// # Errors
/// Any [`StoreError`] of reading the index or records.
pub(crate) fn find(
    snapshot: &Snapshot<'_>,
    cue: &str,
    filter: RecallFilter<'_>,
    profile: &Profile,
    deadline: Instant,
    limit: usize,
) -> Result<(Vec<RankedHit>, MatchReason), StoreError> {
    let terms = CueTerms::of(cue);
    if terms.is_empty() {
        return Ok((candidates::newest(snapshot, &filter, limit)?, MatchReason::Newest));
    }
    let preferences = Preferences::of(profile);
    let phrases = quoted(cue).into_iter().filter_map(QuotedPhrase::new).collect();
    let preferences = &preferences;
    let query = RecallQuery { cue, terms, further: &[], phrases, is_literal: false, filter, preferences, time: None };
    let found = candidates::search(snapshot, &query, deadline, limit)?;
    Ok((found.hits, MatchReason::Terms { cue: found.terms, further: found.further }))
}

/// The result of `memory_search`.
#[derive(Serialize)]
pub(crate) struct SearchResponse {
    hits: Vec<SearchHit>,
    frame: &'static str,
}

#[derive(Serialize)]
struct SearchHit {
    record_id: String,
    surface: String,
    tier: &'static str,
    lane: &'static str,
    score: f64,
}

/// Answers `memory_search`: the beginnings of the best records.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn memory_search(
    reader: &Reader,
    profile: &Profile,
    params: &Params<'_>,
    deadline: Instant,
) -> Result<SearchResponse, CallError> {
    let query = params.string("query")?;
    let most = params.integer_or("k", 1..=24, 8)? as usize;
    let caller = CallerProject::read(params, profile)?;
    if query.trim().is_empty() {
        return Ok(SearchResponse { hits: Vec::new(), frame: "the query is empty" });
    }
    let snapshot = reader.snapshot()?;
    let projects = caller.filter(snapshot.connection())?;
    let (found, _) = find(&snapshot, &query, RecallFilter::of(&projects), profile, deadline, most)?;
    let mut read = snapshot.connection().prepare_cached("SELECT id, tier, text FROM record WHERE seq = ?1")?;
    let mut hits = Vec::with_capacity(found.len());
    for (one, score) in found.iter().zip(scores(&found)) {
        hits.push(read.query_row([one.seq], |row| {
            let surface = row.get_ref(2)?.as_str()?.chars().take(SURFACE_CHARS).collect();
            let tier = Tier::numbered(row.get(1)?).name();
            Ok(SearchHit {
                record_id: Uuid::from_bytes(row.get(0)?).to_string(),
                surface,
                tier,
                lane: "lexical",
                score,
            })
        })?);
    }
    Ok(SearchResponse { hits, frame: "hints to be checked against their sources; memory_recall returns whole texts" })
}

/// The result of `claim_check`.
#[derive(Serialize)]
pub(crate) struct ClaimCheck {
    hits: Vec<Box<RawValue>>,
    anti_hits: Vec<Box<RawValue>>,
    verdict: Verdict,
    verdict_reason: &'static str,
    #[serde(rename = "_source")]
    source: &'static str,
}

/// What the records say about the age of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Verdict {
    tier: &'static str,
    reason: &'static str,
}

impl Verdict {
    const CONTRADICTED: Verdict =
        Verdict { tier: "CONTRADICTED", reason: "a record about it has been replaced by a newer fact" };
    const NO_EVIDENCE: Verdict = Verdict { tier: "NO_EVIDENCE", reason: "no record is about it" };
    const UNCONFIRMED: Verdict =
        Verdict { tier: "UNCONFIRMED", reason: "a record about it is at least 7 days newer than the best match" };
    const CURRENT: Verdict = Verdict { tier: "CURRENT", reason: "no newer record is about it" };

    /// Returns the verdict on hits with these times, the best first.
    fn on(hits: &[UnixMicros], has_superseded: bool) -> Verdict {
        match hits {
            _ if has_superseded => Verdict::CONTRADICTED,
            [] => Verdict::NO_EVIDENCE,
            [best, others @ ..] if others.iter().any(|ts| ts.0.saturating_sub(best.0) >= NEWER_US) => {
                Verdict::UNCONFIRMED
            }
            _ => Verdict::CURRENT,
        }
    }
}

/// Answers `claim_check`: the records about a claim, and whether the best one is still valid.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn claim_check(
    reader: &Reader,
    profile: &Profile,
    params: &Params<'_>,
    time: CallTime<'_>,
) -> Result<ClaimCheck, CallError> {
    let cue = params.string("cue")?;
    let session = params.string_or("session_id", "-")?;
    let budget = params.integer_or("budget_tokens", 0..=i64::from(u32::MAX), 1500)? as usize;
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let projects = caller.filter(connection)?;
    let filter = RecallFilter { own: OwnTurns::of(connection, &session)?, ..RecallFilter::of(&projects) };
    let most = CLAIM_HIT_COUNT + SPARE_HIT_COUNT;
    let (hits, match_reason) = find(&snapshot, &cue, filter, profile, time.deadline, most)?;
    let related = Related::of(connection, hits, &projects, CLAIM_HIT_COUNT, time.now)?;
    let mut reply = RecallResponse::new(CueMode::of(&cue));
    reply.add_hits(connection, &related, &match_reason, budget, profile)?;
    reply.add_related(connection, &related, &projects, &match_reason)?;
    let verdict = Verdict::on(&times(connection, &related.hits)?, !related.superseded.is_empty());
    let (hits, anti_hits) = reply.into_hits();
    Ok(ClaimCheck { hits, anti_hits, verdict, verdict_reason: verdict.reason, source: "claim_check" })
}

fn times(connection: &Connection, hits: &[RankedHit]) -> Result<Vec<UnixMicros>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT ts FROM record WHERE seq = ?1")?;
    hits.iter().map(|one| read.query_row([one.seq], |row| row.get(0)).map(UnixMicros)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn a_search_returns_the_beginnings_of_the_best_records() {
        let bench = Bench::new();
        let long = format!("the gull colony {}", "é".repeat(600));
        let id = bench.capture(&long, json!({"tier": "semantic"}));
        bench.capture("the colony of bees behind the house", json!({}));
        let got = bench.ok("memory_search", json!({"query": "gull colony"}));
        let hits = got["hits"].as_array().unwrap();
        assert_eq!(
            (&hits[0]["record_id"], &hits[0]["tier"], &hits[0]["lane"]),
            (&json!(id), &json!("semantic"), &json!("lexical"))
        );
        assert_eq!(hits[0]["surface"].as_str().unwrap(), long.chars().take(500).collect::<String>());
        assert!(hits.len() == 2 && hits[0]["score"].as_f64() > hits[1]["score"].as_f64());
        assert_eq!(
            bench.ok("memory_search", json!({"query": "gull colony", "k": 1}))["hits"].as_array().unwrap().len(),
            1
        );
        for query in ["", " \n", "nothing like this"] {
            let got = bench.ok("memory_search", json!({"query": query}));
            assert!(got["hits"].as_array().unwrap().is_empty() && got["frame"].is_string(), "{query:?}");
        }
        assert!(bench.err("memory_search", json!({"query": "gull", "k": 25})).message.contains("'k'"));
    }

    #[test]
    fn a_verdict_follows_from_times_and_replacements() {
        let day = |n: i64| UnixMicros(n * 24 * 3600 * 1_000_000);
        for (times, has_superseded, want) in [
            (&[][..], false, Verdict::NO_EVIDENCE),
            (&[], true, Verdict::CONTRADICTED),
            (&[day(9)], false, Verdict::CURRENT),
            (&[day(1), day(7)], false, Verdict::CURRENT),
            (&[day(1), day(8)], false, Verdict::UNCONFIRMED),
            (&[day(8), day(1)], false, Verdict::CURRENT),
            (&[day(1), day(8)], true, Verdict::CONTRADICTED),
            (&[UnixMicros(i64::MIN), UnixMicros(i64::MAX)], false, Verdict::UNCONFIRMED),
        ] {
            assert_eq!(Verdict::on(times, has_superseded), want, "{times:?} {has_superseded}");
        }
    }

    #[test]
    fn a_claim_is_checked_against_the_records_about_it() {
        let bench = Bench::new();
        let tier = |bench: &Bench| {
            bench.ok("claim_check", json!({"cue": "is the gate painted green?"}))["verdict"]["tier"].clone()
        };
        assert_eq!(tier(&bench), "NO_EVIDENCE");
        let id = bench.capture("the gate is painted green", json!({}));
        let got = bench.ok("claim_check", json!({"cue": "is the gate painted green?", "session_id": "s"}));
        assert_eq!((&got["verdict"]["tier"], &got["_source"]), (&json!("CURRENT"), &json!("claim_check")));
        assert_eq!(got["verdict_reason"], got["verdict"]["reason"]);
        assert_eq!((&got["hits"][0]["record_id"], &got["anti_hits"]), (&json!(id), &json!([])));
        bench.ok("memory_contradict", json!({"id": id, "new_fact": "the gate is painted blue"}));
        assert_eq!(tier(&bench), "CONTRADICTED");
    }
}
