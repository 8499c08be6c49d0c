//! The table of the methods: name, params, result, pace and handler. The look-up of a call and `rpc.discover` read it.

pub(crate) mod capture;
pub(crate) mod consolidate;
pub(crate) mod contradict;
pub(crate) mod curiosity;
pub(crate) mod episodes;
pub(crate) mod events;
pub(crate) mod forget;
pub(crate) mod inspect;
pub(crate) mod profile;
pub(crate) mod projects;
pub(crate) mod read;
mod record_view;
pub(crate) mod reindex;
pub(crate) mod reinforce;
pub(crate) mod schemas;
pub(crate) mod session;
pub(crate) mod sync;
pub(crate) mod topology;

use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dispatch::{Pace, Params, Reply};
use crate::memory::recall::{self, prompt, search, structural, temporal};
use crate::memory::service::{Memory, Worker};
use crate::memory::store::error::read_failed;
use crate::memory::sync::{changes, peers};
use crate::memory::transfer::{backup, check, export, import, probe, restore};
use crate::sort;

/// A method of the memory.
#[derive(Serialize)]
pub(crate) struct Method {
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    /// The keys of its result.
    result: &'static [&'static str],
    #[serde(skip)]
    pub(crate) pace: Pace,
    /// Answers a call, on a worker.
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

/// Creates a required param.
const fn required(name: &'static str, kind: &'static str, description: &'static str) -> Param {
    Param { name, kind, required: true, default: "null", description }
}

/// Creates an optional param. `default` is JSON.
const fn optional(name: &'static str, kind: &'static str, default: &'static str, description: &'static str) -> Param {
    Param { name, kind, required: false, default, description }
}

/// The params that annotate a text (`model/annotation.rs`).
const LIST_LIMIT: Param = optional("limit", "integer", "20", "maximum number of entries, 1 to 1000");
const CURSOR: Param = optional("cursor", "string", "null", "the next of an earlier reply, to continue the list");
const EPISTEMIC_STATUS: Param = optional(
    "epistemic_status",
    "string",
    "\"unknown\"",
    "fact, estimate, hypothesis, opinion or unknown; kept as a tag",
);
const SALIENCE_LEVEL: Param =
    optional("salience_level", "string", "\"unflagged\"", "unflagged, notable or critical; kept as a tag");
const NEXT_ACTION: Param =
    optional("next_action", "string", "\"\"", "what is to be done next, at most 200 bytes; kept as a tag");
const FOCUS: Param = optional("focus", "string", "\"\"", "what the work is about, at most 200 bytes; kept as a tag");
const GOAL: Param = optional("goal", "string", "\"\"", "what the work is for, at most 200 bytes; kept as a tag");

const PROJECT: Param = optional("project", "string", "\"\"", "project of the caller, for project_scope");
const PROJECT_SCOPE: Param = optional(
    "project_scope",
    "string",
    "null",
    "prefer (records of project come first), only (none of another project is shown) or all; null means the knob's",
);
const PROJECT_FOLDER: Param = optional(
    "project_folder",
    "string",
    "\"\"",
    "folder of the caller in the repository project: records of its name are shown as the project's from then on",
);

/// Methods that are called for their reply alone. What a recall writes presumes that its reply was read.
pub(crate) const ONLY_FOR_THE_REPLY: &[&str] = &[
    "claim_check",
    "curiosity_pending",
    "episodes_recent",
    "events_query",
    "memory_read",
    "memory_recall",
    "memory_recall_structural",
    "memory_search",
    "memory_temporal_recall",
    "profile_get",
    "rpc.discover",
    "schema_list",
    "session_refresh_if_stale",
    "store_check",
    "store_export",
    "sync_changes",
    "sync_peers",
    "topology",
];

/// Sorted by name.
static METHODS: &[Method] = &[
    Method {
        name: "claim_check",
        description: "Checks a claim: the records about it, those that were replaced, and a verdict on whether the best \
                      match is still valid.",
        params: &[
            required("cue", "string", "the claim, such as: the gate is painted green"),
            optional("session_id", "string", "\"-\"", "session of the caller"),
            optional(
                "budget_tokens",
                "integer",
                "1500",
                "maximum tokens of all texts, estimated; the first hit is returned in any case",
            ),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["hits", "anti_hits", "verdict", "verdict_reason", "_source"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| search::claim_check(reader, &profile, params, memory.call_time())));
        },
    },
    Method {
        name: "curiosity_pending",
        description: "Lists the contradictions that are not settled, as questions which of two facts is valid. The \
                      newest comes first.",
        params: &[
            optional("session_id", "string", "null", "only contradictions of this session"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["questions", "count"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| curiosity::curiosity_pending(reader, &profile, params)));
        },
    },
    Method {
        name: "episodes_recent",
        description: "Returns what users said, the newest first, with the turns that wait in the spool: their record_id \
                      begins with pending:.",
        params: &[
            optional("n", "integer", "10", "maximum number of turns, 0 to 1000; a reply has at most 1 MiB"),
            optional("session_id", "string", "null", "only turns of this session"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["turns", "count", "truncated"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let (store, profile) = (&memory.folder, memory.profiles.current());
            reply.send(worker.read(|reader| episodes::episodes_recent(reader, store, &profile, params, memory.now())));
        },
    },
    Method {
        name: "events_query",
        description: "Lists the events of one kind, the newest first.",
        params: &[
            required(
                "kind",
                "string",
                "kind of the events, such as s4_contradiction; an unknown kind is answered with the list of kinds",
            ),
            optional("since", "string", "null", "only events at this time or later, ISO 8601"),
            optional("severity", "string", "null", "only events of this severity: info, warning or critical"),
            optional("limit", "integer", "100", "maximum number of events, 1 to 1000"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["events", "count", "error"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| events::events_query(reader, &profile, params)));
        },
    },
    Method {
        name: "memory_capture",
        description: "Stores a text unchanged and permanently.",
        params: &[
            required("text", "string", "the text, at most 65536 bytes; white space alone is skipped"),
            optional("cue", "string", "\"\"", "additional words by which recall finds the text"),
            optional("tier", "string", "\"episodic\"", "working, episodic, semantic, procedural or parametric"),
            optional("session_id", "string", "\"-\"", "session of the text"),
            optional("role", "string", "\"user\"", "author of the text: user, assistant or system"),
            optional("ts", "string", "null", "time of the text, ISO 8601, UTC if it has no offset; null means now"),
            optional("project", "string", "\"\"", "project of the text: a folder or a name"),
            PROJECT_FOLDER,
            optional("part", "integer", "null", "number of this part of a longer turn, from 1; requires parts"),
            optional("parts", "integer", "null", "number of parts of that turn; requires part"),
            EPISTEMIC_STATUS,
            SALIENCE_LEVEL,
            NEXT_ACTION,
            FOCUS,
            GOAL,
        ],
        result: &["status", "record_id", "reason"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| capture::capture(&memory.writer, params, memory.now(), reply),
    },
    Method {
        name: "memory_consolidate",
        description: "Runs a consolidation cycle: linking, pattern induction, link decay, index optimization. It runs \
                      in chunks, so other calls are not delayed.",
        params: &[optional("session_id", "string", "\"-\"", "session of the caller"), PROJECT, PROJECT_SCOPE],
        result: &["mode", "tier", "summaries_created", "decay_result", "schema_candidates"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| {
            consolidate::consolidate(memory.maintenance(), &memory.profiles.current(), params, reply);
        },
    },
    Method {
        name: "memory_contradict",
        description: "Replaces a record by a new fact. The record is kept and marked as no longer valid.",
        params: &[
            required(
                "id",
                "string",
                "id of the record that is not valid; the last record that replaced it is replaced, too",
            ),
            required("new_fact", "string", "the fact that is valid, at most 65536 bytes"),
            EPISTEMIC_STATUS,
            SALIENCE_LEVEL,
            NEXT_ACTION,
            FOCUS,
            GOAL,
        ],
        result: &["original_id", "new_record_id", "edge_type", "ts"],
        pace: Pace::Pipelined,
        run: |memory, worker, params, reply| {
            contradict::contradict(worker.reader(), &memory.writer, params, memory.now(), reply);
        },
    },
    Method {
        name: "memory_forget",
        description: "Deletes records with everything that was made of them, for good. The first call selects them and \
                      returns a token, the second one has the token alone. Filters that are given must all match.",
        params: &[
            optional("ids", "array", "null", "ids of the records, at most 1000; without other filters"),
            optional("session", "string", "null", "records of this session"),
            optional("project", "string", "null", "records of this project, under any of its names"),
            optional("matching", "string", "null", "records with all of these words, in any form"),
            optional("since", "string", "null", "records of this time or later, ISO 8601"),
            optional("until", "string", "null", "records of this time or earlier; a date includes its whole day"),
            optional("token", "string", "null", "token of an earlier reply, good once and for 10 minutes"),
        ],
        result: &["token", "count", "records", "total", "files", "project", "forgotten", "left"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| forget::forget(memory, worker, params, reply),
    },
    Method {
        name: "memory_list",
        description: "Lists the records that match, the newest first.",
        params: &[
            optional("session_id", "string", "null", "only records of this session"),
            optional("project", "string", "null", "only records of this project"),
            optional("role", "string", "null", "only what user, assistant or system said"),
            optional("since", "string", "null", "only texts of this time or later, ISO 8601"),
            optional("until", "string", "null", "only texts of this time or earlier; a date includes its whole day"),
            LIST_LIMIT,
            CURSOR,
            optional(
                "file",
                "string",
                "null",
                "path of the report that the records are written to; memory_forget names it later",
            ),
        ],
        result: &["records", "next"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let now = memory.now();
            reply.send(worker.read(|reader| inspect::memory_list(reader, &memory.writer, params, now)));
        },
    },
    Method {
        name: "memory_projects",
        description: "Lists the projects, that with the newest record first, with the number and the times of their records.",
        params: &[LIST_LIMIT, CURSOR],
        result: &["projects", "next"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| reply.send(worker.read(|reader| inspect::memory_projects(reader, params))),
    },
    Method {
        name: "memory_read",
        description: "Returns the text of a record, or a part of it.",
        params: &[
            required("id", "string", "id of the record"),
            optional("at", "integer", "0", "where the part begins, in bytes into the text"),
            optional("bytes", "integer", "65536", "maximum bytes of the part, which has whole characters"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &[
            "record_id",
            "literal_surface",
            "passage",
            "record_bytes",
            "ts",
            "valid_to",
            "role",
            "session_id",
            "project",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| read::memory_read(reader, &profile, params)));
        },
    },
    Method {
        name: "memory_recall",
        description: "Finds records by their words and returns their exact texts, the best match first.",
        params: &[
            required(
                "cue",
                "string",
                "any text; an empty one returns the most recent records; \"quoted\" words are matched exactly",
            ),
            optional(
                "budget_tokens",
                "integer",
                "1500",
                "maximum tokens of all texts, estimated; the first hit is returned in any case",
            ),
            optional("session_id", "string", "\"unknown\"", "session of the caller"),
            optional("language", "string", "null", "accepted and ignored"),
            optional("limit", "integer", "10", "maximum number of hits, 1 to 100"),
            optional("since", "string", "null", "only texts of this time or later, ISO 8601"),
            optional(
                "until",
                "string",
                "null",
                "only texts of this time or earlier, ISO 8601; a date includes its whole day",
            ),
            optional("project", "string", "\"\"", "project whose records are ranked first"),
            PROJECT_FOLDER,
            PROJECT_SCOPE,
            optional(
                "also",
                "array",
                "[]",
                "further words or phrases that a record may use instead of the cue's, at most 16 of 64 characters; what \
                 is more, empty, longer or repeated is left out and counted",
            ),
            optional(
                "passages",
                "boolean",
                "false",
                "true cuts a text that is longer than its share of the budget to the passage that bears on the cue: \
                 literal_surface is the passage, passage has at and bytes into the text, record_bytes its length; \
                 each hit then counts 90 tokens beside its text",
            ),
        ],
        result: &[
            "hits",
            "anti_hits",
            "activation_trace",
            "budget_used",
            "cue_mode",
            "time_read",
            "patterns_observed",
            "overnight_digest",
            "truncated",
            "also_left_out",
            "unknown_words",
            "did_you_mean",
            "first_turn_recall",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let Memory { profiles, session_state, writer, .. } = memory;
            recall::answer(
                worker.reader(),
                &profiles.current(),
                session_state,
                writer,
                params,
                memory.call_time(),
                reply,
            );
        },
    },
    Method {
        name: "memory_recall_structural",
        description: "Finds records by their attributes: all given ones must match. The newest record comes first.",
        params: &[
            optional(
                "structure_query",
                "object",
                "{}",
                "any of who (user, assistant, system, or the name that a text begins with), session, tier, tag, \
                 language (two letters), day (a date), each with a string; no record has any other key",
            ),
            optional(
                "budget_tokens",
                "integer",
                "2000",
                "maximum tokens of all texts; the first hit is returned in any case",
            ),
            optional(
                "max_records",
                "integer",
                "5000",
                "maximum number of records examined, from the newest on, 1 to 50000",
            ),
            PROJECT,
            PROJECT_SCOPE,
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
            reply.send(worker.read(|reader| structural::recall(reader, &profile, params)));
        },
    },
    Method {
        name: "memory_reinforce",
        description: "Strengthens the link of each pair of records by 0.1, up to 1.",
        params: &[required("ids", "array", "ids of the records, at most 64; fewer than two change nothing")],
        result: &["edges_boosted", "new_weights"],
        pace: Pace::Pipelined,
        run: |memory, worker, params, reply| {
            reinforce::reinforce(worker.reader(), &memory.writer, params, memory.now(), reply);
        },
    },
    Method {
        name: "memory_search",
        description: "Finds records by their words and returns the first 500 characters of each, the best match first.",
        params: &[
            required("query", "string", "words, names or a question"),
            optional("k", "integer", "8", "maximum number of hits, 1 to 24"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["hits", "frame"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(
                worker.read(|reader| search::memory_search(reader, &profile, params, memory.call_time().deadline)),
            );
        },
    },
    Method {
        name: "memory_sessions",
        description: "Lists the sessions, that with the newest record first, with the number and the times of their records.",
        params: &[LIST_LIMIT, CURSOR],
        result: &["sessions", "next"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| reply.send(worker.read(|reader| inspect::memory_sessions(reader, params))),
    },
    Method {
        name: "memory_show",
        description: "Returns a record with its neighbors in the session, its links, and what it replaced or was replaced by.",
        params: &[required("id", "string", "id of the record")],
        result: &[
            "record_id",
            "ts",
            "role",
            "session_id",
            "project",
            "tier",
            "valid_to",
            "text",
            "other_ids",
            "tags",
            "before",
            "after",
            "links",
            "replaced_by",
            "replaces",
        ],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            reply.send(worker.read(|reader| inspect::memory_show(reader, params, memory.now())));
        },
    },
    Method {
        name: "memory_temporal_recall",
        description: "Finds the records that were valid at a time, and lists the events since a time.",
        params: &[
            optional("cue", "string", "\"\"", "as for memory_recall"),
            optional("as_of", "string", "null", "the time, ISO 8601; a date is the end of its day; null means now"),
            optional("changed_since", "string", "null", "only events after this time, ISO 8601; null means no events"),
            optional(
                "limit",
                "integer",
                "10",
                "maximum number of hits and of events, 1 to 1000000; a reply has at most 100 of each and 1 MiB, and \
                 truncated counts the hits left out, to 1000",
            ),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["hits", "changed_since_events", "truncated", "_scope", "error"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| temporal::recall(reader, &profile, params, memory.call_time())));
        },
    },
    Method {
        name: "profile_get",
        description: "Returns one knob of the profile, or all of them.",
        params: &[optional("knob", "string", "null", "name of the knob; null means all")],
        result: &["live", "deferred", "total_knobs", "knob", "value", "status"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            profile::profile_get(memory.profiles.cached(&mut worker.profile), params, reply);
        },
    },
    Method {
        name: "profile_set",
        description: "Sets a knob of the profile permanently.",
        params: &[
            required("knob", "string", "name of the knob; docs/protocol.md describes each"),
            required("value", "any", "the new value"),
        ],
        result: &["status", "knob", "value", "reason", "schema"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| {
            profile::profile_set(&memory.profiles, &memory.writer, params, memory.now(), reply)
        },
    },
    Method {
        name: "project_rename",
        description: "Gives a project another name. If another project has that name, the two are one from then on. \
                      Records keep the name that they were stored with, and are shown under the new one.",
        params: &[
            required("old", "string", "name of the project; one that was renamed before is moved alone"),
            required("new", "string", "the other name; the same name as `old` undoes a rename"),
        ],
        result: &["project", "records"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| projects::rename(&memory.writer, params, reply),
    },
    Method {
        name: "prompt_recall",
        description: "Returns at most 3 records that bear on a prompt, none that the session was given before or has \
                      said since it was opened.",
        params: &[
            required("prompt", "string", "the prompt"),
            optional("session_id", "string", "\"-\"", "session of the prompt"),
            optional("project", "string", "\"\"", "project of the session"),
            PROJECT_FOLDER,
            PROJECT_SCOPE,
        ],
        result: &["records"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            prompt::answer(worker.reader(), &profile, &memory.writer, params, memory.call_time(), reply);
        },
    },
    Method {
        name: "rpc.discover",
        description: "Lists all methods with their params and the keys of their results.",
        params: &[],
        result: &["service", "version", "methods"],
        pace: Pace::Ordered,
        run: |_, _, _, reply| reply.send(Ok(Discovery::new())),
    },
    Method {
        name: "schema_list",
        description: "Lists the patterns that recur over sessions, the highest confidence first.",
        params: &[
            optional("domain", "string", "null", "only patterns of this project"),
            optional("confidence_min", "number", "0.0", "only patterns with at least this confidence, 0 to 1"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["schemas", "total"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| schemas::schema_list(reader, &profile, params)));
        },
    },
    Method {
        name: "session_exit",
        description: "Ends a session: links its newest records.",
        params: &[optional("session_id", "string", "\"-\"", "the session")],
        result: &["mode", "fsrs_ticked", "cooccurrence_updates", "trajectory_metrics_emitted"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| session::exit(&memory.writer, &memory.folder, params, memory.now(), reply),
    },
    Method {
        name: "session_refresh_if_stale",
        description: "Returns what other sessions have stored since a time, in at most 500 tokens.",
        params: &[
            optional(
                "watermark",
                "string",
                "null",
                "the time that an earlier call returned as new_max_ts, ISO 8601; without one nothing is rendered",
            ),
            optional("session_id", "string", "\"-\"", "session of the caller, whose records are left out"),
            PROJECT,
            PROJECT_SCOPE,
        ],
        result: &["rendered", "new_max_ts", "caught_up"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let profile = memory.profiles.current();
            reply.send(worker.read(|reader| episodes::session_refresh(reader, &profile, params)));
        },
    },
    Method {
        name: "session_start_payload",
        description: "Returns a briefing of at most 2000 tokens for the start of a session. The knob wake_depth \
                      determines its length.",
        params: &[
            optional("session_id", "string", "\"-\"", "the session that starts"),
            optional("project", "string", "\"\"", "project whose records come first"),
            PROJECT_FOLDER,
            PROJECT_SCOPE,
            optional(
                "wake_depth",
                "string",
                "\"minimal\"",
                "minimum depth, if that of the knob is lower: minimal, standard or deep",
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
            let started = session::start(worker.reader(), &memory.writer, &profile, params, memory.now());
            reply.send(started.map_err(read_failed));
        },
    },
    Method {
        name: "status_light",
        description: "Returns the number of records and the state of the link graph, without counting.",
        params: &[],
        result: &["N", "regime", "sigma", "topology_cached"],
        pace: Pace::Ordered,
        run: |memory, worker, _, reply| {
            reply.send(worker.read(|reader| topology::status_light(reader, memory.changes.records())));
        },
    },
    Method {
        name: "store_backup",
        description: "Copies the present state of the store to a file. Other calls are not blocked.",
        params: &[required("path", "string", "absolute path of the new file; nothing may exist there")],
        result: &["bytes"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| {
            let now = memory.now();
            reply.send(
                memory
                    .maintenance_lock
                    .try_acquire()
                    .and_then(|_in| backup::backup(&memory.file, &memory.writer, params, now)),
            );
        },
    },
    Method {
        name: "store_check",
        description: "Checks the integrity of the store. Changes nothing.",
        params: &[],
        result: &["ok", "mendable", "index", "problems", "skipped", "records", "checked"],
        pace: Pace::Ordered,
        run: |memory, _, _, reply| {
            let began = Instant::now();
            reply.send(
                memory.maintenance_lock.try_acquire().and_then(|_in| check::check(&memory.file, memory.now(), began)),
            );
        },
    },
    Method {
        name: "store_export",
        description: "Returns all records, tags, links, events and knobs as rows, a page at a time.",
        params: &[
            optional("cursor", "string", "null", "cursor of the last reply; null for the first page"),
            optional(
                "limit",
                "integer",
                "1000",
                "maximum number of rows, 1 to 10000; a reply has at most 1 MiB of rows",
            ),
            optional(
                "file",
                "string",
                "null",
                "path of the file that the rows are written to; memory_forget names it later",
            ),
        ],
        result: &["rows", "cursor"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| {
            let now = memory.now();
            reply.send_json(worker.read(|reader| export::export(reader, &memory.writer, params, now)));
        },
    },
    Method {
        name: "store_import",
        description: "Stores rows of store_export. A record without an id gets one. Existing records are kept.",
        params: &[required("rows", "array", "at most 1000 objects, each with the key kind")],
        result: &["new", "known", "refused"],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| {
            import::import(&memory.writer, &memory.profiles, params, memory.now(), reply);
        },
    },
    Method {
        name: "store_probe",
        description: "Tests the disk: writes a row, reads it back and deletes it.",
        params: &[],
        result: &["ok", "write_us", "read_us"],
        pace: Pace::Ordered,
        run: |memory, _, _, reply| probe::probe(&memory.file, &memory.writer, Instant::now(), reply),
    },
    Method {
        name: "store_reindex",
        description: "Rebuilds the full-text index. It runs in chunks, so other calls are not delayed. Records are \
                      not changed.",
        params: &[],
        result: &["records"],
        pace: Pace::Ordered,
        run: |memory, _, _, reply| match memory.maintenance_lock.try_acquire() {
            Ok(_in) => reindex::rebuild(&memory.file, memory.maintenance(), Instant::now(), reply),
            Err(error) => reply.send::<()>(Err(error)),
        },
    },
    Method {
        name: "store_restore",
        description: "Replaces the content of the store by that of a file, after a check, in one transaction. The \
                      former content is kept as a file. Without confirm it only says what would change.",
        params: &[
            required("path", "string", "absolute path of the file: a backup, or another store"),
            optional("confirm", "boolean", "false", "whether to replace the content"),
        ],
        result: &["restored", "file", "store", "gone", "kept_as"],
        pace: Pace::Ordered,
        run: |memory, _, params, reply| match memory.maintenance_lock.try_acquire() {
            Ok(_in) => {
                let reload = memory.reload();
                restore::restore(&memory.file, &memory.writer, params, memory.now(), reload, reply);
            }
            Err(error) => reply.send::<()>(Err(error)),
        },
    },
    Method {
        name: "sync_apply",
        description: "Merges entries of another store's sync_changes. Nothing changes when they are applied again.",
        params: &[
            required("entries", "array", "entries of sync_changes, unchanged"),
            optional("peer", "string", "null", "id of the store that has given them"),
            optional(
                "confirmed",
                "boolean",
                "false",
                "whether the user agrees that more than 100 records, or a tenth of all, are forgotten in a run",
            ),
            optional("dry_run", "boolean", "false", "whether only to count what would be done"),
        ],
        result: &["added", "known", "aliases", "contradictions", "links", "knobs", "forgotten", "left", "refused"],
        pace: Pace::Ordered,
        run: |memory, worker, params, reply| sync::sync_apply(memory, worker, params, reply),
    },
    Method {
        name: "sync_changes",
        description: "Returns what has changed in the store since an earlier call, as entries for sync_apply of another \
                      store.",
        params: &[
            optional("since", "string", "null", "the next of an earlier reply; null to begin"),
            optional("peer", "string", "null", "id of the store that gets the entries: what it has given is left out"),
            optional(
                "max_bytes",
                "integer",
                "524288",
                "bytes of the entries, 65536 to 917504; a larger entry is alone in its reply",
            ),
        ],
        result: &["store", "entries", "next", "done", "total", "forgotten"],
        pace: Pace::Ordered,
        run: |_, worker, params, reply| {
            reply.send_json(worker.read(|reader| changes::sync_changes(reader, params)));
        },
    },
    Method {
        name: "sync_met",
        description: "Notes that another store was met, and up to where the two have exchanged their entries.",
        params: &[
            required("peer", "string", "id of the other store"),
            required("name", "string", "the host or folder where it was met"),
            required("kind", "string", "host or folder"),
            optional("sent", "string", "null", "up to where it has this store's entries; left out: as before"),
            optional("received", "string", "null", "up to where this store has its entries; left out: as before"),
        ],
        result: &[],
        pace: Pace::Pipelined,
        run: |memory, _, params, reply| peers::sync_met(&memory.writer, params, memory.now(), reply),
    },
    Method {
        name: "sync_peers",
        description: "Lists the other stores that this one has met, that met last first.",
        params: &[],
        result: &["store", "peers"],
        pace: Pace::Ordered,
        run: |_, worker, _, reply| reply.send(worker.read(peers::sync_peers)),
    },
    Method {
        name: "topology",
        description: "Returns metrics of the link graph, as of the last consolidation.",
        params: &[],
        result: &["N", "C", "L", "sigma", "community_count", "rich_club_ratio", "regime"],
        pace: Pace::Ordered,
        run: |memory, worker, _, reply| {
            reply.send(worker.read(|reader| topology::topology(reader, memory.changes.records())));
        },
    },
];

/// `ping`. The server's event loop answers it, so this entry is for `rpc.discover` only.
static PING: Method = Method {
    name: "ping",
    description: "Returns {} at once, as a sign that the daemon answers.",
    params: &[],
    result: &[],
    pace: Pace::Ordered,
    run: |_, _, _, reply| reply.send(Ok(serde_json::Map::new())),
};

/// Returns the method of this name.
pub(crate) fn find(name: &str) -> Option<&'static Method> {
    // A linear search: most names differ in length, so a comparison is cheap, and it is faster than a binary search.
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
    fn a_method_is_found_by_its_exact_name_only() {
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
    fn rpc_discover_lists_the_table_and_ping() {
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

    /// Returns valid params for each method, and the keys of the table that the result then lacks.
    fn calls(bench: &Bench) -> Vec<(&'static str, Value, &'static [&'static str])> {
        let id = bench.capture("a text that is long enough", json!({}));
        let other = bench.capture("another text of some length", json!({"project": "/p"}));
        vec![
            ("claim_check", json!({"cue": "text"}), &[]),
            ("curiosity_pending", json!({}), &[]),
            ("episodes_recent", json!({}), &[]),
            ("events_query", json!({"kind": "llm_health"}), &["error"]),
            ("memory_capture", json!({"text": "a text to be captured"}), &[]),
            ("memory_consolidate", json!({}), &[]),
            ("memory_contradict", json!({"id": id, "new_fact": "what holds now"}), &[]),
            ("memory_forget", json!({"session": "-", "since": "2000-01-01"}), &["forgotten", "left"]),
            ("memory_list", json!({}), &[]),
            ("memory_projects", json!({}), &[]),
            ("memory_read", json!({"id": id}), &["passage"]),
            (
                "memory_recall",
                json!({"cue": "text", "also": [""]}),
                &["time_read", "unknown_words", "did_you_mean", "first_turn_recall"],
            ),
            ("memory_recall_structural", json!({}), &[]),
            ("memory_reinforce", json!({"ids": [id, other]}), &[]),
            ("memory_search", json!({"query": "text"}), &[]),
            ("memory_sessions", json!({}), &[]),
            ("memory_show", json!({"id": id}), &["other_ids"]),
            ("memory_temporal_recall", json!({"cue": "text", "as_of": "2999-01-01"}), &["error"]),
            ("profile_get", json!({}), &["knob", "value", "status"]),
            ("profile_set", json!({"knob": "masking_off", "value": true}), &["reason", "schema"]),
            ("project_rename", json!({"old": "/p", "new": "/q"}), &[]),
            ("prompt_recall", json!({"prompt": "text"}), &[]),
            ("rpc.discover", json!({}), &[]),
            ("schema_list", json!({}), &[]),
            ("session_exit", json!({}), &[]),
            ("session_refresh_if_stale", json!({}), &[]),
            ("session_start_payload", json!({}), &[]),
            ("status_light", json!({}), &[]),
            ("store_backup", json!({"path": bench.folder.path().join("copy")}), &[]),
            ("store_check", json!({}), &[]),
            ("store_export", json!({}), &[]),
            ("store_import", json!({"rows": []}), &[]),
            ("store_probe", json!({}), &[]),
            ("store_reindex", json!({}), &[]),
            ("store_restore", json!({"path": bench.folder.path().join("copy")}), &[]),
            ("sync_apply", json!({"entries": []}), &[]),
            ("sync_changes", json!({}), &[]),
            ("sync_met", json!({"peer": "00".repeat(16), "name": "host", "kind": "host"}), &[]),
            ("sync_peers", json!({}), &[]),
            ("topology", json!({}), &[]),
        ]
    }

    #[test]
    fn params_and_results_are_as_the_table_says() {
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
                    // An explicit default value is accepted.
                    others[param.name] = serde_json::from_str(param.default).unwrap();
                    bench.ok(name, others);
                }
            }
        }
    }
}
