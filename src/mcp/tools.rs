//! The tools: names, words for the assistant that reads them, what they take and give, and the
//! method of the daemon's that carries each out.
//!
//! The text is written for a model: when to use a tool, when not, and what comes back. Nothing here
//! runs.

use serde::Serialize;

use super::schema::Field;
use super::schema::Schema::{
    self, Any, Choice, Count, Integer, List, ListUpTo, Map, Nullable, Number, Object, Share, Text,
};

/// What an assistant is told about the server as a whole.
pub(crate) const INSTRUCTIONS: &str = "\
A memory that all of the user's assistants share. It keeps texts word for word, across sessions and projects.

Recall first: at the start of a task, and whenever the user refers to something said earlier, call memory_recall with \
the words the answer would contain. Trust a hit's literal_surface over your own paraphrase; a hit with valid_to set no \
longer holds.

Capture what will matter later: decisions and their reasons, preferences, corrections, facts about the user's people, \
projects and machines. One fact a call, in words that stand on their own. Never capture passwords or keys, output of \
tools, or what you have just recalled.

When the user corrects something that you recalled, call memory_contradict with that record's id instead of capturing \
the correction beside it. Nothing can be deleted.";

/// A tool.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) input: Schema,
    pub(crate) output: Schema,
    pub(crate) effect: Effect,
    pub(crate) method: Method,
    /// Arguments that the host's own session and project stand in for.
    pub(crate) from_host: &'static [&'static str],
}

/// What calling a tool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes nothing.
    Reads,
    /// Adds or sets something; the same call again changes nothing more.
    WritesOnce,
    /// Each call changes something.
    WritesEachTime,
}

/// Who carries a tool out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// The daemon's method of the tool's own name.
    Same,
    /// `profile_get` or `profile_set`, as the argument `operation` says.
    Profile,
}

/// The hints of the protocol at what a tool does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotations {
    title: &'static str,
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
}

impl Tool {
    /// The fields of its arguments.
    pub(crate) fn arguments(&self) -> &'static [Field] {
        match self.input {
            Object(fields) => fields,
            _ => &[],
        }
    }

    /// Nothing is ever destroyed (records stay), and nothing outside this machine is touched.
    pub(crate) fn annotations(&self) -> Annotations {
        Annotations {
            title: self.title,
            read_only_hint: self.effect == Effect::Reads,
            destructive_hint: false,
            idempotent_hint: self.effect != Effect::WritesEachTime,
            open_world_hint: false,
        }
    }
}

/// The tool of this name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

const SESSION: Field = Field::maybe("session_id", Text, "the conversation; by default this one");

const TIER: Schema = Choice(&["working", "episodic", "semantic", "procedural", "parametric"]);

const SEVERITY: Schema = Choice(&["info", "warning", "critical"]);

const EVENT_KIND: Schema = Choice(&[
    "cls_consolidation_run",
    "crypto_key_rotated",
    "curiosity_question",
    "curiosity_silent_log",
    "llm_health",
    "s4_contradiction",
    "schema_induction_run",
    "trajectory_metric",
]);

const HIT: Schema = Object(&[
    Field::always("record_id", Text, "for memory_contradict and memory_reinforce"),
    Field::always("score", Share, ""),
    Field::always("reason", Text, "why it was found"),
    Field::always("literal_surface", Text, "the exact text"),
    Field::always("adjacent_suggestions", List(&Text), "ids of records near it"),
    Field::always("valid_from", Text, ""),
    Field::always("valid_to", Nullable(&Text), "since when it no longer holds; null while it does"),
    Field::always("session_id", Text, ""),
    Field::always("role", Choice(&["user", "assistant", "system"]), "who said it"),
    Field::always("ts", Text, "when it was said"),
    Field::maybe("_scene_hint", Map(&Any), ""),
]);

const PATTERN: Schema = Object(&[
    Field::always("pattern", Text, ""),
    Field::always("evidence_count", Count, ""),
    Field::always("schema_id", Text, ""),
]);

const HITS: Field = Field::always("hits", List(&HIT), "the best first");
const ANTI_HITS: Field = Field::always("anti_hits", List(&HIT), "what was contradicted");
const TRACE: Field = Field::always("activation_trace", List(&Text), "ids reached through links");
const BUDGET_USED: Field = Field::always("budget_used", Count, "tokens of all texts");
const CUE_MODE: Field = Field::always("cue_mode", Choice(&["verbatim", "concept"]), "");
const PATTERNS: Field = Field::always("patterns_observed", List(&PATTERN), "what recurs about it");
const DIGEST: Field = Field::always("overnight_digest", Map(&Any), "what the last consolidation did");
const TRUNCATED: Field = Field::always("truncated", Count, "hits left out because the reply was full");
const FIRST_TURN: Field = Field::maybe("first_turn_recall", Map(&Any), "what belongs to the session's first turn");

/// In the order in which they are listed.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "memory_recall",
        title: "Recall",
        description: "Searches the memory and returns exact texts, best first. Use it before you answer anything that \
            earlier conversations may have settled: names, decisions, preferences, how something was done, \"as we \
            said\". Give words that the text itself would contain, not a question about it; put a span in double quotes \
            to find it literally; an empty cue returns the most recent. Do not use it for what is in this conversation \
            or in files you can read.",
        input: Object(&[
            Field::always("cue", Text, "any text; its rarer words decide"),
            Field::or("limit", Integer(1, 100), "10", "most hits"),
            Field::or(
                "budget_tokens",
                Integer(0, 4_294_967_295),
                "1500",
                "most tokens (4 characters each) of all texts; one hit always fits",
            ),
            Field::maybe("since", Text, "said then or later, ISO 8601"),
            Field::maybe("until", Text, "said then or earlier, ISO 8601; a date is its whole day"),
            Field::maybe("project", Text, "a folder or a name whose records come first; by default this one"),
            SESSION,
            Field::maybe("language", Text, "accepted, not needed"),
        ]),
        output: Object(&[HITS, ANTI_HITS, TRACE, BUDGET_USED, CUE_MODE, PATTERNS, DIGEST, TRUNCATED, FIRST_TURN]),
        effect: Effect::Reads,
        method: Method::Same,
        from_host: &["session_id", "project"],
    },
    Tool {
        name: "memory_recall_structural",
        title: "Recall by who, when and what",
        description: "Lists records by what they are instead of by their words, newest first: all that was said on a \
            day, in a session, by one speaker, in one tier or language. Use it when you know no word of the text; else \
            memory_recall finds better.",
        input: Object(&[
            Field::or(
                "structure_query",
                Object(&[
                    Field::maybe("who", Text, "user, assistant, system, or the name a text begins with"),
                    Field::maybe("session", Text, ""),
                    Field::maybe("tier", TIER, ""),
                    Field::maybe("tag", Text, ""),
                    Field::maybe("language", Text, "two letters"),
                    Field::maybe("day", Text, "a date, YYYY-MM-DD"),
                ]),
                "{}",
                "all that are given must hold",
            ),
            Field::or(
                "budget_tokens",
                Integer(0, 4_294_967_295),
                "2000",
                "most tokens of all texts; one hit always fits",
            ),
            Field::or("max_records", Integer(1, 50_000), "5000", "most records looked at, the newest"),
        ]),
        output: Object(&[
            HITS,
            ANTI_HITS,
            TRACE,
            BUDGET_USED,
            CUE_MODE,
            PATTERNS,
            DIGEST,
            TRUNCATED,
            Field::always("structural_query_size", Count, "how many conditions were given"),
        ]),
        effect: Effect::Reads,
        method: Method::Same,
        from_host: &[],
    },
    Tool {
        name: "memory_capture",
        title: "Remember",
        description: "Stores a text, word for word and for good. Use it for what a later conversation should know: a \
            decision and its reason, a preference, a correction, a fact about people, projects or machines, a procedure \
            that worked. One fact a call, understandable without this conversation: names instead of pronouns, dates \
            instead of \"today\". Not for secrets, output of tools, text that is in files anyway, or anything you have \
            just recalled. The same text again is recognised and not stored twice. To correct a record use \
            memory_contradict.",
        input: Object(&[
            Field::always("text", Text, "12 characters to 65536 bytes; shorter is skipped, longer refused"),
            Field::or("cue", Text, "\"\"", "further words to find it by, such as synonyms"),
            Field::or(
                "tier",
                TIER,
                "\"episodic\"",
                "episodic: what was said or happened; semantic: what holds in general; procedural: how something is \
                 done; working: only for now",
            ),
            Field::or("role", Choice(&["user", "assistant", "system"]), "\"user\"", "whose words they are"),
            Field::maybe("ts", Text, "when it was said, ISO 8601, without an offset UTC; by default now"),
            Field::maybe("project", Text, "a folder or a name; by default this one"),
            SESSION,
            Field::maybe("part", Integer(1, 1_048_576), "which piece of a longer text"),
            Field::maybe("parts", Integer(1, 1_048_576), "how many pieces that text has"),
        ]),
        output: Object(&[
            Field::always("status", Choice(&["inserted", "reinforced", "skipped"]), "reinforced: it was there already"),
            Field::always("record_id", Nullable(&Text), "null where it was skipped"),
            Field::always("reason", Text, ""),
        ]),
        effect: Effect::WritesOnce,
        method: Method::Same,
        from_host: &["session_id", "project"],
    },
    Tool {
        name: "memory_contradict",
        title: "Correct",
        description: "Stores a new fact in the place of a record that no longer holds. The old one stays and is marked. \
            Use it when the user corrects or revises something that memory_recall returned; take the id from that hit. \
            Not for adding detail: that is memory_capture.",
        input: Object(&[
            Field::always("id", Text, "the record_id of what does not hold"),
            Field::always("new_fact", Text, "what holds instead, understandable on its own; 65536 bytes at most"),
        ]),
        output: Object(&[
            Field::always("original_id", Text, ""),
            Field::always("new_record_id", Text, ""),
            Field::always("edge_type", Text, ""),
            Field::always("ts", Text, ""),
        ]),
        effect: Effect::WritesEachTime,
        method: Method::Same,
        from_host: &[],
    },
    Tool {
        name: "memory_reinforce",
        title: "Bind together",
        description: "Binds records to each other, so that recalling one leads to the others. Use it after an answer that \
            really rested on two or more hits together. Each call adds 0.1 to a link's weight, up to 1.",
        input: Object(&[Field::always("ids", ListUpTo(64, &Text), "record_ids, two or more")]),
        output: Object(&[
            Field::always("edges_boosted", Count, ""),
            Field::always("new_weights", Map(&Number), "by the two ids, with | between them"),
        ]),
        effect: Effect::WritesEachTime,
        method: Method::Same,
        from_host: &[],
    },
    Tool {
        name: "memory_consolidate",
        title: "Consolidate now",
        description: "Looks for links and recurring patterns at once instead of when the daemon sleeps. Seldom needed: \
            only where the user asks for it. It may take minutes on a large memory; nobody else waits on it.",
        input: Object(&[SESSION]),
        output: Object(&[
            Field::always("mode", Text, ""),
            Field::always("tier", Text, ""),
            Field::always("summaries_created", Count, ""),
            Field::always("decay_result", Map(&Number), "links that faded and that went"),
            Field::always("schema_candidates", List(&Any), ""),
        ]),
        effect: Effect::WritesEachTime,
        method: Method::Same,
        from_host: &["session_id"],
    },
    Tool {
        name: "profile_get_set",
        title: "Settings",
        description: "Reads or sets how the memory behaves and how the user wants to be spoken to: eleven knobs. Get \
            without a knob returns all of them. Set one only where the user asks for it.",
        input: Object(&[
            Field::always("operation", Choice(&["get", "set"]), ""),
            Field::maybe("knob", Text, "such as wake_depth or literal_preservation; needed to set"),
            Field::maybe("value", Any, "what to set it to; needed to set"),
        ]),
        output: Object(&[
            Field::maybe("live", Map(&Any), "all knobs and their values"),
            Field::maybe("deferred", Map(&Any), ""),
            Field::maybe("total_knobs", Count, ""),
            Field::maybe("knob", Text, ""),
            Field::maybe("value", Any, ""),
            Field::maybe("status", Text, ""),
            Field::maybe("reason", Text, ""),
            Field::maybe("schema", Text, "what a knob takes"),
        ]),
        effect: Effect::WritesOnce,
        method: Method::Profile,
        from_host: &[],
    },
    Tool {
        name: "curiosity_pending",
        title: "Open contradictions",
        description: "Lists contradictions that nobody has settled, newest first. Use it to ask the user, at a fitting \
            moment, which of two facts holds.",
        input: Object(&[Field::maybe("session_id", Text, "only those of this conversation; by default all")]),
        output: Object(&[
            Field::always(
                "questions",
                List(&Object(&[
                    Field::always("id", Text, ""),
                    Field::always("text", Text, ""),
                    Field::always("tier", Text, ""),
                    Field::always("entropy", Number, ""),
                    Field::always("triggered_by_record_ids", List(&Text), "the old fact and the new one"),
                ])),
                "",
            ),
            Field::always("count", Count, ""),
        ]),
        effect: Effect::Reads,
        method: Method::Same,
        from_host: &[],
    },
    Tool {
        name: "schema_list",
        title: "Patterns",
        description: "Lists patterns that recur over sessions, surest first: habits, standing topics. Use it for \
            questions about what the user usually does or cares about.",
        input: Object(&[
            Field::maybe("domain", Text, "only those of this project; by default all"),
            Field::or("confidence_min", Share, "0.0", "only those that are as sure"),
        ]),
        output: Object(&[
            Field::always(
                "schemas",
                List(&Object(&[
                    Field::always("id", Text, ""),
                    Field::always("pattern", Text, ""),
                    Field::always("confidence", Share, ""),
                    Field::always("evidence_count", Count, ""),
                    Field::always("exceptions_count", Count, ""),
                    Field::always("status", Text, ""),
                    Field::always("language", Text, ""),
                ])),
                "",
            ),
            Field::always("total", Count, ""),
        ]),
        effect: Effect::Reads,
        method: Method::Same,
        from_host: &[],
    },
    Tool {
        name: "events_query",
        title: "Events",
        description: "Lists what happened inside the memory, newest first: consolidations, contradictions, patterns \
            found. For questions about the memory itself, not about what it holds.",
        input: Object(&[
            Field::always("kind", EVENT_KIND, ""),
            Field::maybe("since", Text, "then or later, ISO 8601"),
            Field::maybe("severity", SEVERITY, ""),
            Field::or("limit", Integer(1, 1000), "100", "most events"),
        ]),
        output: Object(&[
            Field::maybe(
                "events",
                List(&Object(&[
                    Field::always("id", Text, ""),
                    Field::always("kind", Text, ""),
                    Field::always("severity", Nullable(&Text), ""),
                    Field::always("domain", Nullable(&Text), ""),
                    Field::always("ts", Text, ""),
                    Field::always("data", Map(&Any), ""),
                    Field::always("session_id", Text, ""),
                    Field::always("source_ids", List(&Text), ""),
                ])),
                "",
            ),
            Field::maybe("count", Count, ""),
            Field::maybe("error", Text, "what is wrong with the question"),
        ]),
        effect: Effect::Reads,
        method: Method::Same,
        from_host: &[],
    },
    Tool {
        name: "topology",
        title: "Shape of the memory",
        description: "Figures of how the records hang together, as of the last consolidation: how many there are, how \
            clustered, how far apart. For questions about the memory itself.",
        input: Object(&[]),
        output: Object(&[
            Field::always("N", Count, "records"),
            Field::always("C", Number, "clustering"),
            Field::always("L", Number, "mean path length"),
            Field::always("sigma", Nullable(&Number), "small-world quotient; null where there is too little"),
            Field::always("community_count", Count, ""),
            Field::always("rich_club_ratio", Number, ""),
            Field::always("regime", Text, ""),
        ]),
        effect: Effect::Reads,
        method: Method::Same,
        from_host: &[],
    },
];
