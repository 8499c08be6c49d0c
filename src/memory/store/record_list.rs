//! Lists of records, the newest first: of projects, or of a session.

use std::collections::BinaryHeap;

use rusqlite::Connection;

/// Records of a project that are read at first for [`NewestRecords`]; each further read takes twice as many.
const FIRST_PAGE_COUNT: usize = 4;

/// Records of a session that are read at once. Picked.
const SESSION_PAGE_COUNT: usize = 256;

/// The newest record of a project that [`NewestRecords`] has not returned, with what was read of the project.
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
    /// All but these, sorted.
    Except(&'p [i64]),
}

/// The records of some projects, the newest first.
///
/// Only the records of one project have an index in the order of time, so the projects are merged: of however many
/// projects, the newest record of each is looked up once, and then about as many records are read as are returned.
pub(crate) struct NewestRecords<'c> {
    connection: &'c Connection,
    since: i64,
    /// Records at this time are read before this number only.
    place: (i64, i64),
    /// Most records that are read at once.
    page: usize,
    heads: BinaryHeap<ProjectHead>,
}

impl<'c> NewestRecords<'c> {
    /// Returns the records from `since`, in microseconds, to the place `(ts, seq)`, which is left out.
    ///
    /// # Errors
    /// Any SQLite error.
    fn of(
        connection: &'c Connection,
        since: i64,
        place: (i64, i64),
        projects: Projects<'_>,
        page: usize,
    ) -> Result<NewestRecords<'c>, rusqlite::Error> {
        let newest = newest_of_each(connection, (since, place.0), projects)?;
        let head = |(ts, project)| ProjectHead { ts, seq: i64::MAX, project, page: FIRST_PAGE_COUNT, rest: Vec::new() };
        Ok(NewestRecords { connection, since, place, page, heads: newest.into_iter().map(head).collect() })
    }

    /// Returns the time and the seq of the next record.
    ///
    /// # Errors
    /// Any SQLite error.
    fn next(&mut self) -> Result<Option<(i64, i64)>, rusqlite::Error> {
        while let Some(mut head) = self.heads.pop() {
            let found = (head.seq < i64::MAX).then_some((head.ts, head.seq));
            if head.rest.is_empty() {
                let before = if found.is_none() && head.ts == self.place.0 { self.place.1 } else { head.seq };
                let (times, page) = ((self.since, head.ts), head.page.min(self.page));
                head.rest = of_project(self.connection, head.project, times, before, page)?;
                head.rest.reverse();
                head.page *= 2;
            }
            if let Some((ts, seq)) = head.rest.pop() {
                self.heads.push(ProjectHead { ts, seq, ..head });
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Returns the time and the seq of the newest `most` records of these projects from `since` to `until`, in microseconds,
/// the newest first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn newest(
    connection: &Connection,
    (since, until): (i64, i64),
    projects: Projects<'_>,
    most: usize,
) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
    let mut all = Vec::new();
    if most > 0 {
        let mut records = NewestRecords::of(connection, since, (until, i64::MAX), projects, most)?;
        while all.len() < most
            && let Some(one) = records.next()?
        {
            all.push(one);
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
                if numbers.binary_search(&number).is_err() {
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

/// The records of a session or of projects, the newest first.
pub(crate) enum RecordList<'c> {
    OfSession(SessionRecords<'c>),
    OfProjects(NewestRecords<'c>),
}

/// The records of a session, the newest first.
pub(crate) struct SessionRecords<'c> {
    connection: &'c Connection,
    session: i64,
    /// The numbers of the projects whose records are wanted, sorted; `None` for all.
    projects: Option<Vec<i64>>,
    since: i64,
    /// Where the next page begins.
    place: (i64, i64),
    /// What was read and not returned: time, seq and project, the oldest first.
    rest: Vec<(i64, i64, i64)>,
}

/// A record of a [`RecordList`].
pub(crate) struct ListedRecord {
    /// Its time and its seq.
    pub(crate) place: (i64, i64),
    /// It is of one of the projects.
    pub(crate) is_wanted: bool,
}

impl<'c> RecordList<'c> {
    /// Returns the records of a session if it is given, and of the projects with these numbers if they are; from `since`,
    /// in microseconds, to the place `(ts, seq)`, which is left out.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn of(
        connection: &'c Connection,
        session: Option<i64>,
        projects: Option<Vec<i64>>,
        since: i64,
        place: (i64, i64),
    ) -> Result<RecordList<'c>, rusqlite::Error> {
        let projects = projects.map(|mut numbers| {
            numbers.sort_unstable();
            numbers
        });
        if let Some(session) = session {
            let rest = Vec::new();
            return Ok(RecordList::OfSession(SessionRecords { connection, session, projects, since, place, rest }));
        }
        let which = projects.as_deref().map_or(Projects::Except(&[]), Projects::Of);
        Ok(RecordList::OfProjects(NewestRecords::of(connection, since, place, which, SESSION_PAGE_COUNT)?))
    }

    /// Returns the next record; `None` behind the last.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn next(&mut self) -> Result<Option<ListedRecord>, rusqlite::Error> {
        match self {
            RecordList::OfSession(records) => records.next(),
            RecordList::OfProjects(records) => Ok(records.next()?.map(|place| ListedRecord { place, is_wanted: true })),
        }
    }
}

impl SessionRecords<'_> {
    fn next(&mut self) -> Result<Option<ListedRecord>, rusqlite::Error> {
        if self.rest.is_empty() {
            let mut read = self.connection.prepare_cached(
                "SELECT ts, seq, project FROM record WHERE session = ?1 AND ts BETWEEN ?2 AND ?3 AND (ts < ?3 OR seq < ?4)
                 ORDER BY ts DESC, seq DESC LIMIT ?5",
            )?;
            let (ts, seq) = self.place;
            let values = (self.session, self.since, ts, seq, SESSION_PAGE_COUNT as i64);
            let rows = read.query_map(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            self.rest = rows.collect::<Result<_, _>>()?;
            self.rest.reverse();
            self.place = self.rest.first().map_or(self.place, |&(ts, seq, _)| (ts, seq));
        }
        let Some((ts, seq, project)) = self.rest.pop() else { return Ok(None) };
        let is_wanted = self.projects.as_ref().is_none_or(|numbers| numbers.binary_search(&project).is_ok());
        Ok(Some(ListedRecord { place: (ts, seq), is_wanted }))
    }
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
