//! Pending journal entries: a bounded queue flushed in order by a worker, one write at a time.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::daemon::task::{TaskResult, guarded};
use crate::lifecycle::journal::{self, Entry};
use crate::serve::control_plane::Task;

/// Maximum entries that wait; further ones are dropped. Picked: more than one cycle and a burst of transitions cause
/// between two writes.
const MAX_WAITING_COUNT: usize = 1024;

type Entries = Vec<(Timestamp, Entry)>;

/// The queue.
pub(crate) struct JournalQueue {
    store: PathBuf,
    waiting: Entries,
    /// The entries of the write in progress. The worker takes them when it begins.
    in_progress: Option<Arc<Mutex<Entries>>>,
    /// The last write failed, and the log says so. Logged again only after a write that succeeded.
    is_failing: bool,
}

impl JournalQueue {
    pub(crate) fn new(store: PathBuf) -> JournalQueue {
        JournalQueue { store, waiting: Vec::new(), in_progress: None, is_failing: false }
    }

    /// Appends an entry.
    pub(crate) fn push(&mut self, now: Timestamp, entry: Entry) {
        if self.waiting.len() < MAX_WAITING_COUNT {
            self.waiting.push((now, entry));
        }
    }

    /// Returns true if every entry is in the journal.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_progress.is_none()
    }

    /// Returns the write to be started, if entries wait and none is in progress.
    pub(crate) fn begin(&mut self) -> Option<Task<TaskResult>> {
        if self.in_progress.is_some() || self.waiting.is_empty() {
            return None;
        }
        let entries = Arc::new(Mutex::new(std::mem::take(&mut self.waiting)));
        self.in_progress = Some(Arc::clone(&entries));
        let store = self.store.clone();
        Some(guarded(
            move || TaskResult::JournalWritten(append(&store, take(&entries))),
            |panic| TaskResult::JournalWritten(Err(io::Error::other(panic))),
        ))
    }

    /// The write has ended.
    pub(crate) fn written(&mut self, outcome: &io::Result<()>) {
        self.in_progress = None;
        match outcome {
            Ok(()) => self.is_failing = false,
            Err(e) if !self.is_failing => {
                self.is_failing = true;
                log::warn!("the journal in {} cannot be written: {e}", self.store.display());
            }
            Err(_) => {}
        }
    }

    /// Writes the entries that are left at the end of the process, when no worker begins a task any more.
    pub(crate) fn finish(&mut self) {
        let mut left = self.in_progress.as_deref().map(take).unwrap_or_default();
        left.append(&mut self.waiting);
        let outcome = append(&self.store, left);
        self.written(&outcome);
    }
}

fn take(entries: &Mutex<Entries>) -> Entries {
    std::mem::take(&mut entries.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Appends the entries to the journal, those of one time in one write.
fn append(store: &std::path::Path, entries: Entries) -> io::Result<()> {
    let mut entries = entries.into_iter().peekable();
    while let Some((now, entry)) = entries.next() {
        let mut together = vec![entry];
        while let Some((_, entry)) = entries.next_if(|(then, _)| *then == now) {
            together.push(entry);
        }
        journal::append(store, now, &together)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_writes_what_no_worker_has_begun_and_nothing_twice() {
        let home = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let written = || {
            let files = std::fs::read_dir(home.path().join("logs")).into_iter().flatten().flatten();
            files.map(|file| std::fs::read_to_string(file.path()).unwrap().lines().count()).sum::<usize>()
        };
        let stopped = || Entry::DaemonStopped { reason: "signal" };
        for (begins, lines) in [(false, 2), (true, 4)] {
            let mut queue = JournalQueue::new(home.path().to_owned());
            queue.push(now, stopped());
            let write = queue.begin().unwrap();
            queue.push(now, stopped());
            if begins {
                write();
            }
            assert!(!queue.is_idle());
            queue.finish();
            assert!(queue.is_idle());
            assert_eq!(written(), lines);
        }
    }
}
