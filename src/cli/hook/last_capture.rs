//! The time of an assistant's last capture, in `.capture-state/last-ASSISTANT.json`. `iaid doctor` and
//! `iaid status --watch` read it to see whether the assistant's hooks run.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::transcript::Assistant;
use crate::wire::members::Members;

/// Largest file that is read; the file is smaller.
const MAX_BYTES: u64 = 4 << 10;

/// The assistants that have hooks.
pub(crate) const ASSISTANTS: [Assistant; 2] = [Assistant::ClaudeCode, Assistant::Codex];

/// The last capture of an assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastCapture {
    pub(crate) ts: Timestamp,
    /// The daemon was not running, so the text went to a deferred-capture file.
    pub(crate) is_spooled: bool,
}

impl LastCapture {
    /// Writes the file of this assistant.
    ///
    /// # Errors
    /// Any error of creating the folder or replacing the file.
    pub(crate) fn save(self, store: &Path, assistant: Assistant, session: Option<&str>) -> io::Result<()> {
        let path = path(store, assistant);
        files::make_own_folder(&store.join(CAPTURE_STATE_DIR))?;
        let text = json!({"ts": self.ts.to_string(), "session_id": session, "spooled": self.is_spooled}).to_string();
        files::replace(&path, text.as_bytes(), PRIVATE_MODE, Durability::Cached)
    }

    /// Reads the last capture of an assistant; `None` if there is none or the file cannot be read.
    pub(crate) fn of(store: &Path, assistant: Assistant) -> Option<LastCapture> {
        let text = files::own_text(&path(store, assistant), MAX_BYTES).ok()??;
        let fields = Members::read(&text).ok()?;
        let is_spooled = fields.value("spooled").is_some_and(|value| value.get() == "true");
        Some(LastCapture { ts: fields.string("ts")?.parse().ok()?, is_spooled })
    }
}

fn path(store: &Path, assistant: Assistant) -> PathBuf {
    store.join(CAPTURE_STATE_DIR).join(format!("last-{}.json", assistant.name()))
}

/// Folder of transcript offsets and last captures, in the store's folder.
pub(crate) const CAPTURE_STATE_DIR: &str = ".capture-state";
