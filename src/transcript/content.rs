//! The parts of a transcript's lines that both formats have. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::wire::json::string;
use crate::wire::members::Members;

/// Message for a text that is not valid Unicode.
pub(crate) const LONE_SURROGATE: &str = "the text has a lone surrogate";

/// Returns the texts of the blocks whose type is `kind`. Nested blocks are not searched, and malformed blocks are
/// skipped.
pub(crate) fn blocks(content: &RawValue, kind: &str) -> Result<Vec<String>, String> {
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let mut texts = Vec::new();
    for block in blocks {
        let Ok(block) = Members::read(block.get()) else { continue };
        let text = block.value("text").filter(|text| text.get().starts_with('"'));
        if let (Some(text), true) = (text, block.string("type").as_deref() == Some(kind)) {
            texts.push(string(text.get()).ok_or(LONE_SURROGATE)?.into_owned());
        }
    }
    Ok(texts)
}

/// Returns the string of this key, if there is one.
pub(crate) fn owned(members: &Members<'_>, key: &str) -> Option<String> {
    members.string(key).map(Cow::into_owned)
}
