//! `iaid rem`: requests a REM cycle, shows its progress and returns when it has ended.
//!
//! The progress is polled with `status`, which does not keep the daemon awake. A cycle that a request has interrupted
//! is requested again and continues where it stopped.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::status::rows::share_done;
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::control_message;
use crate::cli::support::error::CliError;
use crate::cli::support::progress::StatusLine;
use crate::cli::support::values::counted;
use crate::client::Client;

/// Interval between two polls. Picked: the display looks smooth, and the load on the daemon is negligible.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Run a REM cycle (consolidation) now instead of at the next sleep, and wait until it ends
#[derive(Debug, clap::Args)]
pub(crate) struct RemArgs {}

/// The fields of `rem_cycle` that are used here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CycleStatus {
    asked: bool,
    step: Option<String>,
    /// How much is done and how long the rest takes, in words.
    share_done: String,
    steps_done: u64,
    steps: u64,
    finished: u64,
    failed: u64,
    interrupted: u64,
    last_error: Option<String>,
    episodes_processed: u64,
    schemas_induced_tier0: u64,
}

/// The result of comparing two polls.
#[derive(Debug, PartialEq, Eq)]
enum CycleOutcome {
    /// The cycle has finished.
    Finished,
    /// A step failed with this error.
    Failed(String),
    /// The cycle was interrupted by a request or by `iaid wake`.
    Interrupted,
    /// The cycle is running or has not started yet.
    Running,
}

pub(crate) fn run(_: &RemArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "force_rem", "ts": control_message::now()});
    let Some(mut before) = poll(client)? else {
        return control_message::send_and_report("force_rem", &message, "REM cycle requested", client, console);
    };
    control_message::send("force_rem", &message, client, console)?;
    let mut line = StatusLine::default();
    let outcome = loop {
        let Some(now) = poll(client)? else { break Ok(CycleStatus::default()) };
        match compare(&before, &now) {
            CycleOutcome::Finished => break Ok(now),
            CycleOutcome::Failed(reason) => {
                break Err(CliError::Declined { reason: "step_failed".into(), message: reason });
            }
            CycleOutcome::Interrupted => {
                before = now;
                client.control(&json!({"type": "force_rem", "ts": control_message::now()}))?;
            }
            CycleOutcome::Running => {
                line.show(&render(&now), Instant::now(), console);
                std::thread::sleep(POLL_INTERVAL);
            }
        }
    };
    line.clear(console);
    let ended = outcome?;
    match console.format {
        OutputFormat::Json => Ok(()),
        OutputFormat::Text => console.say(sentence(&ended)).map_err(CliError::Output),
    }
}

/// Returns `None` if the daemon does not report cycles; then there is no end to wait for.
fn poll(client: &mut Client) -> Result<Option<CycleStatus>, CliError> {
    let reply = client.control(&json!({"type": "status"}))?;
    let status: Value = serde_json::from_str(reply.get()).map_err(|e| CliError::Reply("status", e))?;
    Ok(status.get("rem_cycle").filter(|cycle| cycle.is_object()).map(CycleStatus::read))
}

impl CycleStatus {
    fn read(cycle: &Value) -> CycleStatus {
        let count = |key: &str| cycle[key].as_u64().unwrap_or(0);
        let text = |key: &str| cycle[key].as_str().map(str::to_owned);
        CycleStatus {
            asked: cycle["asked"] == true,
            step: text("step"),
            share_done: share_done(cycle),
            steps_done: count("steps_done"),
            steps: count("steps"),
            finished: count("finished"),
            failed: count("failed"),
            interrupted: count("interrupted"),
            last_error: text("last_error"),
            episodes_processed: count("episodes_processed"),
            schemas_induced_tier0: count("schemas_induced_tier0"),
        }
    }
}

fn compare(before: &CycleStatus, now: &CycleStatus) -> CycleOutcome {
    if now.finished > before.finished {
        CycleOutcome::Finished
    } else if now.failed > before.failed {
        CycleOutcome::Failed(now.last_error.clone().unwrap_or_default())
    } else if now.interrupted > before.interrupted && !now.asked && now.step.is_none() {
        CycleOutcome::Interrupted
    } else {
        CycleOutcome::Running
    }
}

fn render(cycle: &CycleStatus) -> String {
    match &cycle.step {
        Some(step) => format!("step {} of {}: {step}{}", cycle.steps_done + 1, cycle.steps, cycle.share_done),
        None => "waiting for the cycle to start".into(),
    }
}

fn sentence(cycle: &CycleStatus) -> String {
    format!(
        "REM cycle finished: {} processed, {} found",
        counted(cycle.episodes_processed, "record", "records"),
        counted(cycle.schemas_induced_tier0, "pattern", "patterns"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::with_daemon;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Runs against a daemon whose `rem_cycle` is the next of `cycles` at each poll; the last one is repeated.
    fn run_on(cycles: Vec<Value>) -> (Result<(), CliError>, Vec<Value>, String) {
        let (mut console, out, _) = console(OutputFormat::Text, b"");
        let at = AtomicUsize::new(0);
        let answer = move |message: &Value| match message["type"].as_str() {
            Some("status") => {
                let at = at.fetch_add(1, Ordering::Relaxed).min(cycles.len() - 1);
                json!({"ok": true, "rem_cycle": cycles[at]})
            }
            _ => json!({"ok": true, "reason": "rem_queued"}),
        };
        let (outcome, seen) = with_daemon(answer, |client| run(&RemArgs {}, client, &mut console));
        let asked = seen.into_iter().filter(|message| message["type"] == "force_rem").collect();
        (outcome, asked, out.text())
    }

    #[test]
    fn an_interrupted_cycle_is_requested_again_until_it_finishes() {
        let (outcome, asked, said) = run_on(vec![
            json!({"finished": 3, "interrupted": 1, "steps": 6}),
            json!({"finished": 3, "interrupted": 1, "steps": 6, "asked": true}),
            json!({"finished": 3, "interrupted": 1, "steps": 6, "step": "induce", "steps_done": 2}),
            json!({"finished": 3, "interrupted": 2, "steps": 6}),
            json!({"finished": 4, "interrupted": 2, "episodes_processed": 12, "schemas_induced_tier0": 1}),
        ]);
        outcome.unwrap();
        assert_eq!((asked.len(), said.as_str()), (2, "REM cycle finished: 12 records processed, 1 pattern found\n"));
    }

    #[test]
    fn a_failed_step_is_reported_with_its_error() {
        let (outcome, asked, said) =
            run_on(vec![json!({"failed": 0}), json!({"failed": 1, "last_error": "step induce: the disk is full"})]);
        assert_eq!(outcome.unwrap_err().to_string(), "the daemon declined: step_failed: step induce: the disk is full");
        assert_eq!((asked.len(), said.as_str()), (1, ""));
    }

    #[test]
    fn a_daemon_that_reports_no_cycles_is_not_polled() {
        let (outcome, asked, said) = run_on(vec![Value::Null]);
        outcome.unwrap();
        assert_eq!((asked.len(), said.as_str()), (1, "REM cycle requested\n"));
    }

    #[test]
    fn progress_is_shown_as_step_and_count() {
        let running = CycleStatus { step: Some("decay".into()), steps_done: 3, steps: 6, ..CycleStatus::default() };
        assert_eq!(render(&running), "step 4 of 6: decay");
        assert_eq!(render(&CycleStatus::default()), "waiting for the cycle to start");
    }
}
