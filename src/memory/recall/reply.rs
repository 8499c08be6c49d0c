//! The reply of a recall: hits, what is linked to them, and why each was found.

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::graph::patterns;
use crate::memory::model::record::Role;
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::Profile;
use crate::memory::recall::candidates::{self, Filter};
use crate::memory::recall::mode::Mode;
use crate::memory::recall::rank::{ProjectMatch, RankedHit};
use crate::memory::recall::related::Related;
use crate::memory::session::digest;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::records;
use crate::memory::text::phrase::PhraseMatch;
use crate::memory::text::tokenizer::QueryTerm;

/// Most bytes of the hits in a reply, as JSON: 1 MiB less what stands around them.
const HITS_BYTES: usize = (1 << 20) - (16 << 10);

/// Tokens of what a session's first recall brings beside its hits (the contract).
const FIRST_TURN_TOKENS: usize = 400;

/// Records looked at for it. Picked.
const FIRST_TURN_LOOKS: usize = 64;

/// Characters of a token, the usual estimate.
const TOKEN_CHARS: usize = 4;

/// Most patterns that a reply names.
const PATTERNS: usize = 3;

/// Most words that a hit's reason lists. Picked.
const REASON_WORDS: usize = 8;

/// MatchReason records were found.
pub(crate) enum MatchReason {
    Newest,
    Structure,
    Terms(Vec<QueryTerm>),
}

/// The result of `memory_recall`.
#[derive(Serialize)]
pub(crate) struct RecallResponse {
    pub(crate) hits: Vec<Box<RawValue>>,
    anti_hits: Vec<Box<RawValue>>,
    activation_trace: Vec<String>,
    budget_used: usize,
    cue_mode: Mode,
    patterns_observed: Vec<Value>,
    pub(crate) overnight_digest: Value,
    truncated: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_turn_recall: Option<FirstTurnRecall>,
    /// Bytes of all hits.
    #[serde(skip)]
    bytes: usize,
}

/// Where things stood: what was said last in other sessions.
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
    adjacent_suggestions: Vec<String>,
    valid_from: String,
    valid_to: Option<String>,
    session_id: &'r str,
    role: &'static str,
    ts: String,
    #[serde(rename = "_scene_hint", skip_serializing_if = "Option::is_none")]
    scene_hint: Option<SceneHint<'r>>,
}

#[derive(Serialize)]
struct SceneHint<'r> {
    session_id: &'r str,
    captured_at: String,
    advice: &'static str,
}

impl RecallResponse {
    pub(crate) fn new(cue_mode: Mode) -> RecallResponse {
        RecallResponse {
            hits: Vec::new(),
            anti_hits: Vec::new(),
            activation_trace: Vec::new(),
            budget_used: 0,
            cue_mode,
            patterns_observed: Vec::new(),
            overnight_digest: digest::nothing(),
            truncated: 0,
            first_turn_recall: None,
            bytes: 0,
        }
    }

    /// Of records that were found by what they are, in the order given.
    ///
    /// # Errors
    /// -32001 where the store cannot be read.
    pub(crate) fn of_structure(
        connection: &Connection,
        found: Vec<RankedHit>,
        budget: usize,
        profile: &Profile,
    ) -> Result<RecallResponse, CallError> {
        let mut reply = RecallResponse::new(Mode::Concept);
        reply.add(connection, &Related::none(found), &MatchReason::Structure, budget, profile)?;
        Ok(reply)
    }

    /// Makes hits of the records, the best first, as far as budget and reply have room; the first
    /// fits any budget.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        bonds: &Related,
        why: &MatchReason,
        budget: usize,
        profile: &Profile,
    ) -> Result<(), CallError> {
        let (found, scores) = (&bonds.found, scores(&bonds.found));
        for (i, (one, score)) in found.iter().zip(scores).enumerate() {
            let adjacent = if profile.adjacent { bonds.adjacent(one.seq) } else { &[] };
            let shown = HitParts {
                score,
                reason: bonds.reason(one.seq, reason(one, why)),
                adjacent_suggestions: as_ids(connection, adjacent)?,
                has_scene: profile.scene_hints,
            };
            let Some((hit, tokens)) = shown.hit(connection, one.seq)? else { continue };
            if i > 0 && self.budget_used + tokens > budget {
                break;
            }
            if !self.has_room(&hit) {
                self.truncated = found.len() - i;
                break;
            }
            self.budget_used += tokens;
            self.hits.push(hit);
        }
        Ok(())
    }

    /// Adds what hangs on the hits.
    pub(crate) fn add_around(&mut self, connection: &Connection, bonds: &Related) -> Result<(), CallError> {
        for &seq in &bonds.anti {
            let reason = "has been replaced by a newer fact".to_owned();
            let shown = HitParts { score: 0.0, reason, adjacent_suggestions: Vec::new(), has_scene: false };
            let Some((hit, _)) = shown.hit(connection, seq)? else { continue };
            if self.has_room(&hit) {
                self.anti_hits.push(hit);
            }
        }
        self.activation_trace = as_ids(connection, &bonds.activated)?;
        if self.cue_mode == Mode::Concept {
            let seqs: Vec<i64> = bonds.found.iter().map(|one| one.seq).collect();
            let patterns = patterns::shown_by(connection, &seqs, PATTERNS)?;
            let observed = |one: &patterns::Schema| json!({"pattern": one.pattern, "evidence_count": one.evidence_count, "schema_id": one.id});
            self.patterns_observed = patterns.iter().map(observed).collect();
        }
        Ok(())
    }

    /// Adds what was said last in other sessions, of this project first, that is not among the hits.
    pub(crate) fn add_first_turn(
        &mut self,
        snapshot: &Snapshot<'_>,
        bonds: &Related,
        filter: &Filter<'_>,
        session: &str,
        profile: &Profile,
    ) -> Result<(), CallError> {
        let connection = snapshot.connection();
        let all = Filter { since: None, until: None, tier: None, ..*filter };
        let mut last = candidates::newest(snapshot, &all, FIRST_TURN_LOOKS)?;
        let mut fits = connection.prepare_cached(
            "SELECT 1 FROM record WHERE seq = ?1 AND valid_to IS NULL AND length(text) <= ?2
             AND session IS NOT (SELECT number FROM session WHERE name = ?3)",
        )?;
        let mut kept = Vec::new();
        for one in last.drain(..) {
            let is_hit = bonds.found.iter().any(|hit| hit.seq == one.seq);
            if !is_hit && fits.exists((one.seq, (FIRST_TURN_TOKENS * TOKEN_CHARS) as i64, session))? {
                kept.push(one);
            }
        }
        let mut first = RecallResponse::new(self.cue_mode);
        first.bytes = self.bytes;
        first.add(connection, &Related::none(kept), &MatchReason::Newest, FIRST_TURN_TOKENS, profile)?;
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

    fn has_room(&mut self, hit: &RawValue) -> bool {
        let fits = self.bytes + hit.get().len() <= HITS_BYTES;
        if fits {
            self.bytes += hit.get().len() + 1;
        }
        fits
    }
}

fn as_ids(connection: &Connection, seqs: &[i64]) -> Result<Vec<String>, rusqlite::Error> {
    seqs.iter().map(|&seq| Ok(records::id_of(connection, seq)?.to_string())).collect()
}

/// How a record is shown.
struct HitParts {
    score: f64,
    reason: String,
    adjacent_suggestions: Vec<String>,
    has_scene: bool,
}

impl HitParts {
    /// The hit as JSON, and the tokens of its text.
    fn hit(self, connection: &Connection, seq: i64) -> Result<Option<(Box<RawValue>, usize)>, CallError> {
        let mut read = connection.prepare_cached(
            "SELECT id, ts, valid_to, role, session.name, text
             FROM record JOIN session ON session.number = record.session WHERE seq = ?1",
        )?;
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let literal_surface = candidates::string(row, 5)?;
        let session_id = candidates::string(row, 4)?;
        let ts = UnixMicros(row.get(1)?).to_string();
        let advice = "Set the scene first: when it was, who spoke, and what the session was about.";
        let hit = Hit {
            record_id: Uuid::from_bytes(row.get(0)?).to_string(),
            score: self.score,
            reason: self.reason,
            literal_surface,
            adjacent_suggestions: self.adjacent_suggestions,
            valid_from: ts.clone(),
            valid_to: row.get::<_, Option<i64>>(2)?.map(|at| UnixMicros(at).to_string()),
            session_id,
            role: Role::numbered(row.get(3)?).name(),
            ts: ts.clone(),
            scene_hint: self.has_scene.then_some(SceneHint { session_id, captured_at: ts, advice }),
        };
        let tokens = literal_surface.chars().count().div_ceil(TOKEN_CHARS);
        let hit = to_raw_value(&hit).map_err(|error| CallError::failed(format!("a hit is no JSON: {error}")))?;
        Ok(Some((hit, tokens)))
    }
}

/// Scores over 0 up to 1 that fall from hit to hit: in steps of a millionth, phrases and places in
/// bands of their own where there are any.
fn scores(found: &[RankedHit]) -> Vec<f64> {
    const STEPS: f64 = 1e6;
    let band = |one: &RankedHit| (one.phrase as u32, one.place as u32);
    let (phrases, places) = found.iter().map(band).fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)));
    let bands = f64::from((phrases + 1) * (places + 1));
    let mut left = found.len() as f64;
    let mut ceiling = STEPS;
    let score = |one: &RankedHit| {
        let (phrase, place) = band(one);
        let share = (f64::from(phrase * (places + 1) + place) + one.score) / bands;
        let step = (share * STEPS).round().min(ceiling).max(left);
        ceiling = step - 1.0;
        left -= 1.0;
        step / STEPS
    };
    found.iter().map(score).collect()
}

fn reason(found: &RankedHit, why: &MatchReason) -> String {
    let terms = match why {
        MatchReason::Newest => return "among the most recent".into(),
        MatchReason::Structure => return "is what was asked for".into(),
        MatchReason::Terms(terms) => terms,
    };
    let mut reason = match found.quotes {
        PhraseMatch::Exact => "has the quoted words exactly; ".to_owned(),
        PhraseMatch::Alike => "has the quoted words in another spelling; ".to_owned(),
        PhraseMatch::None => String::new(),
    };
    if found.place == ProjectMatch::Same {
        reason.push_str("of this project; ");
    }
    let words = |places: &[usize]| {
        let words: Vec<&str> = places.iter().take(REASON_WORDS).map(|&i| terms[i].word.as_str()).collect();
        let more = if places.len() > REASON_WORDS { ", …" } else { "" };
        words.join(", ") + more
    };
    match (&found.terms[..], &found.alike[..]) {
        ([], []) => reason.push_str("said next to what matches"),
        ([], alike) => reason.push_str(&format!("has words that begin like {}", words(alike))),
        (same, _) => reason.push_str(&format!("matches {} of {} words: {}", same.len(), terms.len(), words(same))),
    }
    reason
}
