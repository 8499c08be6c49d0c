//! `memory_temporal_recall`: the records that were valid at a time, and the events since a time.
//!
//! An invalid time is answered by a result with the key `error`, as existing clients expect.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::{CallTime, DateBound, UnixMicros};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::recall::hit::RankedHit;
use crate::memory::recall::recall_query::RecallFilter;
use crate::memory::recall::reply::{MAX_HITS_BYTES, scores};
use crate::memory::recall::search;
use crate::memory::store::events::{self, VISIBLE_KINDS};
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::reader::{Reader, Snapshot};
use crate::memory::store::tags;
use crate::memory::text::language;
use crate::sort;

/// Most hits and most events of a reply.
const MAX_COUNT: usize = 100;

/// Most that a client may ask for: clients of iai-mcp, which has no limit, ask for all records so.
const MAX_LIMIT: i64 = 1_000_000;

/// Most hits that are counted, with those that the reply has no room for. Picked.
const MAX_COUNTED: usize = 1000;

/// Hits that are searched for each that is asked for: some are not valid at the time.
const SEARCH_FACTOR: usize = 2;

#[derive(Serialize)]
struct TemporalHit<'r> {
    id: String,
    literal_surface: &'r str,
    tier: &'static str,
    score: f64,
    created_at: String,
    updated_at: String,
    tags: Vec<String>,
    language: &'static str,
}

/// Answers `memory_temporal_recall`.
///
/// # Errors
/// -32602 if a param has a wrong type or is out of range, -32001 if the store cannot be read.
pub(crate) fn recall(
    reader: &Reader,
    profile: &Profile,
    params: &Params<'_>,
    call: CallTime<'_>,
) -> Result<Value, CallError> {
    let cue = params.string_or("cue", "")?;
    let limit = (params.integer_or("limit", 1..=MAX_LIMIT, 10)? as usize).min(MAX_COUNTED);
    let (as_of, changed_since) =
        match (time(params, "as_of", DateBound::End)?, time(params, "changed_since", DateBound::Start)?) {
            (Ok(as_of), Ok(changed_since)) => (as_of, changed_since),
            (Err(error), _) | (_, Err(error)) => return Ok(json!({ "error": error })),
        };
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let projects = caller.filter(snapshot.connection())?;
    let mut reply = json!({"hits": [], "changed_since_events": [], "truncated": 0});
    if as_of.is_some() || !cue.is_empty() {
        let filter = RecallFilter { until: as_of, ..RecallFilter::of(&projects) };
        let (found, _) = search::find(&snapshot, &cue, filter, profile, call.deadline, limit * SEARCH_FACTOR)?;
        let (hits, truncated) = render(&snapshot, &found, as_of.unwrap_or(call.now), limit)?;
        reply["hits"] = hits.into();
        reply["truncated"] = truncated.into();
    }
    if let Some(since) = changed_since {
        reply["changed_since_events"] = events_since(&snapshot, &projects, since, limit.min(MAX_COUNT))?.into();
    }
    if as_of.is_some() || changed_since.is_some() {
        reply["_scope"] = "committed_by_time_t".into();
    }
    Ok(reply)
}

/// Returns the time of a param, `None` for a missing or empty one, and the error to answer for an invalid one.
fn time(params: &Params<'_>, name: &str, bound: DateBound) -> Result<Result<Option<UnixMicros>, String>, CallError> {
    Ok(match params.string_opt(name)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match UnixMicros::parse(text, bound) {
            Some(at) => Ok(Some(at)),
            None => Err(format!("{name} must be ISO-8601, got '{}'", text.chars().take(64).collect::<String>())),
        },
    })
}

/// Renders the first `limit` records that were valid at `at`. Returns them, and how many the reply has no room for.
fn render(
    snapshot: &Snapshot<'_>,
    found: &[RankedHit],
    at: UnixMicros,
    limit: usize,
) -> Result<(Vec<Value>, usize), CallError> {
    let connection = snapshot.connection();
    let mut read = connection.prepare_cached("SELECT id, ts, tier, role, valid_to, text FROM record WHERE seq = ?1")?;
    let (mut hits, mut truncated, mut bytes) = (Vec::new(), 0, 0);
    for (one, score) in found.iter().zip(scores(found)) {
        if hits.len() + truncated == limit {
            break;
        }
        let mut rows = read.query([one.seq])?;
        let Some(row) = rows.next()? else { continue };
        let valid_to: Option<i64> = row.get(4)?;
        if valid_to.is_some_and(|end| end <= at.0) {
            continue;
        }
        if hits.len() == MAX_COUNT {
            truncated += 1;
            continue;
        }
        let text = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
        let ts = UnixMicros(row.get(1)?);
        let mut tags = tags::of(connection, one.seq)?;
        tags.insert(0, format!("role:{}", Role::numbered(row.get(3)?).name()));
        let hit = json!(TemporalHit {
            id: Uuid::from_bytes(row.get(0)?).to_string(),
            literal_surface: text,
            tier: Tier::numbered(row.get(2)?).name(),
            score,
            created_at: ts.to_string(),
            updated_at: valid_to.map_or(ts, UnixMicros).to_string(),
            tags,
            language: language::of(text),
        });
        bytes += hit.to_string().len();
        if bytes > MAX_HITS_BYTES / 2 {
            truncated += 1;
        } else {
            hits.push(hit);
        }
    }
    Ok((hits, truncated))
}

/// Returns the newest events after `since`, of all kinds that clients may see.
fn events_since(
    snapshot: &Snapshot<'_>,
    projects: &ProjectFilter,
    since: UnixMicros,
    limit: usize,
) -> Result<Vec<Value>, CallError> {
    let after = since.0.saturating_add(1);
    let mut all = Vec::new();
    for kind in VISIBLE_KINDS {
        all.extend(events::newest(snapshot.connection(), kind, projects, after, None, limit)?);
    }
    sort::sort_by_key(&mut all, |(ts, _)| std::cmp::Reverse(*ts));
    let mut bytes = 0;
    let mut fits = |event: &Value| {
        bytes += event.to_string().len();
        bytes <= MAX_HITS_BYTES / 2
    };
    Ok(all.into_iter().map(|(_, event)| event).take(limit).take_while(|event| fits(event)).collect())
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn starts(got: &Value) -> Vec<&str> {
        got["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["literal_surface"].as_str().unwrap().split(' ').next().unwrap())
            .collect()
    }

    #[test]
    fn records_are_those_that_were_valid_then() {
        let bench = Bench::new();
        let old = bench.capture("blue is the gate's color", json!({"ts": "2024-01-10T12:00:00Z", "tier": "semantic"}));
        bench.capture("later the gate was oiled", json!({"ts": "2024-02-10T12:00:00Z", "session_id": "b"}));
        bench.ok("memory_contradict", json!({"id": old, "new_fact": "green is the gate's color"}));
        for (params, want) in [
            (json!({}), &[][..]),
            (json!({"limit": 5}), &[]),
            (json!({"as_of": "2024-01-09"}), &[]),
            (json!({"as_of": "2024-01-10"}), &["blue"]),
            (json!({"as_of": "2024-01-10T11:00:00Z"}), &[]),
            (json!({"as_of": "2024-03-01"}), &["later", "blue"]),
            (json!({"as_of": "2024-03-01", "limit": 1}), &["later"]),
            (json!({"as_of": "2024-03-01", "cue": "which color?"}), &["blue"]),
            (json!({"as_of": "2999-01-01", "cue": "which color?"}), &["green"]),
            (json!({"cue": "which color?"}), &["green"]),
            (json!({"cue": "", "as_of": ""}), &[]),
        ] {
            let got = bench.ok("memory_temporal_recall", params.clone());
            assert_eq!(starts(&got), want, "{params}");
            assert_eq!(
                got.get("_scope").is_some(),
                params["as_of"].as_str().is_some_and(|at| !at.is_empty()),
                "{params}"
            );
        }
        let got = bench.ok("memory_temporal_recall", json!({"as_of": "2024-01-10"}));
        let hit = &got["hits"][0];
        assert_eq!((&hit["id"], &hit["tier"], &hit["language"]), (&json!(old), &json!("semantic"), &json!("en")));
        assert_eq!((&hit["created_at"], &hit["tags"]), (&json!("2024-01-10T12:00:00Z"), &json!(["role:user"])));
        assert_eq!(hit["updated_at"], Bench::NOW.to_string());
    }

    #[test]
    fn events_are_those_after_a_time() {
        let bench = Bench::new();
        let id = bench.capture("blue is the gate's color", json!({}));
        bench.ok("memory_contradict", json!({"id": id, "new_fact": "green is the gate's color"}));
        let before = super::UnixMicros(Bench::NOW.0 - 1).to_string();
        let got = bench.ok("memory_temporal_recall", json!({"changed_since": before}));
        assert_eq!(got["changed_since_events"][0]["kind"], "s4_contradiction");
        assert_eq!((&got["hits"], &got["_scope"]), (&json!([]), &json!("committed_by_time_t")));
        let got = bench.ok("memory_temporal_recall", json!({"changed_since": Bench::NOW.to_string()}));
        assert_eq!(got["changed_since_events"], json!([]));
    }

    #[test]
    fn an_invalid_time_is_a_result_with_an_error() {
        let bench = Bench::new();
        for (params, error) in [
            (json!({"as_of": "soon"}), "as_of must be ISO-8601, got 'soon'"),
            (json!({"changed_since": "x", "cue": "y"}), "changed_since must be ISO-8601, got 'x'"),
        ] {
            assert_eq!(bench.ok("memory_temporal_recall", params), json!({ "error": error }));
        }
        for params in [json!({"as_of": 5}), json!({"limit": 0}), json!({"limit": 1_000_001}), json!({"cue": []})] {
            bench.err("memory_temporal_recall", params);
        }
    }

    #[test]
    fn a_reply_has_at_most_100_hits() {
        let bench = Bench::new();
        for i in 0..130 {
            bench.capture(&format!("turn number {i}"), json!({}));
        }
        for (limit, truncated) in [(100, 0), (101, 1), (130, 30), (1000, 30), (1_000_000, 30)] {
            let got = bench.ok("memory_temporal_recall", json!({"as_of": "2999-01-01", "limit": limit}));
            assert_eq!(got["hits"].as_array().unwrap().len(), 100, "{limit}");
            assert_eq!(got["truncated"], truncated, "{limit}");
        }
    }

    #[test]
    fn a_reply_ends_before_it_exceeds_its_size() {
        let bench = Bench::new();
        for i in 0..20 {
            bench.capture(&format!("{i} {}", "\"".repeat(60_000)), json!({}));
        }
        let got = bench.ok("memory_temporal_recall", json!({"as_of": "2999-01-01", "limit": 20}));
        let count = got["hits"].as_array().unwrap().len() as u64;
        assert!(count > 0 && count < 20 && got["truncated"] == 20 - count, "{count} {}", got["truncated"]);
        assert!(got.to_string().len() <= 1 << 20);
    }
}
