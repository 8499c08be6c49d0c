//! Converts a line of the reference MCP memory server's `memory.jsonl` to records. Pure.
//!
//! Each observation of an entity becomes a semantic record `NAME: OBSERVATION` with the entity's type as its cue; a
//! relation becomes a record `FROM relationType TO`. The server stores neither times nor sessions.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::transcript::row::{RecordMetadata, records};

/// Returns the records of a line, which is a JSON object.
///
/// # Errors
/// A message if a field is missing or has the wrong type.
pub(crate) fn read(line: &str) -> Result<Vec<Box<RawValue>>, String> {
    // The assistant wrote these notes; they quote nobody.
    let about = RecordMetadata { role: "assistant", tier: Some("semantic"), ..RecordMetadata::default() };
    let mut rows = Vec::new();
    let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match text(&line, "type")? {
        "entity" => {
            let name = text(&line, "name")?;
            let kind = if line.get("entityType").is_some() { text(&line, "entityType")? } else { "" };
            let about = RecordMetadata { cue: Some(kind).filter(|kind| !kind.is_empty()), ..about };
            for observation in observations(&line)? {
                let Value::String(observation) = observation else {
                    return Err("`observations` has an element that is no string".to_owned());
                };
                records(&format!("{name}: {observation}"), &about, &mut rows);
            }
        }
        "relation" => {
            let (from, to) = (text(&line, "from")?, text(&line, "to")?);
            records(&format!("{from} {} {to}", text(&line, "relationType")?), &about, &mut rows);
        }
        kind => return Err(format!("unknown type `{kind}`")),
    }
    Ok(rows)
}

fn text<'l>(line: &'l Value, name: &str) -> Result<&'l str, String> {
    match line.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{name}` is no string")),
        None => Err(format!("missing field `{name}`")),
    }
}

fn observations(line: &Value) -> Result<&[Value], String> {
    match line.get("observations") {
        None => Ok(&[]),
        Some(Value::Array(all)) => Ok(all),
        Some(_) => Err("`observations` is no sequence".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn observations_and_relations_become_semantic_records() {
        for (line, want) in [
            (
                r#"{"type":"entity","name":"Anna","entityType":"person","observations":["likes tea","né à Bern"]}"#,
                vec![
                    json!({"kind": "record", "role": "assistant", "tier": "semantic", "cue": "person", "text": "Anna: likes tea"}),
                    json!({"kind": "record", "role": "assistant", "tier": "semantic", "cue": "person", "text": "Anna: né à Bern"}),
                ],
            ),
            (
                r#"{"type":"relation","from":"Anna","to":"Bern","relationType":"lives in","extra":1}"#,
                vec![json!({"kind": "record", "role": "assistant", "tier": "semantic", "text": "Anna lives in Bern"})],
            ),
            (
                r#"{"type":"entity","name":"Bob","observations":["x"]}"#,
                vec![json!({"kind": "record", "role": "assistant", "tier": "semantic", "text": "Bob: x"})],
            ),
            (r#"{"type":"entity","name":"Bob","entityType":"person"}"#, vec![]),
        ] {
            let rows = read(line).unwrap();
            let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row.get()).unwrap()).collect();
            assert_eq!(rows, want, "{line}");
        }
    }

    #[test]
    fn errors_name_the_wrong_field() {
        for (line, part) in [
            (r#"{"type":"entity","observations":["x"]}"#, "name"),
            (r#"{"type":"entity","name":"Bob","observations":"x"}"#, "sequence"),
            (r#"{"type":"entity","name":"Bob","observations":[1]}"#, "string"),
            (r#"{"type":"relation","from":"a","to":"b"}"#, "relationType"),
            (r#"{"type":"else"}"#, "else"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
