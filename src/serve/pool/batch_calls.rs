//! Storage for the calls of a batch: their text in one string, and the offsets of each call's parts.

use std::ops::Range;
use std::time::Instant;

use crate::dispatch::Pace;
use crate::limits::MAX_LINE_BYTES;
use crate::wire::message::Call;

/// Length of a short call with its envelope. A builder reserves entries for as many calls as fit into the bytes that
/// arrived.
const CALL_BYTES: usize = 64;

/// Largest capacity of a text buffer that is kept for reuse.
pub(crate) const KEPT_BUFFER_BYTES: usize = 4 << 10;

/// Empty buffers of a finished batch, kept for another one. The loop reuses them because memory that one thread
/// allocates and another frees takes the allocator's slow path.
#[derive(Default)]
pub(crate) struct BatchBuffers {
    text: String,
    calls: Vec<CallSpans>,
}

impl BatchBuffers {
    /// Empties the buffers of a batch. A text buffer larger than [`KEPT_BUFFER_BYTES`] is freed.
    pub(crate) fn reuse(mut text: String, mut calls: Vec<CallSpans>) -> BatchBuffers {
        text.clear();
        calls.clear();
        if text.capacity() > KEPT_BUFFER_BYTES {
            text = String::new();
        }
        BatchBuffers { text, calls }
    }
}

/// The calls of a batch while the loop collects them.
pub(crate) struct BatchBuilder {
    pub(crate) owner: u64,
    pub(crate) since: Instant,
    pub(crate) text: String,
    pub(crate) calls: Vec<CallSpans>,
    max_calls: usize,
}

impl BatchBuilder {
    /// Creates a builder for at most `max_calls` calls of the connection `owner`, which arrived at `since` in about
    /// `bytes` bytes.
    pub(crate) fn new(
        buffers: BatchBuffers,
        owner: u64,
        since: Instant,
        bytes: usize,
        max_calls: usize,
    ) -> BatchBuilder {
        let BatchBuffers { mut text, mut calls } = buffers;
        text.reserve(bytes);
        calls.reserve((1 + bytes / CALL_BYTES).min(max_calls));
        BatchBuilder { owner, since, text, calls, max_calls }
    }

    /// Appends a call. The builder must not be full.
    pub(crate) fn push(&mut self, call: &Call<'_>, pace: Pace) {
        let id = self.text.len() as u32;
        self.text.push_str(call.id);
        let method = self.text.len() as u32;
        self.text.push_str(&call.method);
        let params = self.text.len() as u32;
        self.text.push_str(call.params.unwrap_or_default());
        self.calls.push(CallSpans { id, method, params, end: self.text.len() as u32, pace });
    }

    /// Returns true if no more calls may be added. Before the last call the text has less than 2^30 bytes, and the
    /// parts of that call are no longer than the longest line, so offsets fit into 32 bits.
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() == self.max_calls || self.text.len() >= MAX_LINE_BYTES
    }
}

/// Offsets of a call's parts in its batch's text, which follow each other: `id <= method <= params <= end`. They have
/// 32 bits because another processor reads what the loop writes.
pub(crate) struct CallSpans {
    id: u32,
    method: u32,
    params: u32,
    end: u32,
    pub(crate) pace: Pace,
}

impl CallSpans {
    pub(crate) fn id(&self) -> Range<usize> {
        self.id as usize..self.method as usize
    }

    pub(crate) fn method(&self) -> Range<usize> {
        self.method as usize..self.params as usize
    }

    pub(crate) fn params(&self) -> Range<usize> {
        self.params as usize..self.end as usize
    }
}
