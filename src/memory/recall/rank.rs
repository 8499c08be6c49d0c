//! How well records answer a question: by their own words, and by what was said around them.
//!
//! A talk is told in turns: one asks, the next answers without repeating the words, and a third adds
//! the date. So a record is scored by its own words (BM25), and by those of its neighbors in the
//! session, of a question it may answer, and of the session as a whole. Each rule counts what [`RULES`]
//! says; zero switches it off. What each of them earns stands in `docs/recall.md`.
//!
//! Pure: no database, no clock. What a single text says to a question is `question.rs`'s.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::memory::model::time::UnixMicros;
use crate::memory::profile::Literalness;
use crate::memory::recall::preferences::{leading_phrase, phrase_boost};
use crate::memory::recall::query::{TermSet, TextMatch, WeightedQuery};
use crate::memory::sort;
use crate::memory::text::phrase::PhraseMatch;

/// What each rule counts. A question's terms share out 1 by their rarity, so "of the question" is a
/// number from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// BM25 of the record's own words.
    pub(crate) own: f64,
    /// The share of the question that it has.
    pub(crate) coverage: f64,
    /// The share that it has by the beginning of a word alone: *photo* for *photography*.
    pub(crate) beginnings: f64,
    /// Of each two words of the question that stand side by side in it too.
    pub(crate) pairs: f64,
    /// The share that it has as two words for one, or one for two: *road trip* for *roadtrip*.
    pub(crate) joined: f64,
    /// The share whose companions it has instead: words that the user's own records have them with.
    pub(crate) company: f64,
    /// BM25 of the record said just before, the one just after, the one before the first.
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) two_before: f64,
    /// BM25 of the record said just before, where that one asks: this one may be the answer.
    pub(crate) answers: f64,
    /// The share of the question that it and those four have together.
    pub(crate) window: f64,
    /// The share of the question that its session has.
    pub(crate) session: f64,
    /// It opens its session: nothing before it could speak for it.
    pub(crate) opens: f64,
    /// It is said by somebody whom the question names.
    pub(crate) speaker: f64,
    /// It asks itself.
    pub(crate) asks: f64,
    /// It tells a time, and the question asks for one.
    pub(crate) when: f64,
    /// The share of the question that names its date.
    pub(crate) date: f64,
    /// The logarithm of its length in words: who says more tells more.
    pub(crate) length: f64,
}

/// What the rules count: the weights under which the right answers of many questions are likeliest, each
/// checked to be of use on talks that it was not found on (`docs/recall.md`). A word itself counts more
/// than one that only begins alike.
pub(crate) const RULES: Rules = Rules {
    own: 0.06,
    coverage: 0.39,
    beginnings: 0.38,
    pairs: 0.034,
    joined: 0.38,
    company: 0.22,
    before: 0.065,
    after: 0.025,
    two_before: 0.11,
    answers: 0.36,
    window: 0.52,
    session: 0.25,
    opens: 0.1,
    speaker: 0.13,
    asks: -0.08,
    when: 0.23,
    date: 0.68,
    length: 0.044,
};

/// Does a record belong to the project that was asked from?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProjectMatch {
    /// No, or none was named.
    Other,
    /// Yes.
    Same,
}

/// A record that answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RankedHit {
    /// Its place in the store.
    pub(crate) seq: i64,
    /// How well, over 0 and under 1, among those of the same phrase and place.
    pub(crate) score: f64,
    /// Which of the question's terms it has, by their place in the scorer; none where it was found by
    /// its neighbors.
    pub(crate) terms: Vec<usize>,
    /// Which of the others it has a word of that begins alike.
    pub(crate) alike: Vec<usize>,
    /// The phrase by which it comes before others.
    pub(crate) phrase: PhraseMatch,
    /// How it has a phrase.
    pub(crate) quotes: PhraseMatch,
    /// Whether it is of the project asked from.
    pub(crate) place: ProjectMatch,
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: i64,
    pub(crate) session: i64,
    /// When it was said.
    pub(crate) said: UnixMicros,
    pub(crate) reading: TextMatch,
    pub(crate) phrase: PhraseMatch,
    pub(crate) place: ProjectMatch,
    /// What it gains by the profile (`leaning.rs`).
    pub(crate) gain: f64,
    /// May it be given as an answer, or does it only stand beside others?
    pub(crate) is_admitted: bool,
}

/// The order in which records were said, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct ConversationOrder {
    /// From a record to the one said after it in its session.
    pub(crate) next: HashMap<i64, i64>,
    /// The first ones of sessions.
    pub(crate) openings: HashSet<i64>,
}

/// Ranks what was read for a question.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) question: WeightedQuery,
    rules: Rules,
    literal: Literalness,
}

impl Scorer {
    /// By these rules.
    pub(crate) fn new(question: WeightedQuery, rules: Rules, literal: Literalness) -> Scorer {
        Scorer { question, rules, literal }
    }

    /// The best `limit`, by phrase, place, score and age in this order.
    pub(crate) fn rank(&self, read: &[Candidate], talk: &ConversationOrder, limit: usize) -> Vec<RankedHit> {
        let around = Context::of(self, read, talk);
        let mut found: Vec<(RankedHit, UnixMicros)> = read
            .iter()
            .enumerate()
            .filter(|(_, one)| one.is_admitted)
            .filter_map(|(at, one)| {
                let context = around.of_one(at);
                let places = |terms: TermSet| (0..self.question.len()).filter(|at| terms.has(*at)).collect::<Vec<_>>();
                let (terms, alike) = (places(one.reading.has), places(one.reading.kin.without(around.names)));
                if terms.is_empty() && alike.is_empty() && one.phrase == PhraseMatch::None && context.is_nothing() {
                    return None;
                }
                // Any order-keeping way from a sum without an end to under 1.
                let sum = self.sum(one, &context, around.names).max(f64::MIN_POSITIVE);
                let found = RankedHit {
                    seq: one.seq,
                    score: sum / (1.0 + sum),
                    terms,
                    alike,
                    phrase: leading_phrase(self.literal, one.phrase),
                    quotes: one.phrase,
                    place: one.place,
                };
                Some((found, one.said))
            })
            .collect();
        sort::sort_by(&mut found, best_first);
        found.truncate(limit);
        found.into_iter().map(|(found, _)| found).collect()
    }

    fn sum(&self, one: &Candidate, context: &ScoringContext, names: TermSet) -> f64 {
        let (rules, question, reading) = (&self.rules, &self.question, &one.reading);
        let flag = |holds: bool, rule: f64| if holds { rule } else { 0.0 };
        rules.own * context.own
            + rules.coverage * question.share(reading.has)
            + rules.beginnings * question.share(reading.kin.without(names))
            + rules.pairs * f64::from(reading.pairs)
            + rules.joined * question.share(reading.joined)
            + rules.company * question.company(reading)
            + rules.before * context.before
            + rules.after * context.after
            + rules.two_before * context.two_before
            + rules.window * question.share(context.window)
            + rules.session * question.share(context.session)
            + rules.date * question.share(question.dated(one.said.day()).without(reading.has))
            + rules.length * (1.0 + reading.length).ln()
            + flag(context.follows_question, rules.answers * context.before)
            + flag(context.opens, rules.opens)
            + flag(!reading.speaker.is_empty(), rules.speaker)
            + flag(reading.asks, rules.asks)
            + flag(reading.tells_time, rules.when)
            + phrase_boost(self.literal, one.phrase)
            + one.gain
    }
}

/// What stands around a record.
#[derive(Debug)]
struct ScoringContext {
    own: f64,
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
    fn is_nothing(&self) -> bool {
        self.before + self.after + self.two_before + self.two_after <= 0.0
    }
}

/// All records that were read, by what they are to each other.
struct Context<'r> {
    read: &'r [Candidate],
    talk: &'r ConversationOrder,
    /// BM25 of each record, and without the names of speakers.
    own: Vec<f64>,
    bare: Vec<f64>,
    /// The terms that name somebody who speaks: each of their records has them.
    names: TermSet,
    /// The place of the record said just before and just after each.
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    sessions: HashMap<i64, TermSet>,
}

impl<'r> Context<'r> {
    fn of(scorer: &Scorer, read: &'r [Candidate], talk: &'r ConversationOrder) -> Context<'r> {
        let average = (read.iter().map(|one| one.reading.length).sum::<f64>() / read.len().max(1) as f64).max(1.0);
        let names = read.iter().fold(TermSet::default(), |names, one| names.union(one.reading.speaker));
        let mut sessions: HashMap<i64, TermSet> = HashMap::new();
        for one in read {
            let terms = sessions.entry(one.session).or_default();
            *terms = terms.union(one.reading.has.without(names));
        }
        let places: HashMap<i64, usize> = read.iter().enumerate().map(|(at, one)| (one.seq, at)).collect();
        let after: Vec<Option<usize>> =
            read.iter().map(|one| talk.next.get(&one.seq).and_then(|seq| places.get(seq).copied())).collect();
        let mut before = vec![None; read.len()];
        for (at, after) in after.iter().enumerate() {
            if let Some(after) = after {
                before[*after] = Some(at);
            }
        }
        Context {
            own: read.iter().map(|one| scorer.question.bm25(&one.reading, average, TermSet::default())).collect(),
            bare: read.iter().map(|one| scorer.question.bm25(&one.reading, average, names)).collect(),
            read,
            talk,
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
        let has = |at: Option<usize>| at.map_or(TermSet::default(), |at| self.read[at].reading.has.without(self.names));
        ScoringContext {
            own: self.own[at],
            before: bare(before),
            after: bare(after),
            two_before: bare(two_before),
            two_after: bare(two_after),
            follows_question: before.is_some_and(|at| self.read[at].reading.asks),
            opens: self.talk.openings.contains(&self.read[at].seq),
            window: has(Some(at)).union(has(before)).union(has(after)).union(has(two_before)).union(has(two_after)),
            session: self.sessions.get(&self.read[at].session).copied().unwrap_or_default(),
        }
    }
}

/// Of equals the one said last; that it was stored last tells less, as what is moved in is old.
fn best_first((a, a_said): &(RankedHit, UnixMicros), (b, b_said): &(RankedHit, UnixMicros)) -> Ordering {
    (b.phrase, b.place)
        .cmp(&(a.phrase, a.place))
        .then(b.score.total_cmp(&a.score))
        .then((b_said, b.seq).cmp(&(a_said, a.seq)))
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
        company: 0.0,
        before: 0.0,
        after: 0.0,
        two_before: 0.0,
        answers: 0.0,
        window: 0.0,
        session: 0.0,
        opens: 0.0,
        speaker: 0.0,
        asks: 0.0,
        when: 0.0,
        date: 0.0,
        length: 0.0,
    };

    /// 2023-05-01
    const SAID: UnixMicros = UnixMicros(1_682_899_200_000_000);

    /// The order of records that were said one after the other in a session.
    fn ranked(rules: Rules, cue: &str, records: &[(&str, &str)]) -> Vec<RankedHit> {
        let total = records.len() as f64;
        let has = |asked: &QueryTerm| {
            let question = WeightedQuery::new("", vec![(asked.clone(), 1.0, 1)]);
            records.iter().filter(|(text, cue)| !question.read(text, cue).has.is_empty()).count()
        };
        let weigh = |asked: QueryTerm| (asked.clone(), idf(total, has(&asked) as f64), has(&asked));
        let scorer = Scorer::new(
            WeightedQuery::new(cue, tokenizer::query_terms(cue).into_iter().map(weigh).collect()),
            rules,
            Literalness::Strong,
        );
        let candidate = |(at, (text, cue)): (usize, &(&str, &str))| Candidate {
            seq: at as i64,
            session: 1,
            said: UnixMicros::parse(&format!("2023-{:02}-01", at + 1), DateBound::Start).unwrap(),
            reading: scorer.question.read(text, cue),
            phrase: PhraseMatch::None,
            place: ProjectMatch::Other,
            gain: 0.0,
            is_admitted: true,
        };
        let read: Vec<Candidate> = records.iter().enumerate().map(candidate).collect();
        let next = (1..records.len() as i64).map(|seq| (seq - 1, seq)).collect();
        scorer.rank(&read, &ConversationOrder { next, openings: HashSet::from([0]) }, 10)
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
    fn each_rule_moves_what_it_is_for() {
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
                "joined in the question",
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
    fn what_is_not_admitted_stands_beside_but_is_not_found() {
        let scorer = Scorer::new(
            WeightedQuery::new("apple", vec![(tokenizer::query_terms("apple").remove(0), 1.0, 1)]),
            RULES,
            Literalness::Strong,
        );
        let one = |seq, text: &str, is_admitted| Candidate {
            seq,
            session: 1,
            said: SAID,
            reading: scorer.question.read(text, ""),
            phrase: PhraseMatch::None,
            place: ProjectMatch::Other,
            gain: 0.0,
            is_admitted,
        };
        let read =
            [one(1, "an apple?", false), one(2, "a tree", true), one(3, "a stone", true), one(9, "a house", true)];
        let found = scorer.rank(
            &read,
            &ConversationOrder { next: HashMap::from([(1, 2), (2, 3)]), ..ConversationOrder::default() },
            10,
        );
        assert_eq!(found.iter().map(|found| found.seq).collect::<Vec<_>>(), [2, 3]);
        assert!(
            found.iter().all(|found| found.terms.is_empty() && found.score > 0.0 && found.score < 1.0),
            "{found:?}"
        );
    }

    #[test]
    fn phrase_comes_before_place_and_place_before_score() {
        let scorer = Scorer::new(
            WeightedQuery::new("apple", vec![(tokenizer::query_terms("apple").remove(0), 1.0, 1)]),
            PLAIN,
            Literalness::Strong,
        );
        let one = |seq, text: &str, phrase, place| Candidate {
            seq,
            session: seq,
            said: SAID,
            reading: scorer.question.read(text, ""),
            phrase,
            place,
            gain: 0.0,
            is_admitted: true,
        };
        let all = [
            one(0, "apple apple apple", PhraseMatch::None, ProjectMatch::Other),
            one(1, "apple", PhraseMatch::None, ProjectMatch::Same),
            one(2, "apple apple", PhraseMatch::Alike, ProjectMatch::Other),
            one(3, "tree", PhraseMatch::Exact, ProjectMatch::Other),
            one(4, "tree", PhraseMatch::None, ProjectMatch::Same),
            one(5, "apple", PhraseMatch::Exact, ProjectMatch::Same),
        ];
        let found: Vec<i64> =
            scorer.rank(&all, &ConversationOrder::default(), 4).iter().map(|found| found.seq).collect();
        assert_eq!(found, [5, 3, 2, 1]);
    }
}
