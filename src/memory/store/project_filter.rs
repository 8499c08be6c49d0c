//! Which projects' records a call is shown, and which come first.

use rusqlite::Connection;

use crate::memory::store::projects::{canonical, name_of_caller, numbers_of_caller};
use crate::memory::store::records;
use crate::memory::store::tags;

/// Records that [`ProjectFilter::total`] counts, at most: about two milliseconds.
const MAX_COUNTED: i64 = 50_000;

/// Projects whose records it counts, at most. A caller's project with more names counts as all of the store.
const MAX_COUNTED_PROJECTS: usize = 256;

/// The evidence of a pattern that is read, at most. A pattern with more counts as one of several projects.
const MAX_EVIDENCE_COUNT: usize = 256;

/// Which projects' records a call is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProjectScope {
    /// Those of all projects, those of the caller's first.
    Prefer,
    /// Those of the caller's project, and those without a project.
    Only,
    /// Those of all projects alike.
    All,
}

impl ProjectScope {
    /// Returns the scope with this name.
    pub(crate) fn named(name: &str) -> Option<ProjectScope> {
        match name {
            "prefer" => Some(ProjectScope::Prefer),
            "only" => Some(ProjectScope::Only),
            "all" => Some(ProjectScope::All),
            _ => None,
        }
    }
}

/// The projects whose records a call is shown, and those that it is shown first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProjectFilter {
    /// The name that the caller's project is shown by; empty if there is none.
    name: String,
    /// The numbers of the caller's project, through aliases, sorted: its records come first.
    own: Vec<i64>,
    /// The numbers of projects whose records are shown as those without a project are, sorted.
    others: Vec<i64>,
    /// The number of the name of no project, `''`, if a record has it.
    none: Option<i64>,
    /// Records of other projects are left out.
    is_only: bool,
}

impl ProjectFilter {
    /// The filter that all records pass alike.
    pub(crate) const NONE: ProjectFilter =
        ProjectFilter { name: String::new(), own: Vec::new(), others: Vec::new(), none: None, is_only: false };

    /// Returns the filter of a caller in `folder` of `project`; each may be empty. The folder counts as the project's even
    /// before [`note_folder`](super::projects::note_folder) has noted it.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn of(
        connection: &Connection,
        project: &str,
        folder: &str,
        scope: ProjectScope,
    ) -> Result<ProjectFilter, rusqlite::Error> {
        let is_only = scope == ProjectScope::Only;
        let (mut name, mut own) = (String::new(), Vec::new());
        if scope != ProjectScope::All && !project.is_empty() {
            name = name_of_caller(connection, project, folder)?;
            own = numbers_of_caller(connection, project, folder)?;
        }
        own.sort_unstable();
        let none = if is_only { records::project_number(connection, "")? } else { None };
        Ok(ProjectFilter { name, own, others: Vec::new(), none, is_only })
    }

    /// Returns the numbers of the caller's project, sorted.
    pub(crate) fn own(&self) -> &[i64] {
        &self.own
    }

    /// Returns true if all records are shown and none comes first.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_only && self.own.is_empty()
    }

    /// Returns true if records of other projects are left out.
    pub(crate) fn is_only(&self) -> bool {
        self.is_only
    }

    /// Returns the filter that shows the same records and puts none first.
    pub(crate) fn without_preference(self) -> ProjectFilter {
        if self.is_only { ProjectFilter { own: Vec::new(), others: self.own, ..self } } else { ProjectFilter::NONE }
    }

    /// Returns the numbers of the projects beside the caller's whose records are shown, if `is_only`.
    pub(crate) fn others(&self) -> Vec<i64> {
        self.others.iter().copied().chain(self.none).collect()
    }

    /// Returns true if the project of this number is the caller's, and its records come first.
    pub(crate) fn is_own(&self, number: i64) -> bool {
        self.own.binary_search(&number).is_ok()
    }

    /// Returns the numbers of the projects whose records are shown; `None` if those of all are.
    pub(crate) fn shown(&self) -> Option<Vec<i64>> {
        self.is_only.then(|| self.own.iter().copied().chain(self.others()).collect())
    }

    /// Returns true if the project of this number is the caller's.
    fn is_named(&self, number: i64) -> bool {
        self.is_own(number) || self.others.binary_search(&number).is_ok()
    }

    /// Returns true if records of the project of this number are shown, except patterns of several projects.
    pub(crate) fn admits_project(&self, number: i64) -> bool {
        !self.is_only || self.is_named(number) || self.none == Some(number)
    }

    /// Returns true if the project of this name is the caller's, whether it has records or not.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn has_name(&self, connection: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
        Ok(canonical(connection, name)? == self.name
            || records::project_number(connection, name)?.is_some_and(|number| self.is_named(number)))
    }

    /// Returns true if a record of the project of this number is shown. A record without a project belongs to no other
    /// one; a pattern is shown if all records that show it are.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn admits(&self, connection: &Connection, seq: i64, number: i64) -> Result<bool, rusqlite::Error> {
        if !self.is_only {
            return Ok(true);
        }
        let is_shown = self.admits_project(number);
        Ok(is_shown && (!tags::has(connection, seq, tags::PATTERN)? || self.admits_evidence(connection, seq)?))
    }

    /// Returns true if the record with this `seq` is shown; false if there is none.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn admits_record(&self, connection: &Connection, seq: i64) -> Result<bool, rusqlite::Error> {
        if !self.is_only {
            return Ok(true);
        }
        match records::project_of(connection, seq)? {
            Some(number) => self.admits(connection, seq, number),
            None => Ok(false),
        }
    }

    /// Returns true if a pattern has evidence and each record of it is of a project that is shown.
    fn admits_evidence(&self, connection: &Connection, pattern: i64) -> Result<bool, rusqlite::Error> {
        // The literal 3 is `LinkKind::Evidence`; graph/links.rs asserts it.
        let mut read = connection.prepare_cached(
            "SELECT record.project FROM link JOIN record ON record.seq = link.b
             WHERE link.a = ?1 AND link.kind = 3 LIMIT ?2",
        )?;
        let mut rows = read.query((pattern, MAX_EVIDENCE_COUNT as i64 + 1))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if count > MAX_EVIDENCE_COUNT || !self.admits_project(row.get(0)?) {
                return Ok(false);
            }
        }
        Ok(count > 0)
    }

    /// Returns the number of records that are shown, of `all` in the store; `all` if it is large, or if they are of many
    /// projects.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn total(&self, connection: &Connection, all: i64) -> Result<i64, rusqlite::Error> {
        let Some(shown) = self.shown().filter(|shown| shown.len() <= MAX_COUNTED_PROJECTS) else { return Ok(all) };
        let mut count =
            connection.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM record WHERE project = ?1 LIMIT ?2)")?;
        let mut total = 0;
        for number in shown {
            total += count.query_row((number, MAX_COUNTED - total), |row| row.get::<_, i64>(0))?;
            if total >= MAX_COUNTED {
                return Ok(all);
            }
        }
        Ok(total)
    }
}
