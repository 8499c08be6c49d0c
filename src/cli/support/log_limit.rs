//! Limits how often each line of code logs, so that a peer that repeats a fault cannot fill the log.
//!
//! The time is a parameter.

use std::time::{Duration, Instant};

/// Records of one line of code within [`WINDOW`]; further ones are left out. Picked: enough to see what happens.
const MAX_RECORDS: u32 = 20;

/// The time after which a line of code may log again.
const WINDOW: Duration = Duration::from_secs(60);

/// Most lines of code that are counted. The program has about as many that can log in a normal run.
const MAX_SITES: usize = 64;

/// A line of code that logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSite {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

/// The records of each line of code in its present window.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    sites: Vec<CountedSite>,
}

#[derive(Debug)]
struct CountedSite {
    site: LogSite,
    since: Instant,
    logged: u32,
    left_out: u64,
}

impl LogLimit {
    /// Counts a record and returns true if it is to be written.
    pub(crate) fn admits(&mut self, site: LogSite, now: Instant) -> bool {
        let at = match self.sites.iter().position(|counted| counted.site == site) {
            Some(at) => at,
            None => {
                if self.sites.len() == MAX_SITES {
                    self.sites.remove(0);
                }
                self.sites.push(CountedSite { site, since: now, logged: 0, left_out: 0 });
                self.sites.len() - 1
            }
        };
        let counted = &mut self.sites[at];
        let is_admitted = counted.logged < MAX_RECORDS;
        if is_admitted {
            counted.logged += 1;
        } else {
            counted.left_out += 1;
        }
        is_admitted
    }

    /// Ends the windows that are over. Returns the number of records that were left out in them.
    pub(crate) fn end_windows(&mut self, now: Instant) -> u64 {
        let mut left_out = 0;
        self.sites.retain(|counted| {
            let is_over = now.saturating_duration_since(counted.since) >= WINDOW;
            left_out += if is_over { counted.left_out } else { 0 };
            !is_over
        });
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_code_logs_a_bounded_number_of_records_in_each_window() {
        let start = Instant::now();
        let (loud, quiet) = (LogSite { file: "a.rs", line: 1 }, LogSite { file: "a.rs", line: 2 });
        let mut limit = LogLimit::default();
        for window in 0..3 {
            let now = start + WINDOW * window;
            assert_eq!(limit.end_windows(now), if window == 0 { 0 } else { 80 });
            let admitted = (0..100).filter(|_| limit.admits(loud, now)).count();
            assert_eq!(admitted, MAX_RECORDS as usize);
            assert!(limit.admits(quiet, now), "others are not affected");
            assert_eq!(limit.end_windows(now + WINDOW / 2), 0);
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let now = Instant::now();
        let mut limit = LogLimit::default();
        for line in 0..1000 {
            assert!(limit.admits(LogSite { file: "a.rs", line }, now));
        }
        assert_eq!(limit.sites.len(), MAX_SITES);
    }
}
