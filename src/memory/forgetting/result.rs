//! The result of a forgetting.

use std::path::Path;

use serde::Serialize;

/// A place where a copy of what was forgotten may be.
#[derive(Debug, Serialize)]
pub(crate) struct LeftCopy {
    pub(crate) r#where: String,
    line: Option<u64>,
    /// What it is.
    pub(crate) what: String,
}

impl LeftCopy {
    /// Returns a copy that is this file.
    pub(crate) fn of(path: &Path, what: String) -> LeftCopy {
        LeftCopy { r#where: path.display().to_string(), line: None, what }
    }
}

/// The result of a forgetting.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ForgetResult {
    pub(crate) forgotten: u64,
    pub(crate) left: Vec<LeftCopy>,
}
