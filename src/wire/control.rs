//! The eight control messages: their types and the validation of their fields.
//!
//! What a control message does is decided by the control plane.

use std::borrow::Cow;

use crate::wire::json;

/// A control message with valid fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// `status`: report the daemon's state.
    Status,
    /// `user_initiated_sleep`: go to sleep.
    Sleep {
        /// The reason given by the client.
        reason: Cow<'a, str>,
        /// The client's timestamp.
        ts: Cow<'a, str>,
    },
    /// `force_wake`: wake up when the running chunk has ended.
    Wake {
        /// The client's timestamp.
        ts: Cow<'a, str>,
    },
    /// `force_rem`: run a REM cycle.
    Rem {
        /// The client's timestamp.
        ts: Cow<'a, str>,
    },
    /// `pause`: do not sleep until `resume`.
    Pause {
        /// Validated, and without effect.
        seconds: Option<i64>,
    },
    /// `resume`: allow sleep again.
    Resume {
        /// Validated, and without effect.
        seconds: Option<i64>,
    },
    /// `session_open`: a session has begun.
    SessionOpen {
        /// The session's id.
        session_id: Option<Cow<'a, str>>,
        /// The client's timestamp.
        ts: Option<Cow<'a, str>>,
        /// Why the session's context begins now: `startup`, `resume`, `clear` or `compact`. Absent if the client joins
        /// a session.
        source: Option<Cow<'a, str>>,
    },
    /// `embed_cue`: return the embedding of `cue`, a string. No embedder runs here, so it is always refused.
    EmbedCue,
}

/// The type of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// `status`
    Status,
    /// `user_initiated_sleep`
    Sleep,
    /// `force_wake`
    Wake,
    /// `force_rem`
    Rem,
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `session_open`
    SessionOpen,
    /// `embed_cue`
    EmbedCue,
}

/// Why a control message is invalid, for example `ts must be a string`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidControl(pub String);

/// The fields of control messages, each as its JSON text.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlFields<'a> {
    /// `reason`
    pub reason: Option<&'a str>,
    /// `ts`
    pub ts: Option<&'a str>,
    /// `seconds`
    pub seconds: Option<&'a str>,
    /// `session_id`
    pub session_id: Option<&'a str>,
    /// `source`
    pub source: Option<&'a str>,
    /// `cue`
    pub cue: Option<&'a str>,
    /// A field that is given twice.
    pub duplicate: Option<&'static str>,
}

impl ControlKind {
    /// Returns the kind with this `type`, or `None` if there is none.
    pub fn named(name: &str) -> Option<ControlKind> {
        Some(match name {
            "status" => ControlKind::Status,
            "user_initiated_sleep" => ControlKind::Sleep,
            "force_wake" => ControlKind::Wake,
            "force_rem" => ControlKind::Rem,
            "pause" => ControlKind::Pause,
            "resume" => ControlKind::Resume,
            "session_open" => ControlKind::SessionOpen,
            "embed_cue" => ControlKind::EmbedCue,
            _ => return None,
        })
    }
}

impl<'a> Control<'a> {
    /// Validates the fields that a message of this kind has. Other fields are ignored.
    ///
    /// # Errors
    /// [`InvalidControl`] for a duplicate field, or for the first field that is missing or of the wrong
    /// type.
    pub fn check(kind: ControlKind, fields: &ControlFields<'a>) -> Result<Control<'a>, InvalidControl> {
        if let Some(field) = fields.duplicate {
            return Err(InvalidControl(format!("duplicate field '{field}'")));
        }
        Ok(match kind {
            ControlKind::Status => Control::Status,
            ControlKind::Sleep => {
                Control::Sleep { reason: required("reason", fields.reason)?, ts: required("ts", fields.ts)? }
            }
            ControlKind::Wake => Control::Wake { ts: required("ts", fields.ts)? },
            ControlKind::Rem => Control::Rem { ts: required("ts", fields.ts)? },
            ControlKind::Pause => Control::Pause { seconds: seconds(fields.seconds)? },
            ControlKind::Resume => Control::Resume { seconds: seconds(fields.seconds)? },
            ControlKind::SessionOpen => Control::SessionOpen {
                session_id: optional("session_id", fields.session_id)?,
                ts: optional("ts", fields.ts)?,
                source: optional("source", fields.source)?,
            },
            ControlKind::EmbedCue => required("cue", fields.cue).map(|_| Control::EmbedCue)?,
        })
    }
}

fn required<'a>(field: &str, raw: Option<&'a str>) -> Result<Cow<'a, str>, InvalidControl> {
    raw.and_then(json::string).ok_or_else(|| InvalidControl(format!("{field} must be a string")))
}

fn optional<'a>(field: &str, raw: Option<&'a str>) -> Result<Option<Cow<'a, str>>, InvalidControl> {
    raw.filter(|raw| *raw != "null").map(|raw| required(field, Some(raw))).transpose()
}

fn seconds(raw: Option<&str>) -> Result<Option<i64>, InvalidControl> {
    raw.filter(|raw| *raw != "null").map(integer).transpose()
}

/// Reads a JSON integer, clamped to the range of `i64`.
fn integer(raw: &str) -> Result<i64, InvalidControl> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidControl("seconds must be an int".into()));
    }
    Ok(raw.parse().unwrap_or(if raw.starts_with('-') { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_validates_its_fields() {
        let text = Some("\"x\"");
        let number = Some("5");
        let all = ControlFields {
            reason: text,
            ts: text,
            seconds: number,
            session_id: text,
            source: text,
            cue: text,
            duplicate: None,
        };
        let none = ControlFields::default();
        let x = || Cow::Borrowed("x");
        for (name, fields, want) in [
            ("status", none, Ok(Control::Status)),
            ("user_initiated_sleep", all, Ok(Control::Sleep { reason: x(), ts: x() })),
            ("user_initiated_sleep", none, Err("reason must be a string")),
            ("user_initiated_sleep", ControlFields { ts: number, ..all }, Err("ts must be a string")),
            ("force_wake", all, Ok(Control::Wake { ts: x() })),
            ("force_wake", none, Err("ts must be a string")),
            ("force_rem", all, Ok(Control::Rem { ts: x() })),
            ("force_rem", ControlFields { ts: Some("null"), ..all }, Err("ts must be a string")),
            ("pause", none, Ok(Control::Pause { seconds: None })),
            ("pause", all, Ok(Control::Pause { seconds: Some(5) })),
            ("pause", ControlFields { seconds: Some("true"), ..all }, Err("seconds must be an int")),
            ("pause", ControlFields { seconds: Some("1.0"), ..all }, Err("seconds must be an int")),
            ("pause", ControlFields { seconds: Some("1e2"), ..all }, Err("seconds must be an int")),
            ("resume", ControlFields { seconds: text, ..all }, Err("seconds must be an int")),
            ("resume", ControlFields { seconds: Some("-3"), ..all }, Ok(Control::Resume { seconds: Some(-3) })),
            (
                "pause",
                ControlFields { seconds: Some("99999999999999999999"), ..all },
                Ok(Control::Pause { seconds: Some(i64::MAX) }),
            ),
            (
                "pause",
                ControlFields { seconds: Some("-99999999999999999999"), ..all },
                Ok(Control::Pause { seconds: Some(i64::MIN) }),
            ),
            ("session_open", none, Ok(Control::SessionOpen { session_id: None, ts: None, source: None })),
            ("session_open", all, Ok(Control::SessionOpen { session_id: Some(x()), ts: Some(x()), source: Some(x()) })),
            ("session_open", ControlFields { session_id: number, ..all }, Err("session_id must be a string")),
            ("session_open", ControlFields { source: number, ..all }, Err("source must be a string")),
            ("session_open", ControlFields { ts: Some("{}"), ..all }, Err("ts must be a string")),
            ("embed_cue", all, Ok(Control::EmbedCue)),
            ("embed_cue", none, Err("cue must be a string")),
            ("embed_cue", ControlFields { cue: number, ..all }, Err("cue must be a string")),
            ("pause", ControlFields { duplicate: Some("seconds"), ..all }, Err("duplicate field 'seconds'")),
        ] {
            let got = Control::check(ControlKind::named(name).unwrap(), &fields);
            assert_eq!(got, want.map_err(|e| InvalidControl(e.into())), "{name} {fields:?}");
        }
        assert_eq!(ControlKind::named("Status"), None);
    }
}
