//! Records with equal texts, which a recall returns as one hit.
//!
//! Texts are equal if they are the same without leading and trailing white space. Only records that hold are grouped.
//!
//! Pure.

use std::hash::{BuildHasher, RandomState};

use crate::memory::model::seq_map::SeqMap;
use crate::memory::model::time::UnixMicros;

/// A hash of a text without leading and trailing white space. Collisions of its 64 bits, which no peer can compute, are
/// accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextHash(i64);

/// The records with one text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CopyGroup {
    /// All of them, in no order.
    pub(crate) seqs: Vec<i64>,
    /// When the first of them was said.
    pub(crate) first: UnixMicros,
    /// When the newest was said, and its `seq`.
    newest: (UnixMicros, i64),
    /// One of them is of the recall's project.
    pub(crate) is_of_project: bool,
}

impl CopyGroup {
    /// Returns the `seq` of the newest record.
    pub(crate) fn newest(&self) -> i64 {
        self.newest.1
    }
}

/// The groups of all records that were read for a recall.
#[derive(Debug, Default)]
pub(crate) struct CopyGroups {
    hasher: RandomState,
    /// By the numbers of the hashes.
    groups: SeqMap<CopyGroup>,
}

impl CopyGroups {
    /// Returns the hash of a text.
    pub(crate) fn hash(&self, text: &str) -> TextHash {
        TextHash(self.hasher.hash_one(text.trim()).cast_signed())
    }

    /// Adds a record to the group of its text.
    pub(crate) fn add(&mut self, hash: TextHash, seq: i64, said: UnixMicros, is_of_project: bool) {
        let new = || CopyGroup { seqs: Vec::new(), first: said, newest: (said, seq), is_of_project };
        let group = self.groups.entry(hash.0).or_insert_with(new);
        if !group.seqs.contains(&seq) {
            group.seqs.push(seq);
        }
        group.first = group.first.min(said);
        group.newest = group.newest.max((said, seq));
        group.is_of_project |= is_of_project;
    }

    /// Returns the group of a text, if a record with it was added.
    pub(crate) fn get(&self, hash: TextHash) -> Option<&CopyGroup> {
        self.groups.get(&hash.0)
    }
}
