//! Reranking: scores each candidate by its own words and by those of the records around it.
//!
//! In conversation one turn asks, the next answers without repeating the words, and a third adds the date. A record is
//! therefore scored by its own words (BM25), by its neighbors in the session, by a question just before it, and by the
//! session as a whole (`context.rs`). `rules.rs` has one weight a rule; zero disables the rule.
//!
//! Pure. `query.rs` matches a single text against the query.

use std::cmp::Ordering;

use crate::memory::profile::Literalness;
use crate::memory::recall::context::{Candidate, Context, ConversationOrder, ScoringContext};
use crate::memory::recall::copies::{CopyGroup, CopyGroups, TextHashes};
use crate::memory::recall::hit::{ProjectMatch, RankedHit};
use crate::memory::recall::preferences::{leading_phrase, phrase_boost};
use crate::memory::recall::query::WeightedQuery;
use crate::memory::recall::rules::Rules;
use crate::memory::recall::text_match::TermSet;
use crate::memory::text::phrase::PhraseMatch;
use crate::sort;

/// What the words of a time in the query add to [`Rules::time`], by their share of the query: as if the text had them.
const TIME_WORDS_FACTOR: f64 = 1.2;

/// Least share of the query in a question that repeats it. Picked: more than half.
const REPEATED_SHARE: f64 = 0.6;

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

    /// Returns the best `limit` hits, ordered by phrase, project, score and time; the caller's own turns after all others
    /// that have as much of a quoted phrase.
    ///
    /// Of records with equal texts only the one that ranks first is a hit, in the place of the newest of its `copies`.
    pub(crate) fn rank(
        &self,
        read: &[Candidate],
        order: &ConversationOrder,
        copies: &CopyGroups,
        limit: usize,
    ) -> Vec<RankedHit> {
        let all = Context::of(&self.query, read, order);
        let mut ranked: Vec<RankedCandidate<'_>> = Vec::with_capacity(read.len());
        for (at, one) in read.iter().enumerate().filter(|(_, one)| one.is_admitted) {
            let context = all.of_one(at);
            let (terms, prefix_terms) = (one.text_match.has, one.text_match.prefix_match.without(all.names));
            if terms.union(prefix_terms).is_empty()
                && one.phrase == PhraseMatch::None
                && one.time_share == 0.0
                && !context.has_match()
            {
                continue;
            }
            // Maps the unbounded sum to a score under 1 and keeps the order.
            let sum = self.sum(one, &context, &all).max(f64::MIN_POSITIVE);
            ranked.push(RankedCandidate {
                one,
                score: sum / (1.0 + sum),
                phrase: leading_phrase(self.literal, one.phrase),
                prefix_terms,
                group: if one.holds && !one.is_own { copies.get(one.text_hash) } else { None },
            });
        }
        sort::sort_by(&mut ranked, best_first);
        let mut seen = TextHashes::default();
        ranked.retain(|ranked| !ranked.one.holds || seen.insert(ranked.one.text_hash));
        ranked.truncate(limit);
        ranked.into_iter().map(|ranked| ranked.into_hit(self.query.len())).collect()
    }

    fn sum(&self, one: &Candidate, context: &ScoringContext, all: &Context<'_>) -> f64 {
        let (rules, query, text) = (&self.rules, &self.query, &one.text_match);
        let flag = |holds: bool, rule: f64| if holds { rule } else { 0.0 };
        let sum = rules.own * context.own
            + rules.coverage * query.share(text.written)
            + rules.beginnings * query.share(text.prefix_match.without(all.names))
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
            + rules.date * query.share(query.dated(one.said).without(text.has))
            + rules.exact * text.exact
            + rules.time * one.time_share * (1.0 + TIME_WORDS_FACTOR * all.time_words)
            + rules.length * (1.0 + text.length).ln()
            + self.further_weight(context) * context.further
            + flag(context.follows_question && !one.is_non_answer, rules.answers * context.before)
            + flag(context.opens && !context.has_identifier, rules.opens)
            + rules.identifier_density * context.dense
            + rules.leads * context.leads
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

/// A candidate with its rank.
struct RankedCandidate<'r> {
    one: &'r Candidate,
    score: f64,
    /// The phrase match that ranks it before others.
    phrase: PhraseMatch,
    prefix_terms: TermSet,
    /// The records with its text.
    group: Option<&'r CopyGroup>,
}

impl RankedCandidate<'_> {
    fn seq(&self) -> i64 {
        self.group.map_or(self.one.seq, CopyGroup::newest)
    }

    fn project_match(&self) -> ProjectMatch {
        if self.group.is_some_and(|group| group.is_of_project) { ProjectMatch::Same } else { self.one.project_match }
    }

    /// Returns the hit, given the number of the query's terms.
    fn into_hit(self, term_count: usize) -> RankedHit {
        let positions = |terms: TermSet| (0..term_count).filter(|at| terms.has(*at)).collect();
        RankedHit {
            seq: self.seq(),
            score: self.score,
            terms: positions(self.one.text_match.has),
            prefix_terms: positions(self.prefix_terms),
            phrase: self.phrase,
            quotes: self.one.phrase,
            project_match: self.project_match(),
            is_own: self.one.is_own,
            text_hash: Some(self.one.text_hash),
            copies: self.group.cloned(),
            is_of_time: self.one.time_share > 0.0,
        }
    }
}

/// Orders equals by the time they were said, the latest first; the order of insertion comes last, since imported
/// records are old.
fn best_first(a: &RankedCandidate<'_>, b: &RankedCandidate<'_>) -> Ordering {
    (b.phrase, a.one.is_own, b.project_match())
        .cmp(&(a.phrase, b.one.is_own, a.project_match()))
        .then_with(|| b.score.total_cmp(&a.score))
        .then_with(|| (b.one.said, b.seq()).cmp(&(a.one.said, a.seq())))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::memory::model::time::{DateBound, UnixMicros};
    use crate::memory::recall::query::idf;
    use crate::memory::recall::rules::RULES;
    use crate::memory::text::cue_terms::{self, QueryTerm};

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
        identifier_density: 0.0,
        leads: 0.0,
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
            WeightedQuery::new(cue, cue_terms::query_terms(cue).into_iter().map(weigh).collect()),
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
            is_own: false,
            boost: 0.0,
            is_admitted: true,
            is_non_answer: false,
            holds: false,
            text_hash: CopyGroups::default().hash(""),
            time_share: 0.0,
        };
        let read: Vec<Candidate> = records.iter().enumerate().map(candidate).collect();
        let next = (1..records.len() as i64).map(|seq| (seq - 1, seq)).collect();
        let openings = [0].into_iter().collect();
        scorer.rank(&read, &ConversationOrder { next, openings }, &CopyGroups::default(), 10)
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
            WeightedQuery::new("apple", vec![(cue_terms::query_terms("apple").remove(0), 1.0, 1)]),
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
            is_own: false,
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
            &ConversationOrder { next: [(1, 2), (2, 3)].into_iter().collect(), ..ConversationOrder::default() },
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
            WeightedQuery::new("apple", vec![(cue_terms::query_terms("apple").remove(0), 1.0, 1)]),
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
            is_own: false,
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
