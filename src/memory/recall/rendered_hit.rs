//! A hit as a reply shows it: its record, its reason, and the part of its text that fits.

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::model::annotation;
use crate::memory::model::record::Role;
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::copies::CopyGroup;
use crate::memory::recall::hit::{ProjectMatch, RankedHit};
use crate::memory::recall::passage::Passage;
use crate::memory::store::{records, tags};
use crate::memory::text::cue_terms::QueryTerm;
use crate::memory::text::phrase::PhraseMatch;
use crate::memory::text::tokenizer::TokenKind;
use crate::tokens;

/// Tokens of a hit beside its text, as an assistant gets it. They count if the reply has passages.
pub(crate) const HIT_TOKENS: usize = 110;

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
    pub(crate) fn terms(&self) -> Vec<QueryTerm> {
        match self {
            MatchReason::Newest | MatchReason::Structure => Vec::new(),
            MatchReason::Terms { cue, further } => [&cue[..], further].concat(),
        }
    }
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

/// What a rendered hit has beside its record.
pub(crate) struct HitParts<'h> {
    pub(crate) score: f64,
    pub(crate) reason: String,
    pub(crate) adjacent_suggestions: Vec<String>,
    pub(crate) has_scene_hint: bool,
    pub(crate) copies: Option<&'h CopyGroup>,
    /// The tokens that its text may have before it is cut to a passage; `None` for any number.
    pub(crate) share: Option<usize>,
    /// The terms that a passage is chosen by.
    pub(crate) terms: &'h [QueryTerm],
}

impl HitParts<'_> {
    /// Returns the hit as JSON and the tokens that it uses of the budget: those of its text, and with a share also those
    /// of its other members. Returns `None` if there is no such record.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub(crate) fn render(self, connection: &Connection, seq: i64) -> Result<Option<(Box<RawValue>, usize)>, CallError> {
        let mut read = connection.prepare_cached(
            "SELECT id, ts, valid_to, role, session.name, text
             FROM record JOIN session ON session.number = record.session WHERE seq = ?1",
        )?;
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let text = records::string(row, 5)?;
        let passage = self.share.and_then(|share| cut(text, self.terms, share));
        let literal_surface = passage.map_or(text, |passage| passage.text);
        let session_id = records::string(row, 4)?;
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

/// Returns why a record is a hit, for people.
pub(crate) fn reason(hit: &RankedHit, match_reason: &MatchReason) -> String {
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
