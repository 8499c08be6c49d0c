//! The table of the methods: name, params, result, pace and who carries it out.

pub(crate) mod capture;
pub(crate) mod consolidate;
pub(crate) mod contradict;
pub(crate) mod curiosity;
pub(crate) mod events;
pub(crate) mod profile;
pub(crate) mod reindex;
pub(crate) mod reinforce;
pub(crate) mod schemas;
pub(crate) mod session;
pub(crate) mod topology;

use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dispatch::{Pace, Params, Reply};
use crate::memory::recall::{self, structural};
use crate::memory::service::{Memory, Worker};
use crate::memory::sort;
use crate::memory::transfer::{backup, check, export, import, probe};

/// A method.
#[derive(Serialize)]
pub(crate) struct Method {
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    /// The keys of its result.
    result: &'static [&'static str],
    #[serde(skip)]
    pub(crate) pace: Pace,
    /// Carries it out, on a worker.
    #[serde(skip)]
    pub(crate) run: fn(&Memory, &mut Worker, &Params<'_>, Reply<'_>),
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
static METHODS: &[Method] = &[
    Method {
        name: "curiosity_pending",
        description: "Which of two facts holds: the contradictions that nobody has settled, the newest first.",
        params: &[optional("session_id", "string", "null", "only those of this conversation")],
        result: &["questions", "count"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| {
            reply.send(worker.reader().and_then(|reader| curiosity::curiosity_pending(reader, params)));
        },
    },
    Method {
        name: "events_query",
        description: "What happened of one kind, the newest first.",
        params: &[
            required("kind", "string", "such as s4_contradiction; another one is answered with those there are"),
            optional("since", "string", "null", "then or later, ISO 8601"),
            optional("severity", "string", "null", "info, warning or critical"),
            optional("limit", "integer", "100", "most events, 1 to 1000"),
        ],
        result: &["events", "count", "error"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| {
            reply.send(worker.reader().and_then(|reader| events::events_query(reader, params)));
        },
    },
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
        name: "memory_consolidate",
        description: "Puts the memory in order, in chunks that nobody else waits on: links, patterns, decay, index.",
        params: &[optional("session_id", "string", "\"-\"", "the conversation that asks")],
        result: &["mode", "tier", "summaries_created", "decay_result", "schema_candidates"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| {
            consolidate::consolidate(memory.maintenance(), params, reply);
        },
    },
    Method {
        name: "memory_contradict",
        description: "Stores a new fact in the place of a record, which stays, marked as no longer holding.",
        params: &[
            required("id", "string", "the record that does not hold; the last that replaced it is replaced too"),
            required("new_fact", "string", "what holds, up to 65536 bytes"),
        ],
        result: &["original_id", "new_record_id", "edge_type", "ts"],
        pace: Pace::Pipelined,
        run: |memory, worker, params, reply| {
            contradict::contradict(worker.reader(), &memory.writer, params, memory.now(), reply);
        },
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
            "first_turn_recall",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let Memory { profiles, session_state, writer, .. } = memory;
            recall::answer(worker.reader(), &profiles.current(), session_state, writer, params, memory.now(), reply);
        },
    },
    Method {
        name: "memory_recall_structural",
        description: "Finds records by what they are: all roles given must hold; the newest first.",
        params: &[
            optional(
                "structure_query",
                "object",
                "{}",
                "any of who (user, assistant, system, or the name a text begins with), session, tier, tag, language \
                 (two letters), day (a date), each with a string; another role is refused",
            ),
            optional("budget_tokens", "integer", "2000", "most tokens of all texts; one hit always fits"),
            optional("max_records", "integer", "5000", "most records looked at, the newest, 1 to 50000"),
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
            "structural_query_size",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.reader().and_then(|reader| structural::recall(reader, &profile, params)));
        },
    },
    Method {
        name: "memory_reinforce",
        description: "Binds records more strongly, each with each: 0.1 a call, up to 1.",
        params: &[required("ids", "array", "the records, 64 at most; fewer than two are no pair")],
        result: &["edges_boosted", "new_weights"],
        pace: Pace::Pipelined,
        run: |memory, worker, params, reply| {
            reinforce::reinforce(worker.reader(), &memory.writer, params, memory.now(), reply);
        },
    },
    Method {
        name: "profile_get",
        description: "One knob, or all of them.",
        params: &[optional("knob", "string", "null", "its name; by default all")],
        result: &["live", "deferred", "total_knobs", "knob", "value", "status"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            profile::profile_get(memory.profiles.cached(&mut worker.profile), params, reply);
        },
    },
    Method {
        name: "profile_set",
        description: "Sets a knob for good.",
        params: &[
            required("knob", "string", "its name; what each does stands in docs/protocol.md"),
            required("value", "any", "what to set it to"),
        ],
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
        name: "schema_list",
        description: "The patterns that recur over sessions, the surest first.",
        params: &[
            optional("domain", "string", "null", "only those of this project"),
            optional("confidence_min", "number", "0.0", "only those that are as sure, 0 to 1"),
        ],
        result: &["schemas", "total"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| {
            reply.send(worker.reader().and_then(|reader| schemas::schema_list(reader, params)));
        },
    },
    Method {
        name: "session_exit",
        description: "Ends a session: what was said in it is linked.",
        params: &[optional("session_id", "string", "\"-\"", "the conversation")],
        result: &["mode", "fsrs_ticked", "cooccurrence_updates", "trajectory_metrics_emitted"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| session::exit(&memory.writer, &memory.folder, params, memory.now(), reply),
    },
    Method {
        name: "session_start_payload",
        description: "What an assistant should know first, 2000 tokens at most; the knob wake_depth says how much.",
        params: &[
            optional("session_id", "string", "\"-\"", "the conversation that starts"),
            optional("project", "string", "\"\"", "its matters come first"),
            optional(
                "wake_depth",
                "string",
                "\"minimal\"",
                "at least this much, whatever the knob says: minimal, standard or deep",
            ),
        ],
        result: &[
            "l0",
            "l1",
            "l2",
            "rich_club",
            "total_cached_tokens",
            "total_dynamic_tokens",
            "breakpoint_marker",
            "identity_pointer",
            "brain_handle",
            "topic_cluster_hint",
            "compact_handle",
            "wake_depth",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(session::start(worker.reader(), &memory.writer, &profile, params, memory.now()));
        },
    },
    Method {
        name: "store_backup",
        description: "Copies the store to a file, as it is now, while others write.",
        params: &[required("path", "string", "where to: an absolute path at which nothing is yet")],
        result: &["bytes"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| {
            reply.send(memory.maintenance_lock.enter().and_then(|_in| backup::backup(&memory.path, params)));
        },
    },
    Method {
        name: "store_check",
        description: "Looks whether the store is sound; changes nothing.",
        params: &[],
        result: &["ok", "mendable", "index", "problems", "skipped", "records", "checked"],
        pace: Pace::Ordered,
        run: |memory, _, _, reply| {
            let began = Instant::now();
            reply.send(memory.maintenance_lock.enter().and_then(|_in| check::check(&memory.path, memory.now(), began)));
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
            reply.send_json(worker.reader().and_then(|reader| export::export(reader, params)));
        },
    },
    Method {
        name: "store_import",
        description: "Takes rows as store_export gives them; a record without an id gets one. What is there stays.",
        params: &[required("rows", "array", "at most 1000 objects, each with a kind")],
        result: &["new", "known", "refused"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| {
            import::import(&memory.writer, &memory.profiles, params, memory.now(), reply);
        },
    },
    Method {
        name: "store_probe",
        description: "Writes something, reads it back and takes it out again: does the disk do its work?",
        params: &[],
        result: &["ok", "write_us", "read_us"],
        pace: Pace::Ordered,
        run: |memory, _, _, reply| probe::probe(&memory.path, &memory.writer, Instant::now(), reply),
    },
    Method {
        name: "store_reindex",
        description: "Makes the full-text index anew, in chunks that nobody else waits on; no record is touched.",
        params: &[],
        result: &["records"],
        pace: Pace::Ordered,
        run: |memory, _, _, reply| match memory.maintenance_lock.enter() {
            Ok(_in) => reindex::rebuild(&memory.path, memory.maintenance(), Instant::now(), reply),
            Err(error) => reply.send::<()>(Err(error)),
        },
    },
    Method {
        name: "topology",
        description: "How the records hang together, as of the last consolidation.",
        params: &[],
        result: &["N", "C", "L", "sigma", "community_count", "rich_club_ratio", "regime"],
        pace: Pace::Ordered,
        run: |memory, worker, _, reply| {
            reply.send(worker.reader().and_then(|reader| topology::topology(reader, memory.changes.records())));
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
pub(crate) fn find(name: &str) -> Option<&'static Method> {
    // Lengths tell nearly all of them apart, so this is quicker than to search by halves.
    METHODS.iter().find(|method| method.name == name)
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
        sort::sort_by_key(&mut methods, |method| method.name);
        Discovery { service: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), methods }
    }
}

fn as_json<S: serde::Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?.serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Dispatch, code};
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    #[test]
    fn every_method_is_found_by_its_name_alone() {
        let bench = Bench::new();
        for method in METHODS {
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
        assert!(names.is_sorted() && names.len() == METHODS.len() + 1, "{names:?}");
        assert!(names.contains(&"ping"));
        let recall = names.iter().position(|name| *name == "memory_recall").unwrap();
        let limit = &methods[recall]["params"][4];
        assert_eq!(
            (&limit["name"], &limit["default"], &limit["required"]),
            (&json!("limit"), &json!(10), &json!(false))
        );
    }

    /// Params that each method can be called with, and the keys of its result that are then missing.
    fn calls(bench: &Bench) -> Vec<(&'static str, Value, &'static [&'static str])> {
        let id = bench.capture("a text that is long enough", json!({}));
        let other = bench.capture("another text of some length", json!({}));
        vec![
            ("curiosity_pending", json!({}), &[]),
            ("events_query", json!({"kind": "llm_health"}), &["error"]),
            ("memory_capture", json!({"text": "a text to be captured"}), &[]),
            ("memory_consolidate", json!({}), &[]),
            ("memory_contradict", json!({"id": id, "new_fact": "what holds now"}), &[]),
            ("memory_recall", json!({"cue": "text"}), &["first_turn_recall"]),
            ("memory_recall_structural", json!({}), &[]),
            ("memory_reinforce", json!({"ids": [id, other]}), &[]),
            ("profile_get", json!({}), &["knob", "value", "status"]),
            ("profile_set", json!({"knob": "masking_off", "value": true}), &["reason", "schema"]),
            ("rpc.discover", json!({}), &[]),
            ("schema_list", json!({}), &[]),
            ("session_exit", json!({}), &[]),
            ("session_start_payload", json!({}), &[]),
            ("store_backup", json!({"path": bench.folder.path().join("copy")}), &[]),
            ("store_check", json!({}), &[]),
            ("store_export", json!({}), &[]),
            ("store_import", json!({"rows": []}), &[]),
            ("store_probe", json!({}), &[]),
            ("store_reindex", json!({}), &[]),
            ("topology", json!({}), &[]),
        ]
    }

    #[test]
    fn the_table_tells_the_truth_about_params_and_results() {
        let bench = Bench::new();
        let calls = calls(&bench);
        assert_eq!(calls.len(), METHODS.len());
        for (method, (name, params, missing)) in METHODS.iter().zip(calls) {
            assert_eq!(method.name, name);
            let got = bench.ok(name, params.clone());
            let mut keys: Vec<_> = method.result.iter().filter(|key| !missing.contains(key)).copied().collect();
            keys.sort_unstable();
            assert_eq!(got.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), keys, "{name}");
            for param in method.params {
                let mut others = params.clone();
                if param.required {
                    others.as_object_mut().unwrap().remove(param.name);
                    let message = format!("missing required param: '{}'", param.name);
                    assert_eq!(bench.err(name, others).message, message, "{name}");
                } else {
                    // A default given is as good as none.
                    others[param.name] = serde_json::from_str(param.default).unwrap();
                    bench.ok(name, others);
                }
            }
        }
    }
}
