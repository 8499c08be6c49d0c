//! `sync_apply`: takes what another store gives.
//!
//! The worker parses the entries and computes the index terms; the writer merges them in one job, or in several that
//! follow each other if they are many, so that other clients' writes come in between. What is forgotten is deleted at the
//! end, by the job of `memory_forget`. An error leaves what was merged before it; the same call again does the rest.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::dispatch::{CallError, LateReply, Params};
use crate::memory::consolidation::chunks::complete_index;
use crate::memory::forgetting::handle::Forgetting;
use crate::memory::forgetting::result::{ForgetResult, LeftCopy};
use crate::memory::forgetting::run;
use crate::memory::forgetting::selection::Confirmed;
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::SharedProfile;
use crate::memory::store::commit_mark::StoreId;
use crate::memory::store::reader::Reader;
use crate::memory::store::writer::job::{WriteJob, task};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{change_log, forgotten, records};
use crate::memory::sync::entry::SyncEntry;
use crate::memory::sync::forgets;
use crate::memory::sync::merge::{MergeCounts, Merger, Unmerged};
use crate::memory::sync::peers;
use crate::memory::transfer::maintenance_lock::MaintenanceGuard;

/// A job whose entries weigh this much takes no more: it lasts some 20 ms. Picked.
const JOB_BYTES: usize = 192 << 10;

/// Longest reason of a refusal, in characters.
const REASON_CHARS: usize = 300;

/// Records that a run of a peer may make this store forget without confirmation, and their share of all.
const UNASKED_COUNT: u64 = 100;
const UNASKED_SHARE: u64 = 10;

/// The result of `sync_apply`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ApplyResult {
    added: u64,
    known: u64,
    aliases: u64,
    contradictions: u64,
    links: u64,
    knobs: u64,
    forgotten: u64,
    left: Vec<LeftCopy>,
    refused: Vec<RefusedEntry>,
}

#[derive(Debug, Serialize)]
struct RefusedEntry {
    /// Its index among the entries of the call.
    index: usize,
    reason: String,
}

impl ApplyResult {
    fn add(&mut self, counts: MergeCounts) {
        self.added += counts.added;
        self.known += counts.known;
        self.aliases += counts.aliases;
        self.contradictions += counts.contradictions;
        self.links += counts.links;
        self.knobs += counts.knobs;
    }
}

impl RefusedEntry {
    fn new(index: usize, reason: &str) -> RefusedEntry {
        RefusedEntry { index, reason: reason.chars().take(REASON_CHARS).collect() }
    }
}

/// What a call of `sync_apply` asks for.
pub(crate) struct ApplyRequest {
    peer: Option<StoreId>,
    entries: Vec<ReadEntry>,
    is_confirmed: bool,
    pub(crate) is_dry_run: bool,
}

/// An entry, or why it is refused.
type ReadEntry = Result<SyncEntry, String>;

impl ApplyRequest {
    /// Reads the params.
    ///
    /// # Errors
    /// -32602 if one is missing or has a wrong type.
    pub(crate) fn read(params: &Params<'_>) -> Result<ApplyRequest, CallError> {
        let peer = peers::parse_store(params, "peer")?;
        let text = params.raw("entries").ok_or_else(|| CallError::missing("entries"))?;
        let is_confirmed = params.boolean_or("confirmed", false)?;
        let is_dry_run = params.boolean_or("dry_run", false)?;
        let entries: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|_| CallError::invalid("entries", "an array of objects"))?;
        let read = |entry: &&RawValue| SyncEntry::read(entry.get()).map_err(|error| error.message);
        Ok(ApplyRequest { peer, entries: entries.iter().map(read).collect(), is_confirmed, is_dry_run })
    }

    /// Returns what the call would do, as far as the ids of its entries tell.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn count(&self, reader: &Reader) -> Result<ApplyResult, CallError> {
        let snapshot = reader.snapshot()?;
        let connection = snapshot.connection();
        let mut result = ApplyResult::default();
        for (index, entry) in self.entries.iter().enumerate() {
            match entry {
                Ok(SyncEntry::Record(record)) => {
                    let mut is_known = false;
                    for id in &record.ids {
                        is_known = is_known
                            || records::find_seq(connection, *id)?.is_some()
                            || forgotten::forgotten_at(connection, *id)?.is_some();
                    }
                    *if is_known { &mut result.known } else { &mut result.added } += 1;
                }
                Ok(_) => {}
                Err(reason) => result.refused.push(RefusedEntry::new(index, reason)),
            }
        }
        result.forgotten = self.forgets(connection)?.len() as u64;
        Ok(result)
    }

    /// Returns the records of the store that the call would delete.
    fn forgets(&self, connection: &Connection) -> Result<BTreeSet<i64>, rusqlite::Error> {
        forgets::forgotten_by(connection, self.entries.iter().flatten())
    }

    /// Checks that the call does not delete more records than its peer may without confirmation. Returns true if it
    /// deletes some.
    ///
    /// # Errors
    /// -32602 if it does; -32001 for any SQLite error.
    pub(crate) fn check_forgets(&self, reader: &Reader) -> Result<bool, CallError> {
        let snapshot = reader.snapshot()?;
        let connection = snapshot.connection();
        let count = self.forgets(connection)?.len() as u64;
        if count == 0 || self.is_confirmed {
            return Ok(count > 0);
        }
        let before = match self.peer.map(|peer| peers::number_of(connection, peer)).transpose()?.flatten() {
            Some(peer) => peers::unasked_count(connection, peer)?,
            None => 0,
        };
        let total = records::count(connection)?.unsigned_abs() + before;
        let sum = before + count;
        if sum <= UNASKED_COUNT && sum * UNASKED_SHARE <= total {
            return Ok(true);
        }
        Err(CallError::invalid(
            "confirmed",
            format_args!(
                "true once the user has agreed: the other store has forgotten {sum} of the {total} records here, which \
                 is more than {UNASKED_COUNT} or more than a tenth; nothing was applied"
            ),
        ))
    }
}

/// A call in progress.
pub(crate) struct Apply {
    peer: Option<StoreId>,
    /// The entries that are not in a job yet.
    entries: VecDeque<ReadEntry>,
    /// The number of entries that are committed.
    merged: usize,
    result: ApplyResult,
    forgotten: BTreeSet<i64>,
    is_confirmed: bool,
    now: UnixMicros,
    profiles: Arc<SharedProfile>,
    forgetting: Forgetting,
    /// For the deletion of what is forgotten.
    lock: Option<MaintenanceGuard>,
    reply: LateReply,
}

/// What a job has done.
#[derive(Default)]
struct Merged {
    /// The entries that wait for the full-text index.
    rest: Vec<ReadEntry>,
    counts: MergeCounts,
    refused: Vec<RefusedEntry>,
    forgotten: BTreeSet<i64>,
    knobs: Vec<(&'static str, String)>,
}

impl Apply {
    /// Merges the entries of a call and answers it. `lock` is that of a call that deletes records.
    pub(crate) fn start(
        request: ApplyRequest,
        forgetting: Forgetting,
        profiles: Arc<SharedProfile>,
        lock: Option<MaintenanceGuard>,
        now: UnixMicros,
        reply: LateReply,
    ) {
        let writer = forgetting.maintenance.writer.clone();
        let apply = Apply {
            peer: request.peer,
            entries: request.entries.into(),
            merged: 0,
            result: ApplyResult::default(),
            forgotten: BTreeSet::new(),
            is_confirmed: request.is_confirmed,
            now,
            profiles,
            forgetting,
            lock,
            reply,
        };
        writer.submit(apply.next_job());
    }

    /// Returns the job that merges the next entries.
    fn next_job(mut self) -> Box<dyn WriteJob> {
        let weight = |entry: &ReadEntry| entry.as_ref().map_or(0, SyncEntry::weight);
        let mut job_bytes = 0;
        let fits = |entry: &&ReadEntry| {
            let before = job_bytes;
            job_bytes += weight(entry);
            before < JOB_BYTES
        };
        let count = self.entries.iter().take_while(fits).count();
        // The rest is held by the job, too.
        let all = self.entries.iter().map(weight).sum();
        let (first, entries): (usize, Vec<_>) = (self.merged, self.entries.drain(..count).collect());
        let (peer, now) = (self.peer, self.now);
        let work =
            move |transaction: &mut WriteTransaction<'_>| merge_entries(transaction, (first, entries), peer, now);
        task(all, work, move |outcome| self.job_done(count, outcome))
    }

    fn job_done(mut self, count: usize, outcome: Result<Merged, CallError>) {
        let Merged { rest, counts, refused, forgotten, knobs } = match outcome {
            Ok(merged) => merged,
            Err(error) => return self.reply.send::<()>(Err(error)),
        };
        for (knob, value) in knobs {
            if let Ok(value) = serde_json::from_str(&value) {
                self.profiles.set(knob, value);
            }
        }
        self.merged += count - rest.len();
        self.forgotten.extend(forgotten);
        self.result.add(counts);
        self.result.refused.extend(refused);
        if !rest.is_empty() {
            rest.into_iter().rev().for_each(|entry| self.entries.push_front(entry));
            complete_index(self.forgetting.maintenance.clone(), |outcome| match outcome {
                Ok(()) => self.forgetting.maintenance.writer.clone().submit(self.next_job()),
                Err(error) => self.reply.send::<()>(Err(error)),
            });
        } else if !self.entries.is_empty() {
            self.forgetting.maintenance.writer.clone().submit(self.next_job());
        } else if self.forgotten.is_empty() {
            self.reply.send(Ok(self.result));
        } else {
            self.forget();
        }
    }

    /// Deletes the records that are forgotten, and answers.
    fn forget(mut self) {
        let lock = match self.lock.take().map_or_else(|| self.forgetting.lock.try_acquire(), Ok) {
            Ok(lock) => lock,
            Err(error) => return self.reply.send::<()>(Err(error)),
        };
        let peer = self.peer.filter(|_| !self.is_confirmed);
        let seqs = std::mem::take(&mut self.forgotten);
        let writer = self.forgetting.maintenance.writer.clone();
        let work = move |transaction: &mut WriteTransaction<'_>| {
            let connection = transaction.connection;
            if let Some(peer) = peer {
                let peer = peers::number_or_new(connection, peer)?;
                peers::add_unasked(connection, peer, seqs.len() as u64)?;
            }
            select(connection, &seqs)
        };
        writer.submit(task(0, work, move |outcome| {
            let Apply { forgetting, mut result, reply, .. } = self;
            match outcome {
                Ok(confirmed) if confirmed.mark.count == 0 => reply.send(Ok(result)),
                Ok(confirmed) => {
                    let done = move |outcome: Result<ForgetResult, CallError>| {
                        reply.send(outcome.map(|forgotten| {
                            (result.forgotten, result.left) = (forgotten.forgotten, forgotten.left);
                            result
                        }));
                    };
                    run::start_then(forgetting, lock, confirmed, Box::new(done));
                }
                Err(error) => reply.send::<()>(Err(error)),
            }
        }));
    }
}

/// Returns the selection of these records, as far as the store has them.
fn select(connection: &Connection, seqs: &BTreeSet<i64>) -> Result<Confirmed, CallError> {
    let mut ids = Vec::new();
    let mut read = connection.prepare_cached("SELECT id FROM record WHERE seq = ?1")?;
    for seq in seqs {
        let mut rows = read.query([seq])?;
        if let Some(row) = rows.next()? {
            ids.push(Uuid::from_bytes(row.get(0)?));
        }
    }
    Confirmed::of_ids(connection, ids)
}

/// Merges entries. `first` is the index of the first one in the call.
fn merge_entries(
    transaction: &mut WriteTransaction<'_>,
    (first, entries): (usize, Vec<ReadEntry>),
    peer: Option<StoreId>,
    now: UnixMicros,
) -> Result<Merged, CallError> {
    let peer = match peer {
        Some(peer) => peers::number_or_new(transaction.connection, peer)?,
        None => change_log::HERE,
    };
    let mut merged = Merged::default();
    let mut merger = Merger::begin(transaction, peer, now)?;
    let mut entries = entries.into_iter();
    for index in first.. {
        let Some(entry) = entries.next() else { break };
        let outcome = match entry {
            Ok(entry) => merger.merge(entry)?,
            Err(reason) => Err(Unmerged::Refused(reason)),
        };
        match outcome {
            Ok(()) => {}
            Err(Unmerged::Refused(reason)) => merged.refused.push(RefusedEntry::new(index, &reason)),
            Err(Unmerged::Waits(record)) => {
                merged.rest.push(Ok(SyncEntry::Record(record)));
                merged.rest.extend(entries);
                break;
            }
        }
    }
    merger.finish()?;
    let Merger { counts, forgotten, knobs, .. } = merger;
    Ok(Merged { counts, forgotten, knobs, ..merged })
}
