//! Checks of the daemon: whether it answers, its version, a write and read, the integrity of the store, the last REM
//! cycle.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::context::DoctorContext;
use super::files::json_file;
use super::finding::{Findings, Fix};
use crate::cli::install::service::system_socket;
use crate::cli::recall::local_time;
use crate::cli::status::rows::{forgetting_in_words, state_in_words};
use crate::cli::support::files;
use crate::cli::support::values::{counted, micros_in_words, time_in_words};
use crate::client::{Client, ClientError, Policy, UnreachableReason};
use crate::daemon::socket_owner;
use crate::lifecycle::status_file;
use crate::sys::bind_error::STOP_IAI_MCP;
use crate::wire::reply::code;

/// Longest wait for a reply, and for the reply to a check of the whole store. The latter has a shorter time limit itself.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
const STORE_CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest lock file that is read; the file is smaller.
const MAX_LOCK_BYTES: u64 = 64;

/// Problems of the store that are listed. The remedy is the same for all.
const MAX_LISTED: usize = 3;

pub(crate) fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_secs(2),
        reply_timeout: REPLY_TIMEOUT,
        wait_for_restart: Duration::ZERO,
        ..Policy::default()
    }
}

/// Checks that the daemon answers, and how fast.
pub(crate) fn answers(context: &mut DoctorContext, findings: &mut Findings) {
    context.status = None;
    let began = Instant::now();
    let pong = context.client.call("ping", &json!({}));
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = pong.and_then(|_| context.client.control(&json!({"type": "status"})));
    let status: Value = match status {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => {
            // That daemon may serve one connection after the other.
            context.client.disconnect();
            let path = context.client.path();
            if let Some(peer) = socket_owner::iai_mcp_at(path) {
                let what = format_args!("{peer} has taken {}, so clients reach it and not iaid", path.display());
                let then = match holder(&context.store) {
                    Some(_) => "iaid, which is running, listens there again within a minute unless it sleeps".into(),
                    None => start(context),
                };
                return findings.fail(what, format_args!("{}; then: {then}", STOP_IAI_MCP));
            }
            return findings.fail(format_args!("{error}"), format_args!("{}", remedy(&error, context)));
        }
    };
    if status["ok"] != true {
        let path = context.client.path().display();
        let remedy = format_args!("give the daemon's socket with --socket");
        return findings.fail(format_args!("another program serves {path}: {status}"), remedy);
    }
    let state = state_in_words(status["fsm_state"].as_str(), status["lifecycle_state"].as_str());
    let up = time_in_words(status["uptime_sec"].as_f64().unwrap_or(0.0) as u64);
    context.status = Some(status);
    findings.pass(format_args!("answers in {}; {state}, up {up}", micros_in_words(micros)));
}

/// Checks that the daemon has the version of this program.
pub(crate) fn version(context: &mut DoctorContext, findings: &mut Findings) {
    let Some(status) = &context.status else { return };
    let (own, theirs) = (env!("CARGO_PKG_VERSION"), status["version"].as_str().unwrap_or("an unknown version"));
    let restart = restart(context);
    if own != theirs {
        return findings
            .warn(format_args!("the daemon has version {theirs}, this program {own}"), format_args!("{restart}"));
    }
    // Linux appends this to the path of a program whose file was removed.
    match holder(&context.store) {
        Some((_, path)) if path.to_string_lossy().ends_with(" (deleted)") => {
            let what = format_args!("{own}, but the daemon's program file was replaced after it started");
            findings.warn(what, format_args!("{restart}"));
        }
        _ => findings.pass(format_args!("{own}, as this program has")),
    }
}

/// Checks that a write reaches the disk and can be read back.
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
            findings.pass(format_args!("a write took {write}, reading it back {read}"));
        }
        Err(error) if error.code() == code::UNKNOWN_METHOD => {
            findings.warn(format_args!("the daemon is too old for this check"), format_args!("{}", restart(context)));
        }
        Err(error) => {
            let folder = context.store.display();
            let remedy =
                format_args!("check that the disk of {folder} has free space and is writable; see the daemon's log");
            findings.fail(format_args!("{error}"), remedy);
        }
    }
}

/// Checks that no forgetting waits to be tried again.
pub(crate) fn forgetting(context: &mut DoctorContext, findings: &mut Findings) {
    let Some(forgetting) = context.status.as_ref().and_then(|status| status.get("forgetting")) else { return };
    let what = forgetting_in_words(forgetting);
    match forgetting["error"].as_str() {
        Some(_) => findings.warn(
            format_args!("a forgetting is not at its end: {what}"),
            format_args!("mend that; the daemon tries again by itself"),
        ),
        None => findings.pass(format_args!("a forgetting runs: {what}")),
    }
}

/// Checks the integrity of the store.
pub(crate) fn store(context: &mut DoctorContext, findings: &mut Findings) {
    if context.status.is_none() || context.is_stuck {
        return skipped(context, findings);
    }
    if let Some(error) = context.status.as_ref().and_then(|status| status["store_error"].as_str()) {
        return findings.fail(format_args!("{error}"), format_args!("{}", restart(context)));
    }
    let mut client = Client::new(context.client.path(), Policy { reply_timeout: STORE_CHECK_TIMEOUT, ..policy() });
    let checked: Value = match client.call("store_check", &json!({})) {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error @ ClientError::Refused { .. }) => {
            return findings.warn(format_args!("{error}"), format_args!("run this again in a minute"));
        }
        Err(error) => {
            let remedy = format_args!("run the check with a longer timeout: iaid call --timeout 600 store_check");
            return findings.fail(format_args!("{error}"), remedy);
        }
    };
    let problems = &checked["problems"];
    let count = counted(problems.as_array().map_or(0, Vec::len) as u64, "problem", "problems");
    if checked["mendable"] == true {
        let remedy = format_args!("rebuild the index: iaid call --timeout 3600 store_reindex");
        findings.fail(format_args!("{count} in the full-text index only: {}", listed(problems)), remedy);
        return findings.fixed_by(vec![Fix::Reindex(context.client.path().into())]);
    }
    if checked["ok"] != true {
        let remedy = format_args!(
            "restore a backup: iaid restore FILE keeps the present store; iaid call store_check lists all problems"
        );
        return findings.fail(format_args!("{count}: {}", listed(problems)), remedy);
    }
    let records = counted(checked["records"].as_u64().unwrap_or(0), "record", "records");
    let index = match checked["index"].as_str() {
        Some("due") => "; its index will be rebuilt during sleep",
        Some("growing") => "; its index is being rebuilt",
        _ => "",
    };
    match listed(&checked["skipped"]) {
        skipped if skipped.is_empty() => findings.pass(format_args!("intact: {records}{index}")),
        skipped => findings.pass(format_args!("intact: {records}{index}; skipped for lack of time: {skipped}")),
    }
}

/// Returns the first texts of a list.
fn listed(list: &Value) -> String {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.take(MAX_LISTED).collect::<Vec<_>>().join("; ")
}

/// Checks for a quarantine, a failed step, a pause, and the time of the last consolidation.
pub(crate) fn cycle(context: &mut DoctorContext, findings: &mut Findings) {
    let file = json_file(&context.store.join(status_file::NAME)).ok().flatten().unwrap_or_default();
    let quarantine = match &context.status {
        Some(status) => &status["quarantine"],
        None => &file["quarantine"],
    };
    // An expired quarantine is lifted at the next tick.
    let until = quarantine["until_ts"].as_str().and_then(|ts| ts.parse::<Timestamp>().ok());
    if let Some(until) = until.filter(|until| *until > context.now) {
        let until = local_time(&until.to_string(), &context.zone);
        let why = quarantine["reason"].as_str().unwrap_or_default();
        let remedy = format_args!("iaid rem runs one now; iaid log shows what failed");
        return findings.warn(format_args!("quarantine: no scheduled REM cycle until {until}: {why}"), remedy);
    }
    let progress = &file["sleep_cycle_progress"];
    if progress["attempt"].as_u64().is_some_and(|attempt| attempt > 0) {
        let text = |key: &str| progress[key].as_str().unwrap_or_default();
        let what = format_args!("step {} of the REM cycle failed: {}", text("failed_step"), text("last_error"));
        return findings.warn(what, format_args!("iaid rem retries it; iaid log shows more"));
    }
    let Some(status) = &context.status else { return };
    if status["scheduler_paused"] == true {
        return findings.warn(format_args!("paused: no scheduled REM cycles"), format_args!("iaid resume"));
    }
    if context.is_stuck {
        return skipped(context, findings);
    }
    let last = context.client.call("events_query", &json!({"kind": "cls_consolidation_run", "limit": 1}));
    let last: Value = match last {
        Ok(reply) => serde_json::from_str(reply.get()).unwrap_or_default(),
        Err(error) => return findings.fail(format_args!("{error}"), format_args!("see the daemon's log")),
    };
    match last["events"][0]["ts"].as_str() {
        Some(ts) => findings.pass(format_args!("the last consolidation ended {}", local_time(ts, &context.zone))),
        None => findings.pass(format_args!("no consolidation yet; it runs when the daemon is idle")),
    }
}

fn skipped(context: &DoctorContext, findings: &mut Findings) {
    if context.is_stuck {
        let what = format_args!("skipped: all workers are busy");
        return findings.warn(what, format_args!("{}", restart(context)));
    }
    let what = format_args!("skipped: no daemon answers, and only the daemon opens the store");
    findings.warn(what, format_args!("start the daemon and run this again"));
}

/// Returns the process that has the store open, according to its lock file, and the path of its program. Returns `None`
/// unless the system confirms that the process is an iaid: the lock file outlives its holder, and the process id may
/// have been reused.
fn holder(store: &Path) -> Option<(u32, PathBuf)> {
    let text = files::text(&store.join(".lock"), MAX_LOCK_BYTES).ok()??;
    let pid: u32 = text.trim().parse().ok()?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    program.file_name()?.to_str()?.starts_with("iaid").then_some((pid, program))
}

fn remedy(error: &ClientError, context: &DoctorContext) -> String {
    let ClientError::Unreachable { why, .. } = error else { return start(context) };
    match (why, holder(&context.store)) {
        (UnreachableReason::NoReply(_) | UnreachableReason::NotAccepted(_), Some((pid, _))) => {
            format!("see its log, then kill -9 {pid} and start it again: {}", start(context))
        }
        (UnreachableReason::NoSocket | UnreachableReason::NotListening, Some((pid, _))) => {
            format!(
                "process {pid} has the store open but does not serve this socket: kill {pid}, then {}",
                start(context)
            )
        }
        _ => start(context),
    }
}

fn start(context: &DoctorContext) -> String {
    match (context.service(), system_socket()) {
        (Some(manager), _) if manager.has_failed() => {
            format!("iaid install --service leaves out what does not work; {} shows why it ended", manager.log())
        }
        (Some(manager), _) => format!("{}; {} shows why it ended", manager.start_command(), manager.log()),
        (None, Some((_, unit))) => format!("as the administrator: systemctl restart {unit}"),
        (None, None) => "iaid serve; or install it as a service: iaid install --service".into(),
    }
}

fn restart(context: &DoctorContext) -> String {
    match (context.service(), system_socket(), holder(&context.store)) {
        (Some(manager), ..) => manager.restart_command(),
        (None, Some((_, unit)), _) => {
            format!("as the administrator: systemctl restart {}", unit.replace(".socket", ".service"))
        }
        (None, None, Some((pid, _))) => format!("kill {pid}, then iaid serve"),
        (None, None, None) => "stop it, then iaid serve".into(),
    }
}
