//! Reads single values out of valid JSON text.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Returns the contents of a JSON string, or `None` if `raw` is no string or contains a lone surrogate.
#[inline]
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    // Not memchr: most strings are short, and its setup costs more than this loop.
    let is_escaped = inner.bytes().any(|byte| byte == b'\\');
    if is_escaped { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Deserializes an `Option` field in which `null` is a value. By default serde reads `null` as absent.
///
/// # Errors
/// Those of the deserializer.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_borrowed_unless_they_hold_escapes() {
        assert!(matches!(string("\"plain\""), Some(Cow::Borrowed("plain"))));
        assert_eq!(string(r#""a\u0041\"""#).as_deref(), Some("aA\""));
        for invalid in ["1", "null", "[\"a\"]", r#""\ud800""#, r#""\udc00\ud800""#] {
            assert_eq!(string(invalid), None, "{invalid}");
        }
    }
}
