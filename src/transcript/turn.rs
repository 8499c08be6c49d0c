//! A turn of a session, as recorded in a transcript. Pure.

use crate::transcript::assistant::Assistant;
use crate::transcript::origin::{TurnOrigin, TurnSource, same_words};
use crate::transcript::row::RecordMetadata;
use crate::transcript::{filler, injected, speech};

/// A text of the user or the assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptTurn {
    /// The assistant that recorded it.
    pub assistant: Assistant,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// The session.
    pub session: Option<String>,
    /// The working folder of the session.
    pub project: Option<String>,
    /// The time, as written in the transcript.
    pub ts: Option<String>,
    /// Text that is not part of the turn and by which it is found, too: the question that it answers.
    pub cue: Option<String>,
    /// By what it is recognized.
    pub origin: TurnOrigin,
    /// The exact text.
    pub text: String,
}

impl TranscriptTurn {
    /// Returns the turn that a hook was given: a prompt as the user typed it, or an answer. `None` if it is no speech, or
    /// carries nothing.
    pub fn from_text(
        assistant: Assistant,
        role: &'static str,
        text: &str,
        session: String,
        project: Option<String>,
        ts: String,
    ) -> Option<TranscriptTurn> {
        let text = match (role, assistant) {
            ("user", Assistant::ClaudeCode) => speech::claude_user(speech::typed(text)?.to_owned())?,
            ("user", Assistant::Codex) => speech::codex_user(speech::typed(text)?.to_owned())?,
            // The transcripts of the others have a command as it was typed.
            _ => injected::without(text.to_owned()),
        };
        let origin = TurnOrigin { source: TurnSource::Hook, ..TurnOrigin::default() };
        let (session, ts) = (Some(session), Some(ts));
        let turn = TranscriptTurn { assistant, role, session, project, ts, cue: None, origin, text };
        Some(turn).filter(TranscriptTurn::carries_something)
    }

    /// Returns false if the text has only words such as *ok* and *thanks*, or none. An answer to a question may be such a
    /// word.
    pub(crate) fn carries_something(&self) -> bool {
        if self.cue.is_some() {
            return !self.text.trim().is_empty();
        }
        !filler::carries_nothing(&self.text)
    }

    /// Returns true if the other turn has the same role and the same words. White space may differ.
    pub fn has_same_words(&self, other: &TranscriptTurn) -> bool {
        self.role == other.role && same_words(&self.text, &other.text)
    }

    /// Returns the fields of its records.
    pub fn metadata(&self) -> RecordMetadata<'_> {
        RecordMetadata {
            role: self.role,
            session_id: self.session.as_deref(),
            project: self.project.as_deref(),
            ts: self.ts.as_deref(),
            cue: self.cue.as_deref(),
            turn: Some((&self.origin, Some(self.assistant))),
            ..RecordMetadata::default()
        }
    }
}

/// The turns of a line.
#[derive(Debug, Default)]
pub(crate) struct LineTurns {
    pub(crate) turns: Vec<TranscriptTurn>,
    /// The line is of an unknown kind and has text.
    pub(crate) is_unknown: bool,
}

/// Session and folder of the lines that name none.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnDefaults {
    pub(crate) session: Option<String>,
    pub(crate) project: Option<String>,
}
