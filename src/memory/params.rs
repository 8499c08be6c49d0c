//! Records' ids: as params, and the places in the store that they stand for.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use crate::dispatch::{CallError, Params};

/// Reads a required id.
///
/// # Errors
/// -32602 where it is missing or no UUID.
pub(crate) fn id(params: &Params<'_>, name: &str) -> Result<Uuid, CallError> {
    parse(name, &params.string(name)?)
}

/// Reads a required array of at most `most` ids, each once, in the order given.
///
/// # Errors
/// -32602 where it is missing, no array of UUIDs, or longer.
pub(crate) fn ids(params: &Params<'_>, name: &str, most: usize) -> Result<Vec<Uuid>, CallError> {
    let raw = params.raw(name).ok_or_else(|| CallError::missing(name))?;
    let texts: Vec<String> = serde_json::from_str(raw)
        .map_err(|_| CallError::invalid(name, "an array of record ids (UUIDs, as strings)"))?;
    let mut ids = Vec::new();
    for text in &texts {
        let id = parse(name, text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() > most {
            let count = texts.len();
            return Err(CallError::invalid(name, format_args!("at most {most} ids: these are {count}; send fewer")));
        }
    }
    Ok(ids)
}

/// The place of the record with this id.
///
/// # Errors
/// -32602 that names the id where no record has it; the database's.
pub(crate) fn place(connection: &Connection, name: &str, id: Uuid) -> Result<i64, CallError> {
    let mut find = connection.prepare_cached("SELECT seq FROM record WHERE id = ?1")?;
    let seq = find.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    seq.ok_or_else(|| CallError::invalid(name, format_args!("the id of a record: there is none with {id}")))
}

/// The id of the record at this place.
///
/// # Errors
/// The database's; also where there is no record at this place.
pub(crate) fn of(connection: &Connection, seq: i64) -> Result<Uuid, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT id FROM record WHERE seq = ?1")?;
    find.query_row([seq], |row| row.get(0)).map(Uuid::from_bytes)
}

fn parse(name: &str, text: &str) -> Result<Uuid, CallError> {
    let start: String = text.chars().take(64).collect();
    Uuid::parse_str(text).map_err(|_| CallError::invalid(name, format_args!("a record's id: '{start}' is no UUID")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_once_each() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = format!(r#"{{"ids":["{b}","{a}","{b}","{}"],"none":[]}}"#, a.simple());
        let params = Params::read(Some(&text)).unwrap();
        assert_eq!(ids(&params, "ids", 2), Ok(vec![b, a]));
        assert_eq!(ids(&params, "none", 2), Ok(vec![]));
        let error = ids(&params, "ids", 1).unwrap_err();
        assert_eq!(error.message, "param 'ids' must be at most 1 ids: these are 4; send fewer");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for (text, message) in [
            ("{}", "missing required param: 'ids'"),
            (r#"{"ids":null}"#, "param 'ids' must be an array of record ids (UUIDs, as strings)"),
            (r#"{"ids":"x"}"#, "param 'ids' must be an array of record ids (UUIDs, as strings)"),
            (r#"{"ids":[1]}"#, "param 'ids' must be an array of record ids (UUIDs, as strings)"),
            (r#"{"ids":["\ud800"]}"#, "param 'ids' must be an array of record ids (UUIDs, as strings)"),
            (r#"{"ids":["x"]}"#, "param 'ids' must be a record's id: 'x' is no UUID"),
        ] {
            assert_eq!(ids(&Params::read(Some(text)).unwrap(), "ids", 9).unwrap_err().message, message, "{text}");
        }
    }
}
