//! Every bound of the server in one place.
//!
//! A field's name carries its unit; its comment says where the number comes from. Nothing here is
//! read from the environment: whoever builds the [`Limits`] decides.

use std::time::Duration;

/// The bounds a server keeps. [`Limits::default`] is what the daemon runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line accepted, its newline not counted. 1 MiB: sixteen of the largest records. At most
    /// [`MAX_LINE_BYTES`].
    pub max_line_bytes: usize,
    /// Deepest nesting of arrays and objects in a line. 128: `serde_json` builds values up to 127
    /// deep, which is what a request's params can be inside their envelope. At most 512.
    pub max_depth: usize,
    /// Connections open at once. The daemon fits it to the fd limit, see [`connections_for`].
    pub max_connections: usize,
    /// Worker threads. At least 2, so that work in the background never holds the only one.
    pub workers: usize,
    /// Stack of a worker. 256 KiB: SQLite's deepest parse needs under 100 KiB.
    pub worker_stack_bytes: usize,
    /// Input and output of all connections together; over it only connections holding less than
    /// [`Limits::small_holder_bytes`] are read.
    pub max_memory_bytes: usize,
    /// A connection that holds less than this is read even when memory is short. 64 KiB, so that
    /// ordinary requests go through while large ones wait.
    pub small_holder_bytes: usize,
    /// Output waiting on one connection above which no more of its input is taken up. 256 KiB:
    /// more than a Unix socket's own buffer, so a reader that keeps up is never held back.
    pub output_mark_bytes: usize,
    /// A peer that takes nothing of its waiting output for this long is cut off. 30 s: picked, as
    /// longer than any pause of a machine that is merely busy.
    pub stalled_reader_after: Duration,
    /// From the request to stop until the server ends, whatever clients do. 5 s: well under the
    /// 90 s after which systemd kills.
    pub drain_timeout: Duration,
    /// Bytes read from one connection before the next has its turn. 64 KiB: a few microseconds'
    /// copying.
    pub turn_bytes: usize,
    /// Lines taken up from one connection before the next has its turn. Picked, not tuned.
    pub turn_lines: usize,
    /// Calls of one connection handed to a worker at once. Picked, not tuned.
    pub batch_calls: usize,
    /// How long a worker stays with one connection's calls while others wait.
    pub batch_time: Duration,
    /// A call that has its result in less is brief: behind one, up to seven calls of the same method go by
    /// before the clock is looked at again and their replies are shown to the loop, all together. 1 µs: what
    /// only reads from memory, for which both would take longer than the call.
    pub brief_call: Duration,
    /// Connections accepted in one turn, so that a storm of them cannot starve the served.
    pub turn_accepts: usize,
    /// How long one large connection may go on being read although memory is short, before the next
    /// has its turn: without it, many half-sent large lines would wait for each other for ever.
    pub memory_pass: Duration,
    /// The last part of [`Limits::drain_timeout`], kept for refusing and flushing what is left.
    pub drain_grace: Duration,
    /// Wait before accepting again when descriptors ran out: an accept that failed gives no new
    /// event.
    pub accept_retry: Duration,
}

/// File descriptors kept free for SQLite, its journals and the state files whatever the number of
/// connections, with [`MIN_WORKERS`].
const FD_RESERVE: u64 = 32;

/// What each further worker's reading connection takes: a database, its WAL and shared memory.
const FD_WORKER: u64 = 3;

/// Most connections whatever the fd limit allows. Picked: ten times what a machine's editors open.
pub const MAX_CONNECTIONS: usize = 16_384;

/// Most [`Limits::max_line_bytes`]: 1 GiB.
pub const MAX_LINE_BYTES: usize = 1 << 30;

/// Least [`Limits::workers`].
pub const MIN_WORKERS: usize = 2;

/// Calls whose latency `status` looks back on.
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

/// Connections that `fd_limit` descriptors carry at the most beside this many workers: what is kept
/// free for the store and the state files is not for connections. At least 1.
pub fn most_connections(fd_limit: u64, workers: usize) -> usize {
    let further = u64::try_from(workers.saturating_sub(MIN_WORKERS)).unwrap_or(u64::MAX);
    let reserve = FD_RESERVE.saturating_add(FD_WORKER.saturating_mul(further));
    usize::try_from(fd_limit.saturating_sub(reserve)).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

/// Connections for `fd_limit` descriptors where nobody says how many: three quarters of them, never
/// over [`most_connections`].
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
            (u64::MAX, usize::MAX, 1, 1),
            (u64::MAX, 64, 16_384, 16_384),
        ] {
            let got = (connections_for(fd_limit, workers), most_connections(fd_limit, workers));
            assert_eq!(got, (connections, most), "fd limit {fd_limit}, {workers} workers");
        }
    }
}
