//! `events_query`: the events of one kind, of those that users may see.
//!
//! An unknown kind or an invalid date is answered by a result with the key `error`, as existing clients expect.

use serde_json::{Value, json};

use crate::dispatch::{CallError, Params};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::store::events::{self, VISIBLE_KINDS};
use crate::memory::store::reader::Reader;

/// Answers `events_query`.
///
/// # Errors
/// -32602 if a param has a wrong type or is out of range, -32001 if the store cannot be read.
pub(crate) fn events_query(reader: &Reader, profile: &Profile, params: &Params<'_>) -> Result<Value, CallError> {
    let kind = params.string("kind")?;
    let since = params.string_opt("since")?;
    let severity = params.string_opt("severity")?;
    let limit = params.integer_or("limit", 1..=1000, 100)? as usize;
    let caller = CallerProject::read(params, profile)?;
    if severity.as_deref().is_some_and(|name| !matches!(name, "info" | "warning" | "critical")) {
        return Err(CallError::invalid("severity", "one of info, warning, critical"));
    }
    if kind.is_empty() {
        return Ok(json!({"error": "kind parameter is required"}));
    }
    if !VISIBLE_KINDS.contains(&&*kind) {
        let error = format!("kind '{kind}' is not user-visible; allowed: [{}]", VISIBLE_KINDS.join(", "));
        return Ok(json!({ "error": error }));
    }
    let since = match since.as_deref().map(|text| (text, UnixMicros::parse(text, DateBound::Start))) {
        Some((text, None)) => return Ok(json!({"error": format!("since must be ISO-8601, got '{text}'")})),
        Some((_, Some(since))) => since.0,
        None => i64::MIN,
    };
    let snapshot = reader.snapshot()?;
    let projects = caller.filter(snapshot.connection())?;
    let newest = events::newest(snapshot.connection(), &kind, &projects, since, severity.as_deref(), limit)?;
    let events: Vec<Value> = newest.into_iter().map(|(_, event)| event).collect();
    Ok(json!({"count": events.len(), "events": events}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::events::tests::{event, writing};
    use crate::memory::store::events::{MemoryEvent, add};
    use crate::memory::test_support::Bench;
    use uuid::Uuid;

    #[test]
    fn an_event_has_every_key_and_the_newest_comes_first() {
        let bench = Bench::new();
        let connection = writing(&bench);
        let id = Uuid::from_u128(7);
        for n in 0..5 {
            add(&connection, &event(Bench::NOW.0 + n * 1_000_000, n)).unwrap();
        }
        add(&connection, &MemoryEvent { domain: Some("p"), sources: &[id], ..event(Bench::NOW.0 - 1, 9) }).unwrap();
        let numbers = |params: Value| -> Vec<i64> {
            let got = bench.ok("events_query", params);
            let events = got["events"].as_array().unwrap();
            assert_eq!(got["count"], events.len());
            events.iter().map(|event| event["data"]["n"].as_i64().unwrap()).collect()
        };
        for (params, want) in [
            (json!({}), &[4, 3, 2, 1, 0, 9][..]),
            (json!({"limit": 2}), &[4, 3]),
            (json!({"severity": "warning"}), &[3, 1, 9]),
            (json!({"severity": "critical"}), &[]),
            (json!({"since": "2024-06-01T12:00:03Z"}), &[4, 3]),
            (json!({"since": "2024-06-01"}), &[4, 3, 2, 1, 0, 9]),
            (json!({"since": null, "severity": null, "limit": null}), &[4, 3, 2, 1, 0, 9]),
        ] {
            let mut asked = params.clone();
            asked["kind"] = "llm_health".into();
            assert_eq!(numbers(asked), want, "{params}");
        }
        assert_eq!(numbers(json!({"kind": "curiosity_question"})), [0; 0]);
        let got = bench.ok("events_query", json!({"kind": "llm_health"}));
        let last = &got["events"][5];
        assert!(Uuid::parse_str(last["id"].as_str().unwrap()).is_ok());
        for (key, want) in [
            ("kind", json!("llm_health")),
            ("severity", json!("warning")),
            ("domain", json!("p")),
            ("ts", json!("2024-06-01T11:59:59.999999Z")),
            ("data", json!({"n": 9})),
            ("session_id", json!("s")),
            ("source_ids", json!([id.to_string()])),
        ] {
            assert_eq!(last[key], want, "{key}");
        }
        assert_eq!(got["events"][4]["domain"], json!(null));
    }

    #[test]
    fn an_unknown_kind_or_date_is_a_result_with_an_error() {
        let bench = Bench::new();
        let allowed = VISIBLE_KINDS.join(", ");
        for (params, error) in [
            (json!({"kind": ""}), "kind parameter is required".to_owned()),
            (
                json!({"kind": "spool_drained"}),
                format!("kind 'spool_drained' is not user-visible; allowed: [{allowed}]"),
            ),
            (json!({"kind": "llm_health", "since": "soon"}), "since must be ISO-8601, got 'soon'".into()),
        ] {
            assert_eq!(bench.ok("events_query", params), json!({ "error": error }));
        }
        for (params, message) in [
            (json!({}), "missing required param: 'kind'"),
            (json!({"kind": 1}), "param 'kind' must be a string"),
            (json!({"kind": "llm_health", "limit": 1001}), "param 'limit' must be an integer from 1 to 1000"),
            (
                json!({"kind": "llm_health", "severity": "bad"}),
                "param 'severity' must be one of info, warning, critical",
            ),
            (json!({"kind": "llm_health", "since": 5}), "param 'since' must be a string"),
        ] {
            assert_eq!(bench.err("events_query", params).message, message);
        }
    }
}
