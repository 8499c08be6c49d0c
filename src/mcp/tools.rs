//! The table of tools. Its texts are written for the model that reads them.

use super::json_schema::JsonSchema::{
    self, Any, Choice, Count, Fraction, Integer, List, ListUpTo, Map, Nullable, Number, Object, Text,
};
use super::json_schema::SchemaField;
use super::tool::{Effect, Tool, ToolMethod};

/// Which tools are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolSet {
    All,
    /// Those that an assistant needs in its work: the first of the list.
    Core,
}

/// The tools that an assistant needs in its work: to recall, to read on, to remember and to correct.
const CORE_COUNT: usize = 5;

impl ToolSet {
    /// Returns the tools, in the order of `tools/list`.
    pub(crate) fn tools(self) -> &'static [Tool] {
        match self {
            ToolSet::All => TOOLS,
            ToolSet::Core => &TOOLS[..CORE_COUNT],
        }
    }
}

/// Returns the tool of `tools` with this name.
pub(crate) fn find(tools: &'static [Tool], name: &str) -> Option<&'static Tool> {
    tools.iter().find(|tool| tool.name == name)
}

const SESSION: SchemaField = SchemaField::optional("session_id", Text, "the conversation; by default this one");

const TIER: JsonSchema = Choice(&["working", "episodic", "semantic", "procedural", "parametric"]);

const SEVERITY: JsonSchema = Choice(&["info", "warning", "critical"]);

const EVENT_KIND: JsonSchema = Choice(&[
    "cls_consolidation_run",
    "crypto_key_rotated",
    "curiosity_question",
    "curiosity_silent_log",
    "llm_health",
    "s4_contradiction",
    "schema_induction_run",
    "trajectory_metric",
]);

const HIT: JsonSchema = Object(&[
    SchemaField::required("record_id", Text, "for memory_read, memory_contradict and memory_reinforce"),
    SchemaField::required("score", Fraction, ""),
    SchemaField::required("literal_surface", Text, "the exact text, or that of the passage"),
    SchemaField::optional("passage", Map(&Count), "if it is a part: where it begins and its length, in bytes"),
    SchemaField::optional("record_bytes", Count, "the length of the whole record then"),
    SchemaField::required("session_id", Text, ""),
    SchemaField::required("role", Choice(&["user", "assistant", "system"]), "who said it"),
    SchemaField::required("ts", Text, "when it was said"),
    SchemaField::optional("valid_to", Text, "since when it no longer holds; absent while it does"),
    SchemaField::optional("copies", Count, "records with this text, if more than one"),
    SchemaField::optional("first_ts", Text, "when the first of them was said"),
]);

const PATTERN: JsonSchema = Object(&[
    SchemaField::required("pattern", Text, ""),
    SchemaField::required("evidence_count", Count, ""),
    SchemaField::required("schema_id", Text, ""),
]);

const HITS: SchemaField = SchemaField::required("hits", List(&HIT), "best first");
const ANTI_HITS: SchemaField = SchemaField::optional("anti_hits", List(&HIT), "contradicted records");
const PATTERNS: SchemaField = SchemaField::optional("patterns_observed", List(&PATTERN), "patterns the hits belong to");
const DIGEST: SchemaField = SchemaField::optional("overnight_digest", Map(&Any), "what the last consolidation did");
const TRUNCATED: SchemaField = SchemaField::optional("truncated", Count, "hits that the budget has no room for");
const LEFT_OUT: SchemaField =
    SchemaField::optional("also_left_out", Count, "words of also that are empty, repeated or too many");
const UNKNOWN: SchemaField = SchemaField::optional("unknown_words", List(&Text), "words of the cue that no record has");
const NEAR: SchemaField = SchemaField::optional("did_you_mean", List(&Text), "words the memory knows, to try instead");
const TIME_READ: SchemaField = SchemaField::optional("time_read", Map(&Text), "");
const FIRST_TURN: SchemaField = SchemaField::optional("first_turn_hits", List(&HIT), "what other sessions said last");

/// All tools, in the order of `tools/list`.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "memory_recall",
        title: "Recall",
        description: "Searches the memory and returns exact texts, best first. Use it before you answer anything that \
            earlier conversations may have settled: names, decisions, preferences, how something was done, \"as we \
            said\". Records are found by their words, so fill also; put a span in double quotes to find it literally; an \
            empty cue returns the most recent. Not for what is in this conversation.",
        input: Object(&[
            SchemaField::required("cue", Text, "any text"),
            SchemaField::optional(
                "also",
                List(&Text),
                "5 to 16 words the text may use instead: synonyms, kinds, examples, other languages; for \"our pets\": \
                 dog, cat, vet",
            ),
            SchemaField::with_default("limit", Integer(1, 100), "10", "max hits"),
            SchemaField::with_default(
                "budget_tokens",
                Integer(0, 4_294_967_295),
                "1500",
                "max tokens of the reply; one hit always fits",
            ),
            SchemaField::optional("since", Text, "said at or after, ISO 8601"),
            SchemaField::optional("until", Text, "said at or before, ISO 8601; a date includes the whole day"),
            SchemaField::optional("project", Text, "a folder or a name whose records come first; by default this one"),
            SESSION,
        ]),
        output: Object(&[HITS, ANTI_HITS, PATTERNS, DIGEST, TRUNCATED, LEFT_OUT, UNKNOWN, NEAR, TIME_READ, FIRST_TURN]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["session_id", "project", "project_folder"],
        unless_given: &[("passages", "true")],
    },
    Tool {
        name: "memory_read",
        title: "Read on",
        description: "Returns the text of one record, or a part of it. Use it for the rest of a hit that has `passage`.",
        input: Object(&[
            SchemaField::required("id", Text, "a record_id"),
            SchemaField::with_default("at", Integer(0, 65_536), "0", "first byte"),
            SchemaField::with_default("bytes", Integer(4, 65_536), "8192", "max bytes"),
        ]),
        output: Object(&[
            SchemaField::required("record_id", Text, ""),
            SchemaField::required("literal_surface", Text, "the exact text, or that of the part"),
            SchemaField::optional("passage", Map(&Count), "if it is a part: where it begins and its length, in bytes"),
            SchemaField::required("record_bytes", Count, "the length of the whole record"),
            SchemaField::required("ts", Text, "when it was said"),
            SchemaField::required("valid_to", Nullable(&Text), "since when it no longer holds; null while it does"),
            SchemaField::required("role", Text, "who said it"),
            SchemaField::required("session_id", Text, ""),
            SchemaField::required("project", Text, ""),
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["project"],
        unless_given: &[("bytes", "8192")],
    },
    Tool {
        name: "memory_recall_structural",
        title: "Recall by who, when and what",
        description: "Lists records by what they are instead of by their words, newest first: all that was said on a \
            day, in a session, by one speaker, in one tier or language. Use it when you know no word of the text; \
            else memory_recall finds better.",
        input: Object(&[
            SchemaField::with_default(
                "structure_query",
                Object(&[
                    SchemaField::optional("who", Text, "user, assistant, system, or the name a text begins with"),
                    SchemaField::optional("session", Text, ""),
                    SchemaField::optional("tier", TIER, ""),
                    SchemaField::optional("tag", Text, ""),
                    SchemaField::optional("language", Text, "two letters"),
                    SchemaField::optional("day", Text, "a date, YYYY-MM-DD"),
                ]),
                "{}",
                "all given must match",
            ),
            SchemaField::with_default("budget_tokens", Integer(0, 4_294_967_295), "2000", "max tokens of the reply"),
            SchemaField::with_default("max_records", Integer(1, 50_000), "5000", "max records searched"),
        ]),
        output: Object(&[HITS, ANTI_HITS, PATTERNS, DIGEST, TRUNCATED]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["project"],
        unless_given: &[],
    },
    Tool {
        name: "memory_capture",
        title: "Remember",
        description: "Stores a text, word for word and for good. Use it for what a later conversation should know: a \
            decision and its reason, a preference, a correction, a fact about people, projects or machines, a \
            procedure that worked. One fact a call, understandable without this conversation: names instead of \
            pronouns, dates instead of \"today\". Not for secrets, output of tools, text in files, or what you have just recalled. The same text is stored once. To correct a \
            record use memory_contradict.",
        input: Object(&[
            SchemaField::required("text", Text, "at most 65536 bytes"),
            SchemaField::with_default("cue", Text, "\"\"", "further words to find it by"),
            SchemaField::with_default(
                "tier",
                TIER,
                "\"episodic\"",
                "episodic: what was said or happened; semantic: what holds in general; procedural: how something is \
                 done; working: only for now",
            ),
            SchemaField::with_default("role", Choice(&["user", "assistant", "system"]), "\"user\"", "who said it"),
            SchemaField::optional("ts", Text, "when it was said, ISO 8601; by default now"),
            SchemaField::optional("project", Text, "a folder or a name; by default this one"),
            SESSION,
            SchemaField::optional("part", Integer(1, 1_048_576), "which piece of a longer text"),
            SchemaField::optional("parts", Integer(1, 1_048_576), "how many pieces that text has"),
        ]),
        output: Object(&[
            SchemaField::required(
                "status",
                Choice(&["inserted", "reinforced", "skipped"]),
                "reinforced: it was there already",
            ),
            SchemaField::required("record_id", Nullable(&Text), "null if skipped"),
            SchemaField::required("reason", Text, ""),
        ]),
        effect: Effect::WritesOnce,
        method: ToolMethod::Same,
        from_host: &["session_id", "project", "project_folder"],
        unless_given: &[],
    },
    Tool {
        name: "memory_contradict",
        title: "Correct",
        description: "Replaces a record that no longer holds by a new fact. The old one is kept and marked. Use it \
            when the user corrects or revises something that memory_recall returned; take the id from that hit. Not \
            for adding detail: that is memory_capture.",
        input: Object(&[
            SchemaField::required("id", Text, "the record_id of the record to correct"),
            SchemaField::required("new_fact", Text, "what holds instead, understandable on its own"),
        ]),
        output: Object(&[
            SchemaField::required("original_id", Text, ""),
            SchemaField::required("new_record_id", Text, ""),
            SchemaField::required("edge_type", Text, ""),
            SchemaField::required("ts", Text, ""),
        ]),
        effect: Effect::WritesEachTime,
        method: ToolMethod::Same,
        from_host: &[],
        unless_given: &[],
    },
    Tool {
        name: "memory_reinforce",
        title: "Link records",
        description: "Links records to each other, so that recalling one finds the others. Use it after an answer \
            that relied on two or more hits together.",
        input: Object(&[SchemaField::required("ids", ListUpTo(64, &Text), "record_ids, two or more")]),
        output: Object(&[
            SchemaField::required("edges_boosted", Count, ""),
            SchemaField::required("new_weights", Map(&Number), "keys: the two ids, separated by |"),
        ]),
        effect: Effect::WritesEachTime,
        method: ToolMethod::Same,
        from_host: &[],
        unless_given: &[],
    },
    Tool {
        name: "memory_consolidate",
        title: "Consolidate now",
        description: "Looks for links and recurring patterns now instead of when the daemon sleeps. Only if the user asks for it; it may take minutes.",
        input: Object(&[SESSION]),
        output: Object(&[
            SchemaField::required("mode", Text, ""),
            SchemaField::required("tier", Text, ""),
            SchemaField::required("summaries_created", Count, ""),
            SchemaField::required("decay_result", Map(&Number), "links weakened and links removed"),
            SchemaField::required("schema_candidates", List(&Any), ""),
        ]),
        effect: Effect::WritesEachTime,
        method: ToolMethod::Same,
        from_host: &["session_id", "project"],
        unless_given: &[],
    },
    Tool {
        name: "profile_get_set",
        title: "Settings",
        description: "Reads or sets how the memory behaves and how the user wants to be spoken to. Get \
            without a knob returns all knobs. Set one only if the user asks for it.",
        input: Object(&[
            SchemaField::required("operation", Choice(&["get", "set"]), ""),
            SchemaField::optional("knob", Text, "such as wake_depth or literal_preservation; needed to set"),
            SchemaField::optional("value", Any, "what to set it to; needed to set"),
        ]),
        output: Object(&[
            SchemaField::optional("live", Map(&Any), "all knobs and their values"),
            SchemaField::optional("deferred", Map(&Any), ""),
            SchemaField::optional("total_knobs", Count, ""),
            SchemaField::optional("knob", Text, ""),
            SchemaField::optional("value", Any, ""),
            SchemaField::optional("status", Text, ""),
            SchemaField::optional("reason", Text, ""),
            SchemaField::optional("schema", Text, "the values of the knob"),
        ]),
        effect: Effect::WritesOnce,
        method: ToolMethod::Profile,
        from_host: &[],
        unless_given: &[],
    },
    Tool {
        name: "curiosity_pending",
        title: "Open contradictions",
        description: "Lists unresolved contradictions, newest first. Use it to ask the user which of two facts holds.",
        input: Object(&[SchemaField::optional("session_id", Text, "only those of this conversation; by default all")]),
        output: Object(&[
            SchemaField::required(
                "questions",
                List(&Object(&[
                    SchemaField::required("id", Text, ""),
                    SchemaField::required("text", Text, ""),
                    SchemaField::required("tier", Text, ""),
                    SchemaField::required("entropy", Number, ""),
                    SchemaField::required("triggered_by_record_ids", List(&Text), "the old fact and the new one"),
                ])),
                "",
            ),
            SchemaField::required("count", Count, ""),
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["project"],
        unless_given: &[],
    },
    Tool {
        name: "schema_list",
        title: "Patterns",
        description: "Lists patterns that recur across sessions, most certain first: habits, topics. Use it for \
            questions about what the user usually does or cares about.",
        input: Object(&[
            SchemaField::optional("domain", Text, "only those of this project; by default all"),
            SchemaField::with_default("confidence_min", Fraction, "0.0", "minimum confidence"),
        ]),
        output: Object(&[
            SchemaField::required(
                "schemas",
                List(&Object(&[
                    SchemaField::required("id", Text, ""),
                    SchemaField::required("pattern", Text, ""),
                    SchemaField::required("confidence", Fraction, ""),
                    SchemaField::required("evidence_count", Count, ""),
                    SchemaField::required("exceptions_count", Count, ""),
                    SchemaField::required("status", Text, ""),
                    SchemaField::required("language", Text, ""),
                ])),
                "",
            ),
            SchemaField::required("total", Count, ""),
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["project"],
        unless_given: &[],
    },
    Tool {
        name: "events_query",
        title: "Events",
        description: "Lists what happened inside the memory, newest first: consolidations, contradictions, patterns \
            found. For questions about the memory itself.",
        input: Object(&[
            SchemaField::required("kind", EVENT_KIND, ""),
            SchemaField::optional("since", Text, "at or after, ISO 8601"),
            SchemaField::optional("severity", SEVERITY, ""),
            SchemaField::with_default("limit", Integer(1, 1000), "100", "max events"),
        ]),
        output: Object(&[
            SchemaField::optional(
                "events",
                List(&Object(&[
                    SchemaField::required("id", Text, ""),
                    SchemaField::required("kind", Text, ""),
                    SchemaField::required("severity", Nullable(&Text), ""),
                    SchemaField::required("domain", Nullable(&Text), ""),
                    SchemaField::required("ts", Text, ""),
                    SchemaField::required("data", Map(&Any), ""),
                    SchemaField::required("session_id", Text, ""),
                    SchemaField::required("source_ids", List(&Text), ""),
                ])),
                "",
            ),
            SchemaField::optional("count", Count, ""),
            SchemaField::optional("error", Text, "what is wrong with the query"),
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["project"],
        unless_given: &[],
    },
    Tool {
        name: "topology",
        title: "Shape of the memory",
        description: "Graph metrics of the records, as of the last consolidation. For \
            questions about the memory itself.",
        input: Object(&[]),
        output: Object(&[
            SchemaField::required("N", Count, "records"),
            SchemaField::required("C", Number, "clustering"),
            SchemaField::required("L", Number, "mean path length"),
            SchemaField::required("sigma", Nullable(&Number), "small-world quotient; null for too few records"),
            SchemaField::required("community_count", Count, ""),
            SchemaField::required("rich_club_ratio", Number, ""),
            SchemaField::required("regime", Text, ""),
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &[],
        unless_given: &[],
    },
];
