//! The table of the methods: name, params, result, pace and who carries it out.

use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Memory, Worker, capture, moving, profile, recall};
use crate::dispatch::{Pace, Params, Reply};

/// A method.
#[derive(Serialize)]
pub(super) struct Method {
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    /// The keys of its result.
    result: &'static [&'static str],
    #[serde(skip)]
    pub(super) pace: Pace,
    /// Carries it out, on a worker.
    #[serde(skip)]
    pub(super) run: fn(&Memory, &mut Worker, &Params<'_>, Reply),
}

#[derive(Serialize)]
struct Param {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    #[serde(serialize_with = "as_json")]
    default: &'static str,
    description: &'static str,
}

const fn required(name: &'static str, kind: &'static str, description: &'static str) -> Param {
    Param { name, kind, required: true, default: "null", description }
}

/// `default` is JSON.
const fn optional(name: &'static str, kind: &'static str, default: &'static str, description: &'static str) -> Param {
    Param { name, kind, required: false, default, description }
}

/// Sorted by name.
static METHODS: [Method; 8] = [
    Method {
        name: "memory_capture",
        description: "Stores a text, word for word and for good.",
        params: &[
            required("text", "string", "what was said, up to 65536 bytes; under 12 characters it is skipped"),
            optional("cue", "string", "\"\"", "words to find it by, beside its own"),
            optional("tier", "string", "\"episodic\"", "working, episodic, semantic, procedural or parametric"),
            optional("session_id", "string", "\"-\"", "the conversation it belongs to"),
            optional("role", "string", "\"user\"", "who said it: user, assistant or system"),
            optional("ts", "string", "null", "when it was said, ISO 8601, without an offset UTC; by default now"),
            optional("project", "string", "\"\"", "a folder or a name"),
            optional("part", "integer", "null", "which piece of a longer turn, from 1"),
            optional("parts", "integer", "null", "how many pieces that turn has"),
        ],
        result: &["status", "record_id", "reason"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| capture::capture(&memory.writer, params, memory.now(), reply),
    },
    Method {
        name: "memory_recall",
        description: "Finds records by their words and gives their exact texts, the best first.",
        params: &[
            required(
                "cue",
                "string",
                "any text; an empty one gives the most recent, \"quoted\" words are looked for exactly",
            ),
            optional(
                "budget_tokens",
                "integer",
                "1500",
                "most tokens (4 characters each) of all texts; one hit always fits",
            ),
            optional("session_id", "string", "\"unknown\"", "the conversation that asks"),
            optional("language", "string", "null", "accepted and not needed"),
            optional("limit", "integer", "10", "most hits, 1 to 100"),
            optional("since", "string", "null", "said then or later, ISO 8601"),
            optional("until", "string", "null", "said then or earlier, ISO 8601; a date is its whole day"),
            optional("project", "string", "\"\"", "its records come first"),
        ],
        result: &[
            "hits",
            "anti_hits",
            "activation_trace",
            "budget_used",
            "cue_mode",
            "patterns_observed",
            "overnight_digest",
            "truncated",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let deadline = Instant::now() + recall::PATIENCE;
            let profile = memory.profiles.current();
            reply.send(worker.reader().and_then(|reader| recall::recall(reader, &profile, params, deadline)));
        },
    },
    Method {
        name: "profile_get",
        description: "One knob, or all of them.",
        params: &[optional("knob", "string", "null", "its name; by default all")],
        result: &["live", "deferred", "total_knobs", "knob", "value", "status"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| profile::profile_get(&memory.profiles, params, reply),
    },
    Method {
        name: "profile_set",
        description: "Sets a knob for good.",
        params: &[required("knob", "string", "its name"), required("value", "any", "what to set it to")],
        result: &["status", "knob", "value", "reason", "schema"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| profile::profile_set(&memory.profiles, &memory.writer, params, reply),
    },
    Method {
        name: "rpc.discover",
        description: "Every method with its params and the keys of its result.",
        params: &[],
        result: &["service", "version", "methods"],
        pace: Pace::Ordered,
        run: |_, _, _, reply| reply.send(Ok(Discovery::new())),
    },
    Method {
        name: "store_backup",
        description: "Copies the store to a file, as it is now, while others write.",
        params: &[required("path", "string", "where to: an absolute path at which nothing is yet")],
        result: &["bytes"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| {
            reply.send(memory.gate.enter().and_then(|_in| moving::backup(&memory.path, params)));
        },
    },
    Method {
        name: "store_check",
        description: "Looks whether the store is sound; changes nothing.",
        params: &[],
        result: &["ok", "problems", "skipped", "records", "checked"],
        pace: Pace::Ordered,
        run: |memory, worker, _, reply| {
            let began = Instant::now();
            let check = |_in| moving::check(worker.reader()?, memory.now(), began);
            reply.send(memory.gate.enter().and_then(check));
        },
    },
    Method {
        name: "store_export",
        description: "Gives everything as rows, some at a time: records, tags, links, events, knobs.",
        params: &[
            optional("cursor", "string", "null", "where the last reply ended; null begins"),
            optional("limit", "integer", "1000", "most rows, 1 to 10000; a reply has at most 1 MiB of them"),
        ],
        result: &["rows", "cursor"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| {
            reply.send_json(worker.reader().and_then(|reader| moving::export(reader, params)));
        },
    },
];

/// Answered by the server's event loop, before any look-up here.
static PING: Method = Method {
    name: "ping",
    description: "Answers {}: the daemon is there.",
    params: &[],
    result: &[],
    pace: Pace::Ordered,
    run: |_, _, _, reply| reply.send(Ok(serde_json::Map::new())),
};

/// The method of this name.
pub(super) fn find(name: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|method| method.name.cmp(name)).ok().map(|at| &METHODS[at])
}

#[derive(Serialize)]
struct Discovery {
    service: &'static str,
    version: &'static str,
    methods: Vec<&'static Method>,
}

impl Discovery {
    fn new() -> Discovery {
        let mut methods: Vec<_> = METHODS.iter().chain([&PING]).collect();
        methods.sort_by_key(|method| method.name);
        Discovery { service: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), methods }
    }
}

fn as_json<S: serde::Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?.serialize(to)
}

#[cfg(test)]
mod tests {
    use super::super::harness::Bench;
    use super::*;
    use crate::dispatch::{Dispatch, code};
    use serde_json::json;

    #[test]
    fn every_method_is_found_by_its_name_alone() {
        let bench = Bench::new();
        for method in &METHODS {
            assert_eq!(bench.memory.method(method.name), Some(method.pace), "{}", method.name);
        }
        for name in ["", "ping", "memory_capture ", "Memory_capture", "profile", "rpc.discover2"] {
            assert_eq!(bench.memory.method(name), None, "{name}");
        }
        let error = bench.err("nothing", json!({}));
        assert_eq!((error.code, error.message.as_str()), (code::UNKNOWN_METHOD, "unknown method 'nothing'"));
    }

    #[test]
    fn discovery_lists_the_table_and_ping() {
        let got = Bench::new().ok("rpc.discover", json!({}));
        assert_eq!((&got["service"], &got["version"]), (&json!("iaid"), &json!(env!("CARGO_PKG_VERSION"))));
        let methods = got["methods"].as_array().unwrap();
        let names: Vec<_> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!((names.len(), &names), (METHODS.len() + 1, &sorted));
        assert!(names.contains(&"ping"));
        let limit = &methods[1]["params"][4];
        assert_eq!(
            (&limit["name"], &limit["default"], &limit["required"]),
            (&json!("limit"), &json!(10), &json!(false))
        );
    }

    #[test]
    fn the_table_tells_the_truth_about_params_and_results() {
        let bench = Bench::new();
        for (at, params) in
            [(0, json!({"text": "a text that is long enough"})), (1, json!({"cue": "text"})), (4, json!({}))]
        {
            let method = &METHODS[at];
            let got = bench.ok(method.name, params);
            let mut keys: Vec<_> = method.result.to_vec();
            keys.sort_unstable();
            assert_eq!(
                got.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(),
                keys,
                "{}",
                method.name
            );
        }
        for method in &METHODS {
            for param in method.params.iter().filter(|param| param.required) {
                let mut others = json!({});
                for other in method.params.iter().filter(|other| other.required && other.name != param.name) {
                    others[other.name] = "x".into();
                }
                let message = format!("missing required param: '{}'", param.name);
                assert_eq!(bench.err(method.name, others).message, message, "{}", method.name);
            }
            // A default given is as good as none.
            for param in method.params.iter().filter(|param| !param.required) {
                let mut params = json!({"text": "short", "cue": "x"});
                params[param.name] = serde_json::from_str(param.default).unwrap();
                bench.ok(method.name, params);
            }
        }
    }
}
