//! `curiosity_pending`: questions to the user, one for each contradiction that is not settled.

use rusqlite::Connection;
use serde::Serialize;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::contradictions::{self, OpenContradiction};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::store::reader::Reader;
use crate::memory::store::records;
use crate::memory::text::excerpt::beginning;

/// Most questions in a reply. Picked: more than a user answers.
const MAX_QUESTIONS: usize = 100;

/// Contradictions that are read to find those of one project.
const MAX_READ_COUNT: usize = 1000;

/// Characters of each fact in a question.
const FACT_CHARS: usize = 200;

/// The result of `curiosity_pending`.
#[derive(Serialize)]
pub(crate) struct Pending {
    questions: Vec<Question>,
    count: usize,
}

#[derive(Serialize)]
struct Question {
    /// The id of the new fact.
    id: String,
    text: String,
    tier: &'static str,
    /// In bits: 1 for two facts of which either may be valid.
    entropy: f64,
    triggered_by_record_ids: [String; 2],
}

/// Answers `curiosity_pending`, with the newest contradiction first.
///
/// # Errors
/// -32602 if a param has a wrong type, -32001 if the store cannot be read.
pub(crate) fn curiosity_pending(reader: &Reader, profile: &Profile, params: &Params<'_>) -> Result<Pending, CallError> {
    let session = params.string_opt("session_id")?;
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let projects = caller.filter(connection)?;
    let mut questions = Vec::new();
    let most = if projects.is_only() { MAX_READ_COUNT } else { MAX_QUESTIONS };
    for open in contradictions::unsettled(connection, session.as_deref(), most)? {
        if questions.len() < MAX_QUESTIONS
            && projects.admits_record(connection, open.old)?
            && projects.admits_record(connection, open.new)?
        {
            questions.push(question(connection, open)?);
        }
    }
    Ok(Pending { count: questions.len(), questions })
}

fn question(connection: &Connection, open: OpenContradiction) -> Result<Question, CallError> {
    let (old, new) =
        (records::id_of(connection, open.old)?.to_string(), records::id_of(connection, open.new)?.to_string());
    let fact = |seq: i64| -> Result<String, rusqlite::Error> {
        Ok(beginning(&records::text_of(connection, seq)?, FACT_CHARS))
    };
    Ok(Question {
        id: new.clone(),
        text: format!("Which holds: «{}», or since then «{}»?", fact(open.old)?, fact(open.new)?),
        tier: "question",
        entropy: 1.0,
        triggered_by_record_ids: [old, new],
    })
}

#[cfg(test)]
mod tests {

    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    #[test]
    fn a_contradiction_is_listed_until_it_is_settled() {
        let bench = Bench::new();
        assert_eq!(bench.ok("curiosity_pending", json!({})), json!({"questions": [], "count": 0}));
        let old = bench.capture("the cat is called Momo", json!({"session_id": "s"}));
        let got = bench.ok("memory_contradict", json!({"id": old, "new_fact": "the cat is called Mimi"}));
        let new = got["new_record_id"].clone();
        let question = json!({"id": new, "tier": "question", "entropy": 1.0, "triggered_by_record_ids": [old, new],
            "text": "Which holds: «the cat is called Momo», or since then «the cat is called Mimi»?"});
        for (params, count) in [(json!({}), 1), (json!({"session_id": "s"}), 1), (json!({"session_id": "t"}), 0)] {
            let got = bench.ok("curiosity_pending", params.clone());
            assert_eq!(got["count"], count, "{params}");
            assert_eq!(got["questions"].as_array().unwrap().len(), count);
            assert!(count == 0 || got["questions"][0] == question, "{got}");
        }
        bench.ok("memory_reinforce", json!({"ids": [old, new]}));
        assert_eq!(bench.ok("curiosity_pending", json!({}))["count"], 0);
        let third = bench.ok("memory_contradict", json!({"id": new, "new_fact": "the cat is called Mumu"}));
        let ids: Vec<Value> = bench.ok("curiosity_pending", json!({}))["questions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|question| question["id"].clone())
            .collect();
        assert_eq!(ids, [third["new_record_id"].clone()]);
    }
}
