//! The records that a call of `memory_forget` selects.

use std::path::PathBuf;
use std::time::Instant;

use rusqlite::Connection;
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::{PROJECT_BYTES, SESSION_BYTES, TEXT_BYTES};
use crate::memory::model::time::DateBound;
use crate::memory::params::{self, bounded_string};
use crate::memory::store::{projects, records};
use crate::memory::text::tokenizer;
use crate::sort;

/// Most ids of a call. A larger selection is made by session, project, words or time.
const MAX_IDS: usize = 1000;

/// Records that are read between two looks at the clock.
const PAGE_COUNT: i64 = 512;

/// What a call selects. Each filter that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    ids: Vec<Uuid>,
    session: Option<String>,
    project: Option<String>,
    /// The full-text query of records that have all words of the cue.
    matching: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
}

/// A selector with the numbers of what it names, which a scan of one transaction uses.
pub(crate) struct Scan<'s> {
    selector: &'s Selector,
    ids: Vec<i64>,
    session: Option<i64>,
    projects: Option<Vec<i64>>,
}

/// The number of selected records, and a hash of their numbers: both are the same as long as the selection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SelectionMark {
    pub(crate) count: u64,
    hash: u64,
}

/// A selection that was shown, and is to be forgotten once it is confirmed.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) selector: Selector,
    pub(crate) mark: SelectionMark,
    /// The files that were set aside, which go too.
    pub(crate) files: Vec<PathBuf>,
}

impl SelectionMark {
    /// Adds a record. Records are added in the order of their numbers.
    pub(crate) fn add(&mut self, seq: i64) {
        self.count += 1;
        self.hash = (self.hash ^ seq.unsigned_abs()).wrapping_mul(0x0100_0000_01b3);
    }
}

impl Confirmed {
    /// Returns the selection of the records with these ids.
    ///
    /// # Errors
    /// -32602 if no record has one of the ids, -32001 for any SQLite error.
    pub(crate) fn of_ids(connection: &Connection, ids: Vec<Uuid>) -> Result<Confirmed, CallError> {
        let selector = Selector { ids, ..Selector::default() };
        let mut mark = SelectionMark::default();
        let mut found = |seq| {
            mark.add(seq);
            Ok(())
        };
        selector.scan(connection)?.run(connection, 0, Instant::now(), &mut found)?;
        Ok(Confirmed { selector, mark, files: Vec::new() })
    }
}

impl Selector {
    /// Reads the params that select.
    ///
    /// # Errors
    /// -32602 if a param is invalid, none is given, or `ids` is given with others.
    pub(crate) fn read(params: &Params<'_>) -> Result<Selector, CallError> {
        let given = |name: &str| params.raw(name).is_some_and(|value| value != "null");
        let name = |name: &str, limit| -> Result<Option<String>, CallError> {
            Ok(if given(name) { Some(bounded_string(params, name, "", limit)?) } else { None })
        };
        let selector = Selector {
            ids: if given("ids") { params::ids(params, "ids", MAX_IDS)? } else { Vec::new() },
            session: name("session", SESSION_BYTES)?,
            project: name("project", PROJECT_BYTES)?,
            matching: name("matching", TEXT_BYTES)?.map(|cue| query_of(&cue)).transpose()?,
            since: params::time(params, "since", DateBound::Start)?.map(|at| at.0),
            until: params::time(params, "until", DateBound::End)?.map(|at| at.0),
        };
        let Selector { ids, session, project, matching, since, until } = &selector;
        let has_filter =
            session.is_some() || project.is_some() || matching.is_some() || since.is_some() || until.is_some();
        match (given("ids"), has_filter) {
            (true, true) => Err(CallError::invalid("ids", "given alone, or left out")),
            (true, false) if ids.is_empty() => Err(CallError::invalid("ids", "at least one id")),
            (false, false) => {
                let expected = "given, or session, project, matching, since or until, or the token of an earlier reply";
                Err(CallError::invalid("ids", expected))
            }
            _ => Ok(selector),
        }
    }

    /// Returns true if the selection depends on the full-text index.
    pub(crate) fn needs_index(&self) -> bool {
        self.matching.is_some()
    }

    /// Returns the name that the selected project is shown by: of an alias, all of its project is selected.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn project(&self, connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
        self.project.as_deref().map(|name| projects::canonical(connection, name)).transpose()
    }

    /// Looks up what the selector names.
    ///
    /// # Errors
    /// -32602 if no record has one of the ids, -32001 for any SQLite error.
    pub(crate) fn scan(&self, connection: &Connection) -> Result<Scan<'_>, CallError> {
        let ids = self.ids.iter().map(|id| records::seq_of(connection, "ids", *id));
        let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
        sort::sort_by(&mut ids, Ord::cmp);
        // Two ids may be of one record.
        ids.dedup();
        // No record has a number below 1.
        let session = self.session.as_deref().map(|name| records::session_number(connection, name)).transpose()?;
        let projects = match &self.project {
            Some(name) => Some(projects::numbers(connection, name)?),
            None => None,
        };
        Ok(Scan { selector: self, ids, session: session.map(|number| number.unwrap_or(0)), projects })
    }
}

/// Returns the full-text query of records that have all words of `cue`, in any form.
fn query_of(cue: &str) -> Result<String, CallError> {
    let terms = tokenizer::index_terms(&cue.to_lowercase());
    let terms: Vec<String> = terms.split_ascii_whitespace().map(|term| format!("\"{term}\"")).collect();
    if terms.is_empty() {
        return Err(CallError::invalid("matching", "a text with at least one word"));
    }
    Ok(terms.join(" AND "))
}

impl Scan<'_> {
    /// Passes the selected records after `after` to `found`, in the order of their numbers, until `deadline`. Returns the
    /// number after which the scan continues; `None` if it is at its end.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn run(
        &self,
        connection: &Connection,
        mut after: i64,
        deadline: Instant,
        found: &mut dyn FnMut(i64) -> Result<(), rusqlite::Error>,
    ) -> Result<Option<i64>, rusqlite::Error> {
        if !self.selector.ids.is_empty() {
            self.ids.iter().filter(|seq| **seq > after).try_for_each(|seq| found(*seq))?;
            return Ok(None);
        }
        let Selector { matching, since, until, .. } = self.selector;
        let (sql, key): (_, &dyn rusqlite::ToSql) = match (matching, &self.session) {
            (Some(query), _) => (
                "SELECT seq, session, project, ts FROM term_index CROSS JOIN record ON seq = term_index.rowid
                 WHERE term_index MATCH ?1 AND term_index.rowid > ?2 ORDER BY term_index.rowid LIMIT ?3",
                query,
            ),
            (None, Some(session)) => (
                "SELECT seq, session, project, ts FROM record WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                session,
            ),
            (None, None) => {
                ("SELECT seq, session, project, ts FROM record WHERE ?1 AND seq > ?2 ORDER BY seq LIMIT ?3", &true)
            }
        };
        let mut read = connection.prepare_cached(sql)?;
        loop {
            let mut rows = read.query((key, after, PAGE_COUNT))?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                count += 1;
                after = row.get(0)?;
                let (session, project, ts): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
                let is_selected = self.session.is_none_or(|number| number == session)
                    && self.projects.as_ref().is_none_or(|numbers| numbers.contains(&project))
                    && since.is_none_or(|since| ts >= since)
                    && until.is_none_or(|until| ts <= until);
                if is_selected {
                    found(after)?;
                }
            }
            if count < PAGE_COUNT {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                return Ok(Some(after));
            }
        }
    }
}
