//! The rules of ranking: one table of weights. `rank.rs` applies them, `docs/recall.md` says what each is worth.
//!
//! Pure.

/// The weight of each rule. A query's terms have shares that sum to 1, so "the share of the query" is a number from 0
/// to 1.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// BM25 of the record's own text.
    pub(crate) own: f64,
    /// The share of the query that the text has.
    pub(crate) coverage: f64,
    /// The share that it has by the start of a word only: *photo* for *photography*.
    pub(crate) beginnings: f64,
    /// Each pair of adjacent query words that are adjacent in the text too.
    pub(crate) pairs: f64,
    /// The share that it has only as several words for one, or one for several: *road trip* for *roadtrip*.
    pub(crate) joined: f64,
    /// The share that it has only as parts of a word, or as a word that is a part in the query: *oauth* for *OAuth2*.
    pub(crate) parts: f64,
    /// The share that it has only with other letters: *Mueller* for *Müller*, a hash by its beginning.
    pub(crate) respelled: f64,
    /// The share that it has by co-occurring terms only, each multiplied by its association.
    pub(crate) association: f64,
    /// BM25 of the record just before, of the one just after, and of the one two before.
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) two_before: f64,
    /// BM25 of the record just before if that one is a question: this record may be its answer.
    pub(crate) answers: f64,
    /// The share of the query that the record and the two before and after it have together.
    pub(crate) window: f64,
    /// The share of the query that the session has.
    pub(crate) session: f64,
    /// The record opens its session, so it has no context before it.
    pub(crate) opens: f64,
    /// The query names the record's speaker.
    pub(crate) speaker: f64,
    /// The record is a question.
    pub(crate) asks: f64,
    /// The share of the query's words of an unusual form that the text has letter for letter: *OAuth2*, *Müller*.
    pub(crate) exact: f64,
    /// The query asks for literal words, and the record is episodic: what was said, and not what was made of it.
    pub(crate) literal: f64,
    /// The query asks for a time and the text mentions one.
    pub(crate) when: f64,
    /// The share of the query that names the record's date.
    pub(crate) date: f64,
    /// The record is of the time that the query asks about; more if the query has few other words.
    pub(crate) time: f64,
    /// The logarithm of the length in words plus one: longer texts hold more information.
    pub(crate) length: f64,
    /// The factor of the score of a question that only repeats the cue's words.
    pub(crate) repeats: f64,
    /// The factor of the score of an assistant's reply that it does not know.
    pub(crate) non_answer: f64,
    /// BM25 of the further terms in the record's own text: the weight if no record has a term of the cue, and the weight
    /// if one has the whole cue, which then needs no other words.
    pub(crate) further_if_unknown: f64,
    pub(crate) further_if_known: f64,
    /// The same if the cue has an identifier that a record has: the weight in records with it, among which the further
    /// terms decide, and in others.
    pub(crate) further_with_identifier: f64,
    pub(crate) further_without_identifier: f64,
    /// BM25 of the cue, normalized by the whole length, if the record has the cue's identifier.
    pub(crate) identifier_density: f64,
    /// The record begins with the cue's identifier; less the later it comes.
    pub(crate) leads: f64,
}

impl Rules {
    /// Returns the weight of further terms, given the largest share of the cue that any one record has.
    pub(crate) fn further(&self, known: f64) -> f64 {
        self.further_if_unknown + (self.further_if_known - self.further_if_unknown) * known.min(1.0)
    }
}

/// The weights in use. They maximize the likelihood of the right answers over many questions, and each improves results
/// on conversations it was not fitted on (`docs/recall.md`). A whole word weighs more than a prefix match.
pub(crate) const RULES: Rules = Rules {
    own: 0.06,
    coverage: 0.39,
    beginnings: 0.38,
    pairs: 0.034,
    joined: 0.3,
    parts: 0.3,
    respelled: 0.3,
    association: 0.22,
    before: 0.065,
    after: 0.025,
    two_before: 0.11,
    answers: 0.36,
    window: 0.52,
    session: 0.25,
    opens: 0.1,
    speaker: 0.13,
    asks: -0.08,
    exact: 0.1,
    literal: 0.1,
    when: 0.23,
    date: 0.68,
    time: 0.6,
    length: 0.044,
    repeats: 0.35,
    non_answer: 0.2,
    further_if_unknown: 1.5,
    further_if_known: 0.3,
    further_with_identifier: 1.2,
    further_without_identifier: 0.5,
    identifier_density: 0.5,
    leads: 0.3,
};
