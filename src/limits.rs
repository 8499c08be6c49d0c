//! Every bound of the server in one place.
//!
//! A field's name carries its unit; its comment says where the number comes from. Nothing here is
//! read from the environment: whoever builds the [`Limits`] decides.

use std::time::Duration;

/// The bounds a server keeps. [`Limits::default`] is what the daemon runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line accepted, its newline not counted. 1 MiB: sixteen of the largest records.
    pub max_line_bytes: usize,
    /// Deepest nesting of arrays and objects in a line. 128: `serde_json` builds values up to 127
    /// deep, which is what a request's params can be inside their envelope.
    pub max_depth: usize,
    /// Connections open at once. The server lowers it to what the fd limit leaves, see
    /// [`FD_RESERVE`].
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
/// connections. A store takes 3 a connection and has at most 8 of those.
pub const FD_RESERVE: u64 = 32;

/// Most connections whatever the fd limit allows. Picked: ten times what a machine's editors open.
pub const MAX_CONNECTIONS: usize = 16_384;

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
            turn_accepts: 64,
            memory_pass: Duration::from_secs(1),
            drain_grace: Duration::from_millis(250),
            accept_retry: Duration::from_millis(100),
        }
    }
}

/// Connections that `fd_limit` descriptors carry: three quarters of them, never into
/// [`FD_RESERVE`], never over [`MAX_CONNECTIONS`], at least 1.
pub fn connections_for(fd_limit: u64) -> usize {
    let share = (fd_limit / 4 * 3).min(fd_limit.saturating_sub(FD_RESERVE));
    usize::try_from(share).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        for (fd_limit, connections) in [
            (0, 1),
            (33, 1),
            (64, 32),
            (128, 96),
            (1024, 768),
            (20_000, 15_000),
            (1_048_576, 16_384),
            (u64::MAX, 16_384),
        ] {
            assert_eq!(connections_for(fd_limit), connections, "fd limit {fd_limit}");
        }
    }
}
