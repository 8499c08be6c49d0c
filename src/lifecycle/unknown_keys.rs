//! Unknown keys of a state file, from another version or program, preserved byte for byte. Pure.
//!
//! The values are kept as text: a number with more digits than `f64` would change if it were parsed and written.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Unknown keys with the text of their values.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct UnknownKeys(BTreeMap<String, Box<RawValue>>);

/// The content of a state file: its known keys, each of which is always written, and the unknown ones.
pub(crate) trait HasUnknownKeys: Serialize + DeserializeOwned {
    fn unknown_keys(&self) -> &UnknownKeys;
    fn unknown_keys_mut(&mut self) -> &mut UnknownKeys;
}

/// The file's object.
#[derive(Serialize)]
struct WholeObject<'a, T> {
    #[serde(flatten)]
    known: &'a T,
    #[serde(flatten)]
    unknown: &'a BTreeMap<String, Box<RawValue>>,
}

/// Parses a file's text.
///
/// # Errors
/// If it is not a JSON object, or if a known key has a value of another type.
pub(crate) fn parse<T: HasUnknownKeys>(text: &[u8]) -> serde_json::Result<T> {
    let UnknownKeys(mut unknown) = serde_json::from_slice(text)?;
    let mut found: T = serde_json::from_slice(text)?;
    let UnknownKeys(known) = serde_json::from_slice(&serde_json::to_vec(&found)?)?;
    unknown.retain(|key, _| !known.contains_key(key));
    *found.unknown_keys_mut() = UnknownKeys(unknown);
    Ok(found)
}

/// Returns the text that [`parse`] reads as this value.
///
/// # Errors
/// If a known value cannot be serialized.
pub(crate) fn to_json<T: HasUnknownKeys>(known: &T) -> serde_json::Result<Vec<u8>> {
    let UnknownKeys(unknown) = known.unknown_keys();
    serde_json::to_vec_pretty(&WholeObject { known, unknown })
}

impl UnknownKeys {
    /// Returns the text of a key's value.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get())
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.get()))
    }
}

/// Equal if the keys and the texts of their values are.
impl PartialEq for UnknownKeys {
    fn eq(&self, with: &UnknownKeys) -> bool {
        self.texts().eq(with.texts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::status_file::LifecycleStatus;

    #[test]
    fn unknown_keys_are_written_as_they_were_read() {
        for value in [
            "1.50",
            "[43,555555555555555555555555555555555555555512]",
            "18446744073709551616",
            "-0",
            "1e999",
            r#""\u00e9\ud800""#,
            r#"{"a":1,"a":{"b":null}}"#,
        ] {
            let text = format!(r#"{{"wrapper_event_seq":7,"x":{value}}}"#);
            let found: LifecycleStatus = parse(text.as_bytes()).unwrap();
            assert_eq!((found.wrapper_event_seq, found.unknown_keys.text("x")), (7, Some(value)));
            assert_eq!(found.unknown_keys.text("wrapper_event_seq"), None);
            let written = to_json(&found).unwrap();
            let again: LifecycleStatus = parse(&written).unwrap();
            assert_eq!(again, found);
            assert!(String::from_utf8(written).unwrap().contains(value), "{value}");
        }
    }

    #[test]
    fn a_text_that_is_not_such_an_object_is_an_error() {
        for text in [&b"[]"[..], b"[\"WAKE\"]", b"null", b"{\"x\":1}}", b"{\"x\":\"\xff\"}", b"{\"shadow_run\":0}", b""]
        {
            assert!(parse::<LifecycleStatus>(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
    }
}
