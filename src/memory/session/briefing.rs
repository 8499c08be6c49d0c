//! What a session starts with: who the user is, what holds, what the last sessions were about, and
//! the records that much else hangs on; rendered beforehand and kept, so that a start reads one row.
//!
//! Rendered from one project's point of view its own matters come first. What is kept is good as long
//! as no record has come since; who finds it stale renders it anew, which is bounded work
//! (`session.rs` decides how much of it a session is given).

use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::memory::graph::{metrics, patterns};
use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::sort;
use crate::memory::store::{records, tags};
use crate::memory::text::excerpt::beginning;
use crate::memory::text::tokenizer;

/// Facts that are rendered, and the characters of each.
const FACTS: usize = 10;
const FACT_CHARS: usize = 100;

/// Facts and records that are looked at to find them, the newest.
const LOOKED_AT: i64 = 300;

/// Lines about patterns and sessions, and the characters of each.
const TOPICS: usize = 7;
const TOPIC_CHARS: usize = 200;

/// Patterns among these lines.
const PATTERNS: usize = 3;

/// Patterns that these are chosen from, the newest.
const PATTERNS_SEEN: usize = 50;

/// Records that much hangs on, or that are the newest, and the characters of each: 2000 tokens.
const RICH: usize = 27;
const RICH_CHARS: usize = 300;

/// Characters of the identity record's text.
const IDENTITY_CHARS: usize = 160;

/// Projects that are kept. Picked: those that somebody works on in one week.
const PROJECTS: i64 = 16;

/// What was rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Briefing {
    /// The id of the record that says who the user is.
    pub(crate) identity_id: Option<String>,
    /// The beginning of its text.
    pub(crate) identity: String,
    /// A line a fact.
    pub(crate) facts: Vec<String>,
    /// A line a pattern or session.
    pub(crate) topics: Vec<String>,
    /// A line a record.
    pub(crate) rich: Vec<String>,
    /// The word that tells most of the newest records.
    pub(crate) label: String,
}

/// What was rendered from a project's point of view, if no record has come since.
///
/// # Errors
/// The database's.
pub(crate) fn cached(connection: &Connection, project: &str) -> Result<Option<Briefing>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT payload FROM wake WHERE project = ?1 AND newest = ?2")?;
    let newest = records::last_seq(connection)?;
    let text: Option<String> = read.query_row((project, newest), |row| row.get(0)).optional()?;
    // Another release's rendering is none.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Renders from a project's point of view and keeps it.
///
/// # Errors
/// The database's.
pub(crate) fn keep(connection: &Connection, project: &str) -> Result<(), rusqlite::Error> {
    let text = serde_json::to_string(&render(connection, project)?).unwrap_or_default();
    let sql = "INSERT INTO wake (project, newest, payload) VALUES (?1, ?2, ?3)
               ON CONFLICT (project) DO UPDATE SET newest = excluded.newest, payload = excluded.payload";
    connection.prepare_cached(sql)?.execute((project, records::last_seq(connection)?, text))?;
    let sql = "DELETE FROM wake WHERE project IN (
                   SELECT project FROM wake WHERE project <> ?2 ORDER BY newest DESC, project LIMIT -1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute((PROJECTS, project))?;
    Ok(())
}

/// The points of view that are kept, that of no project first.
///
/// # Errors
/// The database's.
pub(crate) fn projects(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT '' UNION SELECT project FROM wake ORDER BY 1")?;
    read.query_map([], |row| row.get(0))?.collect()
}

/// Renders from a project's point of view; `''` is none.
///
/// # Errors
/// The database's.
pub(crate) fn render(connection: &Connection, project: &str) -> Result<Briefing, rusqlite::Error> {
    let view = ProjectView { connection, project };
    let recent = view.recent()?;
    let identity = tags::newest_with(connection, tags::IDENTITY, 1)?.first().copied();
    Ok(Briefing {
        identity_id: identity.map(|seq| records::id_of(connection, seq)).transpose()?.map(|id| id.to_string()),
        identity: match identity {
            Some(seq) => view.record(seq)?.map_or_else(String::new, |one| beginning(&one.text, IDENTITY_CHARS)),
            None => String::new(),
        },
        facts: view.facts()?,
        topics: view.topics(&recent)?,
        rich: view.rich(&recent)?,
        label: label(&recent),
    })
}

struct ProjectView<'c> {
    connection: &'c Connection,
    project: &'c str,
}

/// A record as it is rendered.
struct BriefingRecord {
    seq: i64,
    ts: UnixMicros,
    role: Role,
    session: String,
    /// Is it an episode?
    is_said: bool,
    /// Is it of the project?
    here: bool,
    holds: bool,
    text: String,
}

impl ProjectView<'_> {
    fn record(&self, seq: i64) -> Result<Option<BriefingRecord>, rusqlite::Error> {
        let mut read = self.connection.prepare_cached(
            "SELECT ts, role, session.name, project.name = ?2, valid_to IS NULL, tier <= ?3, text FROM record
             JOIN session ON session.number = record.session JOIN project ON project.number = record.project
             WHERE seq = ?1",
        )?;
        let one = read.query_row((seq, self.project, Tier::Episodic as i64), |row| {
            Ok(BriefingRecord {
                seq,
                ts: UnixMicros(row.get(0)?),
                role: Role::numbered(row.get(1)?),
                session: row.get(2)?,
                here: row.get(3)?,
                holds: row.get(4)?,
                is_said: row.get(5)?,
                text: row.get(6)?,
            })
        });
        one.optional()
    }

    /// These records in their order, those of the project first.
    fn records(&self, seqs: &[i64]) -> Result<Vec<BriefingRecord>, rusqlite::Error> {
        let mut records = Vec::with_capacity(seqs.len());
        for &seq in seqs {
            records.extend(self.record(seq)?);
        }
        sort::sort_by_key(&mut records, |one| !one.here);
        Ok(records)
    }

    /// What was said last in the project, then what was said last at all.
    fn recent(&self) -> Result<Vec<BriefingRecord>, rusqlite::Error> {
        let mut here = self.connection.prepare_cached(
            "SELECT seq FROM record WHERE project = ?1
             ORDER BY ts DESC, seq DESC LIMIT ?2",
        )?;
        let mut all = self.connection.prepare_cached("SELECT seq FROM record ORDER BY seq DESC LIMIT ?1")?;
        let mut seqs: Vec<i64> = Vec::new();
        if !self.project.is_empty() {
            let project = records::project_number(self.connection, self.project)?;
            seqs = here.query_map((project, LOOKED_AT / 2), |row| row.get(0))?.collect::<Result<_, _>>()?;
        }
        for seq in all.query_map([LOOKED_AT / 2], |row| row.get(0))? {
            let seq = seq?;
            if !seqs.contains(&seq) {
                seqs.push(seq);
            }
        }
        let mut records = self.records(&seqs)?;
        records.retain(|one| one.holds && one.is_said);
        sort::sort_by_key(&mut records, |one| (!one.here, Reverse((one.ts, one.seq))));
        Ok(records)
    }

    /// What is pinned, then what was corrected, then what is no episode, the project's first.
    fn facts(&self) -> Result<Vec<String>, rusqlite::Error> {
        let mut seqs = tags::newest_with(self.connection, tags::PINNED, FACTS)?;
        let pinned = seqs.len();
        // The literal 1 is `Tier::Episodic`; model/record.rs asserts it.
        let mut facts = self
            .connection
            .prepare_cached("SELECT seq FROM record WHERE tier > 1 ORDER BY ts DESC, seq DESC LIMIT ?1")?;
        let facts = facts.query_map([LOOKED_AT], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        for seq in tags::newest_with(self.connection, tags::CONTRADICT, FACTS)?.into_iter().chain(facts) {
            if !seqs.contains(&seq) && !tags::has(self.connection, seq, tags::PATTERN)? {
                seqs.push(seq);
            }
        }
        let mut lines: Vec<BriefingRecord> = self.records(&seqs[..pinned])?;
        lines.extend(self.records(&seqs[pinned..])?);
        let held = lines.into_iter().filter(|one| one.holds).take(FACTS);
        Ok(held.map(|one| format!("- {}", beginning(&one.text, FACT_CHARS - 2))).collect())
    }

    /// The surest patterns, then the newest sessions, each by the first words of its newest turn that a
    /// user said.
    fn topics(&self, recent: &[BriefingRecord]) -> Result<Vec<String>, rusqlite::Error> {
        let own = Some(self.project).filter(|project| !project.is_empty());
        let patterns = patterns::newest(self.connection, own, PATTERNS_SEEN)?;
        let mut topics: Vec<String> = patterns
            .iter()
            .take(PATTERNS)
            .map(|one| format!("{} (in {} records)", beginning(&one.pattern, TOPIC_CHARS - 24), one.evidence_count))
            .collect();
        let mut sessions: Vec<&str> = Vec::new();
        for one in recent.iter().filter(|one| one.role == Role::User) {
            if topics.len() < TOPICS && !sessions.contains(&one.session.as_str()) {
                sessions.push(&one.session);
                topics.push(format!("{}: {}", day(one.ts), beginning(&one.text, TOPIC_CHARS - 12)));
            }
        }
        Ok(topics)
    }

    /// The project's newest records, then the best-connected ones, then the newest of all.
    fn rich(&self, recent: &[BriefingRecord]) -> Result<Vec<String>, rusqlite::Error> {
        let club = metrics::rich_club(self.connection)?;
        let club = self.records(&club)?;
        let here = recent.iter().filter(|one| one.here).take(RICH / 2);
        let held = club.iter().filter(|one| one.holds && one.is_said);
        let (mut seen, mut lines) = (Vec::new(), Vec::new());
        for one in here.chain(held.take(RICH / 2)).chain(recent) {
            if lines.len() < RICH && !seen.contains(&one.seq) {
                seen.push(one.seq);
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

/// The telling word that most of the newest records share, the longest of several; none where no two
/// share one.
fn label(recent: &[BriefingRecord]) -> String {
    let mut counts: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for one in recent.iter().take(30) {
        for asked in tokenizer::query_terms(&one.text) {
            *counts.entry(asked.word).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by(|a, b| (a.1, a.0.len(), &b.0).cmp(&(b.1, b.0.len(), &a.0)));
    most.filter(|(_, count)| *count > 1).map_or_else(String::new, |(word, _)| word)
}
