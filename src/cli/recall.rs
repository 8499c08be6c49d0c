//! `iaid recall`: prints the records that match a cue, best first, with their exact text.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::Error as _;
use serde_json::Value;

use crate::cli::support::console::{Console, OutputFormat, StreamKind, bold, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::times::{self, DayEnd};
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::lifecycle::user_zone;

const METHOD: &str = "memory_recall";

/// Find the records that match a cue
#[derive(Clone, Debug, Serialize, clap::Args)]
pub(crate) struct RecallArgs {
    /// Text to search for; an empty cue returns the most recent records
    cue: String,
    /// Maximum number of hits, 1 to 100 [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u8>,
    /// Maximum text of all hits, in tokens [default: 1500]
    #[arg(long = "budget", value_name = "TOKENS")]
    #[serde(rename = "budget_tokens", skip_serializing_if = "Option::is_none")]
    budget: Option<u32>,
    /// Session of the caller
    #[arg(long = "session", value_name = "ID")]
    #[serde(rename = "session_id", skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Only records since a local date or time (2026-05-14, 2026-05-14T22:00) or an age (90s, 15m, 2h, 3d, 1w)
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Only records until such a time; a date includes its whole day
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Further words that a record may use instead, separated by commas
    #[arg(long, value_name = "W,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    /// Project whose records are ranked first
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// Whether records of other projects are shown: prefer (after those of the project), only (none) or all [default: the
    /// knob project_scope with --project, else all]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = ["prefer", "only", "all"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    project_scope: Option<String>,
    /// Whether long records are cut to the passage that bears on the cue.
    #[arg(skip)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    passages: bool,
}

pub(crate) fn run(args: &RecallArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let zone = user_zone::system();
    let passages = console.format != OutputFormat::Json;
    let result = client.call(METHOD, &RecallArgs { passages, ..args.with_times(Timestamp::now(), &zone)? })?;
    if console.format == OutputFormat::Json {
        return console.say(result.get()).map_err(CliError::Output);
    }
    let reply: Value = serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
    if !reply["hits"].is_array() {
        return Err(CliError::Reply(METHOD, serde_json::Error::missing_field("hits")));
    }
    let text = render(&reply, &zone, console.out_kind);
    console.out.write_all(text.as_bytes()).map_err(CliError::Output)
}

impl RecallArgs {
    /// Returns the arguments with times as the daemon reads them.
    fn with_times(&self, now: Timestamp, zone: &TimeZone) -> Result<RecallArgs, CliError> {
        let read = |option: &str, text: &Option<String>, end: DayEnd| -> Result<Option<String>, CliError> {
            let at = text.as_deref().map(|text| times::parse(option, text, end, now, zone)).transpose()?;
            Ok(at.map(|at| at.to_string()))
        };
        let (since, until) =
            (read("--since", &self.since, DayEnd::First)?, read("--until", &self.until, DayEnd::Last)?);
        // The person whose records they are sees all of them, whatever the knob shows to assistants.
        let project_scope = self.project_scope.clone().or_else(|| self.project.is_none().then(|| "all".to_owned()));
        Ok(RecallArgs { since, until, project_scope, ..self.clone() })
    }
}

fn render(reply: &Value, zone: &TimeZone, kind: StreamKind) -> String {
    let mut shown = String::new();
    for (at, hit) in elements(reply, "hits").iter().enumerate() {
        let head = format!("{}. {}  score {:.2}", at + 1, about(hit, zone), hit["score"].as_f64().unwrap_or(0.0));
        entry(&mut shown, &head, hit, kind);
    }
    if elements(reply, "hits").is_empty() {
        shown.push_str("no matching records\n");
    }
    let unknown_words = words(reply, "unknown_words");
    if !unknown_words.is_empty() {
        let near = words(reply, "did_you_mean");
        let near = if near.is_empty() { near } else { format!("; did you mean: {near}?") };
        shown.push_str(&visible(&format!("no record has: {unknown_words}{near}"), kind));
        shown.push('\n');
    }
    for hit in elements(reply, "anti_hits") {
        entry(&mut shown, &format!("against: {}", about(hit, zone)), hit, kind);
    }
    if let Some(count) = reply["truncated"].as_u64().filter(|count| *count > 0) {
        let hits = counted(count, "more hit", "more hits");
        // Writing to a String cannot fail.
        let _ = writeln!(shown, "\n{hits} did not fit into one reply; use a smaller --limit");
    }
    shown
}

/// Returns the elements of an array of the reply; none if it is absent.
fn elements<'r>(reply: &'r Value, key: &str) -> &'r [Value] {
    reply[key].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the words of an array of the reply, separated by commas.
fn words(reply: &Value, key: &str) -> String {
    elements(reply, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// Appends a heading and the text. The text stands alone on its lines, so that it can be selected and copied.
fn entry(shown: &mut String, head: &str, hit: &Value, kind: StreamKind) {
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown.push_str(&bold(&visible(head, kind), kind));
    shown.push('\n');
    let text = hit["literal_surface"].as_str().unwrap_or_default();
    shown.push_str(&visible(text, kind));
    if !text.ends_with('\n') {
        shown.push('\n');
    }
    if let Some(bytes) = hit["record_bytes"].as_u64() {
        let id = visible(hit["record_id"].as_str().unwrap_or_default(), kind);
        // Writing to a String cannot fail.
        let _ = writeln!(
            shown,
            "[{} of {bytes} bytes; the whole record: iaid call memory_read '{{\"id\":\"{id}\"}}']",
            text.len()
        );
    }
}

fn about(hit: &Value, zone: &TimeZone) -> String {
    let text = |key: &str| hit[key].as_str();
    let when = text("ts").or(text("valid_from"));
    let mut parts = vec![when.map_or_else(|| "undated".into(), |ts| local_time(ts, zone))];
    parts.extend(text("role").map(str::to_owned));
    parts.extend(text("session_id").filter(|id| *id != "-").map(|id| format!("session {id}")));
    if let (Some(copies), Some(first)) = (hit["copies"].as_u64(), text("first_ts")) {
        parts.push(format!("{copies} copies since {}", local_time(first, zone)));
    }
    parts.extend(text("valid_to").map(|ts| format!("superseded {}", local_time(ts, zone))));
    parts.join("  ")
}

/// Formats a timestamp of the daemon in the user's time zone. Text that is not a timestamp is returned unchanged.
pub(crate) fn local_time(ts: &str, zone: &TimeZone) -> String {
    match ts.parse::<Timestamp>() {
        Ok(time) => {
            let at = zone.to_datetime(time);
            format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute())
        }
        Err(_) => ts.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use serde_json::json;

    fn shown(result: &Value, kind: StreamKind) -> String {
        render(result, &TimeZone::fixed(jiff::tz::offset(2)), kind)
    }

    #[test]
    fn hits_are_numbered_and_their_text_is_exact() {
        let hit = |text: &str| json!({"record_id": "r", "score": 0.914, "reason": "terms", "literal_surface": text, "adjacent_suggestions": [], "valid_from": "2026-05-14T10:22:33Z", "valid_to": null, "session_id": "s1", "role": "user", "ts": "2026-05-14T23:30:00.5Z"});
        let mut old = hit("The tea is green.\n");
        old["valid_to"] = json!("2026-05-20T00:00:00Z");
        old["session_id"] = json!("-");
        let result = json!({"hits": [hit("  The tea\n\tis \"black\".  "), old], "anti_hits": [hit("No tea.")], "activation_trace": [], "truncated": 3, "budget_used": 9});
        assert_eq!(
            shown(&result, StreamKind::Plain),
            "1. 2026-05-15 01:30  user  session s1  score 0.91\n  The tea\n\tis \"black\".  \n\n\
             2. 2026-05-15 01:30  user  superseded 2026-05-20 02:00  score 0.91\nThe tea is green.\n\n\
             against: 2026-05-15 01:30  user  session s1\nNo tea.\n\n\
             3 more hits did not fit into one reply; use a smaller --limit\n"
        );
    }

    #[test]
    fn all_fields_of_a_hit_but_its_text_are_optional() {
        let result = json!({"hits": [{"literal_surface": "x\u{1b}[2J", "ts": "yesterday"}, {"literal_surface": "y"}]});
        assert_eq!(
            shown(&result, StreamKind::Plain),
            "1. yesterday  score 0.00\nx\u{1b}[2J\n\n2. undated  score 0.00\ny\n"
        );
        assert!(shown(&result, StreamKind::Colored).starts_with("\u{1b}[1m1. yesterday  score 0.00\u{1b}[0m\nx␛[2J\n"));
        assert_eq!(shown(&json!({"hits": []}), StreamKind::Plain), "no matching records\n");
    }

    #[test]
    fn a_passage_names_the_length_of_its_record_and_the_way_to_the_rest() {
        let hit = json!({"record_id": "r-1", "literal_surface": "the tea", "passage": {"at": 3, "bytes": 7, "text": "the tea"},
            "record_bytes": 5120});
        assert_eq!(
            shown(&json!({"hits": [hit]}), StreamKind::Plain),
            "1. undated  score 0.00\nthe tea\n[7 of 5120 bytes; the whole record: iaid call memory_read '{\"id\":\"r-1\"}']\n"
        );
    }

    #[test]
    fn options_become_params() {
        let params = |line: &[&str]| match Cli::try_parse_from(["iaid", "recall"].iter().chain(line)).unwrap().command {
            Command::Recall(args) => serde_json::to_value(&args).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(params(&["tea"]), json!({"cue": "tea"}));
        assert_eq!(
            params(&[
                "",
                "--limit",
                "3",
                "--budget",
                "200",
                "--session",
                "s",
                "--since",
                "2026-01-01",
                "--project",
                "p",
                "--also",
                "dog,golden retriever",
                "--also",
                "cat"
            ]),
            json!({"cue": "", "limit": 3, "budget_tokens": 200, "session_id": "s", "since": "2026-01-01", "project": "p",
                "also": ["dog", "golden retriever", "cat"]})
        );
        for limit in ["0", "101"] {
            let said = Cli::try_parse_from(["iaid", "recall", "x", "--limit", limit]).unwrap_err().to_string();
            assert!(said.contains("1..=100"), "{said}");
        }
    }
}
