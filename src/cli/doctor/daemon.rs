//! The daemon itself: does it answer, is it this program, does a write come back, is the store whole, did the
//! last cycle end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Patient;
use super::files::json_file;
use super::finding::{Findings, Fix};
use crate::cli::install::service::Manager;
use crate::cli::recall::local_time;
use crate::cli::status::state_in_words;
use crate::cli::support::files;
use crate::cli::support::values::{counted, micros_in_words, time_in_words};
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

pub(crate) fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_secs(2),
        reply_timeout: ANSWER,
        wait_for_restart: Duration::ZERO,
        ..Policy::default()
    }
}

/// Does it answer, and how fast?
pub(crate) fn answers(patient: &mut Patient, found: &mut Findings) {
    patient.status = None;
    let began = Instant::now();
    let pong = patient.client.call("ping", &json!({}));
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = pong.and_then(|_| patient.client.control(&json!({"type": "status"})));
    let status: Value = match status {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => return found.fail(format_args!("{error}"), format_args!("{}", remedy(&error, patient))),
    };
    if status["ok"] != true {
        let path = patient.client.path().display();
        let remedy = format_args!("name the daemon's socket with --socket");
        return found.fail(format_args!("what answers on {path} is no memory: {status}"), remedy);
    }
    let state = state_in_words(status["fsm_state"].as_str(), status["lifecycle_state"].as_str());
    let up = time_in_words(status["uptime_sec"].as_f64().unwrap_or(0.0) as u64);
    patient.status = Some(status);
    found.pass(format_args!("answers in {}; {state}, up {up}", micros_in_words(micros)));
}

/// Is what runs this program?
pub(crate) fn version(patient: &mut Patient, found: &mut Findings) {
    let Some(status) = &patient.status else { return };
    let (own, theirs) = (env!("CARGO_PKG_VERSION"), status["version"].as_str().unwrap_or("an unknown version"));
    let restart = restart(patient);
    if own != theirs {
        return found.warn(format_args!("the daemon is {theirs} and this program {own}"), format_args!("{restart}"));
    }
    // Linux says so of a program whose file is not there any more.
    match holder(&patient.store) {
        Some((_, path)) if path.to_string_lossy().ends_with(" (deleted)") => {
            let what = format_args!("{own}, but the daemon's program has been replaced since it started");
            found.warn(what, format_args!("{restart}"));
        }
        _ => found.pass(format_args!("{own}, as this program")),
    }
}

/// Does a write reach the disk and come back?
pub(crate) fn round_trip(patient: &mut Patient, found: &mut Findings) {
    if patient.status.is_none() {
        return unseen(patient, found);
    }
    let probed = patient.client.call("store_probe", &json!({}));
    patient.is_stuck = matches!(probed, Err(ClientError::Unreachable { .. }));
    match probed {
        Ok(reply) => {
            let reply: Value = serde_json::from_str(reply.get()).unwrap_or_default();
            let time = |key: &str| micros_in_words(reply[key].as_u64().unwrap_or(0));
            let (write, read) = (time("write_us"), time("read_us"));
            found.pass(format_args!("a write is on disk in {write} and comes back in {read}"));
        }
        Err(error) if error.code() == code::UNKNOWN_METHOD => {
            found.warn(format_args!("this daemon is older than the check"), format_args!("{}", restart(patient)));
        }
        Err(error) => {
            let folder = patient.store.display();
            let remedy =
                format_args!("see that the disk of {folder} has room and takes writes; the daemon's log says more");
            found.fail(format_args!("{error}"), remedy);
        }
    }
}

/// Is the store whole?
pub(crate) fn store(patient: &mut Patient, found: &mut Findings) {
    if patient.status.is_none() || patient.is_stuck {
        return unseen(patient, found);
    }
    let mut client = Client::new(patient.client.path(), Policy { reply_timeout: WHOLE_STORE, ..policy() });
    let checked: Value = match client.call("store_check", &json!({})) {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error @ ClientError::Refused { .. }) => {
            return found.warn(format_args!("{error}"), format_args!("run this again in a minute"));
        }
        Err(error) => {
            let remedy = format_args!("call it by itself, with more time: iaid call --timeout 600 store_check");
            return found.fail(format_args!("{error}"), remedy);
        }
    };
    let problems = &checked["problems"];
    let count = counted(problems.as_array().map_or(0, Vec::len) as u64, "problem", "problems");
    if checked["mendable"] == true {
        let remedy = format_args!("have the index made anew: iaid call --timeout 3600 store_reindex");
        found.fail(format_args!("{count} of the full-text index alone: {}", listed(problems)), remedy);
        return found.fixed_by(vec![Fix::Reindex(patient.client.path().into())]);
    }
    if checked["ok"] != true {
        let remedy = format_args!(
            "stop the daemon, keep a copy of memory.db and memory.db-wal, put a backup in their place; \
             iaid call store_check says all of it"
        );
        return found.fail(format_args!("{count}: {}", listed(problems)), remedy);
    }
    let records = counted(checked["records"].as_u64().unwrap_or(0), "record", "records");
    let index = match checked["index"].as_str() {
        Some("due") => "; its index is made anew while it sleeps",
        Some("growing") => "; its index is being made anew",
        _ => "",
    };
    match listed(&checked["skipped"]) {
        skipped if skipped.is_empty() => found.pass(format_args!("whole: {records}{index}")),
        skipped => found.pass(format_args!("whole: {records}{index}; no time for {skipped}")),
    }
}

/// The first of a list's texts.
fn listed(list: &Value) -> String {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.take(NAMED).collect::<Vec<_>>().join("; ")
}

/// Did the last REM cycle end, and does sleep go on?
pub(crate) fn cycle(patient: &mut Patient, found: &mut Findings) {
    let file = json_file(&patient.store.join(record::NAME)).ok().flatten().unwrap_or_default();
    let quarantine = match &patient.status {
        Some(status) => &status["quarantine"],
        None => &file["quarantine"],
    };
    // One whose end has passed is lifted at the next look.
    let until = quarantine["until_ts"].as_str().and_then(|ts| ts.parse::<Timestamp>().ok());
    if let Some(until) = until.filter(|until| *until > patient.now) {
        let until = local_time(&until.to_string(), &patient.zone);
        let why = quarantine["reason"].as_str().unwrap_or_default();
        let remedy = format_args!("iaid rem tries it now; iaid log says what failed");
        return found.warn(format_args!("no REM cycle runs by itself until {until}: {why}"), remedy);
    }
    let progress = &file["sleep_cycle_progress"];
    if progress["attempt"].as_u64().is_some_and(|attempt| attempt > 0) {
        let text = |key: &str| progress[key].as_str().unwrap_or_default();
        let what = format_args!("step {} of the REM cycle failed: {}", text("failed_step"), text("last_error"));
        return found.warn(what, format_args!("iaid rem tries it again; iaid log says more"));
    }
    let Some(status) = &patient.status else { return };
    if status["scheduler_paused"] == true {
        return found.warn(format_args!("paused: no cycle runs by itself"), format_args!("iaid resume"));
    }
    if patient.is_stuck {
        return unseen(patient, found);
    }
    let last = patient.client.call("events_query", &json!({"kind": "cls_consolidation_run", "limit": 1}));
    let last: Value = match last {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => return found.fail(format_args!("{error}"), format_args!("the daemon's log says why")),
    };
    match last["events"][0]["ts"].as_str() {
        Some(ts) => found.pass(format_args!("the last consolidation ended {}", local_time(ts, &patient.zone))),
        None => found.pass(format_args!("nothing was consolidated yet; it is when nobody asks")),
    }
}

fn unseen(patient: &Patient, found: &mut Findings) {
    if patient.is_stuck {
        let what = format_args!("not looked at: the daemon does not get to calls");
        return found.warn(what, format_args!("{}", restart(patient)));
    }
    let what = format_args!("not looked at: no daemon answers, and it alone opens the store");
    found.warn(what, format_args!("start it, and run this again"));
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
