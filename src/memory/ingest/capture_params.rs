//! Reads the params of a capture (`memory_capture`, a line of a spool file, an imported row) into a draft.

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::{PROJECT_BYTES, Role, SESSION_BYTES, TEXT_BYTES, Tier};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::params::{self, bounded_string};
use crate::memory::store::new_record::Draft;

/// Characters that a text needs, white space at its ends not counted.
const LEAST_CHARS: usize = 12;

/// Most pieces of one turn. Picked: 64 GiB of text.
const MOST_PARTS: i64 = 1 << 20;

/// What holds of a text where nothing is said about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaptureDefaults<'a> {
    pub(crate) session: &'a str,
    pub(crate) project: &'a str,
    pub(crate) ts: UnixMicros,
}

/// A text with what is said about it.
pub(crate) enum ParsedCapture {
    /// It can be a record, but that it may be too long for one.
    Enough(Draft),
    /// It is too short to be kept.
    TooShort,
    /// Its tier is none.
    UnknownTier(String),
}

/// Reads the params of `memory_capture`.
///
/// # Errors
/// -32602 that names the param.
pub(crate) fn said(params: &Params<'_>, about: &CaptureDefaults<'_>) -> Result<ParsedCapture, CallError> {
    let text = params.string("text")?;
    let cue = bounded_string(params, "cue", "", TEXT_BYTES)?;
    let session = bounded_string(params, "session_id", about.session, SESSION_BYTES)?;
    let project = bounded_string(params, "project", about.project, PROJECT_BYTES)?;
    let tier_name = params.string_or("tier", "episodic")?;
    let role = Role::named(&params.string_or("role", "user")?)
        .ok_or_else(|| CallError::invalid("role", "one of user, assistant, system"))?;
    let ts = said_at(params)?.unwrap_or(about.ts);
    let part = part(params)?;
    if text.trim().chars().nth(LEAST_CHARS - 1).is_none() {
        return Ok(ParsedCapture::TooShort);
    }
    let Some(tier) = Tier::named(&tier_name) else { return Ok(ParsedCapture::UnknownTier(tier_name.into_owned())) };
    Ok(ParsedCapture::Enough(Draft { text: text.into_owned(), cue, tier, role, session, project, ts, part }))
}

/// When it was said, if that is given.
///
/// # Errors
/// -32602 where it is no time, or not one that something was said at.
pub(crate) fn said_at(params: &Params<'_>) -> Result<Option<UnixMicros>, CallError> {
    let ts = params::time(params, "ts", DateBound::Start)?;
    match ts {
        Some(ts) if !ts.is_plausible() => Err(CallError::invalid("ts", "a time from 1900 to 2199")),
        ts => Ok(ts),
    }
}

/// Which piece of a longer turn, of how many.
///
/// # Errors
/// -32602 where one of the two is missing or out of range.
pub(crate) fn part(params: &Params<'_>) -> Result<Option<(i64, i64)>, CallError> {
    let parts = params.integer_opt("parts", 1..=MOST_PARTS)?;
    let part = params.integer_opt("part", 1..=parts.unwrap_or(MOST_PARTS))?;
    match (part, parts) {
        (Some(part), Some(parts)) => Ok(Some((part, parts))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(CallError::invalid("parts", "given together with 'part'")),
        (None, Some(_)) => Err(CallError::invalid("part", "given together with 'parts'")),
    }
}
