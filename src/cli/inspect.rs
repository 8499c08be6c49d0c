//! `iaid list`, `iaid show`, `iaid sessions` and `iaid projects`: what the memory holds.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::recall::local_time;
use crate::cli::support::console::{Console, OutputFormat, StreamKind, bold, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::times::{self, DayEnd};
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::lifecycle::user_zone;

/// Characters of a record's text in a list. Picked: two lines of a terminal.
const SHOWN_CHARS: usize = 160;

/// List the records, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only records of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only records of this project
    #[arg(long)]
    project: Option<String>,
    /// Only what user, assistant or system said
    #[arg(long)]
    role: Option<String>,
    /// Only records since a local date or time (2026-05-14, 2026-05-14T22:00) or an age (90s, 15m, 2h, 3d, 1w)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records until such a time; a date includes its whole day
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PageArgs {
    /// Maximum number of entries, 1 to 1000
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continue where an earlier list ended: the cursor that it printed
    #[arg(long)]
    cursor: Option<String>,
}

/// Show a record with its neighbors in the session, its links, and what replaced it
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Id of the record
    id: String,
}

pub(crate) fn list(args: &ListArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let (now, zone) = (Timestamp::now(), user_zone::system());
    let read = |option: &str, text: &Option<String>, end: DayEnd| -> Result<Option<String>, CliError> {
        let at = text.as_deref().map(|text| times::parse(option, text, end, now, &zone)).transpose()?;
        Ok(at.map(|at| at.to_string()))
    };
    let params = json!({"session_id": args.session, "project": args.project, "role": args.role,
        "since": read("--since", &args.since, DayEnd::First)?, "until": read("--until", &args.until, DayEnd::Last)?,
        "limit": args.page.limit, "cursor": args.page.cursor});
    let Some(reply) = call("memory_list", &params, client, console)? else { return Ok(()) };
    print_list(&reply, "records", "no matching records", console, |record, kind| {
        format!("{}\n  {}", head(record, &zone, kind), excerpt(&record["text"], kind))
    })
}

pub(crate) fn sessions(args: &PageArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    places("memory_sessions", "sessions", "session_id", args, client, console)
}

pub(crate) fn projects(args: &PageArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    places("memory_projects", "projects", "project", args, client, console)
}

pub(crate) fn show(args: &ShowArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let Some(reply) = call("memory_show", &json!({"id": args.id}), client, console)? else { return Ok(()) };
    let text = shown(&reply, &user_zone::system(), console.out_kind);
    console.out.write_all(text.as_bytes()).map_err(CliError::Output)
}

/// Calls a method. Returns its result, or `None` if that was printed as JSON.
fn call(
    method: &'static str,
    params: &Value,
    client: &mut Client,
    console: &mut Console,
) -> Result<Option<Value>, CliError> {
    let reply = client.call(method, params)?;
    if console.format == OutputFormat::Json {
        return console.say(reply.get()).map_err(CliError::Output).map(|()| None);
    }
    serde_json::from_str(reply.get()).map(Some).map_err(|error| CliError::Reply(method, error))
}

fn places(
    method: &'static str,
    list: &str,
    name_key: &str,
    args: &PageArgs,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), CliError> {
    let params = json!({"limit": args.limit, "cursor": args.cursor});
    let Some(reply) = call(method, &params, client, console)? else { return Ok(()) };
    let zone = user_zone::system();
    print_list(&reply, list, "no records", console, |place, kind| {
        let name = place[name_key].as_str().filter(|name| !name.is_empty()).unwrap_or("(none)");
        let (first, last) = (time(&place["first_ts"], &zone), time(&place["last_ts"], &zone));
        let count = counted(place["records"].as_u64().unwrap_or(0), "record", "records");
        let names: Vec<&str> =
            place["other_names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let names =
            if names.is_empty() { String::new() } else { format!(", also {}", one_line(&names.join(", "), kind)) };
        format!("{last}  {}  {count} since {first}{names}", bold(&one_line(name, kind), kind))
    })
}

/// Prints each entry of a list, and how it is continued.
fn print_list(
    reply: &Value,
    list: &str,
    nothing: &str,
    console: &mut Console,
    line: impl Fn(&Value, StreamKind) -> String,
) -> Result<(), CliError> {
    let entries = reply[list].as_array().map_or(&[][..], Vec::as_slice);
    for entry in entries {
        console.say(line(entry, console.out_kind)).map_err(CliError::Output)?;
    }
    match reply["next"].as_str() {
        Some(next) => console.say(visible(&format!("more with: --cursor {next}"), console.out_kind)),
        None if entries.is_empty() => console.say(nothing),
        None => Ok(()),
    }
    .map_err(CliError::Output)
}

fn shown(record: &Value, zone: &TimeZone, kind: StreamKind) -> String {
    let text = record["text"].as_str().unwrap_or_default();
    let mut shown = format!("{}\n{}\n", head(record, zone, kind), visible(text.trim_end_matches('\n'), kind));
    let mut facts = vec![("tier", record["tier"].as_str().unwrap_or_default().to_owned())];
    let tags: Vec<&str> = record["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    facts.extend((!tags.is_empty()).then(|| ("tags", tags.join(", "))));
    shown.push('\n');
    for (what, value) in facts {
        // Writing to a String cannot fail.
        let _ = writeln!(shown, "{what}: {}", one_line(&value, kind));
    }
    for (key, title) in [
        ("replaced_by", "replaced by"),
        ("replaces", "replaces"),
        ("before", "before it"),
        ("after", "after it"),
        ("links", "linked"),
    ] {
        for other in record[key].as_array().into_iter().flatten() {
            let (id, text) = (other["record_id"].as_str().unwrap_or_default(), &other["beginning"]);
            let role = other["role"].as_str().unwrap_or_default();
            let id = one_line(id, kind);
            let _ = writeln!(shown, "{title}: {}  {role}  {id}\n  {}", time(&other["ts"], zone), excerpt(text, kind));
        }
    }
    shown
}

/// Returns the line above a record's text: when, who, where, and its id.
pub(crate) fn head(record: &Value, zone: &TimeZone, kind: StreamKind) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let mut parts = vec![time(&record["ts"], zone), text("role").to_owned()];
    parts.extend((text("session_id") != "-").then(|| format!("session {}", text("session_id"))));
    parts.extend((!text("project").is_empty()).then(|| format!("project {}", text("project"))));
    parts.extend(record["valid_to"].as_str().map(|at| format!("superseded {}", local_time(at, zone))));
    parts.push(text("record_id").to_owned());
    bold(&one_line(&parts.join("  "), kind), kind).into_owned()
}

fn time(value: &Value, zone: &TimeZone) -> String {
    value.as_str().map_or_else(|| "undated".into(), |ts| local_time(ts, zone))
}

/// Returns the beginning of a text on one line.
pub(crate) fn excerpt(text: &Value, kind: StreamKind) -> String {
    let text = text.as_str().unwrap_or_default();
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(SHOWN_CHARS) {
        words.truncate(at);
        words.push('…');
    }
    one_line(&words, kind)
}

/// Returns a text of the store without control characters that would end the line or act on a terminal.
fn one_line(text: &str, kind: StreamKind) -> String {
    visible(&text.replace(['\n', '\t'], " "), kind).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::{result, with_daemon};

    fn record(text: &str) -> Value {
        json!({"record_id": "r1", "ts": "2026-05-14T23:30:00Z", "role": "user", "session_id": "s1", "project": "/p\u{1b}[2J",
            "tier": "episodic", "valid_to": null, "text": text})
    }

    #[test]
    fn stored_text_does_not_act_on_a_terminal() {
        let hostile = record("a\u{1b}]0;title\u{7} \u{9b}2J\nnext line");
        let head = head(&hostile, &TimeZone::UTC, StreamKind::Terminal);
        assert_eq!(head, "2026-05-14 23:30  user  session s1  project /p␛[2J  r1");
        let line = excerpt(&hostile["text"], StreamKind::Terminal);
        assert_eq!(line, "a␛]0;title␇ \u{fffd}2J next line");
        let mut full = hostile.clone();
        full["links"] =
            json!([{"record_id": "r\u{1b}2", "ts": "2026-05-14T23:30:00Z", "role": "user", "beginning": "b\u{1b}[1m"}]);
        let text = shown(&full, &TimeZone::UTC, StreamKind::Terminal);
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{text}");
        assert!(text.contains("next line\n\ntier: episodic\nlinked: 2026-05-14 23:30  user  r␛2\n  b␛[1m\n"), "{text}");
        assert_eq!(excerpt(&json!("x".repeat(500)), StreamKind::Plain).chars().count(), SHOWN_CHARS + 1);
    }

    #[test]
    fn a_list_says_how_it_continues() {
        let page = |limit| PageArgs { limit, cursor: Some("7.1".into()) };
        let args =
            ListArgs { session: Some("s1".into()), project: None, role: None, since: None, until: None, page: page(2) };
        for (reply, format, want) in [
            (
                json!({"records": [record("tea")], "next": "5.2"}),
                OutputFormat::Text,
                "  tea\nmore with: --cursor 5.2\n",
            ),
            (json!({"records": [], "next": null}), OutputFormat::Text, "no matching records\n"),
            (json!({"records": [], "next": null}), OutputFormat::Json, "{\"next\":null,\"records\":[]}\n"),
        ] {
            let (mut console, out, _) = console(format, b"");
            let answer = move |call: &Value| result(call, reply.clone());
            let (outcome, calls) = with_daemon(answer, |client| list(&args, client, &mut console));
            outcome.unwrap();
            assert!(out.text().ends_with(want), "{}", out.text());
            assert_eq!(
                (&calls[0]["params"]["session_id"], &calls[0]["params"]["cursor"]),
                (&json!("s1"), &json!("7.1"))
            );
            assert_eq!(calls[0]["params"]["limit"], 2);
        }
        let (mut console, out, _) = console(OutputFormat::Text, b"");
        let entry = json!({"session_id": "s1", "records": 2, "first_ts": "x", "last_ts": "y"});
        let answer = move |call: &Value| result(call, json!({"sessions": [entry], "next": null}));
        with_daemon(answer, |client| sessions(&page(20), client, &mut console)).0.unwrap();
        assert_eq!(out.text(), "y  s1  2 records since x\n");
    }
}
