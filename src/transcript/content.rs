//! The parts of a transcript's lines that both formats have. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::wire::json::string;
use crate::wire::members::Members;

/// Message for a text that is not valid Unicode.
pub(crate) const LONE_SURROGATE: &str = "the text has a lone surrogate";

/// A block of a message's content.
pub(crate) struct ContentBlock<'a> {
    /// Its index among the message's blocks.
    pub(crate) at: usize,
    pub(crate) members: Members<'a>,
    kind: Option<String>,
}

impl ContentBlock<'_> {
    /// Returns its type.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Returns its text, if it has one.
    ///
    /// # Errors
    /// [`LONE_SURROGATE`].
    pub(crate) fn text(&self) -> Result<Option<String>, String> {
        let text = self.members.value("text").filter(|text| text.get().starts_with('"'));
        text.map(|text| string(text.get()).map(Cow::into_owned).ok_or_else(|| LONE_SURROGATE.into())).transpose()
    }
}

/// Returns the blocks of a message's content. Nested blocks are not searched, and what is no object is skipped.
pub(crate) fn blocks(content: &RawValue) -> Vec<ContentBlock<'_>> {
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let mut found = Vec::new();
    for (at, block) in blocks.into_iter().enumerate() {
        if let Ok(members) = Members::read(block.get()) {
            let kind = owned(&members, "type");
            found.push(ContentBlock { at, members, kind });
        }
    }
    found
}

/// Returns the string of this key, if there is one.
pub(crate) fn owned(members: &Members<'_>, key: &str) -> Option<String> {
    members.string(key).map(Cow::into_owned)
}
