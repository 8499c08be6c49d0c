//! What is to stand in the journal and does not yet: written by workers, in order, one write at a time.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::work::{Done, guarded};
use crate::lifecycle::journal::{self, Entry};
use crate::serve::plane::Work;

/// Most entries that wait for the disk. Picked: more than a cycle and a storm of moves bring.
const WAITING: usize = 1024;

/// The journal's entries on their way.
pub(super) struct Diary {
    store: PathBuf,
    waiting: Vec<(Timestamp, Entry)>,
    is_writing: bool,
    /// The log says that the journal cannot be written. Said again only after it could.
    failure_told: bool,
}

impl Diary {
    pub(super) fn new(store: PathBuf) -> Diary {
        Diary { store, waiting: Vec::new(), is_writing: false, failure_told: false }
    }

    /// Something has happened.
    pub(super) fn note(&mut self, now: Timestamp, entry: Entry) {
        if self.waiting.len() < WAITING {
            self.waiting.push((now, entry));
        }
    }

    /// Is all of it in the journal?
    pub(super) fn is_written(&self) -> bool {
        self.waiting.is_empty() && !self.is_writing
    }

    /// The write to be started now, if one is wanted and none is under way.
    pub(super) fn begin(&mut self) -> Option<Work<Done>> {
        if self.is_writing || self.waiting.is_empty() {
            return None;
        }
        self.is_writing = true;
        let (store, entries) = (self.store.clone(), std::mem::take(&mut self.waiting));
        Some(guarded(
            move || Done::Journal(append(&store, entries)),
            |panic| Done::Journal(Err(io::Error::other(panic))),
        ))
    }

    /// The write has ended.
    pub(super) fn written(&mut self, outcome: &io::Result<()>) {
        self.is_writing = false;
        match outcome {
            Ok(()) => self.failure_told = false,
            Err(e) if !self.failure_told => {
                self.failure_told = true;
                log::warn!("the journal in {} cannot be written: {e}", self.store.display());
            }
            Err(_) => {}
        }
    }

    /// Writes what is left, at the end, when nobody waits any more.
    pub(super) fn finish(&mut self) {
        let left = std::mem::take(&mut self.waiting);
        let outcome = append(&self.store, left);
        self.written(&outcome);
    }
}

/// Appends the entries, those of one time together.
fn append(store: &std::path::Path, entries: Vec<(Timestamp, Entry)>) -> io::Result<()> {
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
