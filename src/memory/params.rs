//! Params that several methods share: record ids, times and strings of limited length.

use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::model::time::{DateBound, UnixMicros};

/// Returns the required record id.
///
/// # Errors
/// -32602 if the param is missing or no UUID.
pub(crate) fn id(params: &Params<'_>, name: &str) -> Result<Uuid, CallError> {
    parse(name, &params.string(name)?)
}

/// Returns the required record ids of an array, in its order without duplicates.
///
/// # Errors
/// -32602 if the param is missing, no array of UUIDs, or has more than `max_count` different ones.
pub(crate) fn ids(params: &Params<'_>, name: &str, max_count: usize) -> Result<Vec<Uuid>, CallError> {
    let raw = params.raw(name).ok_or_else(|| CallError::missing(name))?;
    let texts: Vec<String> =
        serde_json::from_str(raw).map_err(|_| CallError::invalid(name, "an array of record ids (UUIDs as strings)"))?;
    let mut ids = Vec::new();
    for text in &texts {
        let id = parse(name, text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() > max_count {
            let count = texts.len();
            return Err(CallError::invalid(name, format_args!("at most {max_count} ids: it has {count}; send fewer")));
        }
    }
    Ok(ids)
}

/// Returns the optional time.
///
/// # Errors
/// -32602 if the param is present and no date or time.
pub(crate) fn time(params: &Params<'_>, name: &str, end: DateBound) -> Result<Option<UnixMicros>, CallError> {
    let expected = "an ISO 8601 date or time, such as 2024-05-07 or 2024-05-07T14:30:00Z";
    let Some(text) = params.string_opt(name)? else { return Ok(None) };
    UnixMicros::parse(&text, end).map(Some).ok_or_else(|| CallError::invalid(name, expected))
}

fn parse(name: &str, text: &str) -> Result<Uuid, CallError> {
    let start: String = text.chars().take(64).collect();
    Uuid::parse_str(text).map_err(|_| CallError::invalid(name, format_args!("a record's id: '{start}' is not a UUID")))
}

/// Returns the optional string of at most `limit` bytes, or `default`.
///
/// # Errors
/// -32602 if the param is no string or longer; the message names the param and the limit.
pub(crate) fn bounded_string(
    params: &Params<'_>,
    name: &str,
    default: &str,
    limit: usize,
) -> Result<String, CallError> {
    let Some(value) = params.string_opt(name)? else { return Ok(default.to_owned()) };
    check_len(name, &value, limit)?;
    Ok(value.into_owned())
}

/// Checks that the value of param `name` has at most `limit` bytes.
///
/// # Errors
/// -32602 if it is longer; the message names the param and the limit.
pub(crate) fn check_len(name: &str, value: &str, limit: usize) -> Result<(), CallError> {
    if value.len() <= limit {
        return Ok(());
    }
    let hint = if name == "text" { "; send it in parts" } else { "" };
    let length = value.len();
    Err(CallError::invalid(name, format_args!("at most {limit} bytes of UTF-8: it has {length}{hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_ids_are_returned_once() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = format!(r#"{{"ids":["{b}","{a}","{b}","{}"],"none":[]}}"#, a.simple());
        let params = Params::read(Some(&text)).unwrap();
        assert_eq!(ids(&params, "ids", 2), Ok(vec![b, a]));
        assert_eq!(ids(&params, "none", 2), Ok(vec![]));
        let error = ids(&params, "ids", 1).unwrap_err();
        assert_eq!(error.message, "param 'ids' must be at most 1 ids: it has 4; send fewer");
    }

    #[test]
    fn values_that_are_no_ids_are_refused() {
        for (text, message) in [
            ("{}", "missing required param: 'ids'"),
            (r#"{"ids":null}"#, "param 'ids' must be an array of record ids (UUIDs as strings)"),
            (r#"{"ids":"x"}"#, "param 'ids' must be an array of record ids (UUIDs as strings)"),
            (r#"{"ids":[1]}"#, "param 'ids' must be an array of record ids (UUIDs as strings)"),
            (r#"{"ids":["\ud800"]}"#, "param 'ids' must be an array of record ids (UUIDs as strings)"),
            (r#"{"ids":["x"]}"#, "param 'ids' must be a record's id: 'x' is not a UUID"),
        ] {
            assert_eq!(ids(&Params::read(Some(text)).unwrap(), "ids", 9).unwrap_err().message, message, "{text}");
        }
    }
}
