//! Maps and sets of numbers that the store gave out: of records, sessions and projects.
//!
//! No peer chooses these numbers, so a multiplication is hash enough; the standard library's default, which keeps keys of
//! an attacker apart, takes five times as long.
//!
//! Pure.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// An odd constant with bits in no pattern: the golden ratio as a fraction of 2^64.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A map from a number of the store.
pub(crate) type SeqMap<V> = HashMap<i64, V, BuildHasherDefault<SeqHasher>>;

/// A set of numbers of the store.
pub(crate) type SeqSet = HashSet<i64, BuildHasherDefault<SeqHasher>>;

/// A map from a hash that no peer can compute.
pub(crate) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<SeqHasher>>;

/// Hashes one number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeqHasher(u64);

impl Hasher for SeqHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // The map takes its place from the lowest bits and compares the highest ones.
        self.0 = (self.0 ^ number).wrapping_mul(FACTOR).rotate_left(32);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn adjacent_numbers_differ_in_the_lowest_and_the_highest_bits() {
        let hashes: Vec<u64> =
            (0..1024_i64).map(|seq| BuildHasherDefault::<SeqHasher>::default().hash_one(seq)).collect();
        for part in [|hash: &u64| hash & 0x3FF, |hash: &u64| hash >> 54] {
            let distinct: HashSet<u64> = hashes.iter().map(part).collect();
            assert!(distinct.len() > 512, "{}", distinct.len());
        }
    }
}
