//! `prompt_recall`: the few records that bear on a prompt, for a hook that gives them to the assistant unasked.
//!
//! The assistant has not asked for them, so a record must reach a floor: it has enough of the prompt's words, weighed by their
//! rarity, and says something that the prompt does not. What the session itself has said since it was opened, what it was
//! given before and what was superseded is left out. `docs/recall.md` has the figures by which the floor was chosen.

use serde::Serialize;
use uuid::Uuid;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::model::record::{Role, SESSION_BYTES};
use crate::memory::model::time::{CallTime, UnixMicros};
use crate::memory::params::bounded_string;
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::recall::candidates;
use crate::memory::recall::hit::RankedHit;
use crate::memory::recall::passage::Passage;
use crate::memory::recall::preferences::Preferences;
use crate::memory::recall::query::idf;
use crate::memory::recall::recall_query::{RecallFilter, RecallQuery};
use crate::memory::recall::related;
use crate::memory::session::context::{self, OwnTurns};
use crate::memory::store::error::read_failed;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::projects;
use crate::memory::store::reader::{Reader, Snapshot};
use crate::memory::store::records;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::background_task;
use crate::memory::text::cue_terms::{CueTerms, QueryTerm};
use crate::memory::text::features;
use crate::memory::text::stop_words::is_stop_word;
use crate::memory::text::tokenizer;
use crate::sort;

/// Most records that a prompt is given (the contract).
const MAX_RECORD_COUNT: usize = 3;

/// Most characters of each (the contract).
const PASSAGE_CHARS: usize = 400;

/// Hits that are looked at. Picked: a long session was given many of the first already.
const SEARCHED_COUNT: usize = 40;

/// The floor: the least share of the prompt's words, weighed by their rarity, that a record must have; less if it is of
/// the session's project.
const FLOOR_SHARE: f64 = 0.5;
const PROJECT_FLOOR_SHARE: f64 = 0.4;

/// Least rarity of the words together, as a multiple of that of a word that one record has.
const FLOOR_RARITY: f64 = 1.2;

/// Least number of records by which rarity is measured: in a store of a few records, most words are in half of them.
const MIN_TOTAL: f64 = 200.0;

/// Least number of the words.
const FLOOR_WORD_COUNT: usize = 2;

/// What a word counts that the record has by its beginning only.
const BEGINNING_WEIGHT: f64 = 0.5;

/// Words that a record must have beside those of the prompt: one that only repeats it says nothing.
const MIN_NEW_WORD_COUNT: usize = 2;

/// The result of `prompt_recall`.
#[derive(Serialize)]
pub(crate) struct PromptRecords {
    /// The best first.
    records: Vec<PromptRecord>,
    #[serde(skip)]
    seqs: Vec<i64>,
    /// A project and a folder in it, to be noted.
    #[serde(skip)]
    folder: Option<(String, String)>,
}

#[derive(Serialize)]
struct PromptRecord {
    record_id: String,
    /// The passage that bears on the prompt.
    literal_surface: String,
    /// Where it begins, in bytes into the record's text.
    at: usize,
    record_bytes: usize,
    ts: String,
    role: &'static str,
    score: f64,
}

/// Answers `prompt_recall`, then records what the session was given.
pub(crate) fn answer(
    reader: Result<&Reader, CallError>,
    profile: &Profile,
    writer: &Writer,
    params: &Params<'_>,
    time: CallTime<'_>,
    reply: Reply<'_>,
) {
    let now = time.now;
    match reader.and_then(|reader| recall(reader, profile, params, time)) {
        Ok((session, mut found)) => {
            let (seqs, folder) = (found.seqs.clone(), found.folder.take());
            reply.send(Ok(found));
            if !seqs.is_empty() || folder.is_some() {
                writer.submit(background_task("what a prompt was given", move |transaction| {
                    if let Some((project, folder)) = folder {
                        projects::note_folder(transaction.connection, &project, &folder)?;
                    }
                    Ok(context::record_given(transaction.connection, &session, &seqs, now)?)
                }));
            }
        }
        Err(error) => reply.send::<()>(Err(read_failed(error))),
    }
}

/// Returns the session and the records for its prompt.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
fn recall(
    reader: &Reader,
    profile: &Profile,
    params: &Params<'_>,
    time: CallTime<'_>,
) -> Result<(String, PromptRecords), CallError> {
    let prompt = params.string("prompt")?;
    let session = bounded_string(params, "session_id", "-", SESSION_BYTES)?;
    let caller = CallerProject::read(params, profile)?;
    let mut found = PromptRecords { records: Vec::new(), seqs: Vec::new(), folder: None };
    let terms = CueTerms::of(&prompt);
    if !profile.prompt_recall || terms.content.is_empty() {
        return Ok((session, found));
    }
    let snapshot = reader.snapshot()?;
    let given = context::given(snapshot.connection(), &session)?;
    let preferences = Preferences::of(profile);
    let own = OwnTurns::of_prompt(snapshot.connection(), &session)?;
    let projects = caller.filter(snapshot.connection())?;
    // The project lowers the floor instead of leading the hits.
    let searched = projects.clone().without_preference();
    let query = RecallQuery {
        cue: &prompt,
        terms,
        further: &[],
        is_literal: false,
        phrases: Vec::new(),
        filter: RecallFilter { own, ..RecallFilter::of(&searched) },
        preferences: &preferences,
        time: None,
    };
    let result = candidates::search(&snapshot, &query, time.deadline, SEARCHED_COUNT)?;
    let total = result.total as f64;
    let rarest = idf(total.max(MIN_TOTAL), 1.0);
    // Inverts `idf`: the number of records that have the word.
    let frequency = |own: f64| (total + 1.0) / own.exp() - 0.5;
    let floor = Floor {
        terms: &result.terms,
        // A word that no record has counts as one that a single record has.
        idfs: result.idfs.iter().map(|own| idf(total.max(MIN_TOTAL), frequency(*own)).min(rarest)).collect(),
        rarest,
        words: words_of(&prompt),
        projects: &projects,
    };
    for hit in result.hits.iter().filter(|hit| !hit.is_own) {
        if found.records.len() == MAX_RECORD_COUNT {
            break;
        }
        let is_given = |seq: &i64| given.contains(seq) || found.seqs.contains(seq);
        if hit.copies.iter().flat_map(|group| &group.seqs).any(is_given) {
            continue;
        }
        // A record that supersedes the hit is given in its place.
        let seq = related::shown_chain(snapshot.connection(), hit.seq, &projects)?.last().copied().unwrap_or(hit.seq);
        if !is_given(&seq)
            && let Some(record) = floor.record(&snapshot, seq, hit, own)?
        {
            found.seqs.push(seq);
            found.records.push(record);
        }
    }
    found.folder = caller.new_folder(snapshot.connection())?;
    Ok((session, found))
}

/// What a record must reach.
struct Floor<'p> {
    /// The prompt's terms that were looked up, and the rarity of each.
    terms: &'p [QueryTerm],
    idfs: Vec<f64>,
    /// The rarity of a word that one record has.
    rarest: f64,
    /// The terms of all words of the prompt, sorted.
    words: Vec<String>,
    projects: &'p ProjectFilter,
}

impl Floor<'_> {
    /// Returns the record, if its hit reaches the floor and it holds and says something.
    fn record(
        &self,
        snapshot: &Snapshot<'_>,
        seq: i64,
        hit: &RankedHit,
        own: Option<OwnTurns>,
    ) -> Result<Option<PromptRecord>, CallError> {
        let sum = |positions: &[usize]| positions.iter().filter_map(|at| self.idfs.get(*at)).sum::<f64>();
        let rarity = sum(&hit.terms) + BEGINNING_WEIGHT * sum(&hit.prefix_terms);
        let is_word = |at: &&usize| self.terms.get(**at).is_some_and(|term| term.kind.is_written());
        let word_count = hit.terms.iter().filter(is_word).count() + usize::from(!hit.prefix_terms.is_empty());
        let share = rarity / self.idfs.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        if share < PROJECT_FLOOR_SHARE || rarity < FLOOR_RARITY * self.rarest || word_count < FLOOR_WORD_COUNT {
            return Ok(None);
        }
        let sql = "SELECT id, ts, role, session, project, valid_to, text FROM record WHERE seq = ?1";
        let mut statement = snapshot.connection().prepare_cached(sql)?;
        let mut rows = statement.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (ts, session, text) = (UnixMicros(row.get(1)?), row.get(3)?, records::string(row, 6)?);
        let is_of_project = self.projects.is_own(row.get(4)?);
        let is_superseded = row.get::<_, Option<i64>>(5)?.is_some();
        if (share < FLOOR_SHARE && !is_of_project)
            || is_superseded
            || own.is_some_and(|own| own.has(session, ts))
            || features::asks(text)
            || self.new_words(text) < MIN_NEW_WORD_COUNT
        {
            return Ok(None);
        }
        let passage = match text.char_indices().nth(PASSAGE_CHARS) {
            Some(_) => Passage::of(text, self.terms, PASSAGE_CHARS),
            None => Passage { at: 0, bytes: text.len(), text },
        };
        Ok(Some(PromptRecord {
            record_id: Uuid::from_bytes(row.get(0)?).to_string(),
            literal_surface: passage.text.to_owned(),
            at: passage.at,
            record_bytes: text.len(),
            ts: ts.to_string(),
            role: Role::numbered(row.get(2)?).name(),
            score: hit.score,
        }))
    }

    /// Returns the number of words of a text that are neither stop words nor in the prompt.
    fn new_words(&self, text: &str) -> usize {
        let mut count = 0;
        tokenizer::for_each_token(text, |mut token| {
            let is_stop = is_stop_word(token.word);
            count += usize::from(!is_stop && self.words.binary_search_by(|own| (**own).cmp(token.term())).is_err());
        });
        count
    }
}

fn words_of(prompt: &str) -> Vec<String> {
    let mut words = Vec::new();
    tokenizer::for_each_token(prompt, |mut token| words.push(token.term().to_owned()));
    sort::sort_by(&mut words, Ord::cmp);
    words
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn given(bench: &Bench, prompt: &str, session: &str) -> Vec<String> {
        let got = bench.ok("prompt_recall", json!({"prompt": prompt, "session_id": session}));
        // What was given is stored after the reply; a later write is answered after it is committed.
        bench.ok("profile_set", json!({"knob": "masking_off", "value": true}));
        let text = |one: &Value| one["literal_surface"].as_str().unwrap().to_owned();
        got["records"].as_array().unwrap().iter().map(text).collect()
    }

    const FACT: &str = "The staging database listens on port 5433 since May.";
    const PROMPT: &str = "Which port does the staging database use?";

    #[test]
    fn a_record_is_given_once_in_a_session_and_never_to_the_session_that_said_it() {
        let mut bench = Bench::new();
        bench.capture(FACT, json!({"session_id": "old"}));
        bench.capture(PROMPT, json!({"session_id": "older"}));
        for n in 0..20 {
            bench.capture(&format!("The boat number {n} is painted in green"), json!({"session_id": "boats"}));
        }
        assert_eq!(given(&bench, PROMPT, "a"), [FACT]);
        assert_eq!(given(&bench, PROMPT, "a"), [""; 0], "given before");
        bench.restart();
        assert_eq!(given(&bench, PROMPT, "a"), [""; 0], "given before the restart");
        assert_eq!(given(&bench, PROMPT, "b"), [FACT]);
        assert_eq!(given(&bench, PROMPT, "old"), [""; 0], "the session said it");
        bench.memory.maintenance().session_opened("old", Bench::NOW.0 + 1, true).unwrap();
        assert_eq!(given(&bench, PROMPT, "old"), [FACT], "before it was resumed");
        for prompt in ["", "?!", "thanks, go on", "Write a haiku about the port", "is it a boat"] {
            assert_eq!(given(&bench, prompt, "c"), [""; 0], "{prompt}");
        }
        bench.ok("profile_set", json!({"knob": "prompt_recall", "value": false}));
        assert_eq!(given(&bench, PROMPT, "c"), [""; 0], "switched off");
    }

    #[test]
    fn a_store_of_two_records_gives_what_bears_on_a_prompt() {
        let bench = Bench::new();
        let (said, answer) =
            ("The staging database is called tern, on port 5433.", "Noted: the staging database is tern.");
        bench.capture(said, json!({"session_id": "old", "project": "/p"}));
        bench.capture(answer, json!({"session_id": "old", "project": "/p", "role": "assistant"}));
        assert_eq!(given(&bench, "Where is the staging database, please?", "new").len(), 2);
        for prompt in ["Write a haiku about the port", "Is it called so?", "What is on the list, please?"] {
            assert_eq!(given(&bench, prompt, "new"), [""; 0], "{prompt}");
        }
    }

    #[test]
    fn the_record_that_supersedes_another_is_given_instead() {
        let bench = Bench::new();
        let id = bench.capture(FACT, json!({"session_id": "old"}));
        let new = "It was moved to 5440 in the autumn by Ines.";
        bench.ok("memory_contradict", json!({"id": id, "new_fact": new}));
        for n in 0..20 {
            bench.capture(&format!("The boat number {n} is painted in green"), json!({"session_id": "boats"}));
        }
        assert_eq!(given(&bench, PROMPT, "a"), [new]);
    }

    #[test]
    fn at_most_three_passages_of_400_characters_are_given() {
        let bench = Bench::new();
        for n in 0..5 {
            let filler = format!("Nothing of it, said number {n}. ").repeat(30);
            bench.capture(&format!("{filler}{FACT} {n}. {filler}"), json!({"session_id": "old"}));
        }
        for n in 0..20 {
            bench.capture(&format!("The boat number {n} is painted in green"), json!({"session_id": "boats"}));
        }
        let got = given(&bench, PROMPT, "a");
        assert!(got.len() == 3 && got.iter().all(|text| text.contains(FACT) && text.chars().count() <= 400), "{got:?}");
        assert_eq!(given(&bench, PROMPT, "a").len(), 2, "the others");
        assert_eq!(given(&bench, PROMPT, "a").len(), 0);
    }
}
