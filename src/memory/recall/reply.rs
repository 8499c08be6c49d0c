//! The reply of a recall: renders hits with their reasons, superseded records, linked records and patterns.

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::graph::patterns;
use crate::memory::model::annotation;
use crate::memory::model::record::Role;
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::Profile;
use crate::memory::recall::candidates::{self, RecallFilter};
use crate::memory::recall::copies::CopyGroup;
use crate::memory::recall::hit::{ProjectMatch, RankedHit};
use crate::memory::recall::mode::CueMode;
use crate::memory::recall::passage::Passage;
use crate::memory::recall::related::Related;
use crate::memory::session::digest;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::{records, tags};
use crate::memory::text::cue_terms::QueryTerm;
use crate::memory::text::phrase::PhraseMatch;
use crate::memory::text::time_phrase::TimeSpan;
use crate::memory::text::tokenizer::TokenKind;
use crate::tokens;

/// Most bytes of the hits in a reply, as JSON: 1 MiB less 16 KiB for the rest of the reply.
pub(crate) const MAX_HITS_BYTES: usize = (1 << 20) - (16 << 10);

/// Most tokens of the records that a session's first recall adds beside its hits (the contract).
const FIRST_TURN_TOKENS: usize = 400;

/// Records read to fill [`FIRST_TURN_TOKENS`]. Picked.
const FIRST_TURN_READ_COUNT: usize = 64;

/// Characters of a token, at most: a text of more characters has more tokens. Picked: more than in prose.
pub(crate) const MAX_TOKEN_CHARS: usize = 8;

/// Tokens of a hit beside its text, as an assistant gets it. They count if the reply has passages.
const HIT_TOKENS: usize = 110;

/// Tokens that a hit's text may have in any case, if the reply has passages. Picked: three sentences.
const MIN_SHARE_TOKENS: usize = 60;

/// Superseded records for which a reply with passages has room.
const SUPERSEDED_PASSAGE_COUNT: usize = 3;

/// Most patterns that a reply names.
const MAX_PATTERN_COUNT: usize = 3;

/// Most words that a hit's reason lists. Picked.
const MAX_REASON_WORD_COUNT: usize = 8;

/// What hits were found by.
pub(crate) enum MatchReason {
    /// The cue has no terms: the newest records.
    Newest,
    /// The roles of a structural recall.
    Structure,
    /// The terms of the cue and the further terms that were looked up.
    Terms { cue: Vec<QueryTerm>, further: Vec<QueryTerm> },
}

impl MatchReason {
    /// Returns the terms, those of the cue first.
    fn terms(&self) -> Vec<QueryTerm> {
        match self {
            MatchReason::Newest | MatchReason::Structure => Vec::new(),
            MatchReason::Terms { cue, further } => [&cue[..], further].concat(),
        }
    }
}

/// The result of `memory_recall`.
#[derive(Serialize)]
pub(crate) struct RecallResponse {
    pub(crate) hits: Vec<Box<RawValue>>,
    anti_hits: Vec<Box<RawValue>>,
    activation_trace: Vec<String>,
    budget_used: usize,
    cue_mode: CueMode,
    /// How a time in the cue was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_read: Option<TimeSpan>,
    patterns_observed: Vec<Value>,
    pub(crate) overnight_digest: Value,
    truncated: usize,
    /// The number of words in `also` that were not searched for.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) also_left_out: usize,
    /// If the best score is low: the words of the cue that no record has, and the nearest that the store knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_words: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) did_you_mean: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_turn_recall: Option<FirstTurnRecall>,
    /// A text that is longer than its share of the budget is shown as a passage.
    #[serde(skip)]
    pub(crate) has_passages: bool,
    /// Bytes of all hits as JSON.
    #[serde(skip)]
    bytes: usize,
}

/// Returns true for 0; the signature is serde's.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The newest records of other sessions, shown on a session's first recall.
#[derive(Serialize)]
struct FirstTurnRecall {
    hits: Vec<Box<RawValue>>,
    budget_tokens: usize,
    budget_used: usize,
    warm_lru_size: usize,
    warm_lru_source: &'static str,
}

#[derive(Serialize)]
struct Hit<'r> {
    record_id: String,
    score: f64,
    reason: String,
    literal_surface: &'r str,
    /// What `literal_surface` is if it is not the whole text, and the bytes of the whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    passage: Option<Passage<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_bytes: Option<usize>,
    adjacent_suggestions: Vec<String>,
    valid_from: String,
    valid_to: Option<String>,
    session_id: &'r str,
    role: &'static str,
    ts: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epistemic_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salience_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    focus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<String>,
    /// The number of records with this text, if there are several, and the time of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ts: Option<String>,
    #[serde(rename = "_scene_hint", skip_serializing_if = "Option::is_none")]
    scene_hint: Option<SceneHint<'r>>,
}

/// Advice to the assistant on how to present a hit.
#[derive(Serialize)]
struct SceneHint<'r> {
    session_id: &'r str,
    captured_at: String,
    advice: &'static str,
}

impl RecallResponse {
    /// Returns a reply without hits.
    pub(crate) fn new(cue_mode: CueMode) -> RecallResponse {
        RecallResponse {
            hits: Vec::new(),
            anti_hits: Vec::new(),
            activation_trace: Vec::new(),
            budget_used: 0,
            cue_mode,
            time_read: None,
            patterns_observed: Vec::new(),
            overnight_digest: digest::empty(),
            truncated: 0,
            also_left_out: 0,
            unknown_words: Vec::new(),
            did_you_mean: Vec::new(),
            first_turn_recall: None,
            has_passages: false,
            bytes: 0,
        }
    }

    /// Returns the reply of a structural recall, with the hits in the order given.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub(crate) fn structural(
        connection: &Connection,
        hits: Vec<RankedHit>,
        budget: usize,
        profile: &Profile,
    ) -> Result<RecallResponse, CallError> {
        let mut reply = RecallResponse::new(CueMode::Concept);
        reply.add_hits(connection, &Related::none(hits), &MatchReason::Structure, budget, profile)?;
        Ok(reply)
    }

    /// Adds the hits, the best first, up to `budget` tokens and the size of a reply. The first hit is exempt from the
    /// budget.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub(crate) fn add_hits(
        &mut self,
        connection: &Connection,
        related: &Related,
        match_reason: &MatchReason,
        budget: usize,
        profile: &Profile,
    ) -> Result<(), CallError> {
        let (hits, scores) = (&related.hits, scores(&related.hits));
        let superseded = related.superseded.len().min(SUPERSEDED_PASSAGE_COUNT) * (MIN_SHARE_TOKENS + HIT_TOKENS);
        let budget = if self.has_passages { budget.saturating_sub(superseded) } else { budget };
        let terms = match_reason.terms();
        for (i, (one, score)) in hits.iter().zip(scores).enumerate() {
            let adjacent = if profile.adjacent { related.adjacent(one.seq) } else { &[] };
            let left = budget.saturating_sub(self.budget_used) / (hits.len() - i);
            let parts = HitParts {
                score,
                reason: related.reason(one.seq, reason(one, match_reason)),
                adjacent_suggestions: as_ids(connection, adjacent)?,
                has_scene_hint: profile.scene_hints,
                copies: one.copies.as_ref().filter(|group| group.seqs.len() > 1),
                share: self.has_passages.then(|| left.saturating_sub(HIT_TOKENS).max(MIN_SHARE_TOKENS)),
                terms: &terms,
            };
            let Some((hit, tokens)) = parts.render(connection, one.seq)? else { continue };
            if i > 0 && self.budget_used + tokens > budget {
                break;
            }
            if !self.reserve(&hit) {
                self.truncated = hits.len() - i;
                break;
            }
            self.budget_used += tokens;
            self.hits.push(hit);
        }
        Ok(())
    }

    /// Adds superseded records, linked records and patterns of the hits.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub(crate) fn add_related(
        &mut self,
        connection: &Connection,
        related: &Related,
        match_reason: &MatchReason,
    ) -> Result<(), CallError> {
        let most = if self.has_passages { SUPERSEDED_PASSAGE_COUNT } else { usize::MAX };
        let terms = match_reason.terms();
        for &seq in related.superseded.iter().take(most) {
            let parts = HitParts {
                score: 0.0,
                reason: "has been replaced by a newer fact".into(),
                adjacent_suggestions: Vec::new(),
                has_scene_hint: false,
                copies: None,
                share: self.has_passages.then_some(MIN_SHARE_TOKENS),
                terms: &terms,
            };
            let Some((hit, tokens)) = parts.render(connection, seq)? else { continue };
            if self.reserve(&hit) {
                self.budget_used += if self.has_passages { tokens } else { 0 };
                self.anti_hits.push(hit);
            }
        }
        self.activation_trace = as_ids(connection, &related.activated)?;
        if self.cue_mode == CueMode::Concept {
            let seqs: Vec<i64> = related.hits.iter().map(|one| one.seq).collect();
            let patterns = patterns::shown_by(connection, &seqs, MAX_PATTERN_COUNT)?;
            let observed = |one: &patterns::Schema| json!({"pattern": one.pattern, "evidence_count": one.evidence_count, "schema_id": one.id});
            self.patterns_observed = patterns.iter().map(observed).collect();
        }
        Ok(())
    }

    /// Adds the newest records of other sessions that are not among the hits, those of the filter's project first.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub(crate) fn add_first_turn(
        &mut self,
        snapshot: &Snapshot<'_>,
        related: &Related,
        filter: &RecallFilter<'_>,
        session: &str,
        profile: &Profile,
    ) -> Result<(), CallError> {
        let connection = snapshot.connection();
        let all = RecallFilter { since: None, until: None, tier: None, ..*filter };
        let newest = candidates::newest(snapshot, &all, FIRST_TURN_READ_COUNT)?;
        let mut fits = connection.prepare_cached(
            "SELECT text FROM record WHERE seq = ?1 AND valid_to IS NULL AND length(text) <= ?2
             AND session IS NOT (SELECT number FROM session WHERE name = ?3)",
        )?;
        let mut kept = Vec::new();
        for one in newest {
            let is_hit = related.hits.iter().any(|hit| hit.seq == one.seq);
            let mut rows = fits.query((one.seq, (FIRST_TURN_TOKENS * MAX_TOKEN_CHARS) as i64, session))?;
            if let Some(row) = rows.next()?
                && !is_hit
                && tokens::estimate(candidates::string(row, 0)?) <= FIRST_TURN_TOKENS
            {
                kept.push(one);
            }
        }
        let mut first = RecallResponse::new(self.cue_mode);
        first.bytes = self.bytes;
        first.add_hits(connection, &Related::none(kept), &MatchReason::Newest, FIRST_TURN_TOKENS, profile)?;
        let warm_lru_source = if first.hits.is_empty() { "none" } else { "daemon" };
        self.first_turn_recall = Some(FirstTurnRecall {
            budget_tokens: FIRST_TURN_TOKENS,
            budget_used: first.budget_used,
            warm_lru_size: first.hits.len(),
            warm_lru_source,
            hits: first.hits,
        });
        Ok(())
    }

    /// Returns the hits and the superseded records.
    pub(crate) fn into_hits(self) -> (Vec<Box<RawValue>>, Vec<Box<RawValue>>) {
        (self.hits, self.anti_hits)
    }

    /// Counts a hit's bytes if it fits. Returns true if it does.
    fn reserve(&mut self, hit: &RawValue) -> bool {
        let fits = self.bytes + hit.get().len() <= MAX_HITS_BYTES;
        if fits {
            self.bytes += hit.get().len() + 1;
        }
        fits
    }
}

fn as_ids(connection: &Connection, seqs: &[i64]) -> Result<Vec<String>, rusqlite::Error> {
    seqs.iter().map(|&seq| Ok(records::id_of(connection, seq)?.to_string())).collect()
}

/// What a rendered hit has beside its record.
struct HitParts<'h> {
    score: f64,
    reason: String,
    adjacent_suggestions: Vec<String>,
    has_scene_hint: bool,
    copies: Option<&'h CopyGroup>,
    /// The tokens that its text may have before it is cut to a passage; `None` for any number.
    share: Option<usize>,
    /// The terms that a passage is chosen by.
    terms: &'h [QueryTerm],
}

impl HitParts<'_> {
    /// Returns the hit as JSON and the tokens that it uses of the budget: those of its text, and with a share also those
    /// of its other members. Returns `None` if there is no such record.
    fn render(self, connection: &Connection, seq: i64) -> Result<Option<(Box<RawValue>, usize)>, CallError> {
        let mut read = connection.prepare_cached(
            "SELECT id, ts, valid_to, role, session.name, text
             FROM record JOIN session ON session.number = record.session WHERE seq = ?1",
        )?;
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let text = candidates::string(row, 5)?;
        let passage = self.share.and_then(|share| cut(text, self.terms, share));
        let literal_surface = passage.map_or(text, |passage| passage.text);
        let session_id = candidates::string(row, 4)?;
        let ts = UnixMicros(row.get(1)?).to_string();
        let advice = "Set the scene first: when it was, who spoke, and what the session was about.";
        let [epistemic_status, salience_level, next_action, focus, goal] =
            annotation::from_tags(&tags::of(connection, seq)?);
        let hit = Hit {
            record_id: Uuid::from_bytes(row.get(0)?).to_string(),
            score: self.score,
            reason: self.reason,
            literal_surface,
            passage,
            record_bytes: passage.map(|_| text.len()),
            adjacent_suggestions: self.adjacent_suggestions,
            valid_from: ts.clone(),
            valid_to: row.get::<_, Option<i64>>(2)?.map(|at| UnixMicros(at).to_string()),
            session_id,
            role: Role::numbered(row.get(3)?).name(),
            ts: ts.clone(),
            epistemic_status,
            salience_level,
            next_action,
            focus,
            goal,
            copies: self.copies.map(|group| group.seqs.len()),
            first_ts: self.copies.map(|group| group.first.to_string()),
            scene_hint: self.has_scene_hint.then_some(SceneHint { session_id, captured_at: ts, advice }),
        };
        let tokens = match self.share {
            Some(_) => tokens::estimate_in_json(literal_surface) + HIT_TOKENS,
            None => tokens::estimate(literal_surface),
        };
        let hit = to_raw_value(&hit)
            .map_err(|error| CallError::failed(format!("a hit could not be written as JSON: {error}")))?;
        Ok(Some((hit, tokens)))
    }
}

/// Returns the passage of about `share` tokens, or `None` if the whole text has no more.
fn cut<'t>(text: &'t str, terms: &[QueryTerm], share: usize) -> Option<Passage<'t>> {
    let tokens = tokens::estimate_in_json(text);
    (tokens > share).then(|| Passage::of(text, terms, share * text.chars().count() / tokens))
}

/// Returns the scores on the wire: over 0, at most 1, multiples of a millionth, strictly falling. Hits that differ in
/// phrase or project have scores in separate bands.
pub(crate) fn scores(hits: &[RankedHit]) -> Vec<f64> {
    const STEPS: f64 = 1e6;
    let band = |one: &RankedHit| (one.phrase as u32, one.project_match as u32);
    let (phrases, projects) = hits.iter().map(band).fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)));
    let bands = f64::from((phrases + 1) * (projects + 1));
    let mut left = hits.len() as f64;
    let mut ceiling = STEPS;
    let score = |one: &RankedHit| {
        let (phrase, project) = band(one);
        let share = (f64::from(phrase * (projects + 1) + project) + one.score) / bands;
        let step = (share * STEPS).round().min(ceiling).max(left);
        ceiling = step - 1.0;
        left -= 1.0;
        step / STEPS
    };
    hits.iter().map(score).collect()
}

fn reason(hit: &RankedHit, match_reason: &MatchReason) -> String {
    let (cue, further) = match match_reason {
        MatchReason::Newest => return "among the most recent".into(),
        MatchReason::Structure => return "is what was asked for".into(),
        MatchReason::Terms { cue, further } => (cue, further),
    };
    let mut reason = match hit.quotes {
        PhraseMatch::Exact => "has the quoted words exactly; ".to_owned(),
        PhraseMatch::Alike => "has the quoted words in another spelling; ".to_owned(),
        PhraseMatch::None => String::new(),
    };
    if hit.project_match == ProjectMatch::Same {
        reason.push_str("of this project; ");
    }
    let words = |positions: &[usize]| {
        let word = |&at: &usize| cue.get(at).or_else(|| further.get(at - cue.len())).map(|term| term.word.as_str());
        let words: Vec<&str> = positions.iter().take(MAX_REASON_WORD_COUNT).filter_map(word).collect();
        let more = if positions.len() > MAX_REASON_WORD_COUNT { ", …" } else { "" };
        words.join(", ") + more
    };
    // The further terms come after those of the cue.
    let (own, more) = hit.terms.split_at(hit.terms.partition_point(|&at| at < cue.len()));
    let is_word = |term: &QueryTerm| term.kind.is_written() || term.kind == TokenKind::Name;
    let (own, spellings): (Vec<usize>, Vec<usize>) = own.iter().partition(|at| is_word(&cue[**at]));
    let count = cue.iter().filter(|term| is_word(term)).count();
    if own.is_empty() && !spellings.is_empty() {
        reason.push_str(&format!("matches in another spelling: {}", words(&spellings)));
        return reason;
    }
    match (&own[..], more, &hit.prefix_terms[..]) {
        ([], [], []) if hit.is_of_time => reason.push_str("said at that time"),
        ([], [], []) => reason.push_str("said next to what matches"),
        ([], [], prefix) => reason.push_str(&format!("has words that begin like {}", words(prefix))),
        ([], more, _) => reason.push_str(&format!("matches further words: {}", words(more))),
        (own, [], _) => reason.push_str(&format!("matches {} of {} words: {}", own.len(), count, words(own))),
        (own, more, _) => reason.push_str(&format!(
            "matches {} of {} words: {}; further words: {}",
            own.len(),
            count,
            words(own),
            words(more)
        )),
    }
    reason
}
