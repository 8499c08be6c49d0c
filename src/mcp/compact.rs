//! Shortens the result of a recall to what a model needs, and to its budget. Pure.
//!
//! Left out is what is empty, what is the same in each reply, and what another member says too. Every member that stays
//! is the daemon's, byte for byte.

use serde_json::value::RawValue;

use super::json_text::{self, ObjectText};
use crate::tokens;
use crate::wire::members::Members;

/// The share of a budget that is filled, in percent: the estimate of tokens may be too low.
const FILLED_PERCENT: usize = 90;

/// Tokens of a reply beside its members.
const FRAME_TOKENS: usize = 12;

/// Members of a hit that say nothing new to a model: how it was found, ids that no tool takes further, times that are
/// `ts`, and advice that is the same for each hit.
const HIT_LEFT_OUT: [&str; 4] = ["reason", "adjacent_suggestions", "valid_from", "_scene_hint"];

/// The same of a reply, and members that are written in their own way.
const REPLY_LEFT_OUT: [&str; 8] = [
    "hits",
    "truncated",
    "patterns_observed",
    "first_turn_recall",
    "activation_trace",
    "budget_used",
    "cue_mode",
    "structural_query_size",
];

/// Returns the tokens of a budget that are filled.
pub(crate) fn filled(budget: usize) -> usize {
    budget / 100 * FILLED_PERCENT + budget % 100 * FILLED_PERCENT / 100
}

/// Returns the result of a recall as an object that begins with `hits`, of at most [`filled`] tokens. The first hit and
/// superseded records are exempt. Returns `None` if `result` is no such object.
pub(crate) fn recall(result: &str, budget: usize) -> Option<String> {
    let members = Members::read(result).ok()?;
    let mut others = Vec::new();
    for (name, value) in members.clone().into_all() {
        let text = match &*name {
            name if REPLY_LEFT_OUT.contains(&name) => continue,
            "anti_hits" => {
                json_text::array(&elements(value.get())?.iter().filter_map(|hit| shortened(hit)).collect::<Vec<_>>())
            }
            "overnight_digest" => without_empty(value.get()),
            _ => value.get().to_owned(),
        };
        if !is_empty(&text) {
            others.push((name, text));
        }
    }
    let used: usize = others.iter().map(|(name, text)| tokens::estimate(name) + tokens::estimate(text) + 3).sum();
    let mut room = Room { left: filled(budget).saturating_sub(used + FRAME_TOKENS), is_first: true };
    let hits = elements(members.value("hits")?.get())?;
    let kept = room.take(&hits);
    let truncated: usize = members.value("truncated").and_then(|count| count.get().parse().ok()).unwrap_or(0);
    let left_out = truncated + hits.len() - kept.len();

    let mut reply = ObjectText::new();
    reply.raw("hits", &json_text::array(&kept));
    for (name, text) in &others {
        reply.raw(name, text);
    }
    if left_out > 0 {
        reply.raw("truncated", &left_out.to_string());
    }
    let mut add = |name: &str, list: Option<&RawValue>| {
        let kept = list.and_then(|list| elements(list.get())).map(|list| room.take(&list)).unwrap_or_default();
        if !kept.is_empty() {
            reply.raw(name, &json_text::array(&kept));
        }
    };
    let first_turn = members.value("first_turn_recall").and_then(|first| Members::read(first.get()).ok());
    add("first_turn_hits", first_turn.and_then(|first| first.value("hits")));
    add("patterns_observed", members.value("patterns_observed"));
    Some(reply.end())
}

/// The tokens that are left of a budget.
struct Room {
    left: usize,
    /// The first hit of a reply fits in any case.
    is_first: bool,
}

impl Room {
    /// Returns the elements, shortened, as many as there is room for.
    fn take(&mut self, elements: &[&RawValue]) -> Vec<String> {
        let mut kept = Vec::new();
        for text in elements.iter().filter_map(|element| shortened(element)) {
            let tokens = tokens::estimate(&text) + 1;
            if tokens > self.left && !self.is_first {
                break;
            }
            (self.left, self.is_first) = (self.left.saturating_sub(tokens), false);
            kept.push(text);
        }
        // What comes after the hits has no exemption.
        self.is_first = false;
        kept
    }
}

/// Returns a hit or pattern without what is empty or says nothing new.
fn shortened(hit: &RawValue) -> Option<String> {
    let mut short = ObjectText::new();
    for (name, value) in Members::read(hit.get()).ok()?.into_all() {
        match &*name {
            name if HIT_LEFT_OUT.contains(&name) => continue,
            // Its text is `literal_surface`.
            "passage" => short.raw(&name, &without_text(value.get())),
            _ if is_empty(value.get()) => continue,
            _ => short.raw(&name, value.get()),
        };
    }
    Some(short.end())
}

fn without_text(object: &str) -> String {
    retained(object, |name, _| name != "text")
}

/// Returns an object without its members that are empty or zero; nothing if none is left.
fn without_empty(object: &str) -> String {
    let object = retained(object, |_, value| !is_empty(value) && !matches!(value, "0" | "0.0" | "false"));
    if object == "{}" { String::new() } else { object }
}

fn retained(object: &str, keeps: impl Fn(&str, &str) -> bool) -> String {
    let mut kept = ObjectText::new();
    let members = Members::read(object).unwrap_or_default().into_all();
    for (name, value) in members.into_iter().filter(|(name, value)| keeps(name, value.get())) {
        kept.raw(&name, value.get());
    }
    kept.end()
}

fn is_empty(value: &str) -> bool {
    matches!(value, "" | "null" | "[]" | "{}" | "\"\"")
}

fn elements(array: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn hit(n: usize, text: &str) -> Value {
        json!({"record_id": format!("r{n}"), "score": 0.5, "reason": "matches", "literal_surface": text,
            "adjacent_suggestions": ["r9"], "valid_from": "t", "valid_to": null, "session_id": "s", "role": "user",
            "ts": "t", "_scene_hint": {"advice": "x"}})
    }

    fn shortened(result: &Value, budget: usize) -> Value {
        let text = recall(&result.to_string(), budget).unwrap();
        assert!(text.starts_with("{\"hits\":["), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_empty_constant_or_told_is_left_out() {
        let mut cut = hit(1, "a\n\"b\"");
        cut["passage"] = json!({"at": 3, "bytes": 5, "text": "a\n\"b\""});
        cut["record_bytes"] = json!(99);
        let mut old = hit(2, "old");
        old["valid_to"] = json!("t2");
        let digest = json!({"rem_cycles_completed": 0, "claude_call_used": false, "sigma_observed": null, "main_insight_text": ""});
        let result = json!({"hits": [cut], "anti_hits": [old], "activation_trace": ["r3"], "budget_used": 7,
            "cue_mode": "concept", "patterns_observed": [], "overnight_digest": digest, "truncated": 0,
            "did_you_mean": ["port"]});
        let kept = |n: usize, text: &str| json!({"record_id": format!("r{n}"), "score": 0.5, "literal_surface": text, "session_id": "s", "role": "user", "ts": "t"});
        let (mut cut, mut old) = (kept(1, "a\n\"b\""), kept(2, "old"));
        cut["passage"] = json!({"at": 3, "bytes": 5});
        cut["record_bytes"] = json!(99);
        old["valid_to"] = json!("t2");
        assert_eq!(shortened(&result, 1500), json!({"hits": [cut], "anti_hits": [old], "did_you_mean": ["port"]}));
    }

    #[test]
    fn a_digest_that_says_something_is_kept() {
        let digest = json!({"rem_cycles_completed": 2, "episodes_processed": 0, "daemon_uptime_hours": 0.0});
        let got = shortened(&json!({"hits": [], "overnight_digest": digest}), 1500);
        assert_eq!(got, json!({"hits": [], "overnight_digest": {"rem_cycles_completed": 2}}));
    }

    #[test]
    fn hits_are_kept_as_far_as_the_budget_goes() {
        let hits: Vec<Value> = (0..10).map(|n| hit(n, &"word ".repeat(50))).collect();
        let first_turn = json!({"hits": [hit(20, "short")], "budget_tokens": 400});
        let pattern = json!({"pattern": "p", "evidence_count": 3, "schema_id": "i"});
        let result =
            json!({"hits": hits, "truncated": 2, "first_turn_recall": first_turn, "patterns_observed": [pattern]});
        for (budget, count, has_more) in [(0, 1, false), (100, 1, false), (500, 5, true), (5000, 10, true)] {
            let got = shortened(&result, budget);
            let kept = got["hits"].as_array().unwrap().len();
            assert_eq!((kept, got.get("first_turn_hits").is_some()), (count, has_more), "{budget}");
            assert_eq!(got["truncated"], 12 - kept);
            let tokens = tokens::estimate(&got.to_string());
            assert!(kept == 1 || tokens <= filled(budget), "{tokens} of {budget}");
        }
    }

    #[test]
    fn other_results_are_refused() {
        for result in ["[]", "7", "{}", "{\"hits\":7}", "{\"anti_hits\":{}}"] {
            assert_eq!(recall(result, 1500), None, "{result}");
        }
    }
}
