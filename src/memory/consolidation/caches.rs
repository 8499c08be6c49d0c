//! What the steps of a cycle hold from one chunk to the next. None of it is stored.

use crate::memory::consolidation::cooccurrence::CooccurrenceLearner;
use crate::memory::consolidation::holders::TermHolders;

/// The caches of a cycle.
#[derive(Debug, Default)]
pub(crate) struct StepCaches {
    pub(crate) learner: CooccurrenceLearner,
    pub(crate) holders: TermHolders,
    /// Links that the step Decay has read in this cycle.
    pub(crate) read_links: usize,
}
