//! `.capture-state/last-ASSISTANT.json`: when an assistant's words were taken last, for who wants to know
//! whether its hooks run.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::CAPTURE_STATE_DIR;
use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::transcript::Assistant;
use crate::wire::json::Members;

/// More than such a file has.
const MOST_BYTES: u64 = 4 << 10;

/// All that have hooks.
pub(crate) const ASSISTANTS: [Assistant; 2] = [Assistant::ClaudeCode, Assistant::Codex];

/// A capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastCapture {
    pub(crate) ts: Timestamp,
    /// No daemon was there: it waited in a file.
    pub(crate) is_spooled: bool,
}

impl LastCapture {
    /// Keeps it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn save(self, store: &Path, assistant: Assistant, session: Option<&str>) -> io::Result<()> {
        let path = path(store, assistant);
        files::make_own_folder(&store.join(CAPTURE_STATE_DIR))?;
        let text = json!({"ts": self.ts.to_string(), "session_id": session, "spooled": self.is_spooled}).to_string();
        files::replace(&path, text.as_bytes(), PRIVATE_MODE, Durability::Cached)
    }

    /// The last one of an assistant, if there was one.
    pub(crate) fn of(store: &Path, assistant: Assistant) -> Option<LastCapture> {
        let text = files::own_text(&path(store, assistant), MOST_BYTES).ok()??;
        let fields = Members::read(&text).ok()?;
        let is_spooled = fields.value("spooled").is_some_and(|value| value.get() == "true");
        Some(LastCapture { ts: fields.string("ts")?.parse().ok()?, is_spooled })
    }
}

fn path(store: &Path, assistant: Assistant) -> PathBuf {
    store.join(CAPTURE_STATE_DIR).join(format!("last-{}.json", assistant.name()))
}
