//! `iaid forget`: shows which records would go, asks, deletes them for good, and says where copies may still be.

mod transcripts;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::cli::inspect::{excerpt, head};
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::progress::StatusLine;
use crate::cli::support::times::{self, DayEnd};
use crate::cli::support::values::counted;
use crate::cli::sync::met;
use crate::client::{Client, ClientError, DeliveryGuarantee, Policy};
use crate::lifecycle::user_zone;
use crate::wire::reply::code;

use self::transcripts::Search;

const METHOD: &str = "memory_forget";

/// Interval between two polls of the progress. Picked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What is typed to forget records, and to forget all of them.
const CONSENT: &str = "forget";
const CONSENT_TO_ALL: &str = "everything";

/// Delete records for good, with everything that was made of them
///
/// Lists the records that the filters select, and asks. Filters that are given must all match. Of what is deleted no
/// byte is left in the store's folder; then it says where copies may still be: backups and exports that were made with
/// this program, and transcripts of assistants.
#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    /// Ids of the records
    #[arg(value_name = "ID", conflicts_with_all = ["session", "project", "matching", "since", "until"])]
    ids: Vec<String>,
    /// Records of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Records of this project
    #[arg(long)]
    project: Option<String>,
    /// Records with all of these words
    #[arg(long, value_name = "CUE")]
    matching: Option<String>,
    /// Records since a local date or time (2026-05-14, 2026-05-14T22:00) or an age (90s, 15m, 2h, 3d, 1w)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Records until such a time; a date includes its whole day
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Forget without asking
    #[arg(long)]
    yes: bool,
}

/// Returns a policy without a reply timeout: rewriting a large store takes long.
pub(crate) fn policy() -> Policy {
    Policy { reply_timeout: Duration::MAX, wait_for_restart: Duration::ZERO, ..Policy::default() }
}

pub(crate) fn run(args: &ForgetArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let zone = user_zone::system();
    let proposed = call(client, &Value::Object(selection(args, &zone)?))?;
    if console.format == OutputFormat::Text {
        show(&proposed, args.project.as_deref(), &zone, console)?;
    }
    if !args.yes {
        ask(&proposed, console)?;
    }
    // The texts are read before they are deleted; the daemon does not read the assistants' files.
    let search = Search::of(&proposed, client)?;
    let mut done = wait(&proposed, client, console)?;
    let found = search.run();
    let mut left = done["left"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let synced = met::copies(client, &zone);
    // The daemon names them as well.
    left.retain(|copy| synced.iter().all(|place| place["where"] != copy["where"]));
    let left: Vec<Value> = left.into_iter().chain(found).chain(synced).collect();
    if console.format == OutputFormat::Json {
        return console.say(json!({"forgotten": done["forgotten"], "left": left})).map_err(CliError::Output);
    }
    let forgotten = counted(done["forgotten"].as_u64().unwrap_or(0), "record is", "records are");
    console.say(format_args!("{forgotten} forgotten")).map_err(CliError::Output)?;
    report(&left, &search, console)
}

/// Returns the params of the selection.
fn selection(args: &ForgetArgs, zone: &TimeZone) -> Result<Map<String, Value>, CliError> {
    let now = Timestamp::now();
    let time = |option: &str, text: &Option<String>, end: DayEnd| -> Result<Option<Value>, CliError> {
        let at = text.as_deref().map(|text| times::parse(option, text, end, now, zone)).transpose()?;
        Ok(at.map(|at| at.to_string().into()))
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let mut params = Map::new();
    for (name, value) in [
        ("ids", (!args.ids.is_empty()).then(|| json!(args.ids))),
        ("session", text(&args.session)),
        ("project", text(&args.project)),
        ("matching", text(&args.matching)),
        ("since", time("--since", &args.since, DayEnd::First)?),
        ("until", time("--until", &args.until, DayEnd::Last)?),
    ] {
        if let Some(value) = value {
            params.insert(name.to_owned(), value);
        }
    }
    if params.is_empty() {
        let what = "nothing is selected: give ids, --session, --project, --matching, --since or --until";
        return Err(CliError::Usage(what.into()));
    }
    Ok(params)
}

/// Calls the daemon, at most once: a token is good once.
fn call(client: &mut Client, params: &Value) -> Result<Value, CliError> {
    let reply = match client.call_with(DeliveryGuarantee::AtMostOnce, METHOD, params) {
        Err(ClientError::Refused { code: code::UNKNOWN_METHOD, .. }) => {
            let message = "nothing was forgotten: the running daemon is of an earlier version, which cannot forget; \
                           restart it (docs/forgetting.md)";
            return Err(ClientError::Refused { code: code::UNKNOWN_METHOD, message: message.into() }.into());
        }
        reply => reply?,
    };
    serde_json::from_str(reply.get()).map_err(|error| CliError::Reply(METHOD, error))
}

fn count(proposed: &Value) -> u64 {
    proposed["count"].as_u64().unwrap_or(0)
}

/// Prints the records and files that would go. `named`: the project, as the user has named it.
fn show(proposed: &Value, named: Option<&str>, zone: &TimeZone, console: &mut Console) -> Result<(), CliError> {
    let kind = console.out_kind;
    if let Some(project) = proposed["project"].as_str().filter(|project| Some(*project) != named) {
        let line = format!("All of project {project}, of which that is another name:");
        console.say(visible(&line, kind)).map_err(CliError::Output)?;
    }
    let records = proposed["records"].as_array().map_or(&[][..], Vec::as_slice);
    for record in records {
        let links = counted(record["links"].as_u64().unwrap_or(0), "link", "links");
        let line = format!("{}  {links}\n  {}", head(record, zone, kind), excerpt(&record["beginning"], kind));
        console.say(line).map_err(CliError::Output)?;
    }
    let older = count(proposed).saturating_sub(records.len() as u64);
    if older > 0 {
        console.say(format_args!("and {older} older")).map_err(CliError::Output)?;
    }
    for file in proposed["files"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        console.say(format_args!("and the file {file}")).map_err(CliError::Output)?;
    }
    Ok(())
}

/// Returns `Ok` if the user has typed the consent.
fn ask(proposed: &Value, console: &mut Console) -> Result<(), CliError> {
    if !console.input_kind.is_terminal() || console.format == OutputFormat::Json {
        let what = "nothing was forgotten: standard input is not a terminal; use --yes to confirm";
        return Err(CliError::Usage(what.into()));
    }
    let count = count(proposed);
    let records = counted(count, "record", "records");
    confirm(console, &format!("Type '{CONSENT}' to delete {records} for good:"), CONSENT)?;
    if proposed["total"] == count {
        let question = format!("These are all records of the store. Type '{CONSENT_TO_ALL}' to delete them:");
        confirm(console, &question, CONSENT_TO_ALL)?;
    }
    Ok(())
}

fn confirm(console: &mut Console, question: &str, consent: &str) -> Result<(), CliError> {
    let typed = console.read_answer(question).map_err(CliError::Input)?;
    if typed == consent {
        return Ok(());
    }
    Err(CliError::NotConfirmed(format!("nothing was forgotten: the answer was not '{consent}'")))
}

/// Sends the token, and shows the progress on a terminal until the reply is there.
fn wait(proposed: &Value, client: &mut Client, console: &mut Console) -> Result<Value, CliError> {
    let params = json!({"token": proposed["token"]});
    if !console.err_kind.is_terminal() {
        return call(client, &params);
    }
    let (count, total) = (count(proposed), proposed["total"].as_u64().unwrap_or(0));
    let mut poller = Client::new(client.path().to_owned(), Policy::default());
    let mut line = StatusLine::default();
    let done = std::thread::scope(|scope| {
        let call = scope.spawn(|| call(client, &params));
        while !call.is_finished() {
            let status = poller.control(&json!({"type": "status"})).ok();
            let status: Option<Value> = status.and_then(|reply| serde_json::from_str(reply.get()).ok());
            let present = status.and_then(|status| status["records"].as_u64()).unwrap_or(total);
            let deleted = total.saturating_sub(present).min(count);
            let text = match deleted == count {
                true => "rewriting the store".to_owned(),
                false => format!("{deleted} of {count} records deleted"),
            };
            line.show(&text, Instant::now(), console);
            std::thread::sleep(POLL_INTERVAL);
        }
        call.join()
    });
    line.clear(console);
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Prints where copies may be.
fn report(left: &[Value], search: &Search, console: &mut Console) -> Result<(), CliError> {
    let mut lines = vec!["copies may be left in:".to_owned()];
    for copy in left {
        let (place, what) = (copy["where"].as_str().unwrap_or_default(), copy["what"].as_str().unwrap_or_default());
        let line = copy["line"].as_u64().map_or_else(String::new, |line| format!(":{line}"));
        lines.push(format!("  {place}{line}  {what}"));
    }
    lines.extend(search.not_searched().map(|what| format!("  {what}")));
    lines.push("  pages that `iaid report` has written".to_owned());
    lines.push("  snapshots of the file system, and backups that others have made of it".to_owned());
    lines.into_iter().try_for_each(|line| console.say(line).map_err(CliError::Output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::StreamKind;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::{error, result, with_daemon};

    fn args() -> ForgetArgs {
        ForgetArgs {
            ids: Vec::new(),
            session: Some("s1".into()),
            project: None,
            matching: None,
            since: None,
            until: None,
            yes: false,
        }
    }

    fn answer(total: u64) -> impl Fn(&Value) -> Value {
        move |call: &Value| match (&call["method"], &call["params"]["token"]) {
            (method, Value::Null) if method == METHOD => {
                let record = json!({"record_id": "r1", "ts": "2026-05-14T23:30:00Z", "role": "user", "session_id": "s1",
                    "project": "/p", "beginning": "the tea", "links": 2});
                result(call, json!({"token": "t", "count": 1, "total": total, "records": [record], "files": ["/f"]}))
            }
            (method, _) if method == METHOD => {
                let left = json!([{"where": "/b.db", "line": null, "what": "backup"}]);
                result(call, json!({"forgotten": 1, "left": left}))
            }
            _ => result(call, json!({"literal_surface": "the tea"})),
        }
    }

    /// Returns the outcome, what was printed, and whether the token was sent.
    fn try_with(input: &'static [u8], total: u64, yes: bool) -> (Result<(), CliError>, String, bool) {
        let (mut console, out, _) = console(OutputFormat::Text, input);
        console.input_kind = StreamKind::Terminal;
        let (outcome, calls) =
            with_daemon(answer(total), |client| run(&ForgetArgs { yes, ..args() }, client, &mut console));
        (outcome, out.text(), calls.iter().any(|call| call["params"]["token"] == "t"))
    }

    #[test]
    fn only_the_typed_consent_forgets_and_all_records_need_two() {
        for (input, total, yes, is_sent) in [
            (&b"forget\n"[..], 2, false, true),
            (b"forget\n", 1, false, false),
            (b"forget\neverything\n", 1, false, true),
            (b"yes\n", 2, false, false),
            (b"\n", 2, false, false),
            (b"", 2, false, false),
            (b"", 1, true, true),
        ] {
            let (outcome, said, sent) = try_with(input, total, yes);
            assert_eq!((sent, outcome.is_ok()), (is_sent, is_sent), "{input:?} {total}: {said}");
            assert!(said.contains("2 links\n  the tea\nand the file /f\n"), "{said}");
            match outcome {
                Ok(()) => {
                    assert!(said.contains("1 record is forgotten\ncopies may be left in:\n  /b.db  backup"), "{said}")
                }
                Err(error) => assert!(error.to_string().starts_with("nothing was forgotten: the answer was not")),
            }
        }
    }

    #[test]
    fn a_daemon_of_an_earlier_version_is_named() {
        let (mut console, _, _) = console(OutputFormat::Text, b"");
        let refuse = |call: &Value| error(call, code::UNKNOWN_METHOD, "method not found");
        let (outcome, _) = with_daemon(refuse, |client| run(&args(), client, &mut console));
        assert!(outcome.unwrap_err().to_string().contains("earlier version"));
    }
}
