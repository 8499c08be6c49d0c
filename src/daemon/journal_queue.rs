//! What is to stand in the journal and does not yet: written by workers, in order, one write at a time.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::daemon::task::{TaskResult, guarded};
use crate::lifecycle::journal::{self, Entry};
use crate::serve::control_plane::Task;

/// Most entries that wait for the disk. Picked: more than a cycle and a storm of moves bring.
const WAITING: usize = 1024;

type Entries = Vec<(Timestamp, Entry)>;

/// The journal's entries on their way.
pub(crate) struct JournalQueue {
    store: PathBuf,
    waiting: Entries,
    /// What a worker is to write; it takes it when it begins.
    under_way: Option<Arc<Mutex<Entries>>>,
    /// The log says that the journal cannot be written. Said again only after it could.
    failure_told: bool,
}

impl JournalQueue {
    pub(crate) fn new(store: PathBuf) -> JournalQueue {
        JournalQueue { store, waiting: Vec::new(), under_way: None, failure_told: false }
    }

    /// Something has happened.
    pub(crate) fn note(&mut self, now: Timestamp, entry: Entry) {
        if self.waiting.len() < WAITING {
            self.waiting.push((now, entry));
        }
    }

    /// Is all of it in the journal?
    pub(crate) fn is_written(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// The write to be started now, if one is wanted and none is under way.
    pub(crate) fn begin(&mut self) -> Option<Task<TaskResult>> {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return None;
        }
        let entries = Arc::new(Mutex::new(std::mem::take(&mut self.waiting)));
        self.under_way = Some(Arc::clone(&entries));
        let store = self.store.clone();
        Some(guarded(
            move || TaskResult::Journal(append(&store, take(&entries))),
            |panic| TaskResult::Journal(Err(io::Error::other(panic))),
        ))
    }

    /// The write has ended.
    pub(crate) fn written(&mut self, outcome: &io::Result<()>) {
        self.under_way = None;
        match outcome {
            Ok(()) => self.failure_told = false,
            Err(e) if !self.failure_told => {
                self.failure_told = true;
                log::warn!("the journal in {} cannot be written: {e}", self.store.display());
            }
            Err(_) => {}
        }
    }

    /// Writes what is left, at the end, when nobody waits any more and no worker begins anything.
    pub(crate) fn finish(&mut self) {
        let mut left = self.under_way.as_deref().map(take).unwrap_or_default();
        left.append(&mut self.waiting);
        let outcome = append(&self.store, left);
        self.written(&outcome);
    }
}

fn take(entries: &Mutex<Entries>) -> Entries {
    std::mem::take(&mut entries.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Appends the entries, those of one time together.
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
    fn what_no_worker_has_begun_is_written_at_the_end_and_nothing_twice() {
        let home = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let written = || {
            let files = std::fs::read_dir(home.path().join("logs")).into_iter().flatten().flatten();
            files.map(|file| std::fs::read_to_string(file.path()).unwrap().lines().count()).sum::<usize>()
        };
        let stopped = || Entry::DaemonStopped { reason: "signal" };
        for (begins, lines) in [(false, 2), (true, 4)] {
            let mut journal = JournalQueue::new(home.path().to_owned());
            journal.note(now, stopped());
            let work = journal.begin().unwrap();
            journal.note(now, stopped());
            if begins {
                work();
            }
            assert!(!journal.is_written());
            journal.finish();
            assert!(journal.is_written());
            assert_eq!(written(), lines);
        }
    }
}
