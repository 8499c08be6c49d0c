//! The params `project`, `project_folder` and `project_scope`: which projects' records a call is shown.

use rusqlite::Connection;

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::PROJECT_BYTES;
use crate::memory::params::bounded_string;
use crate::memory::profile::Profile;
use crate::memory::store::project_filter::{ProjectFilter, ProjectScope};
use crate::memory::store::projects;

/// The project that a caller works in.
#[derive(Clone, Debug)]
pub(crate) struct CallerProject {
    /// Its name; empty if there is none.
    pub(crate) name: String,
    /// The folder in it, which is another name of it; empty if there is none.
    pub(crate) folder: String,
    pub(crate) scope: ProjectScope,
}

impl CallerProject {
    /// Reads the params. Without `project_scope` the knob of that name applies.
    ///
    /// # Errors
    /// -32602 if one is no string, too long, or `project_scope` is no scope.
    pub(crate) fn read(params: &Params<'_>, profile: &Profile) -> Result<CallerProject, CallError> {
        let scope = match params.string_opt("project_scope")? {
            None => profile.project_scope,
            Some(name) => ProjectScope::named(&name)
                .ok_or_else(|| CallError::invalid("project_scope", "one of prefer, only, all"))?,
        };
        Ok(CallerProject {
            name: bounded_string(params, "project", "", PROJECT_BYTES)?,
            folder: bounded_string(params, "project_folder", "", PROJECT_BYTES)?,
            scope,
        })
    }

    /// Returns the project and the folder in it, if the store has not noted that they belong together.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn new_folder(&self, connection: &Connection) -> Result<Option<(String, String)>, rusqlite::Error> {
        let is_new = projects::is_new_folder(connection, &self.name, &self.folder)?;
        Ok(is_new.then(|| (self.name.clone(), self.folder.clone())))
    }

    /// Returns the filter of the records.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn filter(&self, connection: &Connection) -> Result<ProjectFilter, rusqlite::Error> {
        ProjectFilter::of(connection, &self.name, &self.folder, self.scope)
    }
}
