//! The daemon itself: does it answer, is it this program, does a write come back, is the store whole, did the
//! last cycle end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::DoctorContext;
use super::files::json_file;
use super::finding::{Findings, Fix};
use crate::cli::install::service::ServiceManager;
use crate::cli::recall::local_time;
use crate::cli::status::state_in_words;
use crate::cli::support::files;
use crate::cli::support::values::{counted, micros_in_words, time_in_words};
use crate::client::{Client, ClientError, Policy, UnreachableReason};
use crate::lifecycle::status_file;
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
pub(crate) fn answers(context: &mut DoctorContext, findings: &mut Findings) {
    context.status = None;
    let began = Instant::now();
    let pong = context.client.call("ping", &json!({}));
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = pong.and_then(|_| context.client.control(&json!({"type": "status"})));
    let status: Value = match status {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => return findings.fail(format_args!("{error}"), format_args!("{}", remedy(&error, context))),
    };
    if status["ok"] != true {
        let path = context.client.path().display();
        let remedy = format_args!("name the daemon's socket with --socket");
        return findings.fail(format_args!("what answers on {path} is no memory: {status}"), remedy);
    }
    let state = state_in_words(status["fsm_state"].as_str(), status["lifecycle_state"].as_str());
    let up = time_in_words(status["uptime_sec"].as_f64().unwrap_or(0.0) as u64);
    context.status = Some(status);
    findings.pass(format_args!("answers in {}; {state}, up {up}", micros_in_words(micros)));
}

/// Is what runs this program?
pub(crate) fn version(context: &mut DoctorContext, findings: &mut Findings) {
    let Some(status) = &context.status else { return };
    let (own, theirs) = (env!("CARGO_PKG_VERSION"), status["version"].as_str().unwrap_or("an unknown version"));
    let restart = restart(context);
    if own != theirs {
        return findings.warn(format_args!("the daemon is {theirs} and this program {own}"), format_args!("{restart}"));
    }
    // Linux says so of a program whose file is not there any more.
    match holder(&context.store) {
        Some((_, path)) if path.to_string_lossy().ends_with(" (deleted)") => {
            let what = format_args!("{own}, but the daemon's program has been replaced since it started");
            findings.warn(what, format_args!("{restart}"));
        }
        _ => findings.pass(format_args!("{own}, as this program")),
    }
}

/// Does a write reach the disk and come back?
pub(crate) fn round_trip(context: &mut DoctorContext, findings: &mut Findings) {
    if context.status.is_none() {
        return skipped(context, findings);
    }
    let probed = context.client.call("store_probe", &json!({}));
    context.is_stuck = matches!(probed, Err(ClientError::Unreachable { .. }));
    match probed {
        Ok(reply) => {
            let reply: Value = serde_json::from_str(reply.get()).unwrap_or_default();
            let time = |key: &str| micros_in_words(reply[key].as_u64().unwrap_or(0));
            let (write, read) = (time("write_us"), time("read_us"));
            findings.pass(format_args!("a write is on disk in {write} and comes back in {read}"));
        }
        Err(error) if error.code() == code::UNKNOWN_METHOD => {
            findings.warn(format_args!("this daemon is older than the check"), format_args!("{}", restart(context)));
        }
        Err(error) => {
            let folder = context.store.display();
            let remedy =
                format_args!("see that the disk of {folder} has room and takes writes; the daemon's log says more");
            findings.fail(format_args!("{error}"), remedy);
        }
    }
}

/// Is the store whole?
pub(crate) fn store(context: &mut DoctorContext, findings: &mut Findings) {
    if context.status.is_none() || context.is_stuck {
        return skipped(context, findings);
    }
    let mut client = Client::new(context.client.path(), Policy { reply_timeout: WHOLE_STORE, ..policy() });
    let checked: Value = match client.call("store_check", &json!({})) {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error @ ClientError::Refused { .. }) => {
            return findings.warn(format_args!("{error}"), format_args!("run this again in a minute"));
        }
        Err(error) => {
            let remedy = format_args!("call it by itself, with more time: iaid call --timeout 600 store_check");
            return findings.fail(format_args!("{error}"), remedy);
        }
    };
    let problems = &checked["problems"];
    let count = counted(problems.as_array().map_or(0, Vec::len) as u64, "problem", "problems");
    if checked["mendable"] == true {
        let remedy = format_args!("have the index made anew: iaid call --timeout 3600 store_reindex");
        findings.fail(format_args!("{count} of the full-text index alone: {}", listed(problems)), remedy);
        return findings.fixed_by(vec![Fix::Reindex(context.client.path().into())]);
    }
    if checked["ok"] != true {
        let remedy = format_args!(
            "stop the daemon, keep a copy of memory.db and memory.db-wal, put a backup in their place; \
             iaid call store_check says all of it"
        );
        return findings.fail(format_args!("{count}: {}", listed(problems)), remedy);
    }
    let records = counted(checked["records"].as_u64().unwrap_or(0), "record", "records");
    let index = match checked["index"].as_str() {
        Some("due") => "; its index is made anew while it sleeps",
        Some("growing") => "; its index is being made anew",
        _ => "",
    };
    match listed(&checked["skipped"]) {
        skipped if skipped.is_empty() => findings.pass(format_args!("whole: {records}{index}")),
        skipped => findings.pass(format_args!("whole: {records}{index}; no time for {skipped}")),
    }
}

/// The first of a list's texts.
fn listed(list: &Value) -> String {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.take(NAMED).collect::<Vec<_>>().join("; ")
}

/// Did the last REM cycle end, and does sleep go on?
pub(crate) fn cycle(context: &mut DoctorContext, findings: &mut Findings) {
    let file = json_file(&context.store.join(status_file::NAME)).ok().flatten().unwrap_or_default();
    let quarantine = match &context.status {
        Some(status) => &status["quarantine"],
        None => &file["quarantine"],
    };
    // One whose end has passed is lifted at the next look.
    let until = quarantine["until_ts"].as_str().and_then(|ts| ts.parse::<Timestamp>().ok());
    if let Some(until) = until.filter(|until| *until > context.now) {
        let until = local_time(&until.to_string(), &context.zone);
        let why = quarantine["reason"].as_str().unwrap_or_default();
        let remedy = format_args!("iaid rem tries it now; iaid log says what failed");
        return findings.warn(format_args!("no REM cycle runs by itself until {until}: {why}"), remedy);
    }
    let progress = &file["sleep_cycle_progress"];
    if progress["attempt"].as_u64().is_some_and(|attempt| attempt > 0) {
        let text = |key: &str| progress[key].as_str().unwrap_or_default();
        let what = format_args!("step {} of the REM cycle failed: {}", text("failed_step"), text("last_error"));
        return findings.warn(what, format_args!("iaid rem tries it again; iaid log says more"));
    }
    let Some(status) = &context.status else { return };
    if status["scheduler_paused"] == true {
        return findings.warn(format_args!("paused: no cycle runs by itself"), format_args!("iaid resume"));
    }
    if context.is_stuck {
        return skipped(context, findings);
    }
    let last = context.client.call("events_query", &json!({"kind": "cls_consolidation_run", "limit": 1}));
    let last: Value = match last {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => return findings.fail(format_args!("{error}"), format_args!("the daemon's log says why")),
    };
    match last["events"][0]["ts"].as_str() {
        Some(ts) => findings.pass(format_args!("the last consolidation ended {}", local_time(ts, &context.zone))),
        None => findings.pass(format_args!("nothing was consolidated yet; it is when nobody asks")),
    }
}

fn skipped(context: &DoctorContext, findings: &mut Findings) {
    if context.is_stuck {
        let what = format_args!("not looked at: the daemon does not get to calls");
        return findings.warn(what, format_args!("{}", restart(context)));
    }
    let what = format_args!("not looked at: no daemon answers, and it alone opens the store");
    findings.warn(what, format_args!("start it, and run this again"));
}

/// The process that has the store open, as its lock says, and its program. Only where the system confirms that
/// it is one of ours: the lock's file stays when its holder ends, and the number may be another's by then.
fn holder(store: &Path) -> Option<(u32, PathBuf)> {
    let text = files::text(&store.join(".lock"), LOCK_BYTES).ok()??;
    let pid: u32 = text.trim().parse().ok()?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    program.file_name()?.to_str()?.starts_with("iaid").then_some((pid, program))
}

fn remedy(error: &ClientError, context: &DoctorContext) -> String {
    let ClientError::Unreachable { why, .. } = error else { return start(context).into() };
    match (why, holder(&context.store)) {
        (UnreachableReason::NoReply(_) | UnreachableReason::NotAccepted(_), Some((pid, _))) => {
            format!("see its log; then end it, kill -9 {pid}, and start it: {}", start(context))
        }
        (UnreachableReason::NoSocket | UnreachableReason::NotListening, Some((pid, _))) => {
            format!("process {pid} has the store open and cannot be reached here: kill {pid}, then {}", start(context))
        }
        _ => start(context).into(),
    }
}

fn start(context: &DoctorContext) -> &'static str {
    match (context.has_service(), ServiceManager::found()) {
        (true, Some(ServiceManager::Systemd)) => {
            "systemctl --user start iaid.socket; journalctl --user -u iaid says why it ended"
        }
        (true, _) => "launchctl kickstart gui/$(id -u)/org.iaid.daemon; ~/Library/Logs/iaid.log says why it ended",
        (false, _) => "iaid serve; or have it started when it is needed: iaid install --service",
    }
}

fn restart(context: &DoctorContext) -> String {
    match (context.has_service(), ServiceManager::found()) {
        (true, Some(ServiceManager::Systemd)) => "systemctl --user restart iaid.service".into(),
        (true, _) => "launchctl kickstart -k gui/$(id -u)/org.iaid.daemon".into(),
        (false, _) => match holder(&context.store) {
            Some((pid, _)) => format!("kill {pid}, then iaid serve"),
            None => "stop it, then iaid serve".into(),
        },
    }
}
