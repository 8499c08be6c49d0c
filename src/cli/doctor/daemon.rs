//! The daemon itself: does it answer, is it this program, does a write come back, is the store whole, did the
//! last cycle end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::files;
use super::super::install::service::Manager;
use super::super::recall::local_time;
use super::super::status::state_in_words;
use super::super::values::{counted, micros_in_words, time_in_words};
use super::Patient;
use super::files::json_file;
use super::finding::Finding;
use crate::client::{Client, ClientError, Policy, Unreached};
use crate::lifecycle::record;
use crate::wire::reply::code;

/// Longest wait for each answer, and for that of a check of the whole store, which ends by itself before.
const ANSWER: Duration = Duration::from_secs(5);
const WHOLE_STORE: Duration = Duration::from_secs(60);

/// More than a lock file has.
const LOCK_BYTES: u64 = 64;

/// Problems of a store that are named here. Whatever they are, the remedy is the same.
const NAMED: usize = 3;

pub(super) fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_secs(2),
        reply_timeout: ANSWER,
        wait_for_restart: Duration::ZERO,
        ..Policy::default()
    }
}

/// Does it answer, and how fast?
pub(super) fn answers(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "daemon";
    patient.status = None;
    let began = Instant::now();
    let pong = patient.client.call("ping", &json!({}));
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = pong.and_then(|_| patient.client.control(&json!({"type": "status"})));
    let status: Value = match status {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), remedy(&error, patient))],
    };
    if status["ok"] != true {
        let what = format!("what answers on {} is no memory: {status}", patient.client.path().display());
        return vec![Finding::fail(CHECK, what, "name the daemon's socket with --socket")];
    }
    let state = state_in_words(status["fsm_state"].as_str(), status["lifecycle_state"].as_str());
    let up = time_in_words(status["uptime_sec"].as_f64().unwrap_or(0.0) as u64);
    patient.status = Some(status);
    vec![Finding::pass(CHECK, format!("answers in {}; {state}, up {up}", micros_in_words(micros)))]
}

/// Is what runs this program?
pub(super) fn version(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "version";
    let Some(status) = &patient.status else { return Vec::new() };
    let (own, theirs) = (env!("CARGO_PKG_VERSION"), status["version"].as_str().unwrap_or("an unknown version"));
    if own != theirs {
        let what = format!("the daemon is {theirs} and this program {own}");
        return vec![Finding::warn(CHECK, what, restart(patient))];
    }
    // Linux says so of a program whose file is not there any more.
    match holder(&patient.store) {
        Some((_, path)) if path.to_string_lossy().ends_with(" (deleted)") => {
            let what = format!("{own}, but the daemon's program has been replaced since it started");
            vec![Finding::warn(CHECK, what, restart(patient))]
        }
        _ => vec![Finding::pass(CHECK, format!("{own}, as this program"))],
    }
}

/// Does a write reach the disk and come back?
pub(super) fn round_trip(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "round trip";
    if patient.status.is_none() {
        return vec![unseen(CHECK, patient)];
    }
    let probed = patient.client.call("store_probe", &json!({}));
    patient.is_stuck = matches!(probed, Err(ClientError::Unreachable { .. }));
    let folder = patient.store.display();
    vec![match probed {
        Ok(reply) => {
            let reply: Value = serde_json::from_str(reply.get()).unwrap_or_default();
            let time = |key: &str| micros_in_words(reply[key].as_u64().unwrap_or(0));
            let (write, read) = (time("write_us"), time("read_us"));
            Finding::pass(CHECK, format!("a write is on disk in {write} and comes back in {read}"))
        }
        Err(error) if error.code() == code::UNKNOWN_METHOD => {
            Finding::warn(CHECK, "this daemon is older than the check", restart(patient))
        }
        Err(error) => {
            let remedy = format!("see that the disk of {folder} has room and takes writes; the daemon's log says more");
            Finding::fail(CHECK, error.to_string(), remedy)
        }
    }]
}

/// Is the store whole?
pub(super) fn store(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "store";
    if patient.status.is_none() || patient.is_stuck {
        return vec![unseen(CHECK, patient)];
    }
    let mut client = Client::new(patient.client.path(), Policy { reply_timeout: WHOLE_STORE, ..policy() });
    let checked: Value = match client.call("store_check", &json!({})) {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error @ ClientError::Refused { .. }) => {
            return vec![Finding::warn(CHECK, error.to_string(), "run this again in a minute")];
        }
        Err(error) => {
            let remedy = "call it by itself, with more time: iaid call --timeout 600 store_check";
            return vec![Finding::fail(CHECK, error.to_string(), remedy)];
        }
    };
    let said = |key: &str| -> Vec<String> {
        let list = checked[key].as_array().cloned().unwrap_or_default();
        list.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    };
    let problems = said("problems");
    if checked["ok"] != true {
        let named = problems.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        let what = format!("{}: {named}", counted(problems.len() as u64, "problem", "problems"));
        let remedy = "stop the daemon, keep a copy of memory.db and memory.db-wal, put a backup in their place; \
                      iaid call store_check says all of it";
        return vec![Finding::fail(CHECK, what, remedy)];
    }
    let records = counted(checked["records"].as_u64().unwrap_or(0), "record", "records");
    let skipped = said("skipped");
    let rest = if skipped.is_empty() { String::new() } else { format!("; no time for {}", skipped.join(", ")) };
    vec![Finding::pass(CHECK, format!("whole: {records}{rest}"))]
}

/// Did the last REM cycle end, and does sleep go on?
pub(super) fn cycle(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "sleep";
    let file = json_file(&patient.store.join(record::NAME)).ok().flatten().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let quarantine = match &patient.status {
        Some(status) => &status["quarantine"],
        None => &file["quarantine"],
    };
    // One whose end has passed is lifted at the next look.
    let until = quarantine["until_ts"].as_str().and_then(|ts| ts.parse::<Timestamp>().ok());
    if let Some(until) = until.filter(|until| *until > patient.now) {
        let until = local_time(&until.to_string(), &patient.zone);
        let what = format!("no REM cycle runs by itself until {until}: {}", text(&quarantine["reason"]));
        return vec![Finding::warn(CHECK, what, "iaid rem tries it now; iaid log says what failed")];
    }
    let progress = &file["sleep_cycle_progress"];
    if progress["attempt"].as_u64().is_some_and(|attempt| attempt > 0) {
        let (step, error) = (text(&progress["failed_step"]), text(&progress["last_error"]));
        let what = format!("step {step} of the REM cycle failed: {error}");
        return vec![Finding::warn(CHECK, what, "iaid rem tries it again; iaid log says more")];
    }
    let Some(status) = &patient.status else { return Vec::new() };
    if status["scheduler_paused"] == true {
        return vec![Finding::warn(CHECK, "paused: no cycle runs by itself", "iaid resume")];
    }
    if patient.is_stuck {
        return vec![unseen(CHECK, patient)];
    }
    let params = json!({"kind": "cls_consolidation_run", "limit": 1});
    let last = match patient.client.call("events_query", &params) {
        Ok(reply) => serde_json::from_str::<Value>(reply.get()).unwrap_or_default(),
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "the daemon's log says why")],
    };
    let ended = last["events"][0]["ts"]
        .as_str()
        .map(|ts| format!("the last consolidation ended {}", local_time(ts, &patient.zone)));
    vec![Finding::pass(CHECK, ended.unwrap_or_else(|| "nothing was consolidated yet; it is when nobody asks".into()))]
}

fn unseen(check: &'static str, patient: &Patient) -> Finding {
    if patient.is_stuck {
        return Finding::warn(check, "not looked at: the daemon does not get to calls", restart(patient));
    }
    Finding::warn(
        check,
        "not looked at: no daemon answers, and it alone opens the store",
        "start it, and run this again",
    )
}

/// The process that has the store open, as its lock says, and its program. Only where the system confirms that
/// it is one of ours: the lock's file stays when its holder ends, and the number may be another's by then.
fn holder(store: &Path) -> Option<(u32, PathBuf)> {
    let text = files::text(&store.join(".lock"), LOCK_BYTES).ok()??;
    let pid: u32 = text.trim().parse().ok()?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    program.file_name()?.to_str()?.starts_with("iaid").then_some((pid, program))
}

fn remedy(error: &ClientError, patient: &Patient) -> String {
    let ClientError::Unreachable { why, .. } = error else { return start(patient).into() };
    match (why, holder(&patient.store)) {
        (Unreached::NoReply(_) | Unreached::NotAccepted(_), Some((pid, _))) => {
            format!("see its log; then end it, kill -9 {pid}, and start it: {}", start(patient))
        }
        (Unreached::NoSocket | Unreached::NobodyListens, Some((pid, _))) => {
            format!("process {pid} has the store open and cannot be reached here: kill {pid}, then {}", start(patient))
        }
        _ => start(patient).into(),
    }
}

fn start(patient: &Patient) -> &'static str {
    match (patient.has_service(), Manager::found()) {
        (true, Some(Manager::Systemd)) => {
            "systemctl --user start iaid.socket; journalctl --user -u iaid says why it ended"
        }
        (true, _) => "launchctl kickstart gui/$(id -u)/org.iaid.daemon; ~/Library/Logs/iaid.log says why it ended",
        (false, _) => "iaid serve; or have it started when it is needed: iaid install --service",
    }
}

fn restart(patient: &Patient) -> String {
    match (patient.has_service(), Manager::found()) {
        (true, Some(Manager::Systemd)) => "systemctl --user restart iaid.service".into(),
        (true, _) => "launchctl kickstart -k gui/$(id -u)/org.iaid.daemon".into(),
        (false, _) => match holder(&patient.store) {
            Some((pid, _)) => format!("kill {pid}, then iaid serve"),
            None => "stop it, then iaid serve".into(),
        },
    }
}
