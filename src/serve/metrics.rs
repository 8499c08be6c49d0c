//! The server's counters since its start.

use std::time::Instant;

use crate::limits::LATENCY_WINDOW;
use crate::serve::control_plane::{Counters, Latency, Load};
use crate::sys::resident::Resident;

/// The counters that `status` reports.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Open connections.
    pub(crate) connections: usize,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) refused_peers: u64,
    pub(crate) refused_connections: u64,
    pub(crate) cut_readers: u64,
    pub(crate) cut_lines: u64,
    pub(crate) late_results: u64,
    /// Requests handed to workers or the control plane and not answered yet.
    pub(crate) in_flight: usize,
    latencies: Latencies,
    resident: Resident,
}

/// A ring buffer of the latest latencies, in microseconds.
#[derive(Debug, Default)]
struct Latencies {
    recent: Vec<u32>,
    next: usize,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        Metrics {
            connections: 0,
            requests: 0,
            errors: 0,
            refused_peers: 0,
            refused_connections: 0,
            cut_readers: 0,
            cut_lines: 0,
            late_results: 0,
            in_flight: 0,
            latencies: Latencies::default(),
            resident: Resident::open(),
        }
    }

    /// Returns the load for the control plane's tick.
    pub(crate) fn load(&self) -> Load {
        Load { in_flight: self.in_flight, connections: self.connections }
    }

    /// Returns all counters, with those that other modules keep.
    pub(crate) fn counters(&self, workers: usize, queued: usize, buffered_bytes: usize) -> Counters {
        Counters {
            connections: self.connections,
            requests: self.requests,
            errors: self.errors,
            in_flight: self.in_flight,
            queued,
            workers,
            rss_bytes: self.resident.bytes(),
            buffered_bytes,
            refused_peers: self.refused_peers,
            refused_connections: self.refused_connections,
            cut_readers: self.cut_readers,
            cut_lines: self.cut_lines,
            late_results: self.late_results,
            latency_us: self.latency(),
        }
    }

    /// Records calls that were handed over at `since` and answered at `now`.
    pub(crate) fn answered(&mut self, calls: usize, since: Instant, now: Instant) {
        let micros = u32::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u32::MAX);
        for _ in 0..calls.min(LATENCY_WINDOW) {
            self.latencies.push(micros);
        }
    }

    /// Returns the percentiles of the last [`LATENCY_WINDOW`] calls.
    fn latency(&self) -> Latency {
        let mut sorted = self.latencies.recent.clone();
        sorted.sort_unstable();
        // Nearest rank: the smallest value that at least `percent` % of all values do not exceed.
        let rank = |percent: usize| match sorted.len() {
            0 => 0,
            count => sorted[(count * percent).div_ceil(100).max(1) - 1],
        };
        Latency { p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

impl Latencies {
    fn push(&mut self, micros: u32) {
        if self.recent.len() < LATENCY_WINDOW {
            self.recent.push(micros);
        } else {
            self.recent[self.next] = micros;
        }
        self.next = (self.next + 1) % LATENCY_WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn percentiles_are_of_the_last_calls() {
        let start = Instant::now();
        let mut metrics = Metrics::new();
        assert_eq!(metrics.latency(), Latency::default());
        for micros in 1..=100 {
            metrics.answered(1, start, start + Duration::from_micros(micros));
        }
        assert_eq!(metrics.latency(), Latency { p50: 50, p99: 99, max: 100 });
        metrics.answered(LATENCY_WINDOW * 2, start, start + Duration::from_micros(7));
        assert_eq!(metrics.latency(), Latency { p50: 7, p99: 7, max: 7 });
    }
}
