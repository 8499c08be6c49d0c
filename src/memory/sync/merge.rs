//! The merge of one entry into the store.
//!
//! Each rule gives the same whatever the order in which entries come, and nothing changes when one comes again.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::new_record::{ImportedIdentity, project_number_or_new};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{aliases, change_log, forgotten, fulltext, knob_changes, records, repetitions};
use crate::memory::sync::absorb;
use crate::memory::sync::entry::{SyncEntry, SyncedRecord};

/// What became of the entries of a call.
#[derive(Debug, Default)]
pub(crate) struct MergeCounts {
    pub(crate) added: u64,
    pub(crate) known: u64,
    pub(crate) aliases: u64,
    pub(crate) contradictions: u64,
    pub(crate) links: u64,
    pub(crate) knobs: u64,
}

/// Merges entries of one peer, in one job of the writer.
pub(crate) struct Merger<'m, 'c> {
    transaction: &'m mut WriteTransaction<'c>,
    /// The number of the peer.
    peer: i64,
    now: UnixMicros,
    pub(crate) counts: MergeCounts,
    /// The seqs of new records, in their order.
    learned: Vec<i64>,
    /// Records of the store that are forgotten.
    pub(crate) forgotten: BTreeSet<i64>,
    /// Something was forgotten, so a record may have been.
    has_forgotten: bool,
    /// The values of knobs that have changed, as JSON.
    pub(crate) knobs: Vec<(&'static str, String)>,
}

/// Why an entry is not merged.
pub(crate) enum Unmerged {
    /// It is refused.
    Refused(String),
    /// Two records here are to become one, and the full-text index is to be rebuilt before: a term can only be taken out of
    /// it by the rules that put it in.
    Waits(Box<SyncedRecord>),
}

impl From<String> for Unmerged {
    fn from(reason: String) -> Unmerged {
        Unmerged::Refused(reason)
    }
}

impl<'m, 'c> Merger<'m, 'c> {
    /// Begins a job. [`Merger::finish`] ends it.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn begin(
        transaction: &'m mut WriteTransaction<'c>,
        peer: i64,
        now: UnixMicros,
    ) -> Result<Merger<'m, 'c>, rusqlite::Error> {
        change_log::set_origin(transaction.connection, peer)?;
        let (counts, has_forgotten) = (MergeCounts::default(), forgotten::has_any(transaction.connection)?);
        Ok(Merger {
            transaction,
            peer,
            now,
            counts,
            learned: Vec::new(),
            forgotten: BTreeSet::new(),
            has_forgotten,
            knobs: Vec::new(),
        })
    }

    /// Notes which records are the peer's, and that what follows is made here.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn finish(&mut self) -> Result<(), rusqlite::Error> {
        let connection = self.connection();
        change_log::set_origin(connection, change_log::HERE)?;
        if self.peer == change_log::HERE {
            return Ok(());
        }
        for run in self.learned.chunk_by(|a, b| *b == a + 1) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let sql = "DELETE FROM learned_record WHERE peer = ?1 AND last = ?2 - 1 RETURNING first";
            let mut end = connection.prepare_cached(sql)?;
            let before: Option<i64> = end.query_row((self.peer, first), |row| row.get(0)).optional()?;
            let sql = "INSERT INTO learned_record (peer, last, first) VALUES (?1, ?2, ?3)";
            connection.prepare_cached(sql)?.execute((self.peer, last, before.unwrap_or(*first)))?;
        }
        Ok(())
    }

    fn connection(&self) -> &'c Connection {
        self.transaction.connection
    }

    /// Merges an entry, or says why not.
    ///
    /// # Errors
    /// -32001 for any SQLite error.
    pub(crate) fn merge(&mut self, entry: SyncEntry) -> Result<Result<(), Unmerged>, CallError> {
        match entry {
            SyncEntry::Record(record) => self.merge_record(record),
            SyncEntry::Link { from, to, weight, used } => {
                Ok(self.merge_link((from, to), LinkKind::Reinforced, (weight, used))?)
            }
            SyncEntry::Contradicts { from, to, used } => {
                Ok(self.merge_link((from, to), LinkKind::Contradicts, (links::STRONGEST, used))?)
            }
            SyncEntry::Forgotten { id, at } => {
                self.has_forgotten = true;
                match records::find_seq(self.connection(), id)? {
                    Some(seq) => {
                        forgotten::note_stored(self.connection(), id, UnixMicros(at))?;
                        self.forgotten.insert(seq);
                    }
                    None => {
                        forgotten::note_id(self.connection(), id, UnixMicros(at))?;
                        self.counts.known += 1;
                    }
                }
                Ok(Ok(()))
            }
            SyncEntry::Knob(change) => {
                match knob_changes::merge(self.connection(), &change, self.now.0, self.peer)? {
                    Some(value) => {
                        self.counts.knobs += 1;
                        self.knobs.push((change.knob, value));
                    }
                    None => self.counts.known += 1,
                }
                Ok(Ok(()))
            }
        }
    }

    fn merge_record(&mut self, record: Box<SyncedRecord>) -> Result<Result<(), Unmerged>, CallError> {
        let connection = self.connection();
        let mut seqs = BTreeSet::new();
        let mut is_forgotten = false;
        for id in &record.ids {
            if let Some(seq) = records::find_seq(connection, *id)?
                && seqs.insert(seq)
                && !is_same(connection, seq, &record)?
            {
                return Ok(Err(format!(
                    "the record {id} exists with another text, role or session, and records cannot be changed"
                )
                .into()));
            }
            is_forgotten |= self.has_forgotten && !is_forgotten && forgotten::forgotten_at(connection, *id)?.is_some();
        }
        let claimed = find_all(connection, &record, &mut seqs)?;
        for number in claimed.iter().filter(|_| self.has_forgotten) {
            is_forgotten = is_forgotten || forgotten::is_forgotten_record(connection, record.new.said(), *number)?;
        }
        if is_forgotten {
            self.counts.known += 1;
            forgotten::note_record(connection, record.new.said(), &claimed)?;
            self.note_ids(&record.ids, &seqs)?;
            self.forgotten.extend(seqs);
            return Ok(Ok(()));
        }
        if seqs.len() > 1 && fulltext::is_due(connection)? {
            return Ok(Err(Unmerged::Waits(record)));
        }
        let mut seqs = seqs.into_iter();
        match seqs.next() {
            Some(kept) => {
                // What is left of the log of the others is given to all, the peer included.
                change_log::set_origin(connection, change_log::HERE)?;
                for gone in seqs {
                    absorb::absorb(self.transaction, kept, gone)?;
                }
                change_log::set_origin(connection, self.peer)?;
                self.merge_into(kept, &record)?;
            }
            None => self.add(*record)?,
        }
        Ok(Ok(()))
    }

    /// Notes that the ids of a record were forgotten: under one of them, or under another one that the peer does not know;
    /// and that so were these records of the store.
    fn note_ids(&mut self, ids: &[Uuid], seqs: &BTreeSet<i64>) -> Result<(), rusqlite::Error> {
        let connection = self.connection();
        // The peer is to learn of it.
        change_log::set_origin(connection, change_log::HERE)?;
        for id in ids {
            forgotten::note_id(connection, *id, self.now)?;
        }
        for seq in seqs {
            forgotten::note_stored(connection, records::id_of(connection, *seq)?, self.now)?;
        }
        change_log::set_origin(connection, self.peer)
    }

    fn add(&mut self, mut record: SyncedRecord) -> Result<(), rusqlite::Error> {
        record.new.repetitions = std::mem::take(&mut record.repetitions);
        let (id, others) = (record.ids[0], &record.ids[1..]);
        let identity = ImportedIdentity { id, valid_to: record.valid_to.map(UnixMicros) };
        let seq = record.new.insert_as(self.transaction, identity, 0)?;
        let connection = self.connection();
        for other in others {
            aliases::add(connection, seq, *other)?;
        }
        if !others.is_empty() {
            // They are given with the record.
            connection.prepare_cached("DELETE FROM change WHERE kind = 0 AND a = ?1")?.execute([seq])?;
        }
        self.learned.push(seq);
        self.counts.added += 1;
        Ok(())
    }

    fn merge_into(&mut self, seq: i64, record: &SyncedRecord) -> Result<(), rusqlite::Error> {
        let connection = self.connection();
        self.counts.known += 1;
        for id in &record.ids {
            if records::find_seq(connection, *id)?.is_none() {
                aliases::add(connection, seq, *id)?;
                self.counts.aliases += 1;
            }
        }
        let draft = &record.new.draft;
        let project = project_number_or_new(connection, &draft.project)?;
        absorb::merge_fields(connection, seq, (draft.ts.0, project), record.valid_to)?;
        let mut is_changed = false;
        for tag in &record.new.draft.tags {
            let sql = "INSERT INTO tag (record, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            if connection.prepare_cached(sql)?.execute((seq, tag))? > 0 {
                self.transaction.tag_added(tag);
                is_changed = true;
            }
        }
        is_changed |= repetitions::add(connection, seq, &record.repetitions)?;
        if is_changed {
            change_log::note_record(connection, seq)?;
        }
        Ok(())
    }

    fn merge_link(
        &mut self,
        (from, to): (Uuid, Uuid),
        kind: LinkKind,
        (weight, used): (i64, i64),
    ) -> Result<Result<(), Unmerged>, rusqlite::Error> {
        let connection = self.connection();
        let mut ends = [0; 2];
        for (id, end) in [from, to].into_iter().zip(&mut ends) {
            *end = match records::find_seq(connection, id)? {
                Some(seq) => seq,
                None if forgotten::forgotten_at(connection, id)?.is_some() => {
                    self.counts.known += 1;
                    return Ok(Ok(()));
                }
                None => return Ok(Err(format!("no record has the id {id}: give it first").into())),
            };
        }
        let [a, b] = ends;
        let is_changed = a != b && links::merge(connection, (a, b), kind, weight, used)?;
        match (is_changed, kind) {
            (false, _) => self.counts.known += 1,
            (true, LinkKind::Contradicts) => self.counts.contradictions += 1,
            (true, _) => self.counts.links += 1,
        }
        Ok(Ok(()))
    }
}

/// Adds the records to `seqs` that are the entry's by their words and repetition, or those of one that is. Returns the
/// repetitions of all of them.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn find_all(
    connection: &Connection,
    record: &SyncedRecord,
    seqs: &mut BTreeSet<i64>,
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut claimed = record.repetitions.clone();
    loop {
        for seq in seqs.iter() {
            claimed.extend(repetitions::of(connection, *seq)?);
        }
        claimed.sort_unstable();
        claimed.dedup();
        let before = seqs.len();
        seqs.extend(repetitions::find(connection, record.new.hash, record.new.said(), &claimed)?);
        if seqs.len() == before {
            return Ok(claimed);
        }
    }
}

/// Returns true if the stored record has the session, role and text of the entry's.
fn is_same(connection: &Connection, seq: i64, record: &SyncedRecord) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT name, role, text FROM record JOIN session ON session.number = session WHERE seq = ?1";
    let mut read = connection.prepare_cached(sql)?;
    let said = record.new.said();
    read.query_row([seq], |row| {
        Ok(row.get_ref(0)?.as_str()? == said.session
            && row.get::<_, i64>(1)? == said.role as i64
            && row.get_ref(2)?.as_str()? == said.text)
    })
}
