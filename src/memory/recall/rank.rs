//! Reranking: scores each candidate by its own words and by those of the records around it.
//!
//! In conversation one turn asks, the next answers without repeating the words, and a third adds the date. A record is
//! therefore scored by its own words (BM25), by its neighbors in the session, by a question just before it, and by the
//! session as a whole. [`RULES`] has one weight a rule; zero disables the rule. `docs/recall.md` says what each is
//! worth.
//!
//! Pure. `query.rs` matches a single text against the query.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::memory::model::time::UnixMicros;
use crate::memory::profile::Literalness;
use crate::memory::recall::copies::{CopyGroup, CopyGroups, TextHash};
use crate::memory::recall::preferences::{leading_phrase, phrase_boost};
use crate::memory::recall::query::{TermSet, TextMatch, WeightedQuery};
use crate::memory::text::phrase::PhraseMatch;

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
    /// The record has the cue's identifier.
    pub(crate) identifier: f64,
    /// BM25 of the cue, normalized by the whole length, if the record has the cue's identifier.
    pub(crate) identifier_density: f64,
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
    further_if_known: 0.2,
    further_with_identifier: 2.0,
    further_without_identifier: 0.5,
    identifier: 0.2,
    identifier_density: 0.5,
};

/// What the words of a time in the query add to [`Rules::time`], by their share of the query: as if the text had them.
const TIME_WORDS_FACTOR: f64 = 1.2;

/// Least share of the query in a question that repeats it. Picked: more than half.
const REPEATED_SHARE: f64 = 0.6;

/// Whether a record belongs to the project of the recall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProjectMatch {
    /// It belongs to another project, or the recall names none.
    Other,
    /// It belongs to the recall's project.
    Same,
}

/// A record found, with what it was found by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RankedHit {
    /// The record's row in the store.
    pub(crate) seq: i64,
    /// Over 0 and under 1; comparable among hits of the same `phrase` and `project_match`. In a list that was found
    /// without terms, 1 divided by the hit's position.
    pub(crate) score: f64,
    /// The query's terms that the text has, by their position in the scorer; empty if the record was found by its
    /// neighbors.
    pub(crate) terms: Vec<usize>,
    /// The other terms that it has by the start of a word.
    pub(crate) prefix_terms: Vec<usize>,
    /// The phrase match that ranks the hit before others.
    pub(crate) phrase: PhraseMatch,
    /// How the text has a quoted phrase.
    pub(crate) quotes: PhraseMatch,
    /// Whether the record is of the recall's project.
    pub(crate) project_match: ProjectMatch,
    /// The hash of its text; `None` if the text was not read.
    pub(crate) text_hash: Option<TextHash>,
    /// The records with this text that hold, of which this is the newest; `None` if it is superseded or they were not
    /// looked for.
    pub(crate) copies: Option<CopyGroup>,
    /// The record is of the time that the query asks about.
    pub(crate) is_of_time: bool,
}

impl RankedHit {
    /// Returns a hit that no term and no phrase was matched for.
    pub(crate) fn plain(seq: i64, score: f64, project_match: ProjectMatch) -> RankedHit {
        RankedHit {
            seq,
            score,
            terms: Vec::new(),
            prefix_terms: Vec::new(),
            phrase: PhraseMatch::None,
            quotes: PhraseMatch::None,
            project_match,
            text_hash: None,
            copies: None,
            is_of_time: false,
        }
    }

    /// Returns the hit for all records of a group.
    pub(crate) fn of_group(self, group: &CopyGroup) -> RankedHit {
        let project_match = if group.is_of_project { ProjectMatch::Same } else { self.project_match };
        RankedHit { seq: group.newest(), project_match, copies: Some(group.clone()), ..self }
    }
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: i64,
    pub(crate) session: i64,
    /// When it was said.
    pub(crate) said: UnixMicros,
    pub(crate) text_match: TextMatch,
    pub(crate) phrase: PhraseMatch,
    pub(crate) project_match: ProjectMatch,
    /// The boost by the profile (`preferences.rs`).
    pub(crate) boost: f64,
    /// The record may be a hit; otherwise it is context of others only.
    pub(crate) is_admitted: bool,
    /// The record is an assistant's reply that it does not know.
    pub(crate) is_non_answer: bool,
    /// The record has not been superseded.
    pub(crate) holds: bool,
    pub(crate) text_hash: TextHash,
    /// How much the query's time means the record's: 0 to 1.
    pub(crate) time_share: f64,
}

/// The order in which records were said, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct ConversationOrder {
    /// From a record to the next one of its session.
    pub(crate) next: HashMap<i64, i64>,
    /// The first records of sessions.
    pub(crate) openings: HashSet<i64>,
}

/// Ranks the candidates of a query.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) query: WeightedQuery,
    rules: Rules,
    literal: Literalness,
}

impl Scorer {
    pub(crate) fn new(query: WeightedQuery, rules: Rules, literal: Literalness) -> Scorer {
        Scorer { query, rules, literal }
    }

    /// Returns the best `limit` hits, ordered by phrase, project, score and time.
    ///
    /// Of records with equal texts only the one that ranks first is a hit, in the place of the newest of its `copies`.
    pub(crate) fn rank(
        &self,
        read: &[Candidate],
        order: &ConversationOrder,
        copies: &CopyGroups,
        limit: usize,
    ) -> Vec<RankedHit> {
        let all = Context::of(self, read, order);
        let mut hits: Vec<(RankedHit, &Candidate)> = read
            .iter()
            .enumerate()
            .filter(|(_, one)| one.is_admitted)
            .filter_map(|(at, one)| {
                let context = all.of_one(at);
                let positions = |terms: TermSet| (0..self.query.len()).filter(|at| terms.has(*at)).collect::<Vec<_>>();
                let terms = positions(one.text_match.has);
                let prefix_terms = positions(one.text_match.prefix_match.without(all.names));
                if terms.is_empty()
                    && prefix_terms.is_empty()
                    && one.phrase == PhraseMatch::None
                    && one.time_share == 0.0
                    && !context.has_match()
                {
                    return None;
                }
                // Maps the unbounded sum to a score under 1 and keeps the order.
                let sum = self.sum(one, &context, all.names).max(f64::MIN_POSITIVE);
                let hit = RankedHit {
                    seq: one.seq,
                    score: sum / (1.0 + sum),
                    terms,
                    prefix_terms,
                    phrase: leading_phrase(self.literal, one.phrase),
                    quotes: one.phrase,
                    project_match: one.project_match,
                    text_hash: Some(one.text_hash),
                    copies: None,
                    is_of_time: one.time_share > 0.0,
                };
                let group = if one.holds { copies.get(one.text_hash) } else { None };
                Some((if let Some(group) = group { hit.of_group(group) } else { hit }, one))
            })
            .collect();
        hits.sort_by(best_first);
        let mut seen = HashSet::new();
        hits.retain(|(_, one)| !one.holds || seen.insert(one.text_hash));
        hits.truncate(limit);
        hits.into_iter().map(|(hit, _)| hit).collect()
    }

    fn sum(&self, one: &Candidate, context: &ScoringContext, names: TermSet) -> f64 {
        let (rules, query, text) = (&self.rules, &self.query, &one.text_match);
        let flag = |holds: bool, rule: f64| if holds { rule } else { 0.0 };
        let sum = rules.own * context.own
            + rules.coverage * query.share(text.written)
            + rules.beginnings * query.share(text.prefix_match.without(names))
            + rules.pairs * f64::from(text.pairs)
            + rules.joined * query.share(text.joined)
            + rules.parts * query.share(text.parts)
            + rules.respelled * query.share(text.respelled)
            + rules.association * query.association(text)
            + rules.before * context.before
            + rules.after * context.after
            + rules.two_before * context.two_before
            + rules.window * query.share(context.window)
            + rules.session * query.share(context.session)
            + rules.date * query.share(query.dated(one.said.day()).without(text.has))
            + rules.exact * text.exact
            + rules.time * one.time_share * (1.0 + TIME_WORDS_FACTOR * query.time_share().max(0.0))
            + rules.length * (1.0 + text.length).ln()
            + self.further_weight(context) * context.further
            + flag(context.follows_question && !one.is_non_answer, rules.answers * context.before)
            + flag(context.opens && !context.has_identifier, rules.opens)
            + flag(context.has_identifier, rules.identifier + rules.identifier_density * context.dense)
            + flag(!text.speaker.is_empty(), rules.speaker)
            + flag(text.asks, rules.asks)
            + flag(text.tells_time, rules.when)
            + phrase_boost(self.literal, one.phrase)
            + one.boost;
        // Talk is not knowledge, whatever words surround it.
        // A statement in the cue's own words is what is sought, and a question with little of the cue is an answer to it.
        let is_repetition = text.asks && text.new_words == 0 && query.share(text.has) >= REPEATED_SHARE;
        let factor = if is_repetition { rules.repeats } else { 1.0 };
        sum * if one.is_non_answer { rules.non_answer.min(factor) } else { factor }
    }

    fn further_weight(&self, context: &ScoringContext) -> f64 {
        match (context.is_identified, context.has_identifier) {
            (false, _) => self.rules.further(self.query.known),
            (true, false) => self.rules.further_without_identifier,
            (true, true) => self.rules.further_with_identifier,
        }
    }
}

/// What one record's score takes from the records around it.
#[derive(Debug)]
struct ScoringContext {
    own: f64,
    further: f64,
    dense: f64,
    /// Some record has the cue's identifier.
    is_identified: bool,
    /// This record has it.
    has_identifier: bool,
    before: f64,
    after: f64,
    two_before: f64,
    two_after: f64,
    follows_question: bool,
    opens: bool,
    window: TermSet,
    session: TermSet,
}

impl ScoringContext {
    /// Returns true if one of the four neighbors matches.
    fn has_match(&self) -> bool {
        self.before + self.after + self.two_before + self.two_after > 0.0
    }
}

/// All candidates, with how they stand to each other.
struct Context<'r> {
    scorer: &'r Scorer,
    /// The average length of a text in words.
    average: f64,
    /// Some record has the cue's identifier.
    is_identified: bool,
    read: &'r [Candidate],
    order: &'r ConversationOrder,
    /// BM25 of each record.
    own: Vec<f64>,
    /// BM25 of each record without the speakers' names.
    bare: Vec<f64>,
    /// The terms that name a speaker: each record of that speaker has them.
    names: TermSet,
    /// The index of the record just before and just after each.
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    /// The terms that each session has, without the speakers' names.
    sessions: HashMap<i64, TermSet>,
}

impl<'r> Context<'r> {
    fn of(scorer: &'r Scorer, read: &'r [Candidate], order: &'r ConversationOrder) -> Context<'r> {
        let words = read.iter().map(|one| one.text_match.length).sum::<f64>();
        let average = (words / read.len().max(1) as f64).max(1.0);
        let names = read.iter().fold(TermSet::default(), |names, one| names.union(one.text_match.speaker));
        let mut sessions: HashMap<i64, TermSet> = HashMap::new();
        for one in read {
            let terms = sessions.entry(one.session).or_default();
            *terms = terms.union(one.text_match.has.without(names));
        }
        let index: HashMap<i64, usize> = read.iter().enumerate().map(|(at, one)| (one.seq, at)).collect();
        let after: Vec<Option<usize>> =
            read.iter().map(|one| order.next.get(&one.seq).and_then(|seq| index.get(seq).copied())).collect();
        let mut before = vec![None; read.len()];
        for (at, after) in after.iter().enumerate() {
            if let Some(after) = after {
                before[*after] = Some(at);
            }
        }
        let bm25 = |without| read.iter().map(|one| scorer.query.bm25(&one.text_match, average, without)).collect();
        Context {
            own: bm25(TermSet::default()),
            bare: bm25(names),
            is_identified: read.iter().any(|one| scorer.query.has_identifier(&one.text_match)),
            scorer,
            average,
            read,
            order,
            names,
            before,
            after,
            sessions,
        }
    }

    fn of_one(&self, at: usize) -> ScoringContext {
        let (before, after) = (self.before[at], self.after[at]);
        let two_before = before.and_then(|at| self.before[at]);
        let two_after = after.and_then(|at| self.after[at]);
        let bare = |at: Option<usize>| at.map_or(0.0, |at| self.bare[at]);
        let has =
            |at: Option<usize>| at.map_or(TermSet::default(), |at| self.read[at].text_match.has.without(self.names));
        ScoringContext {
            own: self.own[at],
            further: self.scorer.query.further_bm25(&self.read[at].text_match, self.average),
            dense: self.scorer.query.dense_bm25(&self.read[at].text_match, self.average),
            is_identified: self.is_identified,
            has_identifier: self.scorer.query.has_identifier(&self.read[at].text_match),
            before: bare(before),
            after: bare(after),
            two_before: bare(two_before),
            two_after: bare(two_after),
            follows_question: before.is_some_and(|at| self.read[at].text_match.asks),
            opens: self.order.openings.contains(&self.read[at].seq),
            window: has(Some(at)).union(has(before)).union(has(after)).union(has(two_before)).union(has(two_after)),
            session: self.sessions.get(&self.read[at].session).copied().unwrap_or_default(),
        }
    }
}

/// Orders equals by the time they were said, the latest first; the order of insertion comes last, since imported
/// records are old.
fn best_first((a, a_read): &(RankedHit, &Candidate), (b, b_read): &(RankedHit, &Candidate)) -> Ordering {
    (b.phrase, b.project_match)
        .cmp(&(a.phrase, a.project_match))
        .then(b.score.total_cmp(&a.score))
        .then((b_read.said, b.seq).cmp(&(a_read.said, a.seq)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::model::time::DateBound;
    use crate::memory::recall::query::idf;
    use crate::memory::text::tokenizer::{self, QueryTerm};

    const PLAIN: Rules = Rules {
        own: 1.0,
        coverage: 0.0,
        beginnings: 0.0,
        pairs: 0.0,
        joined: 0.0,
        parts: 0.0,
        respelled: 0.0,
        association: 0.0,
        before: 0.0,
        after: 0.0,
        two_before: 0.0,
        answers: 0.0,
        window: 0.0,
        session: 0.0,
        opens: 0.0,
        speaker: 0.0,
        asks: 0.0,
        exact: 0.0,
        literal: 0.0,
        when: 0.0,
        date: 0.0,
        time: 0.0,
        length: 0.0,
        repeats: 1.0,
        non_answer: 1.0,
        further_if_unknown: 0.0,
        further_if_known: 0.0,
        further_with_identifier: 0.0,
        further_without_identifier: 0.0,
        identifier: 0.0,
        identifier_density: 0.0,
    };

    /// 2023-05-01
    const SAID: UnixMicros = UnixMicros(1_682_899_200_000_000);

    /// Ranks records that were said in this order in one session.
    fn ranked(rules: Rules, cue: &str, records: &[(&str, &str)]) -> Vec<RankedHit> {
        let total = records.len() as f64;
        let has = |term: &QueryTerm| {
            let one_term = WeightedQuery::new("", vec![(term.clone(), 1.0, 1)]);
            records.iter().filter(|(text, cue)| !one_term.read(text, cue).has.is_empty()).count()
        };
        let weigh = |term: QueryTerm| (term.clone(), idf(total, has(&term) as f64), has(&term));
        let scorer = Scorer::new(
            WeightedQuery::new(cue, tokenizer::query_terms(cue).into_iter().map(weigh).collect()),
            rules,
            Literalness::Strong,
        );
        let candidate = |(at, (text, cue)): (usize, &(&str, &str))| Candidate {
            seq: at as i64,
            session: 1,
            said: UnixMicros::parse(&format!("2023-{:02}-01", at + 1), DateBound::Start).unwrap(),
            text_match: scorer.query.read(text, cue),
            phrase: PhraseMatch::None,
            project_match: ProjectMatch::Other,
            boost: 0.0,
            is_admitted: true,
            is_non_answer: false,
            holds: false,
            text_hash: CopyGroups::default().hash(""),
            time_share: 0.0,
        };
        let read: Vec<Candidate> = records.iter().enumerate().map(candidate).collect();
        let next = (1..records.len() as i64).map(|seq| (seq - 1, seq)).collect();
        scorer.rank(&read, &ConversationOrder { next, openings: HashSet::from([0]) }, &CopyGroups::default(), 10)
    }

    fn order(rules: Rules, cue: &str, records: &[(&str, &str)]) -> Vec<i64> {
        ranked(rules, cue, records).iter().map(|found| found.seq).collect()
    }

    #[test]
    fn words_rank_by_rarity_repetition_and_length_of_text() {
        let filler = ("nothing to see", "");
        for (what, cue, records, want) in [
            ("more words", "red apple", vec![("a red car", ""), filler, filler, ("a red apple", "")], vec![3, 0]),
            (
                "rare words",
                "apple pear",
                vec![("an apple", ""), filler, filler, ("a pear", ""), ("an apple", "")],
                vec![3],
            ),
            ("repeated", "apple", vec![("apple and plum", ""), filler, filler, ("apple and apple", "")], vec![3, 0]),
            ("shorter", "apple", vec![("apple with other things", ""), filler, filler, ("apple pie", "")], vec![3, 0]),
            ("text over cue", "apple", vec![("some fruit", "apple"), filler, filler, ("some apple", "")], vec![3, 0]),
            ("newer of equals", "apple", vec![("one apple", ""), filler, filler, ("two apple", "")], vec![3, 0]),
            ("by prefix", "猫", vec![("黒猫", ""), filler, filler, ("猫が好き", "")], vec![0, 3]),
            ("none", "zebra", vec![filler], vec![]),
        ] {
            let got = order(PLAIN, cue, &records);
            assert_eq!(got[..want.len()], want, "{what}");
            assert!(!want.is_empty() || got.is_empty(), "{what}");
        }
    }

    #[test]
    fn each_rule_ranks_the_record_it_is_for_first() {
        let filler = ("nothing to see here", "");
        for (what, rules, cue, records, first) in [
            (
                "beginnings",
                Rules { beginnings: 1.0, ..PLAIN },
                "photography",
                vec![filler, ("photographs and a tree", ""), ("a photography", "")],
                2,
            ),
            (
                "pairs",
                Rules { pairs: 1.0, ..PLAIN },
                "apple pie",
                vec![filler, ("pie with an apple", ""), filler, ("one apple pie", ""), filler],
                3,
            ),
            (
                "joined in the query",
                Rules { joined: 9.0, ..PLAIN },
                "roadtrip apple",
                vec![filler, ("apple apple", ""), filler, ("road trip apple", ""), filler],
                3,
            ),
            (
                "joined in the record",
                Rules { joined: 9.0, ..PLAIN },
                "road trip apple",
                vec![filler, ("apple apple", ""), filler, ("roadtrip apple", ""), filler],
                3,
            ),
            (
                "opens",
                Rules { opens: 1.0, ..PLAIN },
                "apple",
                vec![("apple a pie", ""), filler, filler, ("apple", "")],
                0,
            ),
            ("before", Rules { before: 2.0, ..PLAIN }, "apple", vec![("apple apple", ""), filler, filler], 1),
            ("after", Rules { after: 2.0, ..PLAIN }, "apple", vec![filler, filler, ("apple apple", "")], 1),
            ("two before", Rules { two_before: 2.0, ..PLAIN }, "apple", vec![("apple apple", ""), filler, filler], 2),
            (
                "answers",
                Rules { answers: 2.0, ..PLAIN },
                "apple",
                vec![("an apple?", ""), filler, ("an apple", ""), filler],
                1,
            ),
            (
                "window",
                Rules { window: 5.0, own: 0.0, ..PLAIN },
                "apple pear",
                vec![("apple", ""), filler, filler, filler, ("pear", ""), ("apple", ""), filler],
                6,
            ),
            (
                "speaker",
                Rules { speaker: 9.0, ..PLAIN },
                "anna apple",
                vec![("Ben: an apple for anna", ""), filler, filler, ("Anna: apple", "")],
                3,
            ),
            (
                "asks",
                Rules { asks: -0.5, ..PLAIN },
                "apple",
                vec![("an apple pie", ""), filler, filler, ("an apple pie?", "")],
                0,
            ),
            (
                "when",
                Rules { when: 1.0, ..PLAIN },
                "when apple",
                vec![("apple pie yesterday", ""), filler, filler, ("apple pie", "")],
                0,
            ),
            (
                "date",
                Rules { date: 5.0, ..PLAIN },
                "apple april",
                vec![("apple apple", ""), filler, filler, ("apple", "")],
                3,
            ),
            (
                "length",
                Rules { length: 5.0, ..PLAIN },
                "apple",
                vec![("apple with a lot of other things", ""), filler, filler, ("apple", "")],
                0,
            ),
            (
                "coverage",
                Rules { coverage: 9.0, ..PLAIN },
                "apple pear",
                vec![("apple pear and a lot of words", ""), filler, filler, ("apple apple apple", "")],
                0,
            ),
        ] {
            assert_eq!(order(rules, cue, &records)[0], first, "{what}");
        }
    }

    #[test]
    fn a_record_not_admitted_is_context_but_no_hit() {
        let scorer = Scorer::new(
            WeightedQuery::new("apple", vec![(tokenizer::query_terms("apple").remove(0), 1.0, 1)]),
            RULES,
            Literalness::Strong,
        );
        let one = |seq, text: &str, is_admitted| Candidate {
            seq,
            session: 1,
            said: SAID,
            text_match: scorer.query.read(text, ""),
            phrase: PhraseMatch::None,
            project_match: ProjectMatch::Other,
            boost: 0.0,
            is_admitted,
            is_non_answer: false,
            holds: false,
            text_hash: CopyGroups::default().hash(""),
            time_share: 0.0,
        };
        let read =
            [one(1, "an apple?", false), one(2, "a tree", true), one(3, "a stone", true), one(9, "a house", true)];
        let found = scorer.rank(
            &read,
            &ConversationOrder { next: HashMap::from([(1, 2), (2, 3)]), ..ConversationOrder::default() },
            &CopyGroups::default(),
            10,
        );
        assert_eq!(found.iter().map(|found| found.seq).collect::<Vec<_>>(), [2, 3]);
        assert!(
            found.iter().all(|found| found.terms.is_empty() && found.score > 0.0 && found.score < 1.0),
            "{found:?}"
        );
    }

    #[test]
    fn phrase_ranks_before_project_and_project_before_score() {
        let scorer = Scorer::new(
            WeightedQuery::new("apple", vec![(tokenizer::query_terms("apple").remove(0), 1.0, 1)]),
            PLAIN,
            Literalness::Strong,
        );
        let one = |seq, text: &str, phrase, project_match| Candidate {
            seq,
            session: seq,
            said: SAID,
            text_match: scorer.query.read(text, ""),
            phrase,
            project_match,
            boost: 0.0,
            is_admitted: true,
            is_non_answer: false,
            holds: false,
            text_hash: CopyGroups::default().hash(""),
            time_share: 0.0,
        };
        let all = [
            one(0, "apple apple apple", PhraseMatch::None, ProjectMatch::Other),
            one(1, "apple", PhraseMatch::None, ProjectMatch::Same),
            one(2, "apple apple", PhraseMatch::Alike, ProjectMatch::Other),
            one(3, "tree", PhraseMatch::Exact, ProjectMatch::Other),
            one(4, "tree", PhraseMatch::None, ProjectMatch::Same),
            one(5, "apple", PhraseMatch::Exact, ProjectMatch::Same),
        ];
        let found: Vec<i64> = scorer
            .rank(&all, &ConversationOrder::default(), &CopyGroups::default(), 4)
            .iter()
            .map(|found| found.seq)
            .collect();
        assert_eq!(found, [5, 3, 2, 1]);
    }
}
