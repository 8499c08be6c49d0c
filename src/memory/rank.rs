//! How well records answer a question: by their own words, and by what was said around them.
//!
//! A talk is told in turns: one asks, the next answers without repeating the words, and a third adds
//! the date. So a record is scored by its own words (BM25), and by those of its neighbours in the
//! session, of a question it may answer, and of the session as a whole. Each rule counts what [`RULES`]
//! says; zero switches it off. What each of them earns stands in `docs/recall.md`.
//!
//! Pure: no database, no clock. BM25 after Robertson and Zaragoza, "The Probabilistic Relevance
//! Framework: BM25 and Beyond", 2009.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::moment::Day;
use super::phrase::Phrase;
use super::signs::{self, DatePart};
use super::terms::{self, Asked, Look};

/// What each rule counts. A question's terms share out 1 by their rarity, so "of the question" is a
/// number from 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// BM25 of the record's own words.
    pub(super) own: f64,
    /// The share of the question that it has.
    pub(super) coverage: f64,
    /// The share that it has by the beginning of a word alone: *photo* for *photography*.
    pub(super) beginnings: f64,
    /// BM25 of the record said just before, the one just after, the one before that, the one after that.
    pub(super) before: f64,
    pub(super) after: f64,
    pub(super) two_before: f64,
    pub(super) two_after: f64,
    /// BM25 of the record said just before, where that one asks: this one may be the answer.
    pub(super) answers: f64,
    /// The share of the question that it and those four have together.
    pub(super) window: f64,
    /// The share of the question that its session has.
    pub(super) session: f64,
    /// It is said by somebody whom the question names.
    pub(super) speaker: f64,
    /// It asks itself.
    pub(super) asks: f64,
    /// It tells a time, and the question asks for one.
    pub(super) when: f64,
    /// The share of the question that names its date.
    pub(super) date: f64,
    /// The logarithm of its length in words: who says more tells more.
    pub(super) length: f64,
}

/// What the rules count, found by looking at what each is worth.
pub(super) const RULES: Rules = Rules {
    own: 0.5,
    coverage: 0.075,
    beginnings: 0.45,
    before: 0.3,
    after: 0.1,
    two_before: 0.19,
    two_after: 0.1,
    answers: 0.24,
    window: 0.23,
    session: 0.15,
    speaker: 0.075,
    asks: -0.04,
    when: 0.19,
    date: 0.96,
    length: 0.15,
};

/// BM25's usual constants: how soon repeating a word stops to count, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What a word in a record's cue counts, against one in its text.
const CUE_WEIGHT: f64 = 0.5;

/// Letters that two words must share at their beginning to be taken for kin. Picked: five in most
/// alphabets are a root.
const KIN_CHARS: usize = 5;

/// Does a record belong to the project that was asked from?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// No, or none was named.
    Elsewhere,
    /// Yes.
    Here,
}

/// A record that answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Its place in the store.
    pub(super) seq: i64,
    /// How well, over 0 and under 1, among those of the same phrase and place.
    pub(super) score: f64,
    /// Which of the question's terms it has, by their place in the scorer; none where it was found by
    /// its neighbours.
    pub(super) terms: Vec<usize>,
    /// How it has a phrase.
    pub(super) phrase: Phrase,
    /// Whether it is of the project asked from.
    pub(super) place: Place,
}

/// How rare a term is that `frequency` of `total` records have: BM25's inverse document frequency, in
/// the form that stays over 0 for the most common ones.
pub(super) fn idf(total: f64, frequency: f64) -> f64 {
    let frequency = frequency.min(total);
    (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// A set of the question's terms, a bit each.
type Terms = u32;

/// A record that was read.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) seq: i64,
    pub(super) session: i64,
    pub(super) day: Day,
    pub(super) reading: Reading,
    pub(super) phrase: Phrase,
    pub(super) place: Place,
    /// May it be given as an answer, or does it only stand beside others?
    pub(super) is_admitted: bool,
}

/// What a record's text says to a question.
#[derive(Debug)]
pub(super) struct Reading {
    /// Of each term, how often it is there.
    counts: Vec<f64>,
    /// The terms that are there.
    has: Terms,
    /// The terms that are there by a word's beginning alone.
    kin: Terms,
    /// The terms that name who speaks.
    speaker: Terms,
    /// Words of the text.
    length: f64,
    asks: bool,
    /// Looked at only where the question asks for a time.
    tells_time: bool,
}

/// A question's terms, weighed.
#[derive(Debug)]
pub(super) struct Scorer {
    /// A question has few, so looking through them beats hashing every word of every text.
    terms: Vec<Asked>,
    /// Each term's share of the question.
    shares: Vec<f64>,
    dates: Vec<(usize, DatePart)>,
    asks_when: bool,
    rules: Rules,
}

impl Scorer {
    /// For these terms of `cue`, at most 32, each with its [`idf`] and the number of records that have it.
    pub(super) fn new(cue: &str, terms: Vec<(Asked, f64, usize)>, rules: Rules) -> Scorer {
        let known: f64 = terms.iter().filter(|(_, _, records)| *records > 0).map(|(_, idf, _)| idf).sum();
        let shares = terms.iter().map(|(_, idf, _)| if known > 0.0 { idf / known } else { 0.0 }).collect();
        let terms: Vec<Asked> = terms.into_iter().map(|(asked, _, _)| asked).collect();
        let named = |(at, asked): (usize, &Asked)| DatePart::named(&asked.word).map(|part| (at, part));
        let dates = terms.iter().enumerate().filter_map(named).collect();
        let mut asks_when = false;
        terms::each(cue, |token| asks_when |= signs::asks_when(token.word));
        Scorer { terms, shares, dates, asks_when, rules }
    }

    /// Reads a record.
    pub(super) fn read(&self, text: &str, cue: &str) -> Reading {
        let mut reading = Reading {
            counts: vec![0.0; self.terms.len()],
            has: 0,
            kin: 0,
            speaker: 0,
            length: 0.0,
            asks: signs::asks(text),
            tells_time: false,
        };
        terms::each(text, |token| {
            reading.length += 1.0;
            reading.tells_time |= self.asks_when && signs::tells_time(token.word);
            self.count(token.term, 1.0, &mut reading);
        });
        terms::each(cue, |token| self.count(token.term, CUE_WEIGHT, &mut reading));
        reading.kin &= !reading.has;
        if let Some(label) = signs::label(text) {
            terms::each(label, |token| {
                reading.speaker |= self.matching(|asked| asked.term == token.term);
            });
        }
        reading
    }

    fn count(&self, term: &str, weight: f64, reading: &mut Reading) {
        for (at, asked) in self.terms.iter().enumerate() {
            let is_there = match asked.look {
                Look::Whole => asked.term == term,
                Look::Prefix => term.starts_with(&asked.term),
            };
            if is_there {
                reading.counts[at] += weight;
                reading.has |= 1 << at;
            } else if are_kin(&asked.term, term) {
                reading.kin |= 1 << at;
            }
        }
    }

    fn matching(&self, so: impl Fn(&Asked) -> bool) -> Terms {
        self.terms.iter().enumerate().filter(|(_, asked)| so(asked)).fold(0, |set, (at, _)| set | 1 << at)
    }

    /// What these terms share of the question.
    fn share(&self, terms: Terms) -> f64 {
        self.shares.iter().enumerate().filter(|(at, _)| terms & 1 << at != 0).map(|(_, share)| share).sum()
    }

    fn bm25(&self, reading: &Reading, average: f64, without: Terms) -> f64 {
        let slowness = K1 * (1.0 - B + B * reading.length / average);
        let weigh = |(at, count): (usize, &f64)| match without & 1 << at {
            0 if *count > 0.0 => self.shares[at] * count * (K1 + 1.0) / (count + slowness),
            _ => 0.0,
        };
        reading.counts.iter().enumerate().map(weigh).sum()
    }

    /// The best `limit`, by phrase, place, score and age in this order. `next` leads from a record to
    /// the one said after it in its session, as far as that is known.
    pub(super) fn rank(&self, read: &[Candidate], next: &HashMap<i64, i64>, limit: usize) -> Vec<Found> {
        let around = Around::of(self, read, next);
        let mut found: Vec<Found> = read
            .iter()
            .enumerate()
            .filter(|(_, one)| one.is_admitted)
            .filter_map(|(at, one)| {
                let context = around.of_one(at);
                let terms: Vec<usize> = (0..self.terms.len()).filter(|at| one.reading.has & 1 << at != 0).collect();
                if terms.is_empty() && one.phrase == Phrase::None && context.is_nothing() {
                    return None;
                }
                // Any order-keeping way from a sum without an end to under 1.
                let sum = self.sum(one, &context, around.names).max(f64::MIN_POSITIVE);
                Some(Found { seq: one.seq, score: sum / (1.0 + sum), terms, phrase: one.phrase, place: one.place })
            })
            .collect();
        found.sort_unstable_by(best_first);
        found.truncate(limit);
        found
    }

    fn sum(&self, one: &Candidate, context: &Context, names: Terms) -> f64 {
        let rules = &self.rules;
        let reading = &one.reading;
        let dated = self.dates.iter().filter(|(_, part)| part.is_of(one.day)).fold(0, |set, (at, _)| set | 1 << at);
        let flag = |holds: bool, rule: f64| if holds { rule } else { 0.0 };
        rules.own * context.own
            + rules.coverage * self.share(reading.has)
            + rules.beginnings * self.share(reading.kin & !names)
            + rules.before * context.before
            + rules.after * context.after
            + rules.two_before * context.two_before
            + rules.two_after * context.two_after
            + rules.window * self.share(context.window)
            + rules.session * self.share(context.session)
            + rules.date * self.share(dated & !reading.has)
            + rules.length * (1.0 + reading.length).ln()
            + flag(context.follows_question, rules.answers * context.before)
            + flag(reading.speaker != 0, rules.speaker)
            + flag(reading.asks, rules.asks)
            + flag(reading.tells_time, rules.when)
    }
}

/// What stands around a record.
#[derive(Debug)]
struct Context {
    own: f64,
    before: f64,
    after: f64,
    two_before: f64,
    two_after: f64,
    follows_question: bool,
    window: Terms,
    session: Terms,
}

impl Context {
    fn is_nothing(&self) -> bool {
        self.before + self.after + self.two_before + self.two_after <= 0.0
    }
}

/// All records that were read, by what they are to each other.
struct Around<'r> {
    read: &'r [Candidate],
    /// BM25 of each record, and without the names of speakers.
    own: Vec<f64>,
    bare: Vec<f64>,
    /// The terms that name somebody who speaks: each of their records has them.
    names: Terms,
    /// The place of the record said just before and just after each.
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    sessions: HashMap<i64, Terms>,
}

impl<'r> Around<'r> {
    fn of(scorer: &Scorer, read: &'r [Candidate], next: &HashMap<i64, i64>) -> Around<'r> {
        let average = (read.iter().map(|one| one.reading.length).sum::<f64>() / read.len().max(1) as f64).max(1.0);
        let names = read.iter().fold(0, |names, one| names | one.reading.speaker);
        let mut sessions: HashMap<i64, Terms> = HashMap::new();
        for one in read {
            *sessions.entry(one.session).or_default() |= one.reading.has & !names;
        }
        let places: HashMap<i64, usize> = read.iter().enumerate().map(|(at, one)| (one.seq, at)).collect();
        let after: Vec<Option<usize>> =
            read.iter().map(|one| next.get(&one.seq).and_then(|seq| places.get(seq).copied())).collect();
        let mut before = vec![None; read.len()];
        for (at, after) in after.iter().enumerate() {
            if let Some(after) = after {
                before[*after] = Some(at);
            }
        }
        Around {
            own: read.iter().map(|one| scorer.bm25(&one.reading, average, 0)).collect(),
            bare: read.iter().map(|one| scorer.bm25(&one.reading, average, names)).collect(),
            read,
            names,
            before,
            after,
            sessions,
        }
    }

    fn of_one(&self, at: usize) -> Context {
        let (before, after) = (self.before[at], self.after[at]);
        let two_before = before.and_then(|at| self.before[at]);
        let two_after = after.and_then(|at| self.after[at]);
        let bare = |at: Option<usize>| at.map_or(0.0, |at| self.bare[at]);
        let has = |at: Option<usize>| at.map_or(0, |at| self.read[at].reading.has & !self.names);
        Context {
            own: self.own[at],
            before: bare(before),
            after: bare(after),
            two_before: bare(two_before),
            two_after: bare(two_after),
            follows_question: before.is_some_and(|at| self.read[at].reading.asks),
            window: has(Some(at)) | has(before) | has(after) | has(two_before) | has(two_after),
            session: self.sessions.get(&self.read[at].session).copied().unwrap_or(0),
        }
    }
}

/// Do two different words begin alike? Names with numbers in them (*room12*) are told apart by them.
fn are_kin(a: &str, b: &str) -> bool {
    let alike = a.chars().zip(b.chars()).take(KIN_CHARS).take_while(|(a, b)| a == b && !a.is_ascii_digit()).count();
    alike == KIN_CHARS && !(a.ends_with(|c: char| c.is_ascii_digit()) || b.ends_with(|c: char| c.is_ascii_digit()))
}

fn best_first(a: &Found, b: &Found) -> Ordering {
    (b.phrase, b.place).cmp(&(a.phrase, a.place)).then(b.score.total_cmp(&a.score)).then(b.seq.cmp(&a.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Rules = Rules {
        own: 1.0,
        coverage: 0.0,
        beginnings: 0.0,
        before: 0.0,
        after: 0.0,
        two_before: 0.0,
        two_after: 0.0,
        answers: 0.0,
        window: 0.0,
        session: 0.0,
        speaker: 0.0,
        asks: 0.0,
        when: 0.0,
        date: 0.0,
        length: 0.0,
    };

    const DAY: Day = Day { year: 2023, month: 5, weekday: 1 };

    /// The order of records that were said one after the other in a session.
    fn ranked(rules: Rules, cue: &str, records: &[(&str, &str)]) -> Vec<Found> {
        let total = records.len() as f64;
        let has = |asked: &Asked| {
            let scorer = Scorer::new("", vec![(asked.clone(), 1.0, 1)], PLAIN);
            records.iter().filter(|(text, cue)| scorer.read(text, cue).has != 0).count()
        };
        let weigh = |asked: Asked| (asked.clone(), idf(total, has(&asked) as f64), has(&asked));
        let scorer = Scorer::new(cue, terms::asked(cue).into_iter().map(weigh).collect(), rules);
        let candidate = |(at, (text, cue)): (usize, &(&str, &str))| Candidate {
            seq: at as i64,
            session: 1,
            day: Day { month: at as i8 + 1, ..DAY },
            reading: scorer.read(text, cue),
            phrase: Phrase::None,
            place: Place::Elsewhere,
            is_admitted: true,
        };
        let read: Vec<Candidate> = records.iter().enumerate().map(candidate).collect();
        let next = (1..records.len() as i64).map(|seq| (seq - 1, seq)).collect();
        scorer.rank(&read, &next, 10)
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
            ("before", Rules { before: 2.0, ..PLAIN }, "apple", vec![("apple apple", ""), filler, filler], 1),
            ("after", Rules { after: 2.0, ..PLAIN }, "apple", vec![filler, filler, ("apple apple", "")], 1),
            ("two before", Rules { two_before: 2.0, ..PLAIN }, "apple", vec![("apple apple", ""), filler, filler], 2),
            ("two after", Rules { two_after: 2.0, ..PLAIN }, "apple", vec![filler, filler, ("apple apple", "")], 0),
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
        let scorer = Scorer::new("apple", vec![(terms::asked("apple").remove(0), 1.0, 1)], RULES);
        let one = |seq, text: &str, is_admitted| Candidate {
            seq,
            session: 1,
            day: DAY,
            reading: scorer.read(text, ""),
            phrase: Phrase::None,
            place: Place::Elsewhere,
            is_admitted,
        };
        let read =
            [one(1, "an apple", false), one(2, "a tree", true), one(3, "a stone", true), one(9, "a house", true)];
        let found = scorer.rank(&read, &HashMap::from([(1, 2), (2, 3)]), 10);
        assert_eq!(found.iter().map(|found| found.seq).collect::<Vec<_>>(), [2, 3]);
        assert!(
            found.iter().all(|found| found.terms.is_empty() && found.score > 0.0 && found.score < 1.0),
            "{found:?}"
        );
    }

    #[test]
    fn phrase_comes_before_place_and_place_before_score() {
        let scorer = Scorer::new("apple", vec![(terms::asked("apple").remove(0), 1.0, 1)], PLAIN);
        let one = |seq, text: &str, phrase, place| Candidate {
            seq,
            session: seq,
            day: DAY,
            reading: scorer.read(text, ""),
            phrase,
            place,
            is_admitted: true,
        };
        let all = [
            one(0, "apple apple apple", Phrase::None, Place::Elsewhere),
            one(1, "apple", Phrase::None, Place::Here),
            one(2, "apple apple", Phrase::Alike, Place::Elsewhere),
            one(3, "tree", Phrase::Exact, Place::Elsewhere),
            one(4, "tree", Phrase::None, Place::Here),
            one(5, "apple", Phrase::Exact, Place::Here),
        ];
        let found: Vec<i64> = scorer.rank(&all, &HashMap::new(), 4).iter().map(|found| found.seq).collect();
        assert_eq!(found, [5, 3, 2, 1]);
    }

    #[test]
    fn rarity_is_over_zero_and_falls() {
        let all: Vec<f64> = [0.0, 1.0, 10.0, 99.0, 100.0].iter().map(|&f| idf(100.0, f)).collect();
        assert!(all.windows(2).all(|two| two[0] > two[1]), "{all:?}");
        assert!(all.iter().all(|idf| *idf > 0.0), "{all:?}");
        // An estimate that is too high.
        assert_eq!(idf(100.0, 150.0), idf(100.0, 100.0));
    }
}
