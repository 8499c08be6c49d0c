//! A step of the cycle: what comes up again over sessions becomes a semantic record, linked to the
//! records that show it, which stay as they are.
//!
//! A pattern is two telling words that records of several sessions have in common. Its cursor is the
//! last record that was looked at; a record is compared with earlier ones only.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepCounts, StepOutcome};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::graph::patterns::PATTERN_PREFIX;
use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::new_record::{Draft, InsertOutcome, NewRecord};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{fulltext, tags};
use crate::memory::text::tokenizer;

/// The session of patterns: one of their own, since what stands beside them was not said beside them.
const SESSION: &str = "-patterns-";

/// Words of a record that are looked up: its longest.
const WORDS: usize = 6;

/// Shortest word that can be of a pattern, in bytes: shorter ones say little.
const WORD_BYTES: usize = 4;

/// Newest records of each word that are compared.
const POSTINGS: i64 = 64;

/// A word that more than this share of records has says nothing: a name, a thank-you.
const COMMON: f64 = 0.05;

/// Records that a word may have even so, while there are few.
const FEW: usize = 8;

/// Sessions that a pattern must have come up in.
const SESSIONS: usize = 3;

/// Of the records that have the rarer word, at least this share must have both: what comes together
/// by chance does so seldom.
const TOGETHER: f64 = 0.3;

/// Records that a new pattern is linked to, the newest.
const EVIDENCE: usize = 16;

/// Records that two patterns may share before they are one.
const SHARED: usize = 2;

/// One chunk, from the record after `cursor` on.
///
/// # Errors
/// The database's.
pub(crate) fn chunk(
    transaction: &mut WriteTransaction<'_>,
    cursor: i64,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    let end = transaction.first_unindexed().unwrap_or(i64::MAX);
    let mut next = transaction.connection.prepare_cached(
        "SELECT seq, tier, text, valid_to FROM record WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1",
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
        if is_episode {
            examined += 1;
            if let Some(recurring) =
                recurring(transaction.connection, seq, row.get_ref(2)?.as_str().unwrap_or_default())?
            {
                match keep(transaction, recurring, now)? {
                    Kept::New(links) => (induced, evidence) = (induced + 1, evidence + links),
                    Kept::Known(links) => evidence += links,
                }
            }
        }
        cursor = seq;
        if Instant::now() >= deadline {
            break;
        }
    }
    let counts = StepCounts::from([("examined", examined), ("induced", induced), ("evidence", evidence)]);
    Ok(StepOutcome { cursor: Some(cursor), progress, counts, told: Vec::new() })
}

/// Two words and the records that have both, the newest first.
struct Recurring {
    words: [String; 2],
    records: Vec<i64>,
}

enum Kept {
    /// A new pattern, with so many links.
    New(u64),
    /// A known one, with so many more.
    Known(u64),
}

/// What recurs in a record: the pair of its words that came up in the most sessions.
fn recurring(connection: &Connection, seq: i64, text: &str) -> Result<Option<Recurring>, rusqlite::Error> {
    let mut lists = Vec::new();
    for asked in tokenizer::longest_terms(text, WORDS) {
        let list = fulltext::newest_with_term(connection, &asked.term, seq, POSTINGS)?;
        let span = seq - list.last().copied().unwrap_or(seq) + 1;
        let is_common = list.len() > FEW && list.len() as f64 > span as f64 * COMMON;
        if asked.word.len() >= WORD_BYTES && list.len() >= SESSIONS && !is_common {
            lists.push((asked.word, list));
        }
    }
    let mut sessions = HashMap::new();
    let mut best: Option<(usize, Recurring)> = None;
    for (i, (word, list)) in lists.iter().enumerate() {
        for (other_word, other) in &lists[i + 1..] {
            let records: Vec<i64> = list.iter().filter(|seq| other.contains(seq)).copied().collect();
            let least = list.len().min(other.len()) as f64 * TOGETHER;
            if records.len() < SESSIONS || (records.len() as f64) < least {
                continue;
            }
            let count = count_sessions(connection, &records, &mut sessions)?;
            if count >= SESSIONS && best.as_ref().is_none_or(|(most, _)| count > *most) {
                let mut words = [word.clone(), other_word.clone()];
                words.sort_unstable();
                best = Some((count, Recurring { words, records }));
            }
        }
    }
    Ok(best.map(|(_, recurring)| recurring))
}

fn count_sessions(
    connection: &Connection,
    records: &[i64],
    known: &mut HashMap<i64, i64>,
) -> Result<usize, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT session FROM record WHERE seq = ?1")?;
    let mut sessions = HashSet::new();
    for &seq in records {
        let session = match known.get(&seq) {
            Some(&session) => session,
            None => read.query_row([seq], |row| row.get(0))?,
        };
        known.insert(seq, session);
        sessions.insert(session);
    }
    Ok(sessions.len())
}

/// Links the pattern to its records; one that shares them with a known pattern is that pattern.
fn keep(transaction: &mut WriteTransaction<'_>, recurring: Recurring, now: UnixMicros) -> Result<Kept, CallError> {
    let connection = transaction.connection;
    let newest = recurring.records.first().copied().unwrap_or_default();
    if let Some((known, is_valid)) = alike(connection, &recurring.records)? {
        // One that somebody has refuted gathers nothing more, and does not come back.
        let links = is_valid && links::add(connection, (known, newest), LinkKind::Evidence, links::STRONGEST, now)?;
        return Ok(Kept::Known(u64::from(links)));
    }
    let draft = Draft {
        text: format!("{PATTERN_PREFIX}{}", recurring.words.join(", ")),
        cue: String::new(),
        tier: Tier::Semantic,
        role: Role::System,
        session: SESSION.into(),
        project: project(connection, &recurring.records)?,
        ts: now,
        part: None,
    };
    let (seq, is_new) = match NewRecord::prepare(draft).insert_once(transaction)? {
        InsertOutcome::New { seq, .. } => (seq, true),
        InsertOutcome::Known { seq, .. } => (seq, false),
    };
    tags::add(connection, seq, tags::PATTERN)?;
    let mut links = 0;
    for &record in recurring.records.iter().take(EVIDENCE) {
        links += u64::from(links::add(connection, (seq, record), LinkKind::Evidence, links::STRONGEST, now)?);
    }
    Ok(if is_new { Kept::New(links) } else { Kept::Known(links) })
}

/// The pattern with the most of these records, if it has enough, and whether it holds.
fn alike(connection: &Connection, records: &[i64]) -> Result<Option<(i64, bool)>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT a FROM link WHERE b = ?1 AND kind = ?2")?;
    let mut shared: HashMap<i64, usize> = HashMap::new();
    for seq in records {
        let mut rows = read.query((seq, LinkKind::Evidence as i64))?;
        while let Some(row) = rows.next()? {
            *shared.entry(row.get(0)?).or_default() += 1;
        }
    }
    let most = shared.into_iter().max_by_key(|&(seq, count)| (count, -seq));
    let Some((pattern, _)) = most.filter(|&(_, count)| count >= SHARED) else { return Ok(None) };
    let mut read = connection.prepare_cached("SELECT valid_to IS NULL FROM record WHERE seq = ?1")?;
    Ok(Some((pattern, read.query_row([pattern], |row| row.get(0))?)))
}

/// The project of all these records; none where they are of several.
fn project(connection: &Connection, records: &[i64]) -> Result<String, rusqlite::Error> {
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
