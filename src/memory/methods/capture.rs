//! `memory_capture`: stores a text as a record, unless the same text is stored already or it is white space alone.
//!
//! The worker checks the params and analyzes the text. The writer looks for a record with the same text and inserts a new
//! one if there is none. The text is stored byte for byte.

use serde::Serialize;

use crate::dispatch::{CallError, LateReply, Params, Reply};
use crate::memory::ingest::capture_params::{CaptureDefaults, ParsedCapture, parse_capture};
use crate::memory::model::record::TEXT_BYTES;
use crate::memory::model::time::UnixMicros;
use crate::memory::params::check_len;
use crate::memory::store::new_record::{InsertOutcome, NewRecord};
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::WriteJob;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::secrets;

/// Answers `memory_capture`: after the commit if the text is stored, else at once.
pub(crate) fn capture(writer: &Writer, params: &Params<'_>, now: UnixMicros, reply: Reply<'_>) {
    match read(params, now) {
        Ok(CaptureRequest::Store(new, secrets)) => {
            writer.submit(Box::new(Capture { new: *new, secrets, stored: None, reply: reply.later() }));
        }
        Ok(CaptureRequest::Skip(reason)) => {
            reply.send(Ok(Captured { status: "skipped", record_id: None, reason, secrets: Vec::new() }))
        }
        Err(error) => reply.send::<()>(Err(error)),
    }
}

enum CaptureRequest {
    Store(Box<NewRecord>, Vec<&'static str>),
    Skip(String),
}

#[derive(Serialize)]
struct Captured {
    status: &'static str,
    record_id: Option<String>,
    reason: String,
    /// The kinds of what looks like secrets in the text and the cue, which are stored as they are. Left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<&'static str>,
}

fn read(params: &Params<'_>, now: UnixMicros) -> Result<CaptureRequest, CallError> {
    let defaults = CaptureDefaults { session: "-", project: "", ts: now };
    match parse_capture(params, &defaults)? {
        ParsedCapture::Accepted(draft) => {
            check_len("text", &draft.text, TEXT_BYTES)?;
            let secrets = secrets::kinds(&[&draft.text, &draft.cue]);
            Ok(CaptureRequest::Store(Box::new(NewRecord::prepare(draft)), secrets))
        }
        ParsedCapture::TooShort => Ok(CaptureRequest::Skip("too short".into())),
        ParsedCapture::UnknownTier(name) => Ok(CaptureRequest::Skip(format!("invalid tier '{name}'"))),
    }
}

struct Capture {
    new: NewRecord,
    secrets: Vec<&'static str>,
    stored: Option<Captured>,
    reply: LateReply,
}

impl WriteJob for Capture {
    fn weight(&self) -> usize {
        size_of::<Capture>() + self.new.weight()
    }

    fn run(&mut self, transaction: &mut WriteTransaction<'_>) -> Result<(), CallError> {
        let stored = store(&mut self.new, transaction)?;
        self.stored = Some(Captured { secrets: self.secrets.clone(), ..stored });
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<(), CallError>) {
        let Capture { stored, reply, .. } = *self;
        reply.send(outcome.and_then(|()| stored.ok_or_else(|| CallError::failed("nothing was stored"))));
    }
}

fn store(new: &mut NewRecord, transaction: &mut WriteTransaction<'_>) -> Result<Captured, CallError> {
    let (status, id, reason) = match new.insert_once(transaction)? {
        InsertOutcome::New { id, .. } => ("inserted", id, format!("tier={}", new.draft.tier.name())),
        InsertOutcome::Known { id, .. } => ("reinforced", id, "the same text in the same session and role".into()),
    };
    Ok(Captured { status, record_id: Some(id.to_string()), reason, secrets: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::code;
    use crate::memory::test_support::{Bench, call};
    use serde_json::{Value, json};
    use uuid::Uuid;

    #[test]
    fn a_text_is_stored_byte_for_byte() {
        let bench = Bench::new();
        let texts = [
            "  white space \t at both ends \r\n ",
            "a NUL \0 and \u{1} controls \u{7f}",
            "quotes \" and \\ and 'these' and {\"json\":1}",
            "e\u{301} is not é here, nor \u{212B} Å",
            "рассказ о кошке, 猫の話をしました、🎉🏽",
            "\u{feff}starts with a mark \u{fffd} \u{10ffff}",
        ];
        for (i, text) in texts.iter().enumerate() {
            let got = bench.ok("memory_capture", json!({"text": text}));
            assert_eq!((&got["status"], &got["reason"]), (&json!("inserted"), &json!("tier=episodic")), "{text}");
            let id = got["record_id"].as_str().unwrap();
            assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 7);
            let stored: String = bench.row("SELECT text FROM record WHERE seq = ?1", i as i64 + 1);
            assert_eq!(stored.as_bytes(), text.as_bytes());
        }
        let longest = "я".repeat(TEXT_BYTES / 2);
        bench.ok("memory_capture", json!({"text": longest}));
        assert_eq!(bench.row::<String>("SELECT text FROM record WHERE seq = ?1", 7), longest);
    }

    #[test]
    fn every_param_is_stored() {
        let bench = Bench::new();
        let params = json!({"text": "the build runs on the old laptop", "cue": "a cue", "tier": "procedural",
            "session_id": "s-1", "role": "assistant", "ts": "2024-05-07T14:30:00.5+02:00", "project": "/home/u/p",
            "part": 2, "parts": 3});
        bench.ok("memory_capture", params);
        let row: String = bench.row(
            "SELECT concat_ws('|', ts, tier, role, s.name, p.name, part, parts, valid_to, twin, cue) FROM record
             JOIN session s ON s.number = session JOIN project p ON p.number = project WHERE seq = ?1",
            1,
        );
        assert_eq!(row, "1715085000500000|3|1|s-1|/home/u/p|2|3|0|a cue");
        bench.ok("memory_capture", json!({"text": "nothing but the text", "cue": null, "unknown": [1]}));
        let row: String = bench.row(
            "SELECT concat_ws('|', ts, tier, role, s.name, p.name, part, cue) FROM record
             JOIN session s ON s.number = session JOIN project p ON p.number = project WHERE seq = ?1",
            2,
        );
        assert_eq!(row, format!("{}|1|0|-||", Bench::NOW.0));
    }

    #[test]
    fn short_texts_and_unknown_tiers_are_skipped() {
        let bench = Bench::new();
        for (params, reason) in [
            (json!({"text": ""}), "too short"),
            (json!({"text": " \n \t \u{3000} "}), "too short"),
            (json!({"text": " ", "tier": "x"}), "too short"),
            (json!({"text": "long enough text", "tier": "Episodic"}), "invalid tier 'Episodic'"),
            (json!({"text": "long enough text", "tier": ""}), "invalid tier ''"),
        ] {
            let got = bench.ok("memory_capture", params.clone());
            assert_eq!(got, json!({"status": "skipped", "record_id": null, "reason": reason}), "{params}");
        }
        assert_eq!(bench.memory.records().load(std::sync::atomic::Ordering::Relaxed), 0);
        assert_eq!(bench.ok("memory_capture", json!({"text": "我叫李雷"}))["status"], "inserted");
    }

    #[test]
    fn invalid_params_are_named() {
        let bench = Bench::new();
        let with = |name: &str, value: Value| {
            let mut params = json!({"text": "a text that is long enough"});
            params[name] = value;
            params
        };
        for (params, message) in [
            (json!({}), "missing required param: 'text'"),
            (with("text", json!(7)), "param 'text' must be a string"),
            (with("text", json!(null)), "param 'text' must be a string"),
            (
                with("text", json!("x".repeat(TEXT_BYTES + 1))),
                "param 'text' must be at most 65536 bytes of UTF-8: it has 65537; send it in parts",
            ),
            (with("cue", json!("x".repeat(70000))), "param 'cue' must be at most 65536 bytes of UTF-8: it has 70000"),
            (
                with("session_id", json!("x".repeat(513))),
                "param 'session_id' must be at most 512 bytes of UTF-8: it has 513",
            ),
            (with("role", json!("tool")), "param 'role' must be one of user, assistant, system"),
            (with("tier", json!(1)), "param 'tier' must be a string"),
            (
                with("ts", json!("yesterday")),
                "param 'ts' must be an ISO 8601 date or time, such as 2024-05-07 or 2024-05-07T14:30:00Z",
            ),
            (with("ts", json!("1066-10-14")), "param 'ts' must be a time from 1900 to 2199"),
            (with("ts", json!(1715085000)), "param 'ts' must be a string"),
            (with("part", json!(1)), "param 'parts' must be given together with 'part'"),
            (with("parts", json!(2)), "param 'part' must be given together with 'parts'"),
            (with("parts", json!(0)), "param 'parts' must be an integer from 1 to 1048576"),
            (json!({"text": "long enough text", "part": 3, "parts": 2}), "param 'part' must be an integer from 1 to 2"),
        ] {
            let error = bench.err("memory_capture", params);
            assert_eq!((error.code, error.message.as_str()), (code::INVALID_PARAMS, message));
        }
        assert_eq!(call(&bench.memory, "memory_capture", Some("[]")).unwrap_err().code, code::INVALID_PARAMS);
    }

    #[test]
    fn the_same_text_is_one_record_while_that_is_valid() {
        let bench = Bench::new();
        let text = "the cat is called Momo";
        let first = bench.ok("memory_capture", json!({"text": text, "session_id": "a"}));
        let again =
            bench.ok("memory_capture", json!({"text": text, "session_id": "a", "cue": "other", "ts": "2020-01-01"}));
        assert_eq!((&again["status"], &again["record_id"]), (&json!("reinforced"), &first["record_id"]));
        for other in [
            json!({"text": text, "session_id": "b"}),
            json!({"text": text, "session_id": "a", "role": "assistant"}),
            json!({"text": format!("{text} "), "session_id": "a"}),
        ] {
            assert_eq!(bench.ok("memory_capture", other.clone())["status"], "inserted", "{other}");
        }
        bench.sql("UPDATE record SET valid_to = 5 WHERE seq = 1");
        let back = bench.ok("memory_capture", json!({"text": text, "session_id": "a"}));
        assert_eq!(back["status"], "inserted");
        assert_ne!(back["record_id"], first["record_id"]);
        let again = bench.ok("memory_capture", json!({"text": text, "session_id": "a"}));
        assert_eq!((&again["status"], &again["record_id"]), (&json!("reinforced"), &back["record_id"]));
        assert_eq!(bench.memory.records().load(std::sync::atomic::Ordering::Relaxed), 5);
    }
}
