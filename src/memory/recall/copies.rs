//! Records with equal texts, which a recall returns as one hit.
//!
//! Texts are equal if they are the same without leading and trailing white space. Only records that hold are grouped.
//!
//! Pure.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, RandomState};

use crate::memory::model::seq_map::{SeqHasher, SeqMap};
use crate::memory::model::time::UnixMicros;

/// A hash of a text without leading and trailing white space. Collisions of its 64 bits, which no peer can compute, are
/// accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextHash(i64);

/// A set of hashes of texts.
pub(crate) type TextHashes = HashSet<TextHash, BuildHasherDefault<SeqHasher>>;

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
    keys: HashKeys,
    /// By the numbers of the hashes.
    groups: SeqMap<CopyGroup>,
}

impl CopyGroups {
    /// Returns the hash of a text.
    pub(crate) fn hash(&self, text: &str) -> TextHash {
        TextHash(self.keys.hash(text.trim().as_bytes()).cast_signed())
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

/// Two secret numbers, which a hash begins with and multiplies by: the standard library's hash takes seven times as long
/// on texts.
#[derive(Debug)]
struct HashKeys {
    start: u64,
    factor: u64,
}

impl Default for HashKeys {
    fn default() -> HashKeys {
        let random = RandomState::new();
        HashKeys { start: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }
}

impl HashKeys {
    /// Returns the hash of these bytes: each eight are added and multiplied, and the halves of the product united, as in
    /// wyhash (Wang Yi).
    fn hash(&self, bytes: &[u8]) -> u64 {
        let (eights, rest) = bytes.as_chunks();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let mix = |hash: u64, eight: &[u8; 8]| self.mix(hash ^ u64::from_le_bytes(*eight));
        let hash = mix(eights.iter().fold(self.start, mix), &last);
        self.mix(hash ^ bytes.len() as u64)
    }

    fn mix(&self, number: u64) -> u64 {
        let product = u128::from(number) * u128::from(self.factor);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_any_byte_or_in_length_have_other_hashes() {
        let groups = CopyGroups::default();
        let mut texts: Vec<String> = (0..40).map(|length| "a".repeat(length)).collect();
        let changed = (0..40).map(|at| format!("{}b{}", "a".repeat(at), "a".repeat(39 - at)));
        texts.extend(changed);
        texts.extend(["a\0", "a\0\0", "\0"].map(str::to_owned));
        for (at, one) in texts.iter().enumerate() {
            assert!(texts[..at].iter().all(|other| groups.hash(one) != groups.hash(other)), "{one:?}");
            assert_eq!(groups.hash(one), groups.hash(&format!(" {one}\n")), "{one:?}");
        }
    }
}
