//! JSON text that is already known to be valid, read a value at a time.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The text of a JSON string, or `None` where it is something else or holds a lone surrogate.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// For an `Option` field whose `null` is a value: left to itself, serde reads it as absent.
///
/// # Errors
/// The deserializer's.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
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
}
