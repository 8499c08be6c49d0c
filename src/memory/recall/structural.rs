//! `memory_recall_structural`: finds records by speaker, session, tier, tag, language and day instead of words.
//!
//! A record must match all roles given. No record has a role of another name, so a query with one has no hits: clients
//! may use roles of their own.

use rusqlite::Connection;
use serde::Serialize;

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::recall::hit::{ProjectMatch, RankedHit};
use crate::memory::recall::reply::{MAX_TOKEN_CHARS, RecallResponse};
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::reader::Reader;
use crate::memory::store::record_list::{self, Projects};
use crate::memory::store::records;
use crate::memory::store::tags;
use crate::memory::text::language;

/// Most records that a call may read.
const MAX_READ_COUNT: i64 = 50_000;

/// Records read at first for a query that no index answers, and how many times as many the next time.
const FIRST_PAGE_COUNT: usize = 1000;
const PAGE_GROWTH: usize = 8;

/// The result of `memory_recall_structural`: that of `memory_recall`, and the number of roles given.
#[derive(Serialize)]
pub(crate) struct StructuralResponse {
    #[serde(flatten)]
    recalled: RecallResponse,
    structural_query_size: usize,
}

/// The roles given.
#[derive(Debug, Default)]
struct StructuralQuery {
    who: Option<Speaker>,
    session: Option<String>,
    tier: Option<Tier>,
    tag: Option<String>,
    language: Option<String>,
    /// The first and the last microsecond of the day.
    day: Option<(UnixMicros, UnixMicros)>,
    /// A role was given that no record has.
    has_unknown: bool,
    /// The number of roles.
    size: usize,
}

/// The role `who`.
#[derive(Debug)]
enum Speaker {
    Role(Role),
    /// The speaker label that the text begins with: lower case, with the colon.
    Named(String),
}

/// Answers `memory_recall_structural`; hits are ordered by time, the newest first.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn recall(reader: &Reader, profile: &Profile, params: &Params<'_>) -> Result<StructuralResponse, CallError> {
    let query = StructuralQuery::read(params)?;
    let budget = params.integer_or("budget_tokens", 0..=i64::from(u32::MAX), 2000)? as usize;
    let most = params.integer_or("max_records", 1..=MAX_READ_COUNT, 5000)? as usize;
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let projects = caller.filter(connection)?;
    let hits = query.hits(connection, &projects, budget, most)?;
    let recalled = RecallResponse::structural(connection, hits, budget, profile)?;
    Ok(StructuralResponse { recalled, structural_query_size: query.size })
}

impl StructuralQuery {
    fn read(params: &Params<'_>) -> Result<StructuralQuery, CallError> {
        let name = "structure_query";
        let raw = params.raw(name).filter(|raw| *raw != "null").unwrap_or("{}");
        let expected = "an object of roles such as who, session, tier, tag, language, day, each with a string";
        let roles: std::collections::BTreeMap<String, String> =
            serde_json::from_str(raw).map_err(|_| CallError::invalid(name, expected))?;
        let mut query = StructuralQuery { size: roles.len(), ..StructuralQuery::default() };
        for (role, value) in roles {
            match &*role {
                "who" => query.who = Some(Speaker::of(&value)),
                "session" => query.session = Some(value),
                "tag" => query.tag = Some(value),
                "language" => query.language = Some(value.to_lowercase()),
                "tier" => {
                    let expected = "an object whose tier is one of working, episodic, semantic, procedural, parametric";
                    query.tier = Some(Tier::named(&value).ok_or_else(|| CallError::invalid(name, expected))?);
                }
                "day" => {
                    let expected = "an object whose day is a date such as 2024-05-07";
                    let (first, last) =
                        (UnixMicros::parse(&value, DateBound::Start), UnixMicros::parse(&value, DateBound::End));
                    let (Some(first), Some(last)) = (first, last) else {
                        return Err(CallError::invalid(name, expected));
                    };
                    query.day = Some((first, last));
                }
                _ => query.has_unknown = true,
            }
        }
        Ok(query)
    }

    /// Returns the records that match all roles, the newest first: at least those that fit a `budget` of tokens, out of
    /// `most` records.
    fn hits(
        &self,
        connection: &Connection,
        projects: &ProjectFilter,
        budget: usize,
        most: usize,
    ) -> Result<Vec<RankedHit>, rusqlite::Error> {
        let (mut hits, mut tokens) = (Vec::new(), 0);
        if self.has_unknown {
            return Ok(hits);
        }
        let (mut judged, mut page) = (0, if self.has_index() { most } else { most.min(FIRST_PAGE_COUNT) });
        loop {
            let mut candidates = self.candidates(connection, projects, page)?;
            candidates.sort_unstable_by(|a, b| b.cmp(a));
            for &(_, seq) in candidates.iter().take(most).skip(judged) {
                // The exact bounds are those of the reply.
                if tokens > budget && !hits.is_empty() {
                    return Ok(hits);
                }
                if projects.admits_record(connection, seq)?
                    && let Some(length) = self.admits(connection, seq)?
                {
                    tokens += length / MAX_TOKEN_CHARS;
                    hits.push(RankedHit::plain(seq, 1.0 / (hits.len() + 1) as f64, ProjectMatch::Other));
                }
            }
            if candidates.len() < page || page == most {
                return Ok(hits);
            }
            judged = candidates.len();
            page = most.min(page * PAGE_GROWTH);
        }
    }

    /// Returns true if a role has an index, whose order is not that of time.
    fn has_index(&self) -> bool {
        self.tag.is_some()
            || self.session.is_some()
            || self.tier.is_some_and(|tier| tier as i64 > Tier::Episodic as i64)
    }

    /// Returns the newest records, with their times, that match the most selective role that has an index.
    fn candidates(
        &self,
        connection: &Connection,
        projects: &ProjectFilter,
        most: usize,
    ) -> Result<Vec<(i64, i64)>, rusqlite::Error> {
        let limit = most as i64;
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        if let Some(tag) = &self.tag {
            let mut of_tag = connection.prepare_cached(
                "SELECT record.ts, record.seq FROM tag JOIN record ON record.seq = tag.record
                 WHERE tag.name = ?1 ORDER BY tag.record DESC LIMIT ?2",
            )?;
            return of_tag.query_map((tag, limit), pair)?.collect();
        }
        if let Some(session) = &self.session {
            let number = records::session_number(connection, session)?;
            let mut of_session = connection
                .prepare_cached("SELECT ts, seq FROM record WHERE session = ?1 ORDER BY seq DESC LIMIT ?2")?;
            return of_session.query_map((number, limit), pair)?.collect();
        }
        let (first, last) = self.day.map_or((i64::MIN, i64::MAX), |(first, last)| (first.0, last.0));
        if self.tier.is_some_and(|tier| tier as i64 > Tier::Episodic as i64) {
            // The literal 1 is `Tier::Episodic`; model/record.rs asserts it.
            let mut facts = connection.prepare_cached(
                "SELECT ts, seq FROM record WHERE tier > 1 AND ts BETWEEN ?1 AND ?2 ORDER BY ts DESC LIMIT ?3",
            )?;
            return facts.query_map((first, last, limit), pair)?.collect();
        }
        let shown = projects.shown();
        let projects = shown.as_deref().map_or(Projects::Except(&[]), Projects::Of);
        record_list::newest(connection, (first, last), projects, most)
    }

    /// Returns the number of characters of the record's text if the record matches all roles.
    fn admits(&self, connection: &Connection, seq: i64) -> Result<Option<usize>, rusqlite::Error> {
        let mut read = connection.prepare_cached(
            "SELECT record.ts, record.tier, record.role, session.name, record.text FROM record
             JOIN session ON session.number = record.session WHERE record.seq = ?1",
        )?;
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (ts, tier, role) = (UnixMicros(row.get(0)?), row.get::<_, i64>(1)?, Role::numbered(row.get(2)?));
        let text = row.get_ref(4)?.as_str()?;
        let is_match = self.day.is_none_or(|(first, last)| (first..=last).contains(&ts))
            && self.tier.is_none_or(|only| only as i64 == tier)
            && self.session.as_deref().is_none_or(|only| row.get_ref(3).is_ok_and(|name| name.as_str() == Ok(only)))
            && self.who.as_ref().is_none_or(|who| who.said(role, text))
            && self.language.as_deref().is_none_or(|only| language::of(text) == only);
        if !is_match {
            return Ok(None);
        }
        match &self.tag {
            Some(tag) if !tags::has(connection, seq, tag)? => Ok(None),
            _ => Ok(Some(text.chars().count())),
        }
    }
}

impl Speaker {
    fn of(value: &str) -> Speaker {
        match Role::named(value) {
            Some(role) => Speaker::Role(role),
            None => Speaker::Named(format!("{}:", value.trim().to_lowercase())),
        }
    }

    fn said(&self, role: Role, text: &str) -> bool {
        match self {
            Speaker::Role(only) => *only == role,
            Speaker::Named(name) => {
                let start: String = text.trim_start().chars().take(name.chars().count()).collect();
                start.to_lowercase() == *name
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn found(bench: &Bench, roles: &Value) -> Vec<String> {
        let got = bench.ok("memory_recall_structural", json!({"structure_query": roles}));
        assert_eq!(got["structural_query_size"], roles.as_object().unwrap().len());
        let hits = got["hits"].as_array().unwrap();
        hits.iter().map(|hit| hit["literal_surface"].as_str().unwrap()[..6].to_owned()).collect()
    }

    fn sea_records() -> Bench {
        let bench = Bench::new();
        for (text, session, role, tier, ts, project) in [
            ("one 11 Anna was at the sea", "s", "user", "episodic", "2024-05-01T10:00:00Z", "p"),
            ("two 22: the sea is the best of all", "s", "assistant", "episodic", "2024-05-03", ""),
            ("drei 3 das Meer ist nicht weit von hier", "t", "user", "semantic", "2024-05-01T23:59:59Z", "q"),
            ("four 4: the sea and the boat", "t", "user", "working", "2024-05-02T00:00:00Z", "p"),
        ] {
            let more = json!({"session_id": session, "role": role, "tier": tier, "ts": ts, "project": project});
            bench.capture(text, more);
        }
        bench
    }

    #[test]
    fn records_match_all_roles_the_newest_first() {
        let bench = sea_records();
        for (roles, want) in [
            (json!({}), &["two 22", "four 4", "drei 3", "one 11"][..]),
            (json!({"who": "user"}), &["four 4", "drei 3", "one 11"]),
            (json!({"who": "assistant"}), &["two 22"]),
            (json!({"who": "Four 4"}), &["four 4"]),
            (json!({"who": "nobody"}), &[]),
            (json!({"agent": "planner"}), &[]),
            (json!({"role": "user", "who": "user"}), &[]),
            (json!({"session": "s"}), &["two 22", "one 11"]),
            (json!({"session": "none"}), &[]),
            (json!({"tier": "semantic"}), &["drei 3"]),
            (json!({"tier": "working"}), &["four 4"]),
            (json!({"tag": "contradict"}), &[]),
            (json!({"language": "de"}), &["drei 3"]),
            (json!({"day": "2024-05-01"}), &["drei 3", "one 11"]),
            (json!({"day": "2024-05-01", "session": "s"}), &["one 11"]),
            (json!({"day": "2024-05-01", "tier": "semantic", "who": "user", "language": "DE"}), &["drei 3"]),
            (json!({"session": "s", "who": "assistant", "day": "2024-05-01"}), &[]),
        ] {
            assert_eq!(found(&bench, &roles), want, "{roles}");
        }
        let id = bench.capture("five 5 is to be replaced", json!({}));
        bench.ok("memory_contradict", json!({"id": id, "new_fact": "six 66 has replaced it"}));
        assert_eq!(found(&bench, &json!({"tag": "contradict"})), ["six 66"]);
        assert_eq!(found(&bench, &json!({"tag": "contradict", "session": "s"})), [""; 0]);
    }

    #[test]
    fn the_reply_has_the_keys_and_bounds_of_a_recall() {
        let bench = sea_records();
        let params = json!({"structure_query": {"who": "user"}, "budget_tokens": 12});
        let got = bench.ok("memory_recall_structural", params);
        let mut keys: Vec<_> =
            bench.ok("memory_recall", json!({"cue": "sea"})).as_object().unwrap().keys().cloned().collect();
        keys.push("structural_query_size".into());
        keys.sort_unstable();
        assert_eq!(got.as_object().unwrap().keys().cloned().collect::<Vec<_>>(), keys);
        let hits = got["hits"].as_array().unwrap();
        assert_eq!((hits.len(), &got["budget_used"], &got["cue_mode"]), (1, &json!(9), &json!("concept")));
        assert_eq!(hits[0]["reason"], "is what was asked for");
        assert_eq!(
            bench.ok("memory_recall_structural", json!({"max_records": 1}))["hits"].as_array().unwrap().len(),
            1
        );
        let none = bench.ok("memory_recall_structural", json!({"structure_query": null, "budget_tokens": 0}));
        assert_eq!(none["hits"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn invalid_values_are_errors() {
        let bench = sea_records();
        let roles = "param 'structure_query' must be an object of roles such as who, session, tier, tag, language, \
                     day, each with a string";
        for (query, message) in [
            (json!([]), roles.to_owned()),
            (json!("who"), roles.into()),
            (json!({"who": 1}), roles.into()),
            (
                json!({"tier": "best"}),
                "param 'structure_query' must be an object whose tier is one of working, episodic, semantic, \
                 procedural, parametric"
                    .into(),
            ),
            (
                json!({"day": "Monday"}),
                "param 'structure_query' must be an object whose day is a date such as 2024-05-07".into(),
            ),
        ] {
            assert_eq!(bench.err("memory_recall_structural", json!({"structure_query": query})).message, message);
        }
        let error = bench.err("memory_recall_structural", json!({"max_records": 0}));
        assert_eq!(error.message, "param 'max_records' must be an integer from 1 to 50000");
    }
}
