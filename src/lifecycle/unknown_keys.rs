//! What a state file holds beside what is ours: keys of another version or another program, kept byte for byte.
//!
//! A number that went through a value of ours would come back as another one where it has more digits than ours have.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The keys that are not ours, with the text of each value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct UnknownKeys(BTreeMap<String, Box<RawValue>>);

/// What a state file is read into: its own keys, every one of which is always written, and the others.
pub(crate) trait HasUnknownKeys: Serialize + DeserializeOwned {
    fn unknown_keys(&self) -> &UnknownKeys;
    fn unknown_keys_mut(&mut self) -> &mut UnknownKeys;
}

/// A file's whole object.
#[derive(Serialize)]
struct WholeObject<'a, T> {
    #[serde(flatten)]
    ours: &'a T,
    #[serde(flatten)]
    unknown: &'a BTreeMap<String, Box<RawValue>>,
}

/// Reads a file's text.
///
/// # Errors
/// Where it is no object of ours.
pub(crate) fn parse<T: HasUnknownKeys>(text: &[u8]) -> serde_json::Result<T> {
    let UnknownKeys(mut unknown) = serde_json::from_slice(text)?;
    let mut found: T = serde_json::from_slice(text)?;
    let ours: BTreeMap<String, IgnoredAny> = serde_json::from_slice(&serde_json::to_vec(&found)?)?;
    unknown.retain(|key, _| !ours.contains_key(key));
    *found.unknown_keys_mut() = UnknownKeys(unknown);
    Ok(found)
}

/// The text that [`parse`] gives the same of.
pub(crate) fn to_json<T: HasUnknownKeys>(ours: &T) -> serde_json::Result<Vec<u8>> {
    let UnknownKeys(unknown) = ours.unknown_keys();
    serde_json::to_vec_pretty(&WholeObject { ours, unknown })
}

impl UnknownKeys {
    /// The text of a key's value.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get())
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.get()))
    }
}

/// The same keys with the same texts.
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
    fn what_is_not_ours_is_written_as_it_was_read() {
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
    fn what_is_no_object_of_ours_is_refused() {
        for text in [&b"[]"[..], b"[\"WAKE\"]", b"null", b"{\"x\":1}}", b"{\"x\":\"\xff\"}", b"{\"shadow_run\":0}", b""]
        {
            assert!(parse::<LifecycleStatus>(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
    }
}
