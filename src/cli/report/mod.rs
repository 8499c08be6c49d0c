//! `iaid report`: one self-contained HTML page of what the memory holds.
//!
//! The records are read a page at a time, twice: once for the totals, and the newest once more for the page. Only the
//! totals are held in memory. The page is written under a temporary name and renamed when it is complete.

mod escape;
mod page;
mod target;
mod totals;

use std::path::PathBuf;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use self::page::{PageWriter, ProjectCount};
use self::target::ReportFile;
use self::totals::Totals;
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::lifecycle::user_zone;
use crate::sort;

/// Records that the page has, the newest.
const SHOWN_COUNT: usize = 2000;

/// Projects that the page names, those with the most records.
const PROJECT_COUNT: usize = 12;

/// Consolidation cycles that the page has, the newest.
const CYCLE_COUNT: usize = 14;

/// Write a page of what the memory holds, to be opened in a browser
///
/// The page has the records by day, project and speaker, sizes, the last sleep cycles, and the newest 2000 records with a
/// search. It loads nothing from elsewhere. Only the owner may read the file.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// File to write; an earlier report is replaced
    file: PathBuf,
    /// Replace the file even if it is no report
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &ReportArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let failed = |error| CliError::File(args.file.clone(), error);
    // A file that cannot be written fails before the records are read.
    let mut file = ReportFile::create(&args.file, args.force).map_err(failed)?;
    let zone = user_zone::system();
    // The daemon remembers it, to name it when something is forgotten.
    let path = std::path::absolute(&args.file).map_err(failed)?.to_string_lossy().into_owned();
    let (totals, first, last) = totals(client, &path, &zone, console)?;
    let projects = projects(client)?;
    let params = json!({"kind": "cls_consolidation_run", "limit": CYCLE_COUNT, "project_scope": "all"});
    let cycles = call(client, "events_query", &params)?;
    let mut page = PageWriter { out: &mut file.out, zone: &zone };
    page.head(&totals, &projects, (first, last), Timestamp::now()).map_err(failed)?;
    page.charts(&totals, &projects).map_err(failed)?;
    page.cycles(cycles["events"].as_array().map_or(&[][..], Vec::as_slice)).map_err(failed)?;
    page.begin_records().map_err(failed)?;
    let mut shown = 0;
    each_record(client, SHOWN_COUNT, None, |record| {
        shown += 1;
        page.record(record).map_err(failed)
    })?;
    page.end().map_err(failed)?;
    file.finish().map_err(failed)?;
    match console.format {
        OutputFormat::Json => console.say(json!({"records": totals.records, "shown": shown})),
        OutputFormat::Text => {
            let records = counted(totals.records, "record", "records");
            console.say(format_args!("{}: {records}", args.file.display()))
        }
    }
    .map_err(CliError::Output)
}

/// Returns the totals of all records for the report `file`, and the times of the first and the last.
fn totals(
    client: &mut Client,
    file: &str,
    zone: &TimeZone,
    console: &mut Console,
) -> Result<(Totals, Option<Timestamp>, Option<Timestamp>), CliError> {
    let mut progress = ProgressBar::new(None, Instant::now());
    let mut totals = Totals::default();
    let (mut first, mut last) = (None, None);
    let outcome = each_record(client, usize::MAX, Some(file), |record| {
        let Some(at) = record["ts"].as_str().and_then(|ts| ts.parse::<Timestamp>().ok()) else { return Ok(()) };
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        totals.add(zone.to_datetime(at).date(), text("role"), text("text").len(), record["valid_to"].is_string());
        (first, last) = (Some(at), last.or(Some(at)));
        progress.show(0, totals.records, Instant::now(), console);
        Ok(())
    });
    progress.clear(console);
    outcome.map(|()| (totals, first, last))
}

/// Calls `take` with the newest `most` records, the newest first. `file` is the report that they are written to.
fn each_record(
    client: &mut Client,
    most: usize,
    file: Option<&str>,
    mut take: impl FnMut(&Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (mut cursor, mut left) = (Value::Null, most);
    loop {
        let reply = call(client, "memory_list", &json!({"limit": left.min(1000), "cursor": cursor, "file": file}))?;
        for record in reply["records"].as_array().into_iter().flatten().take(left) {
            take(record)?;
            left = left.saturating_sub(1);
        }
        cursor = reply["next"].clone();
        if left == 0 || !cursor.is_string() {
            return Ok(());
        }
    }
}

/// Returns the projects with the most records, and one entry for the others.
fn projects(client: &mut Client) -> Result<Vec<ProjectCount>, CliError> {
    let (mut cursor, mut all) = (Value::Null, Vec::new());
    let mut others = ProjectCount { name: String::new(), records: 0, others: 0 };
    loop {
        let reply = call(client, "memory_projects", &json!({"limit": 1000, "cursor": cursor}))?;
        for one in reply["projects"].as_array().into_iter().flatten() {
            let name = one["project"].as_str().unwrap_or_default().to_owned();
            all.push(ProjectCount { name, records: one["records"].as_u64().unwrap_or(0), others: 0 });
        }
        sort::sort_by(&mut all, |a: &ProjectCount, b| (b.records, &a.name).cmp(&(a.records, &b.name)));
        for one in all.drain(all.len().min(PROJECT_COUNT)..) {
            others.records += one.records;
            others.others += 1;
        }
        cursor = reply["next"].clone();
        if !cursor.is_string() {
            break;
        }
    }
    all.extend((others.others > 0).then_some(others));
    Ok(all)
}

/// Calls a method of the daemon.
fn call(client: &mut Client, method: &'static str, params: &Value) -> Result<Value, CliError> {
    let reply = client.call(method, params)?;
    serde_json::from_str(reply.get()).map_err(|error| CliError::Reply(method, error))
}
