//! The step Induce: stores patterns that recur over sessions as semantic records, linked to the records that show them.
//! Those records are not changed.
//!
//! A pattern is a pair of words that records of several sessions have in common. The step's cursor is the last record
//! that was examined. A record is compared with earlier ones only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use crate::dispatch::CallError;
use crate::memory::consolidation::holders::TermHolders;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::graph::patterns::PATTERN_PREFIX;
use crate::memory::model::record::{PATTERN_SESSION, Role, Tier};
use crate::memory::model::seq_map::{SeqMap, SeqSet};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::new_record::{Draft, InsertOutcome, NewRecord};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{records, tags};
use crate::memory::text::cue_terms;

/// Words of a record that are looked up: the longest.
const LOOKUP_WORDS: usize = 6;

/// Length of the shortest word of a pattern, in bytes: shorter ones are rarely specific.
const MIN_WORD_BYTES: usize = 4;

/// Newest records of each word that are compared.
const MAX_WORD_RECORDS: usize = 64;

/// A word that more than this share of the records has is too common for a pattern, such as a name or a thank-you.
const COMMON_SHARE: f64 = 0.05;

/// Records that any word may have, so that the share does not exclude every word of a small store.
const MIN_COMMON_RECORDS: usize = 8;

/// Sessions in which a pattern must occur.
const MIN_SESSIONS: usize = 3;

/// Least share of the records with the rarer word that have both words: words that meet by chance have a lower one.
const MIN_SHARED_SHARE: f64 = 0.3;

/// Records that a new pattern is linked to, the newest. Beside them it is linked to the newest record of each other
/// project: who is shown only some projects is shown the pattern only if all of its records are of these.
const MAX_EVIDENCE_LINKS: usize = 16;

/// A pattern that shares this many records with a known one is taken for the known one.
const SAME_PATTERN_RECORDS: usize = 2;

/// Runs one chunk, from the record after `cursor` on.
///
/// # Errors
/// -32001 if the store cannot be read or written.
pub(crate) fn chunk(
    transaction: &mut WriteTransaction<'_>,
    cursor: i64,
    holders: &mut TermHolders,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    holders.begin(cursor, MAX_WORD_RECORDS - 1);
    let end = transaction.first_unindexed().unwrap_or(i64::MAX);
    let mut next = transaction.connection.prepare_cached(
        "SELECT seq, tier, text, valid_to, cue FROM record WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1",
    )?;
    let (mut cursor, mut induced, mut evidence, mut examined) = (cursor, 0, 0, 0);
    let mut progress = Progress::More;
    while progress == Progress::More {
        let mut rows = next.query((cursor, end))?;
        let Some(row) = rows.next()? else {
            progress = Progress::Done;
            break;
        };
        let seq: i64 = row.get(0)?;
        let is_episode = row.get::<_, i64>(1)? == Tier::Episodic as i64 && row.get::<_, Option<i64>>(3)?.is_none();
        let text = row.get_ref(2)?.as_str().unwrap_or_default();
        if is_episode {
            examined += 1;
            if let Some(pair) = recurring_pair(transaction.connection, holders, seq, text)? {
                match store_pattern(transaction, pair, now)? {
                    StoredPattern::New(links) => (induced, evidence) = (induced + 1, evidence + links),
                    StoredPattern::Known(links) => evidence += links,
                }
            }
        }
        holders.add(seq, text, row.get_ref(4)?.as_str().unwrap_or_default());
        cursor = seq;
        if Instant::now() >= deadline {
            break;
        }
    }
    let counts = [("examined", examined), ("induced", induced), ("evidence", evidence)];
    Ok(StepOutcome::new(Some(cursor), progress, counts))
}

/// Two words and the records that have both, the newest first.
struct RecurringPair {
    words: [String; 2],
    records: Vec<i64>,
}

/// A pattern in the store, with the number of its new links.
enum StoredPattern {
    New(u64),
    Known(u64),
}

/// Returns the pair of a record's words that occurs in the most sessions, if it occurs in enough.
fn recurring_pair(
    connection: &Connection,
    holders: &mut TermHolders,
    seq: i64,
    text: &str,
) -> Result<Option<RecurringPair>, rusqlite::Error> {
    let mut lists: Vec<(String, Vec<i64>)> = Vec::new();
    for term in cue_terms::longest_terms(text, LOOKUP_WORDS) {
        // The record itself has the word, too.
        let earlier = holders.of(connection, &term.term)?;
        let (count, oldest) = (earlier.len() + 1, earlier.first().map_or(seq, |&first| first.into()));
        let is_common = count > MIN_COMMON_RECORDS && count as f64 > (seq - oldest + 1) as f64 * COMMON_SHARE;
        if term.word.len() >= MIN_WORD_BYTES && count >= MIN_SESSIONS && !is_common {
            lists.push((term.word, earlier.iter().map(|&holder| holder.into()).chain([seq]).collect()));
        }
    }
    let mut sessions = SeqMap::default();
    let mut best: Option<(usize, RecurringPair)> = None;
    for (i, (word, list)) in lists.iter().enumerate() {
        for (other_word, other) in &lists[i + 1..] {
            let records = shared(list, other);
            let least = list.len().min(other.len()) as f64 * MIN_SHARED_SHARE;
            if records.len() < MIN_SESSIONS || (records.len() as f64) < least {
                continue;
            }
            let (records, count) = with_sessions(connection, records, &mut sessions)?;
            if count >= MIN_SESSIONS && best.as_ref().is_none_or(|(most, _)| count > *most) {
                let mut words = [word.clone(), other_word.clone()];
                words.sort_unstable();
                best = Some((count, RecurringPair { words, records }));
            }
        }
    }
    Ok(best.map(|(_, pair)| pair))
}

/// Returns the records that are in both lists, the newest first. The lists have the newest last.
fn shared(list: &[i64], other: &[i64]) -> Vec<i64> {
    let mut rest = other.iter().rev().peekable();
    let is_shared = |seq: &&i64| {
        while rest.next_if(|other| *other > *seq).is_some() {}
        rest.peek() == Some(seq)
    };
    list.iter().rev().filter(is_shared).copied().collect()
}

/// Returns those of the records that still exist, and the number of their sessions.
fn with_sessions(
    connection: &Connection,
    mut records: Vec<i64>,
    known: &mut SeqMap<Option<i64>>,
) -> Result<(Vec<i64>, usize), rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT session FROM record WHERE seq = ?1")?;
    for &seq in &records {
        if let Entry::Vacant(free) = known.entry(seq) {
            free.insert(read.query_row([seq], |row| row.get(0)).optional()?);
        }
    }
    records.retain(|seq| known[seq].is_some());
    let sessions: SeqSet = records.iter().filter_map(|seq| known[seq]).collect();
    Ok((records, sessions.len()))
}

/// Stores a pattern and links it to its records. If a known pattern shares them, only a link of that one to the newest
/// record is added.
fn store_pattern(
    transaction: &mut WriteTransaction<'_>,
    pair: RecurringPair,
    now: UnixMicros,
) -> Result<StoredPattern, CallError> {
    let connection = transaction.connection;
    let newest = pair.records.first().copied().unwrap_or_default();
    if let Some(KnownPattern { seq: known, is_valid, is_of_project }) = known_pattern(connection, &pair.records)? {
        // A pattern that was contradicted gets no more links, and is not stored again. That of one project stays its own.
        let is_linked = is_valid && is_of_project;
        let links = is_linked && links::add(connection, (known, newest), LinkKind::Evidence, links::STRONGEST, now)?;
        return Ok(StoredPattern::Known(u64::from(links)));
    }
    let draft = Draft {
        text: format!("{PATTERN_PREFIX}{}", pair.words.join(", ")),
        cue: String::new(),
        tier: Tier::Semantic,
        role: Role::System,
        session: PATTERN_SESSION.into(),
        project: common_project(connection, &pair.records)?,
        folder: String::new(),
        ts: now,
        part: None,
        tags: Vec::new(),
    };
    let (seq, is_new) = match NewRecord::prepare(draft).insert_once(transaction)? {
        InsertOutcome::New { seq, .. } => (seq, true),
        InsertOutcome::Known { seq, .. } => (seq, false),
    };
    tags::add(connection, seq, tags::PATTERN)?;
    let (mut links, mut projects) = (0, Vec::new());
    for (at, &record) in pair.records.iter().enumerate() {
        let project = records::project_of(connection, record)?;
        if at >= MAX_EVIDENCE_LINKS && projects.contains(&project) {
            continue;
        }
        projects.push(project);
        links += u64::from(links::add(connection, (seq, record), LinkKind::Evidence, links::STRONGEST, now)?);
    }
    Ok(if is_new { StoredPattern::New(links) } else { StoredPattern::Known(links) })
}

/// A stored pattern.
struct KnownPattern {
    seq: i64,
    is_valid: bool,
    /// It is of the project of the newest record, or of several projects.
    is_of_project: bool,
}

/// Returns the pattern that is linked to the most of these records, if to enough of them: one of the newest record's
/// project if there is one.
fn known_pattern(connection: &Connection, records: &[i64]) -> Result<Option<KnownPattern>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT a FROM link WHERE b = ?1 AND kind = ?2")?;
    let mut shared: HashMap<i64, usize> = HashMap::new();
    for seq in records {
        let mut rows = read.query((seq, LinkKind::Evidence as i64))?;
        while let Some(row) = rows.next()? {
            *shared.entry(row.get(0)?).or_default() += 1;
        }
    }
    let mut read = connection.prepare_cached(
        "SELECT valid_to IS NULL, project.name = '' OR number = (SELECT project FROM record WHERE seq = ?2)
         FROM record JOIN project ON project.number = record.project WHERE seq = ?1",
    )?;
    let newest = records.first().copied().unwrap_or_default();
    let mut best: Option<((bool, usize, i64), KnownPattern)> = None;
    for (seq, count) in shared.into_iter().filter(|&(_, count)| count >= SAME_PATTERN_RECORDS) {
        let (is_valid, is_of_project) = read.query_row((seq, newest), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rank = (is_of_project, count, -seq);
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, KnownPattern { seq, is_valid, is_of_project }));
        }
    }
    Ok(best.map(|(_, known)| known))
}

/// Returns the project of these records; an empty name if they are of several projects.
fn common_project(connection: &Connection, records: &[i64]) -> Result<String, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT project.name FROM record JOIN project ON project.number = record.project WHERE seq = ?1",
    )?;
    let mut common: Option<String> = None;
    for seq in records {
        let name: String = read.query_row([seq], |row| row.get(0))?;
        if common.get_or_insert_with(|| name.clone()) != &name {
            return Ok(String::new());
        }
    }
    Ok(common.unwrap_or_default())
}
