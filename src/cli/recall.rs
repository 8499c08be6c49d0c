//! `iaid recall`: prints the records that match a cue, best first, with their exact text.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

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
    /// Maximum text of all hits, in tokens of four characters [default: 1500]
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
}

#[derive(Deserialize)]
struct RecallReply<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
    #[serde(borrow, default)]
    anti_hits: Vec<Hit<'a>>,
    #[serde(default)]
    truncated: Option<u64>,
    #[serde(default)]
    unknown_words: Vec<String>,
    #[serde(default)]
    did_you_mean: Vec<String>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(borrow)]
    literal_surface: Cow<'a, str>,
    #[serde(default)]
    score: f64,
    #[serde(default)]
    ts: Option<String>,
    #[serde(default)]
    valid_from: Option<String>,
    #[serde(default)]
    valid_to: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    copies: Option<u64>,
    #[serde(default)]
    first_ts: Option<String>,
}

pub(crate) fn run(args: &RecallArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let zone = user_zone::system();
    let result = client.call(METHOD, &args.with_times(Timestamp::now(), &zone)?)?;
    if console.format == OutputFormat::Json {
        return console.say(result.get()).map_err(CliError::Output);
    }
    let recall = serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
    let text = render(&recall, &zone, console.out_kind);
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
        Ok(RecallArgs { since, until, ..self.clone() })
    }
}

fn render(recall: &RecallReply<'_>, zone: &TimeZone, kind: StreamKind) -> String {
    let mut shown = String::new();
    for (at, hit) in recall.hits.iter().enumerate() {
        let head = format!("{}. {}  score {:.2}", at + 1, about(hit, zone), hit.score);
        entry(&mut shown, &head, hit, kind);
    }
    if recall.hits.is_empty() {
        shown.push_str("no matching records\n");
    }
    if !recall.unknown_words.is_empty() {
        let near = &recall.did_you_mean.join(", ");
        let near = if near.is_empty() { String::new() } else { format!("; did you mean: {near}?") };
        let hint = format!("no record has: {}{near}", recall.unknown_words.join(", "));
        shown.push_str(&visible(&hint, kind));
        shown.push('\n');
    }
    for hit in &recall.anti_hits {
        entry(&mut shown, &format!("against: {}", about(hit, zone)), hit, kind);
    }
    if let Some(count) = recall.truncated.filter(|count| *count > 0) {
        let hits = counted(count, "more hit", "more hits");
        // Writing to a String cannot fail.
        let _ = writeln!(shown, "\n{hits} did not fit into one reply; use a smaller --limit");
    }
    shown
}

/// Appends a heading and the text. The text stands alone on its lines, so that it can be selected and copied.
fn entry(shown: &mut String, head: &str, hit: &Hit<'_>, kind: StreamKind) {
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown.push_str(&bold(&visible(head, kind), kind));
    shown.push('\n');
    shown.push_str(&visible(&hit.literal_surface, kind));
    if !hit.literal_surface.ends_with('\n') {
        shown.push('\n');
    }
}

fn about(hit: &Hit<'_>, zone: &TimeZone) -> String {
    let when = hit.ts.as_deref().or(hit.valid_from.as_deref());
    let mut parts = vec![when.map_or_else(|| "undated".into(), |ts| local_time(ts, zone))];
    parts.extend(hit.role.clone());
    parts.extend(hit.session_id.as_ref().filter(|id| *id != "-").map(|id| format!("session {id}")));
    if let (Some(copies), Some(first)) = (hit.copies, hit.first_ts.as_deref()) {
        parts.push(format!("{copies} copies since {}", local_time(first, zone)));
    }
    parts.extend(hit.valid_to.as_deref().map(|ts| format!("superseded {}", local_time(ts, zone))));
    parts.join("  ")
}

/// Formats a timestamp of the daemon in the user's time zone. Text that is not a timestamp is returned unchanged.
pub(crate) fn local_time(ts: &str, zone: &TimeZone) -> String {
    match ts.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => ts.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use serde_json::{Value, json};

    fn shown(result: &Value, kind: StreamKind) -> String {
        let text = result.to_string();
        let east = TimeZone::fixed(jiff::tz::offset(2));
        render(&serde_json::from_str(&text).unwrap(), &east, kind)
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
