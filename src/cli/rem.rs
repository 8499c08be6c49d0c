//! `iaid rem`: asks for a REM cycle, shows how far it is, and ends when it has ended.
//!
//! It asks `status` again and again, which keeps nobody awake. A cycle that a request has cut short is
//! asked for again: it goes on where it stopped.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::control_message;
use crate::cli::support::error::CliError;
use crate::cli::support::progress::StatusLine;
use crate::cli::support::values::counted;
use crate::client::Client;

/// Between two looks. Picked: smooth for people, nothing for the daemon.
const LOOK: Duration = Duration::from_millis(100);

/// Ask for a REM cycle: consolidation now instead of at the next sleep, and wait for its end
#[derive(Debug, clap::Args)]
pub(crate) struct RemArgs {}

#[derive(Deserialize)]
struct Status {
    /// A daemon that says nothing of cycles does not say when they end.
    rem_cycle: Option<CycleStatus>,
}

/// What is read of `rem_cycle`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct CycleStatus {
    asked: bool,
    step: Option<String>,
    steps_done: u64,
    steps: u64,
    finished: u64,
    failed: u64,
    interrupted: u64,
    last_error: Option<String>,
    episodes_processed: u64,
    schemas_induced_tier0: u64,
}

/// What two looks say.
#[derive(Debug, PartialEq, Eq)]
enum CycleOutcome {
    /// It has ended.
    Finished,
    /// A step failed, for this reason.
    Failed(String),
    /// It was cut short, or asked to wake.
    CutShort,
    /// It runs, or is still to begin.
    Going,
}

pub(crate) fn run(_: &RemArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "force_rem", "ts": control_message::now()});
    let Some(mut before) = look(client)? else {
        return control_message::send_and_report("force_rem", &message, "asked for a REM cycle", client, console);
    };
    control_message::send("force_rem", &message, client, console)?;
    let mut line = StatusLine::default();
    let outcome = loop {
        let Some(now) = look(client)? else { break Ok(CycleStatus::default()) };
        match seen(&before, &now) {
            CycleOutcome::Finished => break Ok(now),
            CycleOutcome::Failed(reason) => {
                break Err(CliError::Declined { reason: "step_failed".into(), message: reason });
            }
            CycleOutcome::CutShort => {
                before = now;
                client.control(&json!({"type": "force_rem", "ts": control_message::now()}))?;
            }
            CycleOutcome::Going => {
                line.show(&render(&now), Instant::now(), console);
                std::thread::sleep(LOOK);
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

fn look(client: &mut Client) -> Result<Option<CycleStatus>, CliError> {
    let reply = client.control(&json!({"type": "status"}))?;
    let status: Status = serde_json::from_str(reply.get()).map_err(|e| CliError::Reply("status", e))?;
    Ok(status.rem_cycle)
}

fn seen(before: &CycleStatus, now: &CycleStatus) -> CycleOutcome {
    if now.finished > before.finished {
        CycleOutcome::Finished
    } else if now.failed > before.failed {
        CycleOutcome::Failed(now.last_error.clone().unwrap_or_default())
    } else if now.interrupted > before.interrupted && !now.asked && now.step.is_none() {
        CycleOutcome::CutShort
    } else {
        CycleOutcome::Going
    }
}

fn render(cycle: &CycleStatus) -> String {
    match &cycle.step {
        Some(step) => format!("step {} of {}: {step}", cycle.steps_done + 1, cycle.steps),
        None => "waiting for the cycle to begin".into(),
    }
}

fn sentence(cycle: &CycleStatus) -> String {
    format!(
        "the REM cycle has ended: {} looked at, {} found",
        counted(cycle.episodes_processed, "record", "records"),
        counted(cycle.schemas_induced_tier0, "pattern", "patterns"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::with_daemon;
    use serde_json::Value;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Runs against a daemon whose `rem_cycle` is the next of `cycles` at each look, and the last one then.
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
    fn it_waits_for_the_end_and_asks_again_for_what_was_cut_short() {
        let (outcome, asked, said) = run_on(vec![
            json!({"finished": 3, "interrupted": 1, "steps": 6}),
            json!({"finished": 3, "interrupted": 1, "steps": 6, "asked": true}),
            json!({"finished": 3, "interrupted": 1, "steps": 6, "step": "induce", "steps_done": 2}),
            json!({"finished": 3, "interrupted": 2, "steps": 6}),
            json!({"finished": 4, "interrupted": 2, "episodes_processed": 12, "schemas_induced_tier0": 1}),
        ]);
        outcome.unwrap();
        assert_eq!(
            (asked.len(), said.as_str()),
            (2, "the REM cycle has ended: 12 records looked at, 1 pattern found\n")
        );
    }

    #[test]
    fn a_step_that_fails_is_said_with_its_reason() {
        let (outcome, asked, said) =
            run_on(vec![json!({"failed": 0}), json!({"failed": 1, "last_error": "step induce: the disk is full"})]);
        assert_eq!(outcome.unwrap_err().to_string(), "the daemon declined: step_failed: step induce: the disk is full");
        assert_eq!((asked.len(), said.as_str()), (1, ""));
    }

    #[test]
    fn a_daemon_that_says_nothing_of_cycles_is_only_asked() {
        let (outcome, asked, said) = run_on(vec![Value::Null]);
        outcome.unwrap();
        assert_eq!((asked.len(), said.as_str()), (1, "asked for a REM cycle\n"));
    }

    #[test]
    fn how_far_it_is() {
        let running = CycleStatus { step: Some("decay".into()), steps_done: 3, steps: 6, ..CycleStatus::default() };
        assert_eq!(render(&running), "step 4 of 6: decay");
        assert_eq!(render(&CycleStatus::default()), "waiting for the cycle to begin");
    }
}
