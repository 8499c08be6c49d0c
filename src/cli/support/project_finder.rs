//! Finds the project of each turn of a transcript.

use std::collections::HashMap;
use std::env;
use std::path::PathBuf;

use crate::repository::Project;
use crate::transcript::TranscriptTurn;
use crate::transcript::row::RecordMetadata;

/// Folders whose project is remembered, at most. Picked: those of a few years.
const MAX_KNOWN_COUNT: usize = 1024;

/// The projects of the folders that were looked up: turns of a folder are many.
pub(crate) struct ProjectFinder {
    home: Option<PathBuf>,
    known: HashMap<String, Project>,
}

impl ProjectFinder {
    /// Returns a finder for this user.
    pub(crate) fn new() -> ProjectFinder {
        let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        ProjectFinder { home, known: HashMap::new() }
    }

    /// Returns the project of a folder.
    pub(crate) fn find(&mut self, folder: &str) -> &Project {
        if self.known.len() >= MAX_KNOWN_COUNT && !self.known.contains_key(folder) {
            self.known.clear();
        }
        let home = self.home.as_deref();
        self.known.entry(folder.to_owned()).or_insert_with(|| Project::of(folder, home))
    }

    /// Returns the fields of a turn's records, with its project.
    pub(crate) fn metadata<'a>(&'a mut self, turn: &'a TranscriptTurn) -> RecordMetadata<'a> {
        let about = turn.metadata();
        let Some(folder) = about.project.filter(|folder| !folder.is_empty()) else { return about };
        let project = self.find(folder);
        let (name, folder) = (Some(project.name.as_str()), project.folder.as_deref());
        RecordMetadata { project: name, project_folder: folder, ..about }
    }
}
