//! The reply of a recall: the hits that fit its bounds, superseded records, linked records and patterns.

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::dispatch::CallError;
use crate::memory::graph::patterns;
use crate::memory::profile::Profile;
use crate::memory::recall::candidates;
use crate::memory::recall::hit::RankedHit;
use crate::memory::recall::mode::CueMode;
use crate::memory::recall::recall_query::RecallFilter;
use crate::memory::recall::related::Related;
use crate::memory::recall::rendered_hit::{HIT_TOKENS, HitParts, MatchReason, reason};
use crate::memory::session::digest;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::records;
use crate::memory::text::time_phrase::TimeSpan;
use crate::tokens;

/// Most bytes of the hits in a reply, as JSON: 1 MiB less 16 KiB for the rest of the reply.
pub(crate) const MAX_HITS_BYTES: usize = (1 << 20) - (16 << 10);

/// Most tokens of the records that a session's first recall adds beside its hits (the contract).
const FIRST_TURN_TOKENS: usize = 400;

/// Records read to fill [`FIRST_TURN_TOKENS`]. Picked.
const FIRST_TURN_READ_COUNT: usize = 64;

/// Characters of a token, at most: a text of more characters has more tokens. Picked: more than in prose.
pub(crate) const MAX_TOKEN_CHARS: usize = 8;

/// Tokens that a hit's text may have in any case, if the reply has passages. Picked: three sentences.
const MIN_SHARE_TOKENS: usize = 60;

/// Superseded records for which a reply with passages has room.
const SUPERSEDED_PASSAGE_COUNT: usize = 3;

/// Most patterns that a reply names.
const MAX_PATTERN_COUNT: usize = 3;

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
        projects: &ProjectFilter,
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
            let patterns = patterns::shown_by(connection, &seqs, projects, MAX_PATTERN_COUNT)?;
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
                && tokens::estimate(records::string(row, 0)?) <= FIRST_TURN_TOKENS
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
