//! What a sync has changed in a store, summed up over its calls.

use serde_json::{Map, Value};

use crate::cli::support::values::counted;

/// The counts of a reply to `sync_apply`, in the order in which they are printed.
const COUNTS: [&str; 7] = ["added", "known", "aliases", "contradictions", "links", "knobs", "forgotten"];

/// The counts of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncTally {
    counts: [u64; COUNTS.len()],
    pub(crate) refused: u64,
}

impl SyncTally {
    /// Adds the counts of a reply of the daemon, or of a message of the other side.
    pub(crate) fn add(&mut self, counts: &Value) {
        for (sum, name) in self.counts.iter_mut().zip(COUNTS) {
            *sum = sum.saturating_add(counts[name].as_u64().unwrap_or(0));
        }
        // The daemon lists them, the other side counts them.
        let refused = &counts["refused"];
        let count = refused.as_array().map_or_else(|| refused.as_u64().unwrap_or(0), |list| list.len() as u64);
        self.refused = self.refused.saturating_add(count);
    }

    /// Returns the number of entries that were taken.
    pub(crate) fn entries(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the number of records that were forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        let [.., forgotten] = self.counts;
        forgotten
    }

    /// Returns what was counted after `before`.
    pub(crate) fn since(&self, before: &SyncTally) -> SyncTally {
        let mut new = self.clone();
        for (sum, count) in new.counts.iter_mut().zip(before.counts) {
            *sum -= count;
        }
        new.refused -= before.refused;
        new
    }

    pub(crate) fn as_json(&self) -> Value {
        let counts = COUNTS.into_iter().zip(self.counts).map(|(name, count)| (name.to_owned(), count.into()));
        let mut all: Map<String, Value> = counts.collect();
        all.insert("refused".to_owned(), self.refused.into());
        Value::Object(all)
    }

    /// Returns what is new, such as `2 records, 1 link, 1 forgotten`.
    pub(crate) fn in_words(&self) -> String {
        let [added, _, aliases, contradictions, links, knobs, forgotten] = self.counts;
        let mut parts = vec![counted(added, "record", "records")];
        for (count, one, many) in [
            (aliases, "further id", "further ids"),
            (contradictions, "contradiction", "contradictions"),
            (links, "link", "links"),
            (knobs, "setting", "settings"),
            (forgotten, "forgotten", "forgotten"),
            (self.refused, "refused", "refused"),
        ] {
            if count > 0 {
                parts.push(counted(count, one, many));
            }
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_summed_and_nothing_that_is_zero_is_said() {
        let mut tally = SyncTally::default();
        assert_eq!(tally.in_words(), "0 records");
        tally.add(&json!({"added": 2, "known": 9, "links": 1, "refused": [{"index": 0, "reason": "x"}]}));
        let mut other = SyncTally::default();
        other.add(&tally.as_json());
        assert_eq!(other, tally);
        tally.add(&json!({"added": 1, "forgotten": 3}));
        assert_eq!(tally.in_words(), "3 records, 1 link, 3 forgotten, 1 refused");
        assert_eq!((tally.as_json()["known"].as_u64(), tally.forgotten()), (Some(9), 3));
        // The other side may say anything.
        tally.add(&json!({"added": u64::MAX, "refused": u64::MAX}));
        assert_eq!((tally.entries(), tally.refused), (u64::MAX, u64::MAX));
    }
}
