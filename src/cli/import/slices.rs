//! Divides the records of another daemon by time and number, so that no reply is too long. Pure.
//!
//! The daemon returns the newest records up to a time, at most as many as it is asked for. After a reply that is too long,
//! half as many are asked for, and each further request ends where the reply before it did. If a single record is too
//! many, the daemon ignores the number; it is then asked for half of the time.

use std::collections::HashSet;
use std::mem;

/// Most records of a request. Picked: more than any reply that is short enough.
const MAX_RECORDS: u64 = 1_000_000;

/// Records that may have been added since the daemon counted them. Picked.
const ADDED_RECORDS: u64 = 1000;

const SECOND_US: i64 = 1_000_000;

/// 2000-01-01: from there on the time is halved.
const EARLIEST_US: i64 = 946_684_800 * SECOND_US;

/// 2999-01-01: no record is later.
const LATEST_US: i64 = 32_472_144_000 * SECOND_US;

/// Times in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Exclusive; `None` has no bound.
    pub(crate) since: Option<i64>,
    /// Inclusive.
    pub(crate) until: i64,
}

/// The slices that are not read yet, and the reply that is being read.
pub(crate) struct Slices {
    /// The slice to be read next is the last one.
    open: Vec<Slice>,
    /// Records to ask for.
    pub(crate) limit: u64,
    /// The smallest limit whose reply was too long.
    excessive: u64,
    is_limit_ignored: bool,
    /// Ids of records that the next reply has again.
    seen: HashSet<String>,
    /// Ids and times of the present reply's records.
    page: Vec<(String, Option<i64>)>,
    new_in_page: u64,
    /// Records read.
    pub(crate) read: u64,
    /// Records that the daemon has, if it has told.
    pub(crate) expected: Option<u64>,
    now: i64,
}

impl Slices {
    /// Begins with all records of a daemon that has `expected`.
    pub(crate) fn new(expected: Option<u64>, now: i64) -> Slices {
        let limit = expected.map_or(MAX_RECORDS, |count| count.saturating_add(ADDED_RECORDS).min(MAX_RECORDS));
        Slices {
            open: vec![Slice { since: None, until: LATEST_US }],
            limit,
            excessive: u64::MAX,
            is_limit_ignored: false,
            seen: HashSet::new(),
            page: Vec::new(),
            new_in_page: 0,
            read: 0,
            expected,
            now,
        }
    }

    /// Returns the slice to ask for; `None` if all are read.
    pub(crate) fn next(&self) -> Option<Slice> {
        self.open.last().copied()
    }

    /// Takes a record of the present reply, whose records are taken from the last to the first. Returns false if an earlier
    /// reply had it, or if it belongs to another slice.
    pub(crate) fn take(&mut self, id: &str, at: Option<i64>) -> bool {
        let since = self.next().and_then(|slice| slice.since);
        let is_new = !self.seen.contains(id) && (at.is_none() || at > since);
        self.page.push((id.to_owned(), at));
        self.new_in_page += u64::from(is_new);
        self.read += u64::from(is_new);
        is_new
    }

    /// Ends the present reply. Returns what could not be read, if anything.
    pub(crate) fn end_page(&mut self) -> Option<String> {
        let (page, new) = (mem::take(&mut self.page), mem::take(&mut self.new_in_page));
        let slice = self.open.pop()?;
        let times = || page.iter().filter_map(|(_, at)| *at);
        let (oldest, newest) = (times().min()?, times().max()?);
        let is_cut = page.len() as u64 >= self.limit;
        // A daemon that has its own upper bound returns fewer than requested.
        let is_short = new > 0 && self.expected.is_some_and(|count| self.read < count);
        if !is_cut && !is_short {
            return None;
        }
        if new == 0 {
            // All of the reply's records are of one second, which is the resolution of a request.
            if self.limit.saturating_mul(2) < self.excessive {
                self.limit *= 2;
                self.open.push(slice);
                return None;
            }
            self.push(Slice { until: second(oldest) * SECOND_US - 1, ..slice });
            return Some(format!("more than {} records of one second, of which it returned no others", page.len()));
        }
        let second_of = |entry: Option<&(String, Option<i64>)>| entry.and_then(|(_, at)| *at).map(second);
        // Within a second, the order is any.
        let is_oldest_first = second_of(page.first()) > second_of(page.last());
        let rest = if is_oldest_first {
            Slice { since: Some(newest - SECOND_US), ..slice }
        } else {
            Slice { until: oldest, ..slice }
        };
        let is_repeated = |at: i64| {
            if is_oldest_first { at > newest - SECOND_US } else { second(at) == second(oldest) }
        };
        self.seen = page.into_iter().filter(|(_, at)| at.is_none_or(is_repeated)).map(|(id, _)| id).collect();
        self.push(rest);
        None
    }

    /// Divides the present slice, whose reply was too long. Returns what cannot be read, if anything.
    pub(crate) fn too_long(&mut self) -> Option<String> {
        if self.limit > 1 && !self.is_limit_ignored {
            self.excessive = self.limit;
            self.limit /= 2;
            return None;
        }
        (self.is_limit_ignored, self.limit, self.excessive) = (true, MAX_RECORDS, u64::MAX);
        let slice = self.open.pop()?;
        let (since, until) = (slice.since.unwrap_or(EARLIEST_US), slice.until.min(self.now));
        if until - since < 2 * SECOND_US {
            return Some("records of one second whose reply is too long".into());
        }
        // The end of a second, so that no second is in both slices.
        let middle = (since + (until - since) / 2 + 1).div_euclid(SECOND_US) * SECOND_US - 1;
        self.push(Slice { until: middle, ..slice });
        self.push(Slice { since: Some(middle), ..slice });
        None
    }

    fn push(&mut self, slice: Slice) {
        if slice.since.is_none_or(|since| since < slice.until) {
            self.open.push(slice);
        }
    }
}

fn second(at: i64) -> i64 {
    at.div_euclid(SECOND_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a daemon answers.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Manner {
        /// The newest first, as iai-mcp does; `since` bounds no records.
        NewestFirst,
        /// The newest first, and at most so many.
        AtMost(usize),
        OldestFirst,
        /// All records between the two times.
        WithoutLimit,
    }

    /// Reads `times` from a daemon whose replies may have `most` records. Returns how often each was taken, the number of
    /// requests, and what could not be read.
    fn read(times: &[i64], manner: Manner, most: usize, expected: Option<u64>) -> (Vec<u32>, u32, Vec<String>) {
        let mut slices = Slices::new(expected, 2_000_000_000 * SECOND_US);
        let (mut taken, mut requests, mut problems) = (vec![0; times.len()], 0, Vec::new());
        while let Some(Slice { since, until }) = slices.next() {
            requests += 1;
            assert!(requests < 1000, "{manner:?} does not end");
            let mut found: Vec<usize> = (0..times.len()).filter(|&n| second(times[n]) <= second(until)).collect();
            // Within a second, the order is any.
            found.sort_by_key(|&n| (second(times[n]), n * 7 % 11));
            match manner {
                Manner::NewestFirst => found.reverse(),
                Manner::AtMost(count) => {
                    found.reverse();
                    found.truncate(count);
                }
                Manner::OldestFirst | Manner::WithoutLimit => found.retain(|&n| Some(times[n]) > since),
            }
            if manner != Manner::WithoutLimit {
                found.truncate(slices.limit as usize);
            }
            if found.len() > most {
                problems.extend(slices.too_long());
                continue;
            }
            for n in found.into_iter().rev() {
                taken[n] += u32::from(slices.take(&n.to_string(), Some(times[n])));
            }
            problems.extend(slices.end_page());
        }
        (taken, requests, problems)
    }

    #[test]
    fn each_record_is_taken_once() {
        let start = 1_700_000_000 * SECOND_US;
        // A record each 0.4 s, and 30 of one second.
        let times: Vec<i64> = (0..500).map(|n| start + n * 400_000).chain((0..30).map(|n| start + n)).collect();
        for manner in [Manner::NewestFirst, Manner::AtMost(40), Manner::OldestFirst, Manner::WithoutLimit] {
            for most in [64, 100, 529, 530, 10_000] {
                let (taken, requests, problems) = read(&times, manner, most, Some(530));
                assert!(taken.iter().all(|count| *count == 1), "{manner:?} {most}: {taken:?}");
                assert!(problems.is_empty() && requests < 200, "{manner:?} {most}: {requests} {problems:?}");
            }
        }
        assert_eq!(read(&times, Manner::NewestFirst, 530, Some(530)).1, 1);
        assert_eq!(read(&times, Manner::NewestFirst, 530, None).1, 1);
        assert_eq!(read(&[], Manner::NewestFirst, 530, Some(0)).1, 1);
    }

    #[test]
    fn what_cannot_be_divided_is_reported_and_the_rest_is_read() {
        let start = 1_700_000_000 * SECOND_US;
        let times: Vec<i64> =
            (0..20).map(|n| start + n).chain([start - 9 * SECOND_US, start + 9 * SECOND_US]).collect();
        for manner in [Manner::NewestFirst, Manner::WithoutLimit] {
            let (taken, _, problems) = read(&times, manner, 10, None);
            assert_eq!(problems.len(), 1, "{manner:?}: {problems:?}");
            assert!(problems[0].contains("of one second"), "{problems:?}");
            assert_eq!(taken[20..], [1, 1], "{manner:?}");
            assert!(taken.iter().all(|count| *count <= 1));
        }
    }
}
