//! The state of a transaction that several jobs share.

use rusqlite::Connection;

use crate::memory::store::error::StoreError;
use crate::memory::store::fulltext::IndexStatus;
use crate::memory::store::tags::{self, AssistantCounts};
use crate::memory::store::writer::handover::WriterHandover;

/// A transaction in progress.
pub(crate) struct WriteTransaction<'c> {
    /// The writer's connection.
    pub(crate) connection: &'c Connection,
    pub(crate) terms: Vec<RecordTerms>,
    pub(crate) new_records: u64,
    /// New records that have the tag of an assistant.
    pub(crate) of_assistants: AssistantCounts,
    pub(crate) origin: Origin,
    pub(crate) newest_external: Option<i64>,
    pub(crate) index: Option<IndexStatus>,
    /// The counts of masked secrets, if they have changed.
    pub(crate) masked: Option<String>,
    has_drained: bool,
    pub(crate) post_commit: PostCommit,
    pub(crate) handover: Option<WriterHandover>,
    pub(crate) alone: Vec<WriteAlone>,
}

/// Work on the writer's connection outside of any transaction.
pub(crate) type WriteAlone = Box<dyn FnOnce(&mut Connection) + Send>;

/// The origin of new records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From outside: a capture, an import or the spool.
    External,
    /// Made from other records by a step of the consolidation cycle.
    Derived,
}

/// Work after the commit, outside of any transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PostCommit {
    None,
    /// Update the planner's statistics and checkpoint the WAL.
    Optimize,
    /// Replace a damaged full-text index by an empty one, then as `Optimize`.
    ReplaceIndex,
}

pub(crate) struct RecordTerms {
    pub(crate) seq: i64,
    pub(crate) text: String,
    pub(crate) cue: String,
}

/// Loads again what is held in memory of the store, after its whole content was replaced.
pub(crate) type Reload = Box<dyn FnOnce(&Connection) -> Result<(), StoreError> + Send>;

impl<'c> WriteTransaction<'c> {
    /// Returns an empty transaction on `connection`.
    pub(crate) fn of(connection: &'c Connection) -> WriteTransaction<'c> {
        WriteTransaction {
            connection,
            terms: Vec::new(),
            new_records: 0,
            of_assistants: AssistantCounts::default(),
            origin: Origin::External,
            newest_external: None,
            index: None,
            masked: None,
            has_drained: false,
            post_commit: PostCommit::None,
            handover: None,
            alone: Vec::new(),
        }
    }

    /// Runs `work`, whose new records have this origin.
    pub(crate) fn with_origin<T>(&mut self, origin: Origin, work: impl FnOnce(&mut WriteTransaction<'c>) -> T) -> T {
        let before = std::mem::replace(&mut self.origin, origin);
        let made = work(self);
        self.origin = before;
        made
    }

    /// Sets the status that the full-text index has once the transaction has committed.
    pub(crate) fn set_index_status(&mut self, index: IndexStatus) {
        self.index = Some(index);
    }

    /// Requests `PRAGMA optimize` and a WAL checkpoint after the commit, once the jobs are complete.
    pub(crate) fn request_optimize(&mut self) {
        self.post_commit = self.post_commit.max(PostCommit::Optimize);
    }

    /// Requests that an empty full-text index replaces a damaged one after the commit, once the jobs are complete.
    pub(crate) fn request_index_replacement(&mut self) {
        self.post_commit = PostCommit::ReplaceIndex;
    }

    /// Requests that the writer releases its caches and hands over to another thread after the commit, once the jobs are
    /// complete.
    pub(crate) fn request_handover(&mut self, handover: WriterHandover) {
        self.handover = Some(handover);
    }

    /// Runs `work` after the commit, once the jobs are complete, outside of any transaction. Nothing else is written
    /// meanwhile.
    pub(crate) fn run_alone(&mut self, work: WriteAlone) {
        self.alone.push(work);
    }

    /// Returns true for the first caller of a transaction only. At most one job of a transaction may drain the spool: a
    /// second one would take uncommitted records for durable ones and remove their file.
    pub(crate) fn claim_drain(&mut self) -> bool {
        !std::mem::replace(&mut self.has_drained, true)
    }

    /// Returns the first new record of this transaction. The full-text index has neither it nor later ones yet.
    pub(crate) fn first_unindexed(&self) -> Option<i64> {
        self.terms.iter().map(|one| one.seq).min()
    }

    /// Counts a tag that was added to a record which did not have it.
    pub(crate) fn tag_added(&mut self, tag: &str) {
        if let Some(at) = tags::assistant_of(tag) {
            self.of_assistants[at] = self.of_assistants[at].wrapping_add(1);
        }
    }

    /// Counts a tag that is no longer a record's. The counters are added to with a wrap, so a number below 0 is one, too.
    pub(crate) fn tag_removed(&mut self, tag: &str) {
        if let Some(at) = tags::assistant_of(tag) {
            self.of_assistants[at] = self.of_assistants[at].wrapping_sub(1);
        }
    }

    /// Counts a record that was deleted.
    pub(crate) fn record_removed(&mut self) {
        self.new_records = self.new_records.wrapping_sub(1);
    }

    /// Counts a new record, and adds its terms (see `text/tokenizer.rs`) to those that are indexed before the commit.
    pub(crate) fn record_added(&mut self, seq: i64, text_terms: String, cue_terms: String) {
        self.new_records = self.new_records.wrapping_add(1);
        if self.origin == Origin::External {
            self.newest_external = Some(seq);
        }
        self.terms.push(RecordTerms { seq, text: text_terms, cue: cue_terms });
    }
}
