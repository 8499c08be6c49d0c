//! What a batch of deferred captures did: counts, outcomes of files, and when the next batch is due.

/// The outcome of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Texts that are new in the store.
    pub inserted: u64,
    /// Texts that the store had.
    pub reinforced: u64,
    /// Texts that are white space alone.
    pub skipped: u64,
    /// Lines that are not captures.
    pub refused: u64,
    /// When the next batch is due.
    pub next: NextRun,
    /// The outcomes of files, for the journal.
    pub files: Vec<FileOutcome>,
}

/// When the next batch is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextRun {
    /// When new files are found: none of those that are known becomes ready by itself.
    #[default]
    Nothing,
    /// At once.
    Now,
    /// At this time, in microseconds since 1970 UTC.
    At(i64),
}

/// The outcome of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOutcome {
    /// All of the file is in the store, and the file was removed.
    Finished {
        /// The file's name.
        file: String,
        /// Texts of the file that were new.
        inserted: u64,
        /// Texts of the file that the store had.
        reinforced: u64,
        /// Texts of the file that were white space alone.
        skipped: u64,
    },
    /// The file could not be read. It was renamed and is tried again.
    SetAside {
        /// The file's name before.
        file: String,
        /// The number of attempts that failed.
        attempt: u32,
        /// When the file is tried again, in microseconds since 1970 UTC.
        retry_us: i64,
        /// The error.
        reason: String,
    },
    /// The file is kept and not tried again: a person must look at it.
    GivenUp {
        /// The file's name now.
        file: String,
        /// The error.
        reason: String,
    },
}

impl NextRun {
    /// Returns the earlier of the two.
    pub(crate) fn earlier(self, other: NextRun) -> NextRun {
        match (self, other) {
            (NextRun::Now, _) | (_, NextRun::Now) => NextRun::Now,
            (NextRun::Nothing, one) | (one, NextRun::Nothing) => one,
            (NextRun::At(one), NextRun::At(other)) => NextRun::At(one.min(other)),
        }
    }
}
