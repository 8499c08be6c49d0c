//! Finds sessions on disk of which the memory has nothing: no hook has read their transcripts, and no import. And sums up
//! what hooks found in the transcripts that they read.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::context::DoctorContext;
use super::files::listed;
use crate::cli::hook::offset::{self, TranscriptOffset};
use crate::cli::support::assistants::{AssistantRules, assistant_of_path};
use crate::cli::support::files;
use crate::lifecycle::process_session::CAPTURE_STATE_DIR;
use crate::memory::opencode_sessions;
use crate::sort;
use crate::transcript::{Assistant, TranscriptReader};
use crate::wire::members::Members;

/// Age of an offset from which its transcript is not reported any more: a warning has been seen by then. Picked.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Time in which an assistant answers. Picked.
const ANSWER_TIME: Duration = Duration::from_secs(3600);

/// Sessions that the daemon is asked about. Picked: some hundred milliseconds.
const MAX_ASKED: usize = 500;

/// Bytes of a transcript that are searched for a turn. 64 KiB: what comes before the first prompt is shorter mostly.
const MAX_READ_BYTES: u64 = 64 << 10;

/// Longest first line of a transcript that names the session. Picked: it has some hundred bytes.
const MAX_HEADER_BYTES: u64 = 4 << 10;

/// Characters of a session's id at the end of the name of a Codex transcript: a UUID.
const CODEX_ID_CHARS: usize = 36;

/// The transcripts of an assistant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionsOnDisk {
    pub(crate) count: usize,
    /// When the newest was last written.
    pub(crate) newest: Option<SystemTime>,
    /// Sessions that no hook has seen and of which the memory has no record.
    pub(crate) missed: usize,
    /// When the newest of those was last written.
    pub(crate) newest_missed: Option<SystemTime>,
}

/// What hooks found in the transcripts of an assistant that they have read lately.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadTranscripts {
    /// Transcripts with lines of unknown kinds that have text, and the number of these lines.
    pub(crate) unknown: (u64, u64),
    /// Transcripts with turns of one side only.
    pub(crate) one_sided: u64,
}

/// Sums up the offsets of an assistant's transcripts.
pub(crate) fn read_transcripts(store: &Path, assistant: Assistant) -> ReadTranscripts {
    let mut found = ReadTranscripts::default();
    for (path, about) in listed(&store.join(CAPTURE_STATE_DIR)) {
        let age = about.modified().ok().and_then(|written| written.elapsed().ok()).unwrap_or_default();
        if age > MAX_AGE || !path.to_string_lossy().ends_with(offset::SUFFIX) {
            continue;
        }
        let Some(TranscriptOffset { of, tally, .. }) = TranscriptOffset::load(&path) else { continue };
        if assistant_of_path(&of.path) != assistant {
            continue;
        }
        if tally.unknown_lines > 0 {
            found.unknown = (found.unknown.0 + 1, found.unknown.1 + tally.unknown_lines);
        }
        // The answer to a prompt may still be written.
        let is_settled = tally.assistant_turns > 0 || age > ANSWER_TIME;
        found.one_sided += u64::from(tally.is_one_sided() && is_settled);
    }
    found
}

/// Returns the folders with an assistant's transcripts. `home` is the folder of its settings.
pub(crate) fn folders(assistant: Assistant, home: &Path) -> Vec<PathBuf> {
    AssistantRules::of(assistant).transcripts.iter().map(|folder| home.join(folder)).collect()
}

/// Counts the sessions in these folders. Without a daemon, an import is not noticed.
pub(crate) fn count(context: &mut DoctorContext, assistant: Assistant, folders: &[PathBuf]) -> SessionsOnDisk {
    let mut found = Vec::new();
    // Below Claude Code's folder of a project are the transcripts of subagents.
    let depth = match assistant {
        Assistant::ClaudeCode | Assistant::Copilot | Assistant::Pi => 1,
        Assistant::Gemini | Assistant::Qwen | Assistant::Opencode => 2,
        Assistant::Codex => 3,
    };
    folders.iter().for_each(|folder| list(folder, depth, assistant, &mut found));
    let mut sessions = SessionsOnDisk::of(&found);
    let state = context.store.join(CAPTURE_STATE_DIR);
    found.retain(|(_, session, _)| !state.join(offset::file_name(session) + offset::SUFFIX).is_file());
    sort::sort_by(&mut found, |a, b| b.cmp(a));
    found.truncate(MAX_ASKED);
    for (written, session, path) in found {
        if (context.status.is_none() || context.is_stuck || !is_stored(context, &session)) && may_have_turns(&path) {
            sessions.add_missed(written);
        }
    }
    sessions
}

/// Counts the sessions in opencode's database, at most [`MAX_ASKED`]. Without a daemon none counts as missed: opencode's
/// hooks read no files, so only the memory knows what they have captured.
///
/// # Errors
/// `Other` with SQLite's message if the database cannot be read.
pub(crate) fn count_in_database(context: &mut DoctorContext, database: &Path) -> io::Result<SessionsOnDisk> {
    if !database.is_file() {
        return Ok(SessionsOnDisk::default());
    }
    let time = |changed: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(changed);
    let found = opencode_sessions(database, MAX_ASKED)?;
    let found: Vec<FoundSession> =
        found.into_iter().map(|(session, changed)| (time(changed), session, PathBuf::new())).collect();
    let mut sessions = SessionsOnDisk::of(&found);
    for (written, session, _) in found {
        if context.status.is_some() && !context.is_stuck && !is_stored(context, &session) {
            sessions.add_missed(written);
        }
    }
    Ok(sessions)
}

/// When a session was last written, its id, and its transcript.
type FoundSession = (SystemTime, String, PathBuf);

impl SessionsOnDisk {
    fn of(found: &[FoundSession]) -> SessionsOnDisk {
        let newest = found.iter().map(|(written, ..)| *written).max();
        SessionsOnDisk { count: found.len(), newest, ..SessionsOnDisk::default() }
    }

    fn add_missed(&mut self, written: SystemTime) {
        self.missed += 1;
        self.newest_missed = self.newest_missed.max(Some(written));
    }
}

/// Appends time, session id and path of each transcript that is not empty.
fn list(folder: &Path, depth: usize, assistant: Assistant, found: &mut Vec<FoundSession>) {
    for (path, about) in listed(folder) {
        if about.is_dir() && depth > 0 {
            list(&path, depth - 1, assistant, found);
        } else if about.is_file() && about.len() > 0 {
            let Some(session) = session_of(&path, assistant) else { continue };
            found.extend(about.modified().ok().map(|written| (written, session, path)));
        }
    }
}

/// Returns the id of a transcript's session, which its name has.
fn session_of(path: &Path, assistant: Assistant) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if assistant_of_path(path) != assistant && assistant != Assistant::ClaudeCode {
        return None;
    }
    let stem = name.strip_suffix(".zst").unwrap_or(name).strip_suffix(".jsonl")?;
    match assistant {
        Assistant::ClaudeCode => (!stem.starts_with("agent-")).then(|| stem.to_owned()),
        Assistant::Copilot => path.parent()?.file_name()?.to_str().map(str::to_owned),
        Assistant::Qwen => Some(stem.to_owned()),
        Assistant::Gemini => session_in(path),
        Assistant::Pi => stem.rsplit_once('_').map(|(_, session)| session.to_owned()),
        Assistant::Opencode => None,
        Assistant::Codex => stem.len().checked_sub(CODEX_ID_CHARS).and_then(|at| stem.get(at..)).map(str::to_owned),
    }
}

/// Returns the id of the session in the first line of a transcript.
fn session_in(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    files::open_regular(path).ok()?.take(MAX_HEADER_BYTES).read_to_end(&mut bytes).ok()?;
    let line = str::from_utf8(bytes.split(|byte| *byte == b'\n').next()?).ok()?;
    Members::read(line).ok()?.string("sessionId").map(Cow::into_owned)
}

/// Returns false if a transcript has nothing to capture: it is a subagent's, or all of it is no turn.
fn may_have_turns(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let file = files::open_regular(path);
    let read = file.and_then(|file| file.take(MAX_READ_BYTES).read_to_end(&mut bytes));
    if read.is_err() || path.extension().is_some_and(|end| end == "zst") {
        return true;
    }
    let mut reader = TranscriptReader::default();
    let is_whole = (bytes.len() as u64) < MAX_READ_BYTES;
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let turns: usize = lines.map(|line| reader.read(line).turns.len()).sum();
    let has_turns = turns > 0 || !reader.finish().is_empty() || reader.tally().unknown_lines > 0;
    !reader.is_of_subagent() && (has_turns || !is_whole)
}

/// Returns true if the memory has a record of this session, or cannot be asked.
fn is_stored(context: &mut DoctorContext, session: &str) -> bool {
    let query = json!({"structure_query": {"session": session}, "max_records": 1, "budget_tokens": 0});
    let Ok(reply) = context.client.call("memory_recall_structural", &query) else { return true };
    let reply: Value = serde_json::from_str(reply.get()).unwrap_or_default();
    reply["hits"].as_array().is_some_and(|hits| !hits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_transcript_has_the_session() {
        let id = "01a22959-366b-7062-aef3-2b0db66be2e9";
        let rollout = format!("rollout-2026-11-29T22-07-22-{id}.jsonl");
        for (name, assistant, want) in [
            (format!("{id}.jsonl"), Assistant::ClaudeCode, Some(id)),
            ("agent-5f.jsonl".into(), Assistant::ClaudeCode, None),
            ("notes.txt".into(), Assistant::ClaudeCode, None),
            (rollout.clone(), Assistant::Codex, Some(id)),
            (rollout + ".zst", Assistant::Codex, Some(id)),
            ("rollout-x.jsonl".into(), Assistant::Codex, None),
            (format!("{id}.jsonl"), Assistant::Codex, None),
            ("history.jsonl".into(), Assistant::Codex, None),
        ] {
            assert_eq!(session_of(Path::new(&name), assistant).as_deref(), want, "{name}");
        }
    }
}
