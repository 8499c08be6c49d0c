//! The members of a JSON object, for callers that read a few keys of it.

// The fuzz targets of the server alone read all members.
#![cfg_attr(not(any(feature = "daemon", test)), allow(dead_code))]

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::wire::json;

/// The members of an object in order, values as their JSON text. For callers that read a few keys of many
/// kinds of objects: a derived `Deserialize` generates code for each kind, and also accepts arrays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads the members of an object.
    ///
    /// # Errors
    /// The parser's error if `text` is not one JSON object.
    pub(crate) fn read(text: &'a str) -> Result<Members<'a>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns the value of a key; the last one if the key is given twice.
    pub(crate) fn value(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rfind(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Returns the value of a key if it is a string.
    pub(crate) fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        json::string(self.value(key)?.get())
    }

    /// Returns true if a key is given more than once.
    pub(crate) fn is_duplicate(&self, key: &str) -> bool {
        self.0.iter().filter(|(name, _)| name == key).count() > 1
    }

    /// Returns all members.
    pub(crate) fn into_all(self) -> Vec<(String, &'a RawValue)> {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_keys_in_objects_only() {
        let members = Members::read(r#" {"a":1.50,"b":"x\n","a":[ 2 ],"\u0063":null} "#).unwrap();
        assert_eq!(members.value("a").map(RawValue::get), Some("[ 2 ]"));
        assert_eq!((members.string("b").as_deref(), members.string("a")), (Some("x\n"), None));
        assert_eq!((members.value("c").map(RawValue::get), members.value("d").is_none()), (Some("null"), true));
        assert_eq!((members.is_duplicate("a"), members.is_duplicate("b")), (true, false));
        assert_eq!(members.into_all().len(), 4);
        for text in ["[1]", "5", "{", "{} {}", "", "null"] {
            assert!(Members::read(text).is_err(), "{text}");
        }
    }
}
