//! `iaid doctor`: what is right and what is wrong, a line each, with the remedy.
//!
//! It looks and changes nothing, unless `--fix` says so; what needs judgement is only ever said. Every call and
//! every program has a time in which it must answer, so it comes to an end whatever state things are in, and
//! what can be looked at without a daemon is.

mod assistants;
mod daemon;
mod files;
mod finding;
mod service;
mod spool;

use std::env;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use crate::cli::install::ConfigPaths;
use crate::cli::install::service::ServiceManager;
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::lifecycle::user_zone;

use self::finding::{CheckVerdict, Finding, Findings, Fix};

/// Say what is right, what is wrong, and what to do about it
///
/// Exits with 1 if something fails. A write that is tried leaves nothing behind, and a hook that is run takes
/// nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Set right what needs no judgement: modes of files, a damaged index, what is to be tried again, what was left behind
    #[arg(long)]
    fix: bool,
    /// The store's folder [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Who is looked at.
struct DoctorContext {
    client: Client,
    store: PathBuf,
    /// Where settings are, if there is a home.
    place: Option<ConfigPaths>,
    /// The daemon's, while one answers.
    status: Option<Value>,
    /// It answers, and carries out no call.
    is_stuck: bool,
    now: Timestamp,
    zone: TimeZone,
}

impl DoctorContext {
    fn has_service(&self) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| ServiceManager::found().is_some_and(|manager| manager.program(&place.home).is_some()))
    }
}

struct Check(&'static str, fn(&mut DoctorContext, &mut Findings));

/// In their order: the later ones know whether a daemon answers.
const CHECKS: [Check; 15] = [
    Check("daemon", daemon::answers),
    Check("version", daemon::version),
    Check("socket", files::socket),
    Check("round trip", daemon::round_trip),
    Check("store", daemon::store),
    Check("sleep", daemon::cycle),
    Check("files", files::modes),
    Check("disk", files::space),
    Check("state", files::state),
    Check("leftovers", files::leftovers),
    Check("clients", files::clients),
    Check("spool", spool::spool),
    Check("service", service::service),
    Check("claude-code", assistants::claude_code),
    Check("codex", assistants::codex),
];

/// The report, for programs.
#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Finding>,
    fixed: Vec<String>,
}

pub(crate) fn run(args: &DoctorArgs, socket: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let mut context = context(args, socket)?;
    let mut report = Report { ok: true, checks: Vec::new(), fixed: Vec::new() };
    for Check(name, check) in CHECKS {
        let mut findings = Findings::of(name);
        check(&mut context, &mut findings);
        let fixes: Vec<Fix> = findings.all.iter().flat_map(|finding| finding.fixes.clone()).collect();
        if args.fix && !fixes.is_empty() {
            report.fixed.extend(fix(&fixes, console)?);
            findings = Findings::of(name);
            check(&mut context, &mut findings);
        }
        if console.format == OutputFormat::Text {
            for finding in &findings.all {
                console.say(finding.text(console.out_kind)).map_err(CliError::Output)?;
            }
            // A check may take its time.
            console.flush().map_err(CliError::Output)?;
        }
        report.checks.extend(findings.all);
    }
    told(report, console)
}

fn context(args: &DoctorArgs, socket: Option<PathBuf>) -> Result<DoctorContext, CliError> {
    let env = |name: &str| env::var_os(name);
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| CliError::File(path, error));
    Ok(DoctorContext {
        client: Client::new(absolute(paths::socket(socket, &env)?)?, daemon::policy()),
        store: absolute(paths::store(args.store.clone(), &env)?)?,
        place: ConfigPaths::from_env().ok(),
        status: None,
        is_stuck: false,
        now: Timestamp::now(),
        zone: user_zone::system(),
    })
}

/// Sets right what can be, and gives what was done.
fn fix(fixes: &[Fix], console: &mut Console) -> Result<Vec<String>, CliError> {
    let mut done = Vec::new();
    for fix in fixes {
        let (how, what) = match fix.apply() {
            Ok(what) => ("fixed", what),
            Err(why) => ("not fixed", why),
        };
        if console.format == OutputFormat::Text {
            let line = format!("{how}: {what}");
            console.say(visible(&line, console.out_kind)).map_err(CliError::Output)?;
        }
        if how == "fixed" {
            done.push(what);
        }
    }
    Ok(done)
}

fn told(mut report: Report, console: &mut Console) -> Result<(), CliError> {
    let count = |verdict| report.checks.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (passed, warnings, failed) = (count(CheckVerdict::Pass), count(CheckVerdict::Warn), count(CheckVerdict::Fail));
    report.ok = failed == 0;
    let said = match console.format {
        OutputFormat::Json => console.say(serde_json::to_string(&report).unwrap_or_default()),
        OutputFormat::Text => {
            let warnings = counted(warnings, "warning", "warnings");
            console.say(format_args!("{passed} right, {warnings}, {failed} wrong"))
        }
    };
    said.map_err(CliError::Output)?;
    if failed == 0 { Ok(()) } else { Err(CliError::ChecksFailed(failed)) }
}
