//! The session briefing: the user's identity, current facts, recent sessions and patterns, and the best-connected
//! records; rendered ahead and cached, so that a session start reads one row.
//!
//! Table `wake` has one briefing per project, in which the project's own records come first. A cached briefing is valid
//! until a record is inserted; a stale one is rendered again, which is bounded work. `methods/session.rs` decides how
//! much of it a session is given.

use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::memory::graph::{metrics, patterns};
use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::project_filter::{ProjectFilter, ProjectScope};
use crate::memory::store::projects;
use crate::memory::store::record_list::{self, Projects};
use crate::memory::store::records;
use crate::memory::store::tags;
use crate::memory::text::cue_terms;
use crate::memory::text::excerpt::beginning;
use crate::sort;

/// Most facts, and the characters of each.
const MAX_FACT_COUNT: usize = 10;
const FACT_CHARS: usize = 100;

/// Records read to find facts, and to find recent records; the newest.
const READ_COUNT: i64 = 300;

/// How many more are read if those of other projects are left out. Picked.
const ONLY_FACTOR: usize = 10;

/// Most lines about patterns and sessions, and the characters of each.
const MAX_TOPIC_COUNT: usize = 7;
const TOPIC_CHARS: usize = 200;

/// Most patterns among these lines.
const MAX_PATTERN_COUNT: usize = 3;

/// Patterns from which they are chosen, the newest.
const PATTERN_READ_COUNT: usize = 50;

/// Most records of the rich club and newest records together, and the characters of each: 2000 tokens.
const MAX_RICH_COUNT: usize = 27;
const RICH_CHARS: usize = 300;

/// Characters of the identity record's text.
const IDENTITY_CHARS: usize = 160;

/// Most cached projects. Picked: the projects that one user works on in a week.
const MAX_PROJECT_COUNT: i64 = 16;

/// Newest records whose words are counted for the label. Picked.
const LABEL_RECORD_COUNT: usize = 30;

/// A rendered briefing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Briefing {
    /// The id of the record that describes the user.
    pub(crate) identity_id: Option<String>,
    /// The start of that record's text.
    pub(crate) identity: String,
    /// One line per fact.
    pub(crate) facts: Vec<String>,
    /// One line per pattern or session.
    pub(crate) topics: Vec<String>,
    /// One line per record.
    pub(crate) rich: Vec<String>,
    /// The word that most of the newest records share; empty if no two share one.
    pub(crate) label: String,
}

/// For whom a briefing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BriefingReader {
    /// The name that the project is shown by; empty if there is none.
    project: String,
    /// Records of other projects are left out.
    is_only: bool,
}

impl BriefingReader {
    /// Returns the reader of a session in `folder` of `project`, as it is once the folder was noted.
    ///
    /// # Errors
    /// Any error of reading the aliases.
    pub(crate) fn of(
        connection: &Connection,
        project: &str,
        folder: &str,
        scope: ProjectScope,
    ) -> Result<BriefingReader, rusqlite::Error> {
        let (project, folder) = if scope == ProjectScope::All { ("", "") } else { (project, folder) };
        let project = projects::name_of_caller(connection, project, folder)?;
        Ok(BriefingReader { project, is_only: scope == ProjectScope::Only })
    }

    fn filter(&self, connection: &Connection) -> Result<ProjectFilter, rusqlite::Error> {
        let scope = if self.is_only { ProjectScope::Only } else { ProjectScope::Prefer };
        ProjectFilter::of(connection, &self.project, "", scope)
    }
}

/// Returns the cached briefing for a reader, if no record was inserted since it was rendered.
///
/// # Errors
/// Any error of reading table `wake`.
pub(crate) fn cached(connection: &Connection, reader: &BriefingReader) -> Result<Option<Briefing>, rusqlite::Error> {
    let sql = "SELECT payload FROM wake WHERE project = ?1 AND is_only = ?2 AND newest = ?3";
    let mut read = connection.prepare_cached(sql)?;
    let newest = records::last_seq(connection)?;
    let text: Option<String> =
        read.query_row((&reader.project, reader.is_only, newest), |row| row.get(0)).optional()?;
    // A briefing that another release wrote in another format counts as not cached.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Renders the briefing for a reader and caches it.
///
/// # Errors
/// Any error of reading records or writing table `wake`.
pub(crate) fn cache(connection: &Connection, reader: &BriefingReader) -> Result<(), rusqlite::Error> {
    let briefing = render(connection, reader, &reader.filter(connection)?)?;
    let text = serde_json::to_string(&briefing).unwrap_or_default();
    let sql = "INSERT INTO wake (project, is_only, newest, payload) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (project, is_only) DO UPDATE SET newest = excluded.newest, payload = excluded.payload";
    let newest = records::last_seq(connection)?;
    connection.prepare_cached(sql)?.execute((&reader.project, reader.is_only, newest, text))?;
    let sql = "DELETE FROM wake WHERE project IN (SELECT project FROM wake WHERE project <> ?2
                   GROUP BY project ORDER BY max(newest) DESC, project LIMIT -1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute((MAX_PROJECT_COUNT, &reader.project))?;
    Ok(())
}

/// Returns the readers to render briefings for: that of no project, then those of the cached ones.
///
/// # Errors
/// Any error of reading table `wake`.
pub(crate) fn readers(connection: &Connection) -> Result<Vec<BriefingReader>, rusqlite::Error> {
    let sql = "SELECT '', 0 UNION SELECT project, is_only FROM wake ORDER BY 1, 2";
    let mut read = connection.prepare_cached(sql)?;
    read.query_map([], |row| Ok(BriefingReader { project: row.get(0)?, is_only: row.get(1)? }))?.collect()
}

/// Renders the briefing for a reader, of the records that the filter shows.
///
/// # Errors
/// Any error of reading the store.
pub(crate) fn render(
    connection: &Connection,
    reader: &BriefingReader,
    filter: &ProjectFilter,
) -> Result<Briefing, rusqlite::Error> {
    let view = ProjectView { connection, has_project: !reader.project.is_empty(), filter };
    let recent = view.recent()?;
    let identity = view.newest_with(tags::IDENTITY, 1)?.first().copied();
    let mut said = Said::default();
    if let Some(one) = identity.map(|seq| view.record(seq)).transpose()?.flatten() {
        said.is_new(&one.text);
    }
    Ok(Briefing {
        identity_id: identity.map(|seq| records::id_of(connection, seq)).transpose()?.map(|id| id.to_string()),
        identity: match identity {
            Some(seq) => view.record(seq)?.map_or_else(String::new, |one| beginning(&one.text, IDENTITY_CHARS)),
            None => String::new(),
        },
        facts: view.facts(&mut said)?,
        topics: view.topics(&recent, &mut said)?,
        rich: view.rich(&recent, &mut said)?,
        label: label(&recent),
    })
}

/// The beginnings of the texts that the briefing has. It says nothing twice.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    /// Returns true if the briefing does not have a text that begins like this one, and adds it.
    fn is_new(&mut self, text: &str) -> bool {
        let beginning = beginning(text, FACT_CHARS - 2);
        let is_new = !self.0.contains(&beginning);
        if is_new {
            self.0.push(beginning);
        }
        is_new
    }
}

/// The store as read for one project.
struct ProjectView<'c> {
    connection: &'c Connection,
    has_project: bool,
    filter: &'c ProjectFilter,
}

/// A record to render.
struct BriefingRecord {
    seq: i64,
    ts: UnixMicros,
    role: Role,
    session: String,
    /// The record is of tier working or episodic.
    is_episode: bool,
    /// The record is of the project.
    is_own: bool,
    /// The record is not superseded.
    is_current: bool,
    text: String,
}

impl ProjectView<'_> {
    /// Returns the newest `most` records with a tag that are shown.
    fn newest_with(&self, tag: &str, most: usize) -> Result<Vec<i64>, rusqlite::Error> {
        let read_count = if self.filter.is_only() { most * ONLY_FACTOR } else { most };
        let mut shown = tags::newest_with(self.connection, tag, read_count)?;
        self.retain_shown(&mut shown)?;
        shown.truncate(most);
        Ok(shown)
    }

    fn retain_shown(&self, seqs: &mut Vec<i64>) -> Result<(), rusqlite::Error> {
        let mut shown = Vec::with_capacity(seqs.len());
        for &seq in &*seqs {
            if self.filter.admits_record(self.connection, seq)? {
                shown.push(seq);
            }
        }
        *seqs = shown;
        Ok(())
    }

    /// Returns a record, if there is one and it is shown.
    fn record(&self, seq: i64) -> Result<Option<BriefingRecord>, rusqlite::Error> {
        if !self.filter.admits_record(self.connection, seq)? {
            return Ok(None);
        }
        let mut read = self.connection.prepare_cached(
            "SELECT ts, role, session.name, project, valid_to IS NULL, tier <= ?2, text FROM record
             JOIN session ON session.number = record.session WHERE seq = ?1",
        )?;
        let one = read.query_row((seq, Tier::Episodic as i64), |row| {
            Ok(BriefingRecord {
                seq,
                ts: UnixMicros(row.get(0)?),
                role: Role::numbered(row.get(1)?),
                session: row.get(2)?,
                is_own: self.filter.is_own(row.get(3)?),
                is_current: row.get(4)?,
                is_episode: row.get(5)?,
                text: row.get(6)?,
            })
        });
        one.optional()
    }

    /// Returns these records in the order given, but those of the project first.
    fn records(&self, seqs: &[i64]) -> Result<Vec<BriefingRecord>, rusqlite::Error> {
        let mut records = Vec::with_capacity(seqs.len());
        for &seq in seqs {
            records.extend(self.record(seq)?);
        }
        sort::sort_by_key(&mut records, |one| !one.is_own);
        Ok(records)
    }

    /// Returns the newest current episodes, those of the project first.
    fn recent(&self) -> Result<Vec<BriefingRecord>, rusqlite::Error> {
        let newest = |projects: &[i64]| -> Result<Vec<i64>, rusqlite::Error> {
            let times = (i64::MIN, i64::MAX);
            let found = record_list::newest(self.connection, times, Projects::Of(projects), READ_COUNT as usize / 2)?;
            Ok(found.into_iter().map(|(_, seq)| seq).collect())
        };
        let mut seqs = newest(self.filter.own())?;
        let others = if self.filter.is_only() {
            newest(&self.filter.others())?
        } else {
            let mut all = self.connection.prepare_cached("SELECT seq FROM record ORDER BY seq DESC LIMIT ?1")?;
            all.query_map([READ_COUNT / 2], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for seq in others {
            if !seqs.contains(&seq) {
                seqs.push(seq);
            }
        }
        let mut records = self.records(&seqs)?;
        records.retain(|one| one.is_current && one.is_episode);
        sort::sort_by_key(&mut records, |one| (!one.is_own, Reverse((one.ts, one.seq))));
        Ok(records)
    }

    /// Returns the current facts: pinned records, then corrections and other records that are no episodes; each group
    /// has the project's first.
    fn facts(&self, said: &mut Said) -> Result<Vec<String>, rusqlite::Error> {
        let mut seqs = self.newest_with(tags::PINNED, MAX_FACT_COUNT)?;
        let pinned = seqs.len();
        // The literal 1 is `Tier::Episodic`; model/record.rs asserts it.
        let mut facts = self
            .connection
            .prepare_cached("SELECT seq FROM record WHERE tier > 1 ORDER BY ts DESC, seq DESC LIMIT ?1")?;
        let read_count = if self.filter.is_only() { READ_COUNT * ONLY_FACTOR as i64 } else { READ_COUNT };
        let mut facts = facts.query_map([read_count], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        self.retain_shown(&mut facts)?;
        facts.truncate(READ_COUNT as usize);
        for seq in self.newest_with(tags::CONTRADICT, MAX_FACT_COUNT)?.into_iter().chain(facts) {
            if !seqs.contains(&seq) && !tags::has(self.connection, seq, tags::PATTERN)? {
                seqs.push(seq);
            }
        }
        let mut lines: Vec<BriefingRecord> = self.records(&seqs[..pinned])?;
        lines.extend(self.records(&seqs[pinned..])?);
        let current = lines.into_iter().filter(|one| one.is_current && said.is_new(&one.text)).take(MAX_FACT_COUNT);
        Ok(current.map(|one| format!("- {}", beginning(&one.text, FACT_CHARS - 2))).collect())
    }

    /// Returns the most confident patterns, then the newest sessions of the project, each by the start of its newest record
    /// of role user.
    fn topics(&self, recent: &[BriefingRecord], said: &mut Said) -> Result<Vec<String>, rusqlite::Error> {
        let own = self.has_project.then_some(self.filter.own());
        let patterns = patterns::newest(self.connection, own, self.filter, PATTERN_READ_COUNT)?;
        let mut topics: Vec<String> = patterns
            .iter()
            .take(MAX_PATTERN_COUNT)
            .map(|one| format!("{} (in {} records)", beginning(&one.pattern, TOPIC_CHARS - 24), one.evidence_count))
            .collect();
        let mut sessions: Vec<&str> = Vec::new();
        let is_own = |one: &&BriefingRecord| one.role == Role::User && (one.is_own || own.is_none());
        for one in recent.iter().filter(is_own) {
            if topics.len() < MAX_TOPIC_COUNT && !sessions.contains(&one.session.as_str()) && said.is_new(&one.text) {
                sessions.push(&one.session);
                topics.push(format!("{}: {}", day(one.ts), beginning(&one.text, TOPIC_CHARS - 12)));
            }
        }
        Ok(topics)
    }

    /// Returns the project's newest records, then the best-connected ones, then the newest of all.
    fn rich(&self, recent: &[BriefingRecord], said: &mut Said) -> Result<Vec<String>, rusqlite::Error> {
        let club = metrics::rich_club(self.connection)?;
        let club = self.records(&club)?;
        let own = recent.iter().filter(|one| one.is_own).take(MAX_RICH_COUNT / 2);
        let connected = club.iter().filter(|one| one.is_current && one.is_episode);
        let mut lines = Vec::new();
        for one in own.chain(connected.take(MAX_RICH_COUNT / 2)).chain(recent) {
            if lines.len() < MAX_RICH_COUNT && said.is_new(&one.text) {
                let start = format!("- {} {}: ", day(one.ts), one.role.name());
                lines.push(format!("{start}{}", beginning(&one.text, RICH_CHARS - start.len())));
            }
        }
        Ok(lines)
    }
}

fn day(ts: UnixMicros) -> String {
    ts.to_string().chars().take(10).collect()
}

/// Returns the word, no stop word, that most of the newest records share, the longest of several; empty if no two share
/// one.
fn label(recent: &[BriefingRecord]) -> String {
    let mut counts: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for one in recent.iter().take(LABEL_RECORD_COUNT) {
        for term in cue_terms::query_terms(&one.text) {
            *counts.entry(term.word).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by(|a, b| (a.1, a.0.len(), &b.0).cmp(&(b.1, b.0.len(), &a.0)));
    most.filter(|(_, count)| *count > 1).map_or_else(String::new, |(word, _)| word)
}
