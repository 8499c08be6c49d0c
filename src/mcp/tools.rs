//! The table of tools. Its texts are written for the model that reads them.

use super::json_schema::JsonSchema::{
    self, Any, Choice, Count, Fraction, Integer, List, ListUpTo, Map, Nullable, Number, Object, Text,
};
use super::json_schema::SchemaField;
use super::tool::{Effect, Tool, ToolMethod};

/// The server's instructions for the model.
pub(crate) const INSTRUCTIONS: &str = "\
A memory that all of the user's assistants share. It keeps texts word for word, across sessions and projects.

Recall first: at the start of a task, and whenever the user refers to something said earlier, call memory_recall with \
the question as cue and, in `also`, 5 to 16 other words that the answer may contain. Records are found by their words: \
\"what pets do we have?\" finds \"Rex is our golden retriever\" only by an `also` such as dog, retriever, cat, vet. Trust a hit's literal_surface over your own paraphrase; a hit with valid_to set no \
longer holds.

Capture what will matter later: decisions and their reasons, preferences, corrections, facts about the user's people, \
projects and machines. One fact a call, in words that stand on their own. Never capture passwords or keys, output of \
tools, or what you have just recalled.

When the user corrects something that you recalled, call memory_contradict with that record's id instead of capturing \
the correction beside it. Nothing can be deleted.";

/// Returns the tool with this name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
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
    SchemaField::required("record_id", Text, "for memory_contradict and memory_reinforce"),
    SchemaField::required("score", Fraction, ""),
    SchemaField::required("reason", Text, "why it was found"),
    SchemaField::required("literal_surface", Text, "the exact text"),
    SchemaField::required("adjacent_suggestions", List(&Text), "ids of records near it"),
    SchemaField::required("valid_from", Text, ""),
    SchemaField::required("valid_to", Nullable(&Text), "since when it no longer holds; null while it does"),
    SchemaField::required("session_id", Text, ""),
    SchemaField::required("role", Choice(&["user", "assistant", "system"]), "who said it"),
    SchemaField::required("ts", Text, "when it was said"),
    SchemaField::optional("copies", Count, "records with this text, if more than one"),
    SchemaField::optional("first_ts", Text, "when the first of them was said"),
    SchemaField::optional("_scene_hint", Map(&Any), ""),
]);

const PATTERN: JsonSchema = Object(&[
    SchemaField::required("pattern", Text, ""),
    SchemaField::required("evidence_count", Count, ""),
    SchemaField::required("schema_id", Text, ""),
]);

const HITS: SchemaField = SchemaField::required("hits", List(&HIT), "best first");
const ANTI_HITS: SchemaField = SchemaField::required("anti_hits", List(&HIT), "contradicted records");
const TRACE: SchemaField = SchemaField::required("activation_trace", List(&Text), "ids reached through links");
const BUDGET_USED: SchemaField = SchemaField::required("budget_used", Count, "tokens of all texts");
const CUE_MODE: SchemaField = SchemaField::required("cue_mode", Choice(&["verbatim", "concept"]), "");
const PATTERNS: SchemaField = SchemaField::required("patterns_observed", List(&PATTERN), "patterns the hits belong to");
const DIGEST: SchemaField = SchemaField::required("overnight_digest", Map(&Any), "what the last consolidation did");
const TRUNCATED: SchemaField = SchemaField::required("truncated", Count, "hits left out because the reply was full");
const LEFT_OUT: SchemaField =
    SchemaField::optional("also_left_out", Count, "words of also that are empty, repeated or too many");
const UNKNOWN: SchemaField = SchemaField::optional("unknown_words", List(&Text), "words of the cue that no record has");
const NEAR: SchemaField = SchemaField::optional("did_you_mean", List(&Text), "words the memory knows, to try instead");
const TIME_READ: SchemaField = SchemaField::optional("time_read", Map(&Text), "");
const FIRST_TURN: SchemaField =
    SchemaField::optional("first_turn_recall", Map(&Any), "what belongs to the session's first turn");

/// All tools, in the order of `tools/list`.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "memory_recall",
        title: "Recall",
        description: "Searches the memory and returns exact texts, best first. Use it before you answer anything that \
            earlier conversations may have settled: names, decisions, preferences, how something was done, \"as we \
            said\". Records are found by their words, so fill also; put a span in double quotes to find it literally; an \
            empty cue returns the most recent. Do not use it for what is in this conversation or in files you can \
            read.",
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
                "max tokens (4 characters) of all texts; one hit always fits",
            ),
            SchemaField::optional("since", Text, "said at or after, ISO 8601"),
            SchemaField::optional("until", Text, "said at or before, ISO 8601; a date includes the whole day"),
            SchemaField::optional("project", Text, "a folder or a name whose records come first; by default this one"),
            SESSION,
            SchemaField::optional("language", Text, "unused"),
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
            LEFT_OUT,
            UNKNOWN,
            NEAR,
            TIME_READ,
            FIRST_TURN,
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &["session_id", "project"],
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
            SchemaField::with_default("budget_tokens", Integer(0, 4_294_967_295), "2000", "max tokens of all texts"),
            SchemaField::with_default("max_records", Integer(1, 50_000), "5000", "max records searched, newest first"),
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
            SchemaField::required("structural_query_size", Count, "how many conditions were given"),
        ]),
        effect: Effect::Reads,
        method: ToolMethod::Same,
        from_host: &[],
    },
    Tool {
        name: "memory_capture",
        title: "Remember",
        description: "Stores a text, word for word and for good. Use it for what a later conversation should know: a \
            decision and its reason, a preference, a correction, a fact about people, projects or machines, a \
            procedure that worked. One fact a call, understandable without this conversation: names instead of \
            pronouns, dates instead of \"today\". Not for secrets, output of tools, text that is in files anyway, or \
            anything you have just recalled. The same text again is recognized and not stored twice. To correct a \
            record use memory_contradict.",
        input: Object(&[
            SchemaField::required("text", Text, "at most 65536 bytes; longer is refused"),
            SchemaField::with_default("cue", Text, "\"\"", "further words to find it by, such as synonyms"),
            SchemaField::with_default(
                "tier",
                TIER,
                "\"episodic\"",
                "episodic: what was said or happened; semantic: what holds in general; procedural: how something is \
                 done; working: only for now",
            ),
            SchemaField::with_default("role", Choice(&["user", "assistant", "system"]), "\"user\"", "who said it"),
            SchemaField::optional("ts", Text, "when it was said, ISO 8601, without an offset UTC; by default now"),
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
        from_host: &["session_id", "project"],
    },
    Tool {
        name: "memory_contradict",
        title: "Correct",
        description: "Replaces a record that no longer holds by a new fact. The old one is kept and marked. Use it \
            when the user corrects or revises something that memory_recall returned; take the id from that hit. Not \
            for adding detail: that is memory_capture.",
        input: Object(&[
            SchemaField::required("id", Text, "the record_id of the record to correct"),
            SchemaField::required(
                "new_fact",
                Text,
                "what holds instead, understandable on its own; 65536 bytes at most",
            ),
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
    },
    Tool {
        name: "memory_reinforce",
        title: "Link records",
        description: "Links records to each other, so that recalling one finds the others. Use it after an answer \
            that really relied on two or more hits together. Each call adds 0.1 to a link's weight, up to 1.",
        input: Object(&[SchemaField::required("ids", ListUpTo(64, &Text), "record_ids, two or more")]),
        output: Object(&[
            SchemaField::required("edges_boosted", Count, ""),
            SchemaField::required("new_weights", Map(&Number), "keys: the two ids, separated by |"),
        ]),
        effect: Effect::WritesEachTime,
        method: ToolMethod::Same,
        from_host: &[],
    },
    Tool {
        name: "memory_consolidate",
        title: "Consolidate now",
        description: "Looks for links and recurring patterns now instead of when the daemon sleeps. Rarely needed: \
            only if the user asks for it. It may take minutes on a large memory; other calls do not wait.",
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
        from_host: &["session_id"],
    },
    Tool {
        name: "profile_get_set",
        title: "Settings",
        description: "Reads or sets how the memory behaves and how the user wants to be spoken to: twelve knobs. Get \
            without a knob returns all of them. Set one only if the user asks for it.",
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
    },
    Tool {
        name: "curiosity_pending",
        title: "Open contradictions",
        description: "Lists unresolved contradictions, newest first. Use it to ask the user, at a fitting moment, \
            which of two facts holds.",
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
        from_host: &[],
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
        from_host: &[],
    },
    Tool {
        name: "events_query",
        title: "Events",
        description: "Lists what happened inside the memory, newest first: consolidations, contradictions, patterns \
            found. For questions about the memory itself, not about what it holds.",
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
        from_host: &[],
    },
    Tool {
        name: "topology",
        title: "Shape of the memory",
        description: "Graph metrics of the records, as of the last consolidation: count, clustering, path length. For \
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
    },
];
