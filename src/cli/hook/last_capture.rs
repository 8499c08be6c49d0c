//! The times of an assistant's last captures, in `.capture-state/last-ASSISTANT.json`. `iaid doctor` and
//! `iaid status --watch` read it to see whether the assistant's hooks run, and whether they get both sides' words.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::lifecycle::process_session::CAPTURE_STATE_DIR;
use crate::transcript::{Assistant, TranscriptTurn};
use crate::wire::members::Members;

/// Largest file that is read; the file is smaller.
const MAX_BYTES: u64 = 4 << 10;

/// The last captures of an assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastCapture {
    pub(crate) ts: Timestamp,
    /// When words of the user were last captured.
    pub(crate) user: Option<Timestamp>,
    /// When words of the assistant were last captured.
    pub(crate) assistant: Option<Timestamp>,
    /// The daemon was not running, so the text went to a deferred-capture file.
    pub(crate) is_spooled: bool,
}

impl LastCapture {
    /// Notes that these turns, all of one assistant, were captured now.
    ///
    /// # Errors
    /// Any error of creating the folder or replacing the file.
    pub(crate) fn note(store: &Path, turns: &[TranscriptTurn], now: Timestamp, is_spooled: bool) -> io::Result<()> {
        let Some(last) = turns.last() else { return Ok(()) };
        let path = path(store, last.assistant);
        let before = LastCapture::of(store, last.assistant);
        let of = |role: &str, before: Option<Timestamp>| match turns.iter().any(|turn| turn.role == role) {
            true => Some(now),
            false => before,
        };
        let user = of("user", before.and_then(|before| before.user));
        let assistant = of("assistant", before.and_then(|before| before.assistant));
        files::make_own_folder(&store.join(CAPTURE_STATE_DIR))?;
        let text = json!({"ts": now.to_string(), "session_id": last.session, "spooled": is_spooled,
            "user": user.map(|ts| ts.to_string()), "assistant": assistant.map(|ts| ts.to_string())});
        files::replace(&path, text.to_string().as_bytes(), PRIVATE_MODE, Durability::Cached)
    }

    /// Reads the last captures of an assistant; `None` if there are none or the file cannot be read.
    pub(crate) fn of(store: &Path, assistant: Assistant) -> Option<LastCapture> {
        let text = files::own_text(&path(store, assistant), MAX_BYTES).ok()??;
        let fields = Members::read(&text).ok()?;
        let time = |key| fields.string(key)?.parse().ok();
        let is_spooled = fields.value("spooled").is_some_and(|value| value.get() == "true");
        Some(LastCapture { ts: time("ts")?, user: time("user"), assistant: time("assistant"), is_spooled })
    }
}

fn path(store: &Path, assistant: Assistant) -> PathBuf {
    store.join(CAPTURE_STATE_DIR).join(format!("last-{}.json", assistant.name()))
}
