//! Parses the params of a capture (of `memory_capture`, a line of a spool file or an imported row) into a draft.

use crate::dispatch::{CallError, Params, excerpt};
use crate::memory::model::annotation::{ANNOTATION_BYTES, ANNOTATION_KEYS};
use crate::memory::model::record::{PROJECT_BYTES, Role, SESSION_BYTES, TEXT_BYTES, Tier};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::params::{self, bounded_string};
use crate::memory::store::new_record::Draft;

/// Most parts of one turn. Picked: 64 GiB of text.
const MAX_PARTS: i64 = 1 << 20;

/// The values of params that are not given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaptureDefaults<'a> {
    pub(crate) session: &'a str,
    pub(crate) project: &'a str,
    pub(crate) ts: UnixMicros,
}

/// The params of a capture, checked.
pub(crate) enum ParsedCapture {
    /// The text can be stored. It may be too long for one record.
    Accepted(Draft),
    /// The text is white space alone.
    TooShort,
    /// There is no tier of this name.
    UnknownTier(String),
}

/// Reads the params of `memory_capture`.
///
/// # Errors
/// -32602 if a param is missing, of a wrong type, out of range or too long; the message names the param. A text of any
/// length is accepted.
pub(crate) fn parse_capture(params: &Params<'_>, defaults: &CaptureDefaults<'_>) -> Result<ParsedCapture, CallError> {
    let text = params.string("text")?;
    let cue = bounded_string(params, "cue", "", TEXT_BYTES)?;
    let session = bounded_string(params, "session_id", defaults.session, SESSION_BYTES)?;
    let project = bounded_string(params, "project", defaults.project, PROJECT_BYTES)?;
    let folder = bounded_string(params, "project_folder", "", PROJECT_BYTES)?;
    let tier_name = params.string_or("tier", "episodic")?;
    let role = Role::named(&params.string_or("role", "user")?)
        .ok_or_else(|| CallError::invalid("role", "one of user, assistant, system"))?;
    let ts = parse_ts(params)?.unwrap_or(defaults.ts);
    let part = parse_part(params)?;
    let tags = parse_annotations(params)?;
    if text.trim().is_empty() {
        return Ok(ParsedCapture::TooShort);
    }
    let Some(tier) = Tier::named(&tier_name) else {
        return Ok(ParsedCapture::UnknownTier(excerpt(&tier_name).into_owned()));
    };
    Ok(ParsedCapture::Accepted(Draft {
        text: text.into_owned(),
        cue,
        tier,
        role,
        session,
        project,
        folder,
        ts,
        part,
        tags,
    }))
}

/// Reads the params that annotate a text. Returns the tags that keep them.
///
/// # Errors
/// -32602 if one is no string, too long, or not one of its values.
pub(crate) fn parse_annotations(params: &Params<'_>) -> Result<Vec<String>, CallError> {
    let mut tags = Vec::new();
    for key in &ANNOTATION_KEYS {
        let value = bounded_string(params, key.name, key.neutral, ANNOTATION_BYTES)?;
        if !key.values.is_empty() && !key.values.contains(&&*value) {
            return Err(CallError::invalid(key.name, format_args!("one of {}", key.values.join(", "))));
        }
        if value != key.neutral {
            tags.push(key.tag(&value));
        }
    }
    Ok(tags)
}

/// Reads the param `ts`, the time at which the text was said; `None` if it is not given.
///
/// # Errors
/// -32602 if it is not a time, or not in the years 1900 to 2199.
pub(crate) fn parse_ts(params: &Params<'_>) -> Result<Option<UnixMicros>, CallError> {
    let ts = params::time(params, "ts", DateBound::Start)?;
    match ts {
        Some(ts) if !ts.is_plausible() => Err(CallError::invalid("ts", "a time from 1900 to 2199")),
        ts => Ok(ts),
    }
}

/// Reads the params `part` and `parts`: which part of a longer turn the text is, from 1, and of how many.
///
/// # Errors
/// -32602 if only one of the two is given, or if one is out of range.
pub(crate) fn parse_part(params: &Params<'_>) -> Result<Option<(i64, i64)>, CallError> {
    let parts = params.integer_opt("parts", 1..=MAX_PARTS)?;
    let part = params.integer_opt("part", 1..=parts.unwrap_or(MAX_PARTS))?;
    match (part, parts) {
        (Some(part), Some(parts)) => Ok(Some((part, parts))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(CallError::invalid("parts", "given together with 'part'")),
        (None, Some(_)) => Err(CallError::invalid("part", "given together with 'parts'")),
    }
}
