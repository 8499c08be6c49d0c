//! Every limit of the server in one place.
//!
//! A field's name has its unit, unless it is a count or a [`Duration`]; its comment says where the default comes from.
//! Nothing here is read from the environment.

use std::time::Duration;

/// The limits of a server. The daemon starts from [`Limits::default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest accepted line, without its newline. 1 MiB: sixteen of the largest records. At most
    /// [`MAX_LINE_BYTES`].
    pub max_line_bytes: usize,
    /// Deepest nesting of arrays and objects in a line. 128: `serde_json` parses values up to 127
    /// deep, which is the depth left for params inside their envelope. At most 512.
    pub max_depth: usize,
    /// Most open connections. The daemon derives it from the descriptor limit, see [`connections_for`].
    pub max_connections: usize,
    /// Worker threads. At least 2, so that background tasks never occupy the only one.
    pub workers: usize,
    /// Stack size of a worker. 256 KiB: SQLite's deepest parse needs under 100 KiB.
    pub worker_stack_bytes: usize,
    /// Most input and output buffered for all connections, replies under construction included; beyond it one reply a
    /// worker and one small reply a connection. `serve/memory_budget.rs` divides it. 16 MiB: sixteen of the longest
    /// lines.
    pub max_memory_bytes: usize,
    /// Most input of a connection that is read while memory is short, less if there are many. 64 KiB, so that
    /// ordinary requests are served while large ones wait.
    pub small_holder_bytes: usize,
    /// Waiting output of one connection from which no more of its input is served. 256 KiB:
    /// more than a Unix socket's own buffer, so a peer that keeps reading is never delayed.
    pub output_mark_bytes: usize,
    /// A connection is closed if its peer reads none of the waiting output for this long. 30 s: picked, as
    /// longer than any pause of a busy machine.
    pub stalled_reader_after: Duration,
    /// The same while memory is short and other connections wait for it. 5 s: picked.
    pub short_memory_reader_after: Duration,
    /// While memory is short and other connections wait for it, a connection is closed if its incomplete line makes no
    /// progress for this long. 1 s: longer than any pause of a peer that is sending.
    pub stalled_line_after: Duration,
    /// Longest time from the request to stop until the server ends. 5 s: well under the
    /// 90 s after which systemd kills a service.
    pub drain_timeout: Duration,
    /// Most bytes read from one connection in its turn. 64 KiB: a few microseconds of
    /// copying.
    pub turn_bytes: usize,
    /// Most lines served from one connection in its turn. Picked, not tuned.
    pub turn_lines: usize,
    /// Most calls of one connection handed to a worker at once. Picked, not tuned.
    pub batch_calls: usize,
    /// Longest time a worker runs one connection's calls before it returns the batch to the queue.
    pub batch_time: Duration,
    /// A call that returns its result in less time is brief: after one, up to seven calls of the same method run
    /// before the clock is read again and their replies are delivered together. 1 µs: a call that
    /// only reads from memory, and takes less time than either of both.
    pub brief_call: Duration,
    /// Most connections accepted in one turn, so that many at once do not starve the open ones.
    pub turn_accepts: usize,
    /// How long one connection is read, or its calls are started, while memory is short before the next one is: without
    /// it, many half-sent large lines would wait for each other for ever.
    pub memory_pass: Duration,
    /// The last part of [`Limits::drain_timeout`], reserved for refusing the remaining requests and flushing output.
    pub drain_grace: Duration,
    /// Pause before accepting is retried after it failed, as for lack of descriptors: a failed accept causes no new
    /// event.
    pub accept_retry: Duration,
}

/// Descriptors reserved for SQLite, its journals and the state files, with [`MIN_WORKERS`].
const RESERVED_FD_COUNT: u64 = 32;

/// Descriptors of each further worker's database connection: the database, its WAL and shared memory.
const FD_COUNT_PER_WORKER: u64 = 3;

/// Largest [`Limits::max_connections`]. Picked: ten times the connections of a machine's editors.
pub const MAX_CONNECTIONS: usize = 16_384;

/// Largest [`Limits::max_line_bytes`]: 1 GiB.
pub const MAX_LINE_BYTES: usize = 1 << 30;

/// Smallest [`Limits::workers`].
pub const MIN_WORKERS: usize = 2;

/// Number of latest calls whose latency `status` reports.
pub const LATENCY_WINDOW: usize = 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_line_bytes: 1 << 20,
            max_depth: 128,
            max_connections: MAX_CONNECTIONS,
            workers: MIN_WORKERS,
            worker_stack_bytes: 256 << 10,
            max_memory_bytes: 16 << 20,
            small_holder_bytes: 64 << 10,
            output_mark_bytes: 256 << 10,
            stalled_reader_after: Duration::from_secs(30),
            short_memory_reader_after: Duration::from_secs(5),
            stalled_line_after: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
            turn_bytes: 64 << 10,
            turn_lines: 100,
            batch_calls: 64,
            batch_time: Duration::from_millis(2),
            brief_call: Duration::from_micros(1),
            turn_accepts: 64,
            memory_pass: Duration::from_secs(1),
            drain_grace: Duration::from_millis(250),
            accept_retry: Duration::from_millis(100),
        }
    }
}

/// Returns the most connections that `fd_limit` descriptors allow with this many workers, after those reserved for the
/// store and the state files. At least 1.
pub fn most_connections(fd_limit: u64, workers: usize) -> usize {
    let further_workers = u64::try_from(workers.saturating_sub(MIN_WORKERS)).unwrap_or(u64::MAX);
    let reserve = RESERVED_FD_COUNT.saturating_add(FD_COUNT_PER_WORKER.saturating_mul(further_workers));
    usize::try_from(fd_limit.saturating_sub(reserve)).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

/// Returns the default number of connections for `fd_limit` descriptors: three quarters of them, at most
/// [`most_connections`].
pub fn connections_for(fd_limit: u64, workers: usize) -> usize {
    usize::try_from(fd_limit / 4 * 3).unwrap_or(MAX_CONNECTIONS).clamp(1, most_connections(fd_limit, workers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        for (fd_limit, workers, connections, most) in [
            (0, 2, 1, 1),
            (33, 2, 1, 1),
            (64, 2, 32, 32),
            (64, 3, 29, 29),
            (128, 2, 96, 96),
            (256, 64, 38, 38),
            (1024, 2, 768, 992),
            (1024, 64, 768, 806),
            (20_000, 2, 15_000, 16_384),
            (1_048_576, 2, 16_384, 16_384),
            (12_000_000_000, usize::MAX, 1, 1),
            (u64::MAX, 64, 16_384, 16_384),
        ] {
            let got = (connections_for(fd_limit, workers), most_connections(fd_limit, workers));
            assert_eq!(got, (connections, most), "fd limit {fd_limit}, {workers} workers");
        }
    }
}
