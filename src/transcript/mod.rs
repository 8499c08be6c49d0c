//! Reads the session transcripts of assistants into turns, and turns into rows of `store_import`. Pure.
//!
//! A transcript has one JSON object per line. The format, Claude Code's (`claude.rs`), Codex's (`codex.rs`) or one in
//! which each line stands alone (`plain.rs`), is detected for each line. Text of the user and of the assistant is taken verbatim. Skipped are tool calls and their
//! results, the model's reasoning, and text that programs inject, this one included (`injected.rs`; `frame.rs` makes text
//! fit to be injected). Formats change with
//! each release of an assistant, so lines of unknown kinds that have text are counted (`tally.rs`). A damaged line costs
//! the records that are damaged (`fragments.rs`).
//!
//! Caller's contract: the lines of a file are given in order. A reader that begins within a file is given the file's
//! first lines, and those before the first new one, through [`TranscriptReader::prime`].

mod assistant;
mod claude;
mod codex;
mod content;
mod filler;
mod forms;
mod fragments;
pub(crate) mod frame;
pub mod injected;
mod origin;
pub mod pieces;
mod plain;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod queue;
pub mod row;
mod speech;
mod tally;
mod turn;

pub use self::assistant::Assistant;
pub use self::origin::{TurnOrigin, TurnSource, same_words};
pub use self::tally::ReadTally;
pub use self::turn::TranscriptTurn;

use self::claude::ClaudeReader;
use self::codex::CodexReader;
use self::plain::PlainReader;
use self::turn::TurnDefaults;
use crate::wire::members::Members;

/// Sessions of a transcript whose folder is remembered. A transcript has one, and those it is a fork of.
const MAX_SESSIONS: usize = 64;

/// Reads the lines of one transcript.
#[derive(Clone, Debug, Default)]
pub struct TranscriptReader {
    /// Session and folder of turns for which the transcript has none.
    defaults: TurnDefaults,
    claude: ClaudeReader,
    codex: CodexReader,
    plain: PlainReader,
    /// The first folder of each session: a change of the folder within a conversation is not one of the project.
    projects: Vec<(Option<String>, String)>,
    tally: ReadTally,
}

/// What a line of a transcript has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TranscriptLine {
    /// The turns that are certain now, in order.
    pub turns: Vec<TranscriptTurn>,
    /// What is wrong with the line: a part of it, or all, was not taken.
    pub damage: Option<String>,
}

impl TranscriptReader {
    /// Returns a reader that uses this session and folder for turns for which the transcript has none.
    pub fn new(session: Option<String>, project: Option<String>) -> TranscriptReader {
        TranscriptReader { defaults: TurnDefaults { session, project }, ..TranscriptReader::default() }
    }

    /// Reads a line. Of a damaged line the whole records are taken.
    pub fn read(&mut self, line: &[u8]) -> TranscriptLine {
        let mut read = TranscriptLine::default();
        let fragments = fragments::split(line, is_record);
        if fragments.is_damaged {
            read.damage = Some(match str::from_utf8(line) {
                Err(_) => "not UTF-8".into(),
                Ok(_) if fragments.records.is_empty() => "not a JSON object".into(),
                Ok(_) => "a record is cut off".into(),
            });
        }
        for record in fragments.records {
            match self.turns(record) {
                Ok(turns) => read.turns.extend(turns),
                Err(error) => read.damage = Some(error),
            }
        }
        read
    }

    /// Returns the turns that a record, and earlier ones, make certain.
    ///
    /// # Errors
    /// A message if the record is not a JSON object, has the key `type` twice, or has a text with a lone surrogate.
    pub fn turns(&mut self, record: &str) -> Result<Vec<TranscriptTurn>, String> {
        let record = Members::read(record).map_err(|error| error.to_string())?;
        if record.is_duplicate("type") {
            return Err("duplicate key 'type'".into());
        }
        let mut is_unknown = false;
        let turns = if let Some(payload) = record.value("payload") {
            self.codex.turns(&record, payload, &mut is_unknown)?
        } else {
            let found = match plain::assistant_of(&record) {
                Some(assistant) => self.plain.turns(assistant, &record)?,
                None => {
                    self.note_project(&record);
                    self.claude.turns(&record)?
                }
            };
            is_unknown = found.is_unknown;
            found.turns
        };
        self.tally.unknown_lines += u64::from(is_unknown);
        Ok(self.completed(turns))
    }

    /// Reads a line that was read before: its turns are not returned or counted.
    pub fn prime(&mut self, line: &[u8]) {
        let tally = self.tally;
        self.read(line);
        self.tally = tally;
    }

    /// Returns the turns that wait for further lines, at the end of a transcript that is complete.
    pub fn finish(&mut self) -> Vec<TranscriptTurn> {
        let mut turns = self.claude.finish();
        turns.extend(self.codex.finish());
        self.completed(turns)
    }

    /// Returns true if the transcript is that of a subagent, whose prompts are a model's.
    pub fn is_of_subagent(&self) -> bool {
        self.codex.is_of_subagent() || self.plain.is_of_subagent()
    }

    /// Returns what the lines were.
    pub fn tally(&self) -> ReadTally {
        self.tally
    }

    fn note_project(&mut self, record: &Members<'_>) {
        let (session, project) = (content::owned(record, "sessionId"), content::owned(record, "cwd"));
        let is_new = self.projects.len() < MAX_SESSIONS && self.projects.iter().all(|(known, _)| *known != session);
        if let (true, Some(project)) = (is_new, project) {
            self.projects.push((session, project));
        }
    }

    /// Counts turns, and returns those that carry something, with session and project.
    fn completed(&mut self, mut turns: Vec<TranscriptTurn>) -> Vec<TranscriptTurn> {
        let codex = self.codex.defaults();
        turns.retain_mut(|turn| {
            let has_text = !turn.text.trim().is_empty();
            self.tally.user_turns += u64::from(has_text && turn.role == "user");
            self.tally.assistant_turns += u64::from(has_text && turn.role == "assistant");
            let first = self.projects.iter().find(|(session, _)| *session == turn.session);
            turn.project = first.map(|(_, project)| project.clone()).or_else(|| turn.project.take());
            if turn.assistant == Assistant::Codex {
                turn.session = turn.session.take().or_else(|| codex.session.clone());
                turn.project = turn.project.take().or_else(|| codex.project.clone());
            }
            turn.session = turn.session.take().or_else(|| self.defaults.session.clone());
            turn.project = turn.project.take().or_else(|| self.defaults.project.clone());
            turn.carries_something()
        });
        turns
    }
}

/// Returns the first whole record of a line, which may be damaged.
pub(crate) fn first_record(line: &[u8]) -> Option<&str> {
    fragments::split(line, is_record).records.into_iter().next()
}

/// Returns true if the object is a record of a transcript, and not one that is a part of a record.
fn is_record(object: &str) -> bool {
    let Ok(record) = Members::read(object) else { return false };
    let has_type = record.value("type").is_some();
    let has_content = ["payload", "data", "message", "content"].iter().any(|key| record.value(key).is_some());
    has_type && (record.value("sessionId").is_some() || (has_content && record.value("timestamp").is_some()))
}
