//! Takes a turn once from a file that has it in several forms, each on a line of its own. Pure.
//!
//! A form is counted against the others: the second event with some words is the second exchange with these words, in
//! whichever order they come. A turn of a form that is not preferred waits for one that is, until another turn comes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::turn::TranscriptTurn;

/// Turns that are remembered, to recognize another form of theirs. Picked: the forms of a turn are a few lines apart.
const MAX_REMEMBERED: usize = 128;

/// The form of a turn in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnForm {
    Event,
    Item,
    Exchange,
}

impl TurnForm {
    /// Returns true if turns of the role are taken in this form if they are there in several: those of the user without
    /// what is added for the model, those of the assistant as it wrote them.
    fn is_preferred(self, role: &str) -> bool {
        (role == "user") != (self == TurnForm::Exchange)
    }
}

/// The turns that wait, and those that were returned.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnForms {
    waiting: VecDeque<(TranscriptTurn, TurnForm)>,
    remembered: VecDeque<Remembered>,
    /// The file has turns of the user in another form than the exchange's.
    has_user_events: bool,
}

/// The words of a role, with the number of turns in each form and of those returned.
#[derive(Clone, Debug)]
struct Remembered {
    role: &'static str,
    words: u64,
    counts: [u32; 3],
    returned: u32,
}

impl TurnForms {
    /// Adds a turn. Returns the turns that are certain now, in order.
    pub(crate) fn add(&mut self, turn: TranscriptTurn, form: TurnForm) -> Vec<TranscriptTurn> {
        let is_user = turn.role == "user";
        if is_user && form != TurnForm::Exchange && !self.has_user_events {
            self.has_user_events = true;
            self.waiting.retain(|(waiting, form)| waiting.role != "user" || *form != TurnForm::Exchange);
        }
        if is_user && form == TurnForm::Exchange && self.has_user_events {
            return Vec::new();
        }
        let is_twin =
            |(other, other_form): &(TranscriptTurn, TurnForm)| *other_form != form && other.has_same_words(&turn);
        let Some(at) = self.waiting.iter().position(is_twin) else {
            let mut settled = self.take_all();
            if is_user && form.is_preferred("user") {
                settled.extend(self.counted(turn, form));
            } else {
                // A preferred form may follow, or the line that tells that the text is the summary of a compaction.
                self.waiting.push_back((turn, form));
            }
            return settled;
        };
        // Two forms of a turn: it is no summary. The preferred one is returned.
        let mut settled = self.take(at);
        let is_other_preferred = self.waiting[0].1.is_preferred(turn.role);
        if !form.is_preferred(turn.role) && !is_other_preferred {
            self.count(&turn, form);
            return settled;
        }
        if let Some((waiting, other_form)) = self.waiting.pop_front() {
            match is_other_preferred {
                true => settled.extend(self.counted(waiting, other_form)),
                false => self.count(&waiting, other_form),
            }
        }
        settled.extend(self.counted(turn, form));
        settled
    }

    /// Removes waiting turns whose text is a part of a compaction's summary.
    pub(crate) fn drop_summary(&mut self, summary: &str) {
        self.waiting.retain(|(turn, _)| turn.role != "assistant" || !summary.contains(turn.text.trim()));
    }

    /// Returns all turns that wait, in order.
    pub(crate) fn take_all(&mut self) -> Vec<TranscriptTurn> {
        self.take(self.waiting.len())
    }

    fn take(&mut self, count: usize) -> Vec<TranscriptTurn> {
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        taken.into_iter().filter_map(|(turn, form)| self.counted(turn, form)).collect()
    }

    /// Counts a turn that is returned in another form.
    fn count(&mut self, turn: &TranscriptTurn, form: TurnForm) {
        self.remembered(turn).counts[form as usize] += 1;
    }

    /// Counts a turn. Returns it unless it was returned in another form.
    fn counted(&mut self, turn: TranscriptTurn, form: TurnForm) -> Option<TranscriptTurn> {
        let remembered = self.remembered(&turn);
        remembered.counts[form as usize] += 1;
        let is_new = remembered.counts[form as usize] > remembered.returned;
        remembered.returned += u32::from(is_new);
        is_new.then_some(turn)
    }

    fn remembered(&mut self, turn: &TranscriptTurn) -> &mut Remembered {
        let words = hash_of_words(&turn.text);
        let is_it = |known: &Remembered| known.role == turn.role && known.words == words;
        let known = self.remembered.iter().position(is_it).and_then(|at| self.remembered.remove(at));
        let known = known.unwrap_or(Remembered { role: turn.role, words, counts: [0; 3], returned: 0 });
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(known);
        let last = self.remembered.len() - 1;
        &mut self.remembered[last]
    }
}

fn hash_of_words(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.split_whitespace().for_each(|word| word.hash(&mut hasher));
    hasher.finish()
}
