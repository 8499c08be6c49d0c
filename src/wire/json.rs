//! JSON text that is already known to be valid, read a value at a time.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of a JSON string, or `None` where it is something else or holds a lone surrogate.
#[inline]
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    // Most strings are short: a search made for long ones would take longer to begin.
    let is_escaped = inner.bytes().any(|byte| byte == b'\\');
    if is_escaped { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// For an `Option` field whose `null` is a value: left to itself, serde reads it as absent.
///
/// # Errors
/// The deserializer's.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// An object's members in their order, values as they are written. For who is asked for a few of them, in
/// objects of many kinds: a derived struct is code for each kind, and reads an array, too.
#[derive(Clone, Debug, Default)]
pub struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of a text that is an object.
    ///
    /// # Errors
    /// The parser's.
    pub fn read(text: &'a str) -> Result<Members<'a>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of a key; the last of two.
    pub fn value(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rfind(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The text of a key's value, where that is a string.
    pub fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        string(self.value(key)?.get())
    }

    /// Does a key stand there more than once?
    pub fn is_twice(&self, key: &str) -> bool {
        self.0.iter().filter(|(name, _)| name == key).count() > 1
    }

    /// All of them.
    pub fn into_all(self) -> Vec<(String, &'a RawValue)> {
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
    fn strings_are_borrowed_unless_they_hold_escapes() {
        assert!(matches!(string("\"plain\""), Some(Cow::Borrowed("plain"))));
        assert_eq!(string(r#""a\u0041\"""#).as_deref(), Some("aA\""));
        for no_text in ["1", "null", "[\"a\"]", r#""\ud800""#, r#""\udc00\ud800""#] {
            assert_eq!(string(no_text), None, "{no_text}");
        }
    }

    #[test]
    fn members_are_found_by_their_keys_in_objects_alone() {
        let members = Members::read(r#" {"a":1.50,"b":"x\n","a":[ 2 ],"\u0063":null} "#).unwrap();
        assert_eq!(members.value("a").map(RawValue::get), Some("[ 2 ]"));
        assert_eq!((members.string("b").as_deref(), members.string("a")), (Some("x\n"), None));
        assert_eq!((members.value("c").map(RawValue::get), members.value("d").is_none()), (Some("null"), true));
        assert_eq!((members.is_twice("a"), members.is_twice("b")), (true, false));
        assert_eq!(members.into_all().len(), 4);
        for text in ["[1]", "5", "{", "{} {}", "", "null"] {
            assert!(Members::read(text).is_err(), "{text}");
        }
    }
}
