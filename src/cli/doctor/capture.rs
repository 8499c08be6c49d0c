//! Checks of what is captured: `config.toml`, a pause, masked secrets; and the search for secrets that are stored.

use serde_json::{Value, json};

use super::context::DoctorContext;
use super::finding::Findings;
use crate::cli::recall::local_time;
use crate::cli::status::rows::masked_in_words;
use crate::cli::support::capture_gate::CaptureGate;
use crate::cli::support::config;
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::values::counted;
use crate::secrets;

const LIST_METHOD: &str = "memory_list";

/// Records of a call.
const PAGE_RECORDS: u32 = 500;

/// Ids in the command that is offered.
const MAX_OFFERED: usize = 50;

/// Checks `config.toml`, whether capture is paused, and what was masked.
pub(crate) fn capture(context: &mut DoctorContext, findings: &mut Findings) {
    let gate = CaptureGate::load(&context.store, context.now);
    let path = context.store.join(config::NAME);
    for problem in &gate.problems {
        match problem.starts_with(config::NAME) {
            true => findings.warn(format_args!("{problem}"), format_args!("edit {}", path.display())),
            false => findings.warn(format_args!("{problem}"), format_args!("see {}", context.store.display())),
        }
    }
    if let Some(since) = gate.paused_since() {
        let since = local_time(&since.to_string(), &context.zone);
        let remedy = format_args!("iaid resume --capture");
        findings.warn(format_args!("paused since {since}: what is said is never stored"), remedy);
    }
    if let Some(masked) = context.status.as_ref().and_then(|status| status.get("masked")) {
        findings.pass(format_args!("secrets: {}", masked_in_words(masked)));
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("hooks and imports take what is said"));
    }
}

/// Prints which stored records look like they have secrets, and how to forget them.
///
/// # Errors
/// [`CliError::Client`] if a page of the records cannot be read, [`CliError::Output`] if one cannot be printed.
pub(crate) fn stored_secrets(context: &mut DoctorContext, console: &mut Console) -> Result<(), CliError> {
    let (mut cursor, mut found, mut looked_at) = (Value::Null, Vec::new(), 0);
    loop {
        let page = context.client.call(LIST_METHOD, &json!({"limit": PAGE_RECORDS, "cursor": cursor}))?;
        let mut page: Value = serde_json::from_str(page.get()).map_err(|error| CliError::Reply(LIST_METHOD, error))?;
        for record in page["records"].as_array().into_iter().flatten() {
            looked_at += 1;
            let kinds = secrets::kinds(&[record["text"].as_str().unwrap_or_default()]);
            if kinds.is_empty() {
                continue;
            }
            let (id, ts) =
                (record["record_id"].as_str().unwrap_or_default(), record["ts"].as_str().unwrap_or_default());
            if console.format == OutputFormat::Text {
                let line = format!("{id}  {}  {}", local_time(ts, &context.zone), kinds.join(", "));
                console.say(visible(&line, console.out_kind)).map_err(CliError::Output)?;
            }
            found.push(json!({"record_id": id, "ts": ts, "kinds": kinds}));
        }
        cursor = page["next"].take();
        if cursor.is_null() {
            break;
        }
    }
    if console.format == OutputFormat::Json {
        return console.say(json!({"looked_at": looked_at, "records": found})).map_err(CliError::Output);
    }
    let count = counted(found.len() as u64, "record looks", "records look");
    let ids = found.iter().take(MAX_OFFERED).filter_map(|one| one["record_id"].as_str());
    let said = match found.len() {
        0 => console.say(format_args!("no secret found in {}", counted(looked_at, "record", "records"))),
        _ => console.say(format_args!(
            "{count} like it has a secret, of {looked_at}; to remove what should not be there: iaid forget {}{}",
            ids.collect::<Vec<_>>().join(" "),
            if found.len() > MAX_OFFERED { " …" } else { "" }
        )),
    };
    said.map_err(CliError::Output)
}
