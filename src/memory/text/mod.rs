//! Text analysis without I/O: index terms (tokenizer, stemmer, folding), and features of a text (language, speaker
//! label, dates).

pub(crate) mod cue_terms;
pub(crate) mod excerpt;
pub(crate) mod features;
pub(crate) mod folding;
pub(crate) mod irregular_forms;
pub(crate) mod joiner;
pub(crate) mod language;
pub(crate) mod non_answer;
mod numeric_date;
pub(crate) mod phone_number;
pub(crate) mod phrase;
pub(crate) mod spelling;
mod spoken_form;
pub(crate) mod stemmer;
pub(crate) mod stop_words;
mod time_ago;
mod time_number;
pub(crate) mod time_phrase;
mod time_question;
mod time_range;
mod time_weekday;
mod time_words;
pub(crate) mod tokenizer;
