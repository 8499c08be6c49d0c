//! What the user typed while Claude Code worked: the messages of its queue that have not come as lines of their own.
//!
//! A message is put into the queue, and later the assistant gets it: as a `user` line or an attachment, which are the
//! turn, or without one. Then the queue's line is the turn. It is returned once the assistant has answered, because a
//! line of its own would come before that. Pure.

use std::collections::VecDeque;

use super::origin::same_words;

/// Messages that wait, and messages that are remembered. Picked: more than a person types in one turn.
const MAX_MESSAGES: usize = 64;

/// A message that was typed while the assistant worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueuedMessage {
    pub(crate) text: String,
    pub(crate) session: Option<String>,
    /// The time at which it was put into the queue.
    pub(crate) ts: Option<String>,
    /// The assistant has got it.
    pub(crate) is_absorbed: bool,
}

/// The messages whose own lines have not been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageQueue {
    waiting: VecDeque<QueuedMessage>,
    /// Texts that were returned from here.
    taken: VecDeque<String>,
}

impl MessageQueue {
    /// Adds a message. Of too many, the oldest is dropped.
    pub(crate) fn enqueue(&mut self, message: QueuedMessage) {
        self.waiting.push_back(message);
        if self.waiting.len() > MAX_MESSAGES {
            self.waiting.pop_front();
        }
    }

    /// Removes the message of this text: it has a line of its own, or was taken back.
    pub(crate) fn delivered(&mut self, text: &str) {
        if let Some(at) = self.waiting.iter().position(|message| same_words(&message.text, text)) {
            self.waiting.remove(at);
        }
    }

    /// Notes that the assistant has got the message of this text.
    pub(crate) fn absorb(&mut self, text: &str) {
        let waiting = self.waiting.iter_mut().find(|message| !message.is_absorbed && same_words(&message.text, text));
        if let Some(message) = waiting {
            message.is_absorbed = true;
        }
    }

    /// Returns true, once, if a message of this text was returned.
    pub(crate) fn was_taken(&mut self, text: &str) -> bool {
        let at = self.taken.iter().position(|taken| same_words(taken, text));
        at.and_then(|at| self.taken.remove(at)).is_some()
    }

    /// Removes all messages: the user took them back into the prompt.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Removes the messages that the assistant has got, in order.
    pub(crate) fn take_absorbed(&mut self) -> Vec<QueuedMessage> {
        let (absorbed, waiting) = self.waiting.drain(..).partition(|message| message.is_absorbed);
        self.waiting = waiting;
        self.remember(&absorbed);
        Vec::from(absorbed)
    }

    /// Removes all messages, in order.
    pub(crate) fn take_all(&mut self) -> Vec<QueuedMessage> {
        let all = std::mem::take(&mut self.waiting);
        self.remember(&all);
        Vec::from(all)
    }

    fn remember(&mut self, messages: &VecDeque<QueuedMessage>) {
        self.taken.extend(messages.iter().map(|message| message.text.clone()));
        let excess = self.taken.len().saturating_sub(MAX_MESSAGES);
        self.taken.drain(..excess);
    }
}
