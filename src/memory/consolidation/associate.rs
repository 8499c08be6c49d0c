//! The step Associate: links records that share rare terms or are neighbors in a session, and learns which terms
//! co-occur (`cooccurrence.rs`).
//!
//! The step's cursor is the last record that has been linked; learning has its own cursor. Each record is linked to
//! earlier records only, so each pair is examined once, and records that are added meanwhile change nothing.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use crate::dispatch::CallError;
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::cooccurrence::LearningScope;
use crate::memory::consolidation::holders::TermHolders;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::graph::cooccurrence;
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::model::record::Tier;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::records::{self, Side};
use crate::memory::store::tags;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::text::cue_terms;
use crate::sort;

/// Terms of a record that are looked up: the longest, because long terms are rare. Picked: some 0.3 ms.
const LOOKUP_TERMS: usize = 8;

/// A term is rare if at most this many earlier records have it.
const RARE_RECORDS: i64 = 16;

/// In a small store the limit is lower: one record in this many.
const RARE_SHARE: i64 = 8;

/// Links of one record by shared terms. With the link to its neighbor that is three, so that links take less space
/// than texts.
const MAX_TERM_LINKS: usize = 2;

/// Weight, in thousandths, of a shared term that one earlier record has. It falls with the square root of the number of
/// records.
const TERM_WEIGHT_MILLI: f64 = 500.0;

/// Least weight of a link by shared terms, in thousandths: one term that four records have, or several that more have.
const MIN_TERM_WEIGHT_MILLI: i64 = 250;

/// Greatest weight of an associative link, in thousandths. Above it are only links that a client asked for.
const MAX_WEIGHT_MILLI: i64 = 950;

/// Weight of a link between neighbors in a session, in thousandths.
const NEIGHBOR_WEIGHT_MILLI: i64 = 200;

/// Runs one chunk, from the record after `linked` on.
///
/// # Errors
/// -32001 if the store cannot be read or written.
pub(crate) fn chunk(
    transaction: &mut WriteTransaction<'_>,
    linked: i64,
    caches: &mut StepCaches,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    let connection = transaction.connection;
    let end = transaction.first_unindexed().unwrap_or(i64::MAX);
    let scope = LearningScope::new(connection, deadline)?;
    let mut next = connection.prepare_cached(
        "SELECT seq, session, tier, text, cue FROM record WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1",
    )?;
    // A change of the tokenizer's rules discards what was learned, but not the links: hence two cursors.
    let (mut linked, mut learned) = (linked, cooccurrence::cursor(connection, linked)?);
    let StepCaches { learner, holders, .. } = caches;
    learner.begin(learned);
    holders.begin(linked, RARE_RECORDS as usize + 1);
    let (mut links, mut examined, mut terms) = (0, 0, 0);
    let mut progress = Progress::More;
    while progress == Progress::More {
        let mut rows = next.query((linked.min(learned), end))?;
        let Some(row) = rows.next()? else {
            progress = Progress::Done;
            break;
        };
        let (seq, session, tier): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let text = row.get_ref(3)?.as_str().unwrap_or_default();
        if tier != Tier::Semantic as i64 || !tags::has(connection, seq, tags::PATTERN)? {
            if seq > learned {
                let (updated, record_progress) = learner.learn_record(scope, seq, (session, text))?;
                terms += updated;
                if record_progress == Progress::More {
                    break;
                }
            }
            if seq > linked {
                links += associate(connection, holders, seq, (session, text), now)?;
                examined += 1;
            }
        }
        if seq > linked {
            holders.add(seq, text, row.get_ref(4)?.as_str().unwrap_or_default());
        }
        (linked, learned) = (linked.max(seq), learned.max(seq));
        if Instant::now() >= deadline {
            break;
        }
    }
    cooccurrence::set_cursor(connection, learned)?;
    learner.end(learned);
    let counts = [("examined", examined), ("learned", terms), ("linked", links)];
    Ok(StepOutcome::new(Some(linked), progress, counts))
}

/// Links one record to earlier ones. Returns the number of new links.
fn associate(
    connection: &Connection,
    holders: &mut TermHolders,
    seq: i64,
    (session, text): (i64, &str),
    now: UnixMicros,
) -> Result<u64, rusqlite::Error> {
    let mut partners = partners_by_terms(connection, holders, seq, text)?;
    let before = records::neighbor_in_session(connection, session, seq, Side::Before)?;
    if let Some(&(closest, _)) = partners.first() {
        join_community(connection, seq, closest)?;
    }
    if let Some(before) = before {
        match partners.iter_mut().find(|partner| partner.0 == before) {
            Some(known) => known.1 = (known.1 + NEIGHBOR_WEIGHT_MILLI).min(MAX_WEIGHT_MILLI),
            None => partners.push((before, NEIGHBOR_WEIGHT_MILLI)),
        }
    }
    let mut new_links = 0;
    for (other, weight) in partners {
        new_links += u64::from(links::add(connection, (other, seq), LinkKind::Associated, weight, now)?);
    }
    Ok(new_links)
}

/// Returns the earlier records that share the most and rarest terms, each with its weight, the greatest first.
fn partners_by_terms(
    connection: &Connection,
    holders: &mut TermHolders,
    seq: i64,
    text: &str,
) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    let most = RARE_RECORDS.min(1 + seq / RARE_SHARE);
    let mut partners: Vec<(i64, f64)> = Vec::new();
    for term in cue_terms::longest_terms(text, LOOKUP_TERMS) {
        let holders = holders.of(connection, &term.term)?;
        if holders.len() as i64 > most {
            continue;
        }
        let weight = TERM_WEIGHT_MILLI / (holders.len() as f64).sqrt();
        for holder in holders.iter().map(|&holder| i64::from(holder)) {
            match partners.iter_mut().find(|partner| partner.0 == holder) {
                Some(known) => known.1 += weight,
                None => partners.push((holder, weight)),
            }
        }
    }
    sort::sort_by(&mut partners, |a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
    let weighted = partners.into_iter().map(|(other, weight)| (other, (weight as i64).min(MAX_WEIGHT_MILLI)));
    let mut kept = Vec::with_capacity(MAX_TERM_LINKS + 1);
    for (other, weight) in weighted.take_while(|&(_, weight)| weight >= MIN_TERM_WEIGHT_MILLI) {
        // It may have been forgotten since it was listed.
        if kept.len() < MAX_TERM_LINKS && records::project_of(connection, other)?.is_some() {
            kept.push((other, weight));
        }
    }
    Ok(kept)
}

/// Adds a record that has no community to the community of `closest`, which is created if that has none.
fn join_community(connection: &Connection, seq: i64, closest: i64) -> Result<(), rusqlite::Error> {
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
