//! `iaid doctor`: checks the installation and prints a line per finding, with the remedy.
//!
//! Nothing is changed without `--fix`, and `--fix` does only what needs no decision. Every call and every program has a
//! time limit, so the command always ends. The checks that need no daemon run without one.

mod assistants;
mod capture;
mod context;
mod daemon;
mod files;
mod finding;
mod service;
mod sessions;
mod spool;
mod synced;

use std::env;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use self::context::DoctorContext;
use self::finding::{CheckVerdict, Finding, Findings, Fix};
use crate::cli::install::ConfigPaths;
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::lifecycle::user_zone;
use crate::transcript::Assistant;

/// Check the installation and show how to fix problems
///
/// Exits with 1 if a check fails. The test write is removed again, and the test run of a hook captures nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Fix what needs no decision: file modes, a damaged index, failed captures to retry, leftover files
    #[arg(long)]
    fix: bool,
    /// List stored records that look like they have a secret, instead of the checks
    #[arg(long, conflicts_with = "fix")]
    secrets: bool,
    /// Folder of the store [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

struct Check(&'static str, fn(&mut DoctorContext, &mut Findings));

/// The checks, in order: later ones use whether the daemon answers.
const CHECKS: [Check; 22] = [
    Check("daemon", daemon::answers),
    Check("version", daemon::version),
    Check("socket", files::socket),
    Check("round trip", daemon::round_trip),
    Check("store", daemon::store),
    Check("forgetting", daemon::forgetting),
    Check("sleep", daemon::cycle),
    Check("files", files::modes),
    Check("disk", files::space),
    Check("state", files::state),
    Check("leftovers", files::leftovers),
    Check("clients", files::clients),
    Check("spool", spool::spool),
    Check("capture", capture::capture),
    Check("sync", synced::synced),
    Check("service", service::service),
    Check("claude-code", |context, findings| assistants::assistant(Assistant::ClaudeCode, context, findings)),
    Check("codex", |context, findings| assistants::assistant(Assistant::Codex, context, findings)),
    Check("copilot", |context, findings| assistants::assistant(Assistant::Copilot, context, findings)),
    Check("gemini", |context, findings| assistants::assistant(Assistant::Gemini, context, findings)),
    Check("qwen", |context, findings| assistants::assistant(Assistant::Qwen, context, findings)),
    Check("opencode", |context, findings| assistants::assistant(Assistant::Opencode, context, findings)),
];

/// The report in JSON.
#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Finding>,
    fixed: Vec<String>,
}

pub(crate) fn run(args: &DoctorArgs, socket: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let mut context = new_context(args, socket)?;
    if args.secrets {
        return capture::stored_secrets(&mut context, console);
    }
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
            // The next check may take long.
            console.flush().map_err(CliError::Output)?;
        }
        report.checks.extend(findings.all);
    }
    print_summary(report, console)
}

fn new_context(args: &DoctorArgs, socket: Option<PathBuf>) -> Result<DoctorContext, CliError> {
    let env = |name: &str| env::var_os(name);
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| CliError::File(path, error));
    Ok(DoctorContext {
        client: Client::new(absolute(paths::socket(socket, &env)?)?, daemon::policy()),
        store: absolute(paths::store(args.store.clone(), &env)?)?,
        paths: ConfigPaths::from_env().ok(),
        status: None,
        is_stuck: false,
        now: Timestamp::now(),
        zone: user_zone::system(),
    })
}

/// Applies the fixes and returns what was done.
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

fn print_summary(mut report: Report, console: &mut Console) -> Result<(), CliError> {
    let count = |verdict| report.checks.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (passed, warnings, failed) = (count(CheckVerdict::Pass), count(CheckVerdict::Warn), count(CheckVerdict::Fail));
    report.ok = failed == 0;
    let said = match console.format {
        OutputFormat::Json => console.say(serde_json::to_string(&report).unwrap_or_default()),
        OutputFormat::Text => {
            let warnings = counted(warnings, "warning", "warnings");
            console.say(format_args!("{passed} passed, {warnings}, {failed} failed"))
        }
    };
    said.map_err(CliError::Output)?;
    if failed == 0 { Ok(()) } else { Err(CliError::ChecksFailed(failed)) }
}
