//! The place of a secret in a text. Pure.

/// A part of a text that looks like a secret: `start < end <= text.len()`, both between two characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretSpan {
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it is.
    pub kind: &'static str,
}
