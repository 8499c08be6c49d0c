//! Formats an entry of the journal as a line for people. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::cli::support::values::time_in_words;

/// Returns the entry as a line that begins with the local time.
pub(crate) fn line(mut entry: Map<String, Value>, zone: &TimeZone) -> String {
    let ts = entry.remove("ts");
    let ts = ts.as_ref().map_or_else(|| "undated".into(), |ts| clock(ts, zone));
    let event = entry.remove("event");
    let event = event.as_ref().and_then(Value::as_str).unwrap_or("an event without a name");
    match words(event, &entry, zone) {
        Some(words) => format!("{ts}  {words}"),
        None => format!("{ts}  {}{}", event.replace('_', " "), all(&entry)),
    }
}

/// Returns a sentence for the event; `None` if the event is unknown or lacks a field.
fn words(event: &str, entry: &Map<String, Value>, zone: &TimeZone) -> Option<String> {
    let text = |key: &str| entry.get(key)?.as_str();
    let count = |key: &str| entry.get(key)?.as_u64();
    Some(match event {
        "daemon_started" => format!("started: version {}, process {}", text("version")?, count("pid")?),
        "daemon_stopped" => format!("stopped: {}", text("reason")?.replace('_', " ")),
        "state_transition" => {
            let paused = if entry.contains_key("while_paused") { ", though sleep is paused" } else { "" };
            let trigger = text("trigger")?.replace('_', " ");
            format!("{} → {}: {trigger}{paused}", state(text("from")?), state(text("to")?))
        }
        "sleep_step_started" => format!("step {} began", text("step")?),
        "sleep_step_completed" => step(text("step")?, entry)?,
        "quarantine_entered" => {
            let until = clock(entry.get("until_ts")?, zone);
            format!("quarantine until {until}: {}", text("reason")?)
        }
        "quarantine_lifted" => "quarantine lifted: cycles run again".into(),
        "spool_drained" => format!(
            "deferred captures of {}: {} new, {} already stored, {} too short",
            text("file")?,
            count("inserted")?,
            count("reinforced")?,
            count("skipped")?
        ),
        "spool_set_aside" => format!(
            "deferred captures of {} failed (attempt {}), next attempt at {}: {}",
            text("file")?,
            count("attempt")?,
            clock(entry.get("retry_at")?, zone),
            text("reason")?
        ),
        "spool_given_up" => format!("deferred captures abandoned, kept in {}: {}", text("file")?, text("reason")?),
        "journal_full" => "the day's journal is full: further entries of this day are dropped".into(),
        _ => return None,
    })
}

fn step(step: &str, entry: &Map<String, Value>) -> Option<String> {
    let seconds = entry.get("duration_sec")?.as_f64()?;
    let time = if seconds < 60.0 { format!("{seconds:.2} s") } else { time_in_words(seconds as u64) };
    if let Some(error) = entry.get("error").and_then(Value::as_str) {
        return Some(format!("step {step} failed after {time}: {error}"));
    }
    let counts = entry.get("counts").and_then(Value::as_object);
    let counts: Vec<String> = counts.into_iter().flatten().map(|(name, count)| format!("{count} {name}")).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    Some(format!("step {step} done in {time}{counts}"))
}

fn state(name: &str) -> &str {
    match name {
        "WAKE" => "awake",
        "DROWSY" => "drowsy",
        "TRANSITIONING" => "falling asleep",
        "SLEEP" => "asleep",
        "DREAMING" => "dreaming",
        "HIBERNATION" => "hibernating",
        other => other,
    }
}

/// Returns all fields of an entry as ` key=value`.
fn all(entry: &Map<String, Value>) -> String {
    let said = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!(" {key}={text}"),
        value => format!(" {key}={value}"),
    };
    entry.iter().map(said).collect()
}

/// Formats a timestamp in local time, to the second.
fn clock(ts: &Value, zone: &TimeZone) -> String {
    let text = ts.as_str().unwrap_or_default();
    match text.parse::<Timestamp>() {
        Ok(time) => {
            let at = zone.to_datetime(time);
            format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
        }
        Err(_) if text.is_empty() => ts.to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::journal::Entry;
    use crate::lifecycle::state::State;

    fn shown(entry: Value) -> String {
        let Value::Object(mut entry) = entry else { panic!("{entry}") };
        entry.entry("ts").or_insert("2026-05-14T22:30:05.5Z".into());
        line(entry, &TimeZone::fixed(jiff::tz::offset(2)))
    }

    #[test]
    fn every_known_entry_has_a_sentence() {
        let until_ts = "2026-05-15T22:30:05Z".parse().unwrap();
        let (from, to, trigger) = (State::Wake, State::Transitioning, "asked_to_sleep");
        let (file, reason) = (String::from("a.jsonl"), String::from("the disk failed"));
        for (entry, want) in [
            (Entry::DaemonStarted { version: "1.2.3", pid: 7 }, "started: version 1.2.3, process 7"),
            (Entry::DaemonStopped { reason: "signal" }, "stopped: signal"),
            (
                Entry::StateTransition { from, to, trigger, while_paused: false },
                "awake → falling asleep: asked to sleep",
            ),
            (
                Entry::StateTransition { from, to, trigger, while_paused: true },
                "awake → falling asleep: asked to sleep, though sleep is paused",
            ),
            (Entry::SleepStepStarted { step: "decay" }, "step decay began"),
            (
                Entry::SleepStepCompleted {
                    step: "decay",
                    duration_sec: 0.25,
                    counts: [("pruned", 3), ("decayed", 1)].into(),
                    error: None,
                },
                "step decay done in 0.25 s: 1 decayed, 3 pruned",
            ),
            (
                Entry::SleepStepCompleted {
                    step: "decay",
                    duration_sec: 125.0,
                    counts: [].into(),
                    error: Some(reason.clone()),
                },
                "step decay failed after 2 min 5 s: the disk failed",
            ),
            (
                Entry::QuarantineEntered { reason: reason.clone(), until_ts, ttl_hours: 24.0 },
                "quarantine until 2026-05-16 00:30:05: the disk failed",
            ),
            (Entry::QuarantineLifted, "quarantine lifted: cycles run again"),
            (
                Entry::SpoolDrained { file: file.clone(), inserted: 2, reinforced: 1, skipped: 3 },
                "deferred captures of a.jsonl: 2 new, 1 already stored, 3 too short",
            ),
            (
                Entry::SpoolSetAside { file: file.clone(), attempt: 1, retry_at: until_ts, reason: reason.clone() },
                "deferred captures of a.jsonl failed (attempt 1), next attempt at 2026-05-16 00:30:05: the disk failed",
            ),
            (Entry::SpoolGivenUp { file, reason }, "deferred captures abandoned, kept in a.jsonl: the disk failed"),
            (Entry::JournalFull, "the day's journal is full: further entries of this day are dropped"),
        ] {
            let said = shown(serde_json::to_value(&entry).unwrap());
            assert_eq!(said, format!("2026-05-15 00:30:05  {want}"));
        }
    }

    #[test]
    fn unknown_entries_are_shown_with_their_fields() {
        for (entry, want) in [
            (r#"{"event":"wrapper_event","n":1,"kind":"a b"}"#, "2026-05-15 00:30:05  wrapper event kind=a b n=1"),
            (r#"{"event":"daemon_started","pid":"x"}"#, "2026-05-15 00:30:05  daemon started pid=x"),
            (r#"{"ts":"soon"}"#, "soon  an event without a name"),
            (r#"{"ts":5,"event":"quarantine_lifted"}"#, "5  quarantine lifted: cycles run again"),
        ] {
            assert_eq!(shown(serde_json::from_str(entry).unwrap()), want);
        }
    }
}
