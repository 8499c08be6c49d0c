//! Pure text analysis: from a text to the terms that the full-text index holds, and what a text says beside its words.

pub(crate) mod excerpt;
pub(crate) mod features;
pub(crate) mod folding;
pub(crate) mod irregular_forms;
pub(crate) mod language;
pub(crate) mod phrase;
pub(crate) mod stemmer;
pub(crate) mod stop_words;
pub(crate) mod tokenizer;
