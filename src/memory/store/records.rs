//! Look-ups on records and on the names of sessions and projects.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::dispatch::CallError;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::error::StoreError;
use crate::memory::store::forgotten;

/// Orders the ids of one process by their creation.
static ID_ORDER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// Returns a new id, a UUID of version 7: later than all others of this process, whatever the clock does. A clock before
/// 1970 counts as 1970, since the format has no earlier times.
pub(crate) fn new_id() -> Uuid {
    let micros = u64::try_from(UnixMicros::now().0).unwrap_or(0);
    let order = ID_ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    Uuid::new_v7(Timestamp::from_unix(&*order, micros / 1_000_000, (micros % 1_000_000 * 1000) as u32))
}

/// Returns the number of the session with this name; `None` if the store has no such name.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn session_number(connection: &Connection, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    find_number(connection, "SELECT number FROM session WHERE name = ?1", name)
}

/// Returns the number of the project with this name; `None` if the store has no such name.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn project_number(connection: &Connection, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    find_number(connection, "SELECT number FROM project WHERE name = ?1", name)
}

/// Returns the number of a record's project; `None` if there is no such record.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn project_of(connection: &Connection, seq: i64) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT project FROM record WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))
        .optional()
}

fn find_number(connection: &Connection, sql: &str, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()
}

/// Returns the number of records. Records are numbered from 1, and the numbers of those that were forgotten are not used
/// again.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn count(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let sql = "SELECT max((SELECT coalesce(max(seq), 0) FROM record), (SELECT coalesce(max(seq), 0) FROM forgotten))
                   - (SELECT count(*) FROM forgotten)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Returns the seq of the newest record; 0 if the store is empty. There are at most so many records.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn last_seq(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM record")?.query_row([], |row| row.get(0))
}

/// Records of a project that are read at first for [`newest`]; each further read takes twice as many.
const FIRST_PAGE_COUNT: usize = 4;

/// The newest record of a project that [`newest`] has not returned, with what was read of the project.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ProjectHead {
    ts: i64,
    /// [`i64::MAX`] if no record was read yet.
    seq: i64,
    project: i64,
    /// How many records were read last.
    page: usize,
    /// Those that follow, the oldest first.
    rest: Vec<(i64, i64)>,
}

/// Some of the projects, by their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Projects<'p> {
    /// These, each once.
    Of(&'p [i64]),
    /// All but these.
    Except(&'p [i64]),
}

/// Returns the time and the seq of the newest `most` records of these projects from `since` to `until`, in microseconds,
/// the newest first.
///
/// Only the records of one project have an index in the order of time, so the projects are merged: of however many
/// projects, the newest record of each is looked up, and then about as many records are read as are returned.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn newest(
    connection: &Connection,
    (since, until): (i64, i64),
    projects: Projects<'_>,
    most: usize,
) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    let mut heads = BinaryHeap::new();
    for (ts, project) in newest_of_each(connection, (since, until), projects)? {
        heads.push(ProjectHead { ts, seq: i64::MAX, project, page: FIRST_PAGE_COUNT, rest: Vec::new() });
    }
    let mut all = Vec::new();
    while all.len() < most
        && let Some(mut head) = heads.pop()
    {
        if head.seq < i64::MAX {
            all.push((head.ts, head.seq));
        }
        if head.rest.is_empty() {
            head.rest = of_project(connection, head.project, (since, head.ts), head.seq, head.page.min(most))?;
            head.rest.reverse();
            head.page *= 2;
        }
        if let Some((ts, seq)) = head.rest.pop() {
            heads.push(ProjectHead { ts, seq, ..head });
        }
    }
    Ok(all)
}

/// Returns the time of the newest record of each of the projects that has one, with the project's number.
fn newest_of_each(
    connection: &Connection,
    times: (i64, i64),
    projects: Projects<'_>,
) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    let mut found = Vec::new();
    match projects {
        Projects::Of(numbers) => {
            let mut read =
                connection.prepare_cached("SELECT max(ts) FROM record WHERE project = ?1 AND ts BETWEEN ?2 AND ?3")?;
            for &number in numbers {
                let ts: Option<i64> = read.query_row((number, times.0, times.1), |row| row.get(0))?;
                found.extend(ts.map(|ts| (ts, number)));
            }
        }
        Projects::Except(numbers) => {
            let mut read = connection.prepare_cached(
                "SELECT (SELECT max(ts) FROM record WHERE project = number AND ts BETWEEN ?1 AND ?2) AS newest, number
                 FROM project WHERE newest IS NOT NULL",
            )?;
            let mut rows = read.query(times)?;
            while let Some(row) = rows.next()? {
                let (ts, number) = (row.get(0)?, row.get(1)?);
                if !numbers.contains(&number) {
                    found.push((ts, number));
                }
            }
        }
    }
    Ok(found)
}

/// Returns the time and the seq of the newest `most` records of a project from `since` to `until`, in microseconds, the
/// newest first; of those at `until` only the ones before the record `before`.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn of_project(
    connection: &Connection,
    project: i64,
    (since, until): (i64, i64),
    before: i64,
    most: usize,
) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT ts, seq FROM record WHERE project = ?1 AND ts BETWEEN ?2 AND ?3 AND (ts < ?3 OR seq < ?4)
         ORDER BY ts DESC, seq DESC LIMIT ?5",
    )?;
    read.query_map((project, since, until, before, most as i64), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Returns the string in a column, borrowed.
///
/// # Errors
/// [`StoreError::Damaged`] if the column holds no UTF-8 text.
pub(crate) fn string<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, StoreError> {
    row.get_ref(at)?
        .as_str()
        .map_err(|error| StoreError::Damaged(format!("a record's column {at} is not text: {error}")))
}

/// Returns the text of a record.
///
/// # Errors
/// [`rusqlite::Error::QueryReturnedNoRows`] if there is no such record, or any SQLite error.
pub(crate) fn text_of(connection: &Connection, seq: i64) -> Result<String, rusqlite::Error> {
    connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?.query_row([seq], |row| row.get(0))
}

/// A side of a record in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl Side {
    /// Returns the seq right beside `seq`: of the same session if no other session wrote in between, which is the
    /// common case and needs no [`neighbor_in_session`].
    pub(crate) fn adjacent(self, seq: i64) -> i64 {
        match self {
            Side::Before => seq - 1,
            Side::After => seq + 1,
        }
    }
}

/// Returns the seq of the record of this session that comes just before or after `seq`, if there is one.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn neighbor_in_session(
    connection: &Connection,
    session: i64,
    seq: i64,
    side: Side,
) -> Result<Option<i64>, rusqlite::Error> {
    let sql = match side {
        Side::Before => "SELECT max(seq) FROM record WHERE session = ?1 AND seq < ?2",
        Side::After => "SELECT min(seq) FROM record WHERE session = ?1 AND seq > ?2",
    };
    connection.prepare_cached(sql)?.query_row((session, seq), |row| row.get(0))
}

/// Returns the seq of the record with this id; `None` if no record has it.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn find_seq(connection: &Connection, id: Uuid) -> Result<Option<i64>, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT seq FROM record WHERE id = ?1")?;
    find.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

/// Returns the seq of the record with this id.
///
/// # Errors
/// -32602 that names param `name` and the id if no record has the id or it was forgotten; -32001 for any SQLite error.
pub(crate) fn seq_of(connection: &Connection, name: &str, id: Uuid) -> Result<i64, CallError> {
    if let Some(seq) = find_seq(connection, id)? {
        return Ok(seq);
    }
    Err(match forgotten::forgotten_at(connection, id)? {
        Some(at) => CallError::invalid(name, format_args!("the id of a record: {id} was forgotten at {at}")),
        None => CallError::invalid(name, format_args!("the id of a record: no record has the id {id}")),
    })
}

/// Returns the id of the record with this seq.
///
/// # Errors
/// [`rusqlite::Error::QueryReturnedNoRows`] if there is no such record, or any SQLite error.
pub(crate) fn id_of(connection: &Connection, seq: i64) -> Result<Uuid, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT id FROM record WHERE seq = ?1")?;
    find.query_row([seq], |row| row.get(0)).map(Uuid::from_bytes)
}

/// Which records [`page`] returns.
pub(crate) struct RecordFilter {
    pub(crate) session: Option<i64>,
    /// The numbers of a project.
    pub(crate) projects: Option<Vec<i64>>,
    /// The time of the oldest, in microseconds.
    pub(crate) since: i64,
}

/// Returns the time and the seq of up to `most` records before the place `(ts, seq)`, the newest first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn page(
    connection: &Connection,
    filter: &RecordFilter,
    (ts, seq): (i64, i64),
    most: usize,
) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    if let Some(session) = filter.session {
        let mut read = connection.prepare_cached(
            "SELECT ts, seq FROM record WHERE session = ?1 AND ts BETWEEN ?2 AND ?3 AND (ts < ?3 OR seq < ?4)
               AND (?5 IS NULL OR project IN (SELECT value FROM json_each(?5))) ORDER BY ts DESC, seq DESC LIMIT ?6",
        )?;
        let projects = filter.projects.as_ref().map(|numbers| format!("{numbers:?}"));
        let values = (session, filter.since, ts, seq, projects, most as i64);
        return read.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect();
    }
    let projects: Vec<i64> = match &filter.projects {
        Some(projects) => projects.clone(),
        None => connection
            .prepare_cached("SELECT number FROM project")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
    };
    let mut all = Vec::new();
    for project in projects {
        all.extend(of_project(connection, project, (filter.since, ts), seq, most)?);
    }
    all.sort_unstable_by(|a: &(i64, i64), b| b.cmp(a));
    all.truncate(most);
    Ok(all)
}

/// What groups records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordGroup {
    Session,
    Project,
}

/// A session or project that has records.
pub(crate) struct GroupSummary {
    /// The number of the one with the newest record, then those of its other names.
    pub(crate) numbers: Vec<i64>,
    /// The name that it is shown by.
    pub(crate) name: String,
    /// The time of the newest record, in microseconds.
    pub(crate) last: i64,
}

/// Returns all sessions or projects with records, the one with the newest record first. A project has the records of all
/// its names.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn groups(connection: &Connection, group: RecordGroup) -> Result<Vec<GroupSummary>, rusqlite::Error> {
    let sql = match group {
        RecordGroup::Session => {
            "SELECT number, name, (SELECT max(ts) FROM record WHERE session = number) AS last FROM session
             WHERE last IS NOT NULL ORDER BY last DESC, number DESC"
        }
        RecordGroup::Project => {
            "SELECT number, coalesce(project_alias.project, project.name),
                    (SELECT max(ts) FROM record WHERE project = number) AS last
             FROM project LEFT JOIN project_alias ON project_alias.name = project.name
             WHERE last IS NOT NULL ORDER BY last DESC, number DESC"
        }
    };
    let mut read = connection.prepare_cached(sql)?;
    let mut rows = read.query([])?;
    let (mut groups, mut places) = (Vec::<GroupSummary>::new(), HashMap::<String, usize>::new());
    while let Some(row) = rows.next()? {
        let (number, name): (i64, String) = (row.get(0)?, row.get(1)?);
        match places.get(&name) {
            Some(&at) => groups[at].numbers.push(number),
            None => {
                places.insert(name.clone(), groups.len());
                groups.push(GroupSummary { numbers: vec![number], name, last: row.get(2)? });
            }
        }
    }
    Ok(groups)
}

/// Returns the number of records of a session or project, and the time of the first, in microseconds; 0 without one.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn extent_of(
    connection: &Connection,
    group: RecordGroup,
    numbers: &[i64],
) -> Result<(i64, i64), rusqlite::Error> {
    let sql = match group {
        RecordGroup::Session => "SELECT count(*), min(ts) FROM record WHERE session = ?1",
        RecordGroup::Project => "SELECT count(*), min(ts) FROM record WHERE project = ?1",
    };
    let mut read = connection.prepare_cached(sql)?;
    let (mut count, mut first) = (0, i64::MAX);
    for number in numbers {
        let (more, earliest): (i64, Option<i64>) = read.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        count += more;
        first = first.min(earliest.unwrap_or(i64::MAX));
    }
    Ok((count, if count > 0 { first } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn the_newest_records_of_many_projects_are_merged() {
        let bench = Bench::new();
        for n in 0..60 {
            // Projects of 1, 2, 4, 8 … records, times in no order, some of them equal.
            let (project, minute) = ((n + 1_i32).ilog2(), n * 37 % 50);
            let ts = format!("2024-03-01T10:{minute:02}:00Z");
            bench.capture(&format!("record number {n}"), json!({"project": format!("p{project}"), "ts": ts}));
        }
        let connection = bench.connection();
        let every = "SELECT ts, seq FROM record WHERE ts BETWEEN ?1 AND ?2 AND project IS NOT ?3
                     ORDER BY ts DESC, seq DESC LIMIT ?4";
        let times =
            |from: i64, to: i64| (1_709_287_200_000_000 + from * 60_000_000, 1_709_287_200_000_000 + to * 60_000_000);
        for (since, until) in [(i64::MIN, i64::MAX), times(0, 49), times(10, 20), times(50, 60)] {
            for (except, most) in [(None, 1), (None, 7), (Some(3), 20), (None, 60), (Some(99), 1000), (None, 0)] {
                let mut read = connection.prepare_cached(every).unwrap();
                let want: Vec<(i64, i64)> = read
                    .query_map((since, until, except, most as i64), |row| Ok((row.get(0)?, row.get(1)?)))
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                let projects: Vec<i64> = except.into_iter().collect();
                let got = newest(&connection, (since, until), Projects::Except(&projects), most).unwrap();
                assert_eq!(got, want, "{most} from {since}");
                let others: Vec<i64> = (1..9).filter(|number| Some(*number) != except).collect();
                let got = newest(&connection, (since, until), Projects::Of(&others), most).unwrap();
                assert_eq!(got, want, "{most} from {since}");
            }
        }
    }
}
