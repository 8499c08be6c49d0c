//! One transaction for many jobs, a savepoint for each.

use rusqlite::Connection;

use crate::memory::store::fulltext::IndexStatus;
use crate::memory::store::writer::handover::WriterHandover;

/// The transaction in the making.
pub(crate) struct WriteTransaction<'c> {
    /// The writing connection.
    pub(crate) connection: &'c Connection,
    pub(crate) terms: Vec<RecordTerms>,
    pub(crate) new_records: u64,
    pub(crate) origin: Origin,
    pub(crate) newest_external: Option<i64>,
    pub(crate) index: Option<IndexStatus>,
    has_drained: bool,
    pub(crate) post_commit: PostCommit,
    pub(crate) handover: Option<WriterHandover>,
}

/// Who brings the records that come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody told them: a capture, an import, the drain.
    External,
    /// A step of the cycle made them of others.
    Derived,
}

/// What is done after the commit, outside of any transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PostCommit {
    None,
    /// Statistics and the log.
    Optimize,
    /// A damaged index makes room for a new one, too.
    ReplaceIndex,
}

pub(crate) struct RecordTerms {
    pub(crate) seq: i64,
    pub(crate) text: String,
    pub(crate) cue: String,
}

impl<'c> WriteTransaction<'c> {
    /// A transaction on `connection`, with nothing in it.
    pub(crate) fn of(connection: &'c Connection) -> WriteTransaction<'c> {
        WriteTransaction {
            connection,
            terms: Vec::new(),
            new_records: 0,
            origin: Origin::External,
            newest_external: None,
            index: None,
            has_drained: false,
            post_commit: PostCommit::None,
            handover: None,
        }
    }

    /// Runs `work`, whose records are of this origin.
    pub(crate) fn with_origin<T>(&mut self, origin: Origin, work: impl FnOnce(&mut WriteTransaction<'c>) -> T) -> T {
        let before = std::mem::replace(&mut self.origin, origin);
        let made = work(self);
        self.origin = before;
        made
    }

    /// The index is so from this group on.
    pub(crate) fn set_index_status(&mut self, index: IndexStatus) {
        self.index = Some(index);
    }

    /// Has SQLite look after its statistics and its log once the group is committed and answered.
    pub(crate) fn request_optimize(&mut self) {
        self.post_commit = self.post_commit.max(PostCommit::Optimize);
    }

    /// Has a damaged index make room for a new one once the group is committed and answered.
    pub(crate) fn request_index_replacement(&mut self) {
        self.post_commit = PostCommit::ReplaceIndex;
    }

    /// Has the writer let go of the memory that it keeps for later, once the group is committed and answered.
    pub(crate) fn request_handover(&mut self, handover: WriterHandover) {
        self.handover = Some(handover);
    }

    /// Deferred captures are taken in by at most one job of a group: the next one would believe on disk what
    /// is not yet, and remove their file. Was it this one?
    pub(crate) fn claim_drain(&mut self) -> bool {
        !std::mem::replace(&mut self.has_drained, true)
    }

    /// The first record of this group: from it on nothing is in the index yet.
    pub(crate) fn first_unindexed(&self) -> Option<i64> {
        self.terms.iter().map(|one| one.seq).min()
    }

    /// Counts a new record and has its terms (see `terms.rs`) indexed with the others of this group.
    pub(crate) fn record_added(&mut self, seq: i64, text_terms: String, cue_terms: String) {
        self.new_records += 1;
        if self.origin == Origin::External {
            self.newest_external = Some(seq);
        }
        self.terms.push(RecordTerms { seq, text: text_terms, cue: cue_terms });
    }
}
