//! A step of the cycle: links among records that share rare words or stand side by side in a session, and
//! what words keep company (`companions.rs`).
//!
//! Its cursor is the last record that has its links; what was learned has one of its own. Each record is linked to earlier ones only, so
//! each pair is looked at once, and an index that grows meanwhile changes nothing.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use crate::dispatch::CallError;
use crate::memory::consolidation::cooccurrence::{CooccurrenceLearner, LearningScope};
use crate::memory::consolidation::step::{Progress, StepCounts, StepOutcome};
use crate::memory::graph::cooccurrence;
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::model::record::Tier;
use crate::memory::model::time::UnixMicros;
use crate::memory::sort;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{fulltext, tags};
use crate::memory::text::tokenizer;

/// Words of a record that are looked up: its longest, as long words are rare. Picked: some 0.3 ms.
const WORDS: usize = 8;

/// A word is rare if at most so many earlier records have it.
const RARE: i64 = 16;

/// In a small store less is rare: one record of so many.
const RARE_SHARE: i64 = 8;

/// Links made of one record by its words. With the one by nearness it makes three: links are to take
/// less room than texts.
const BY_WORDS: usize = 2;

/// What one word weighs that a single earlier record has, in thousandths; of more, less.
const WORD_WEIGHT: f64 = 500.0;

/// Least weight of a link by words: a word that four have, or several that more have.
const LEAST: i64 = 250;

/// Most weight of a link by words: stronger ones somebody has asked for.
const MOST: i64 = 950;

/// The weight of standing side by side.
const NEAR: i64 = 200;

/// One chunk, from the record after `linked` on.
///
/// # Errors
/// The database's.
pub(crate) fn chunk(
    transaction: &mut WriteTransaction<'_>,
    linked: i64,
    learning: &mut CooccurrenceLearner,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    let connection = transaction.connection;
    let end = transaction.first_unindexed().unwrap_or(i64::MAX);
    let span = LearningScope::until(deadline, connection)?;
    let mut next = connection.prepare_cached(
        "SELECT seq, session, tier, text FROM record WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1",
    )?;
    // What was learned is forgotten when the rules of terms change, and links are not.
    let (mut linked, mut learned) = (linked, cooccurrence::cursor(connection, linked)?);
    let (mut links, mut examined, mut words) = (0, 0, 0);
    let mut progress = Progress::More;
    while progress == Progress::More {
        let mut rows = next.query((linked.min(learned), end))?;
        let Some(row) = rows.next()? else {
            progress = Progress::Done;
            break;
        };
        let (seq, session, tier): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if tier != Tier::Semantic as i64 || !tags::has(connection, seq, tags::PATTERN)? {
            let text = row.get_ref(3)?.as_str().unwrap_or_default();
            if seq > learned {
                let (some, all) = learning.learn(span, (seq, text))?;
                words += some;
                if all == Progress::More {
                    break;
                }
            }
            if seq > linked {
                links += associate(connection, seq, session, text, now)?;
                examined += 1;
            }
        }
        (linked, learned) = (linked.max(seq), learned.max(seq));
        if Instant::now() >= deadline {
            break;
        }
    }
    cooccurrence::set_cursor(connection, learned)?;
    Ok(StepOutcome {
        cursor: Some(linked),
        progress,
        counts: StepCounts::from([("examined", examined), ("learned", words), ("linked", links)]),
        told: Vec::new(),
    })
}

/// Links one record to earlier ones; gives the number of new links.
fn associate(
    connection: &Connection,
    seq: i64,
    session: i64,
    text: &str,
    now: UnixMicros,
) -> Result<u64, rusqlite::Error> {
    let mut partners = by_words(connection, seq, text)?;
    let before = "SELECT max(seq) FROM record WHERE session = ?1 AND seq < ?2";
    let before: Option<i64> = connection.prepare_cached(before)?.query_row((session, seq), |row| row.get(0))?;
    if let Some(&(closest, _)) = partners.first() {
        join(connection, seq, closest)?;
    }
    if let Some(before) = before {
        match partners.iter_mut().find(|partner| partner.0 == before) {
            Some(known) => known.1 = (known.1 + NEAR).min(MOST),
            None => partners.push((before, NEAR)),
        }
    }
    let mut made = 0;
    for (other, weight) in partners {
        made += u64::from(links::add(connection, (other, seq), LinkKind::Associated, weight, now)?);
    }
    Ok(made)
}

/// The earlier records with the most and rarest words in common, and how much, the closest first.
fn by_words(connection: &Connection, seq: i64, text: &str) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    let most = RARE.min(1 + seq / RARE_SHARE);
    let mut partners: Vec<(i64, f64)> = Vec::new();
    for term in tokenizer::longest_terms(text, WORDS) {
        let holders = fulltext::newest_with_term(connection, &term.term, seq - 1, most + 1)?;
        if holders.len() as i64 > most {
            continue;
        }
        let weight = WORD_WEIGHT / (holders.len() as f64).sqrt();
        for holder in holders {
            match partners.iter_mut().find(|partner| partner.0 == holder) {
                Some(known) => known.1 += weight,
                None => partners.push((holder, weight)),
            }
        }
    }
    sort::sort_by(&mut partners, |a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
    let weighed = partners.into_iter().map(|(other, weight)| (other, (weight as i64).min(MOST)));
    Ok(weighed.filter(|&(_, weight)| weight >= LEAST).take(BY_WORDS).collect())
}

/// A record comes to the group of the one that it is closest to.
fn join(connection: &Connection, seq: i64, closest: i64) -> Result<(), rusqlite::Error> {
    let read = "SELECT community FROM node WHERE record = ?1";
    let community = |seq: i64| -> Result<Option<i64>, rusqlite::Error> {
        Ok(connection.prepare_cached(read)?.query_row([seq], |row| row.get(0)).optional()?.flatten())
    };
    if community(seq)?.is_some() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(
        "INSERT INTO node (record, degree, community) VALUES (?1, 0, ?2)
         ON CONFLICT (record) DO UPDATE SET community = excluded.community",
    )?;
    let mut grow = connection.prepare_cached(
        "INSERT INTO community (number, size) VALUES (?1, 2) ON CONFLICT (number) DO UPDATE SET size = size + 1",
    )?;
    let number = match community(closest)? {
        Some(number) => number,
        None => {
            put.execute((closest, closest))?;
            closest
        }
    };
    put.execute((seq, number))?;
    grow.execute([number])?;
    Ok(())
}
