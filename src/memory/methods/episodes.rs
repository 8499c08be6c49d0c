//! `episodes_recent` and `session_refresh_if_stale`: what users have said last, and what other sessions have stored since
//! a client last asked.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::ingest::pending_turns::{PendingTurn, pending_turns};
use crate::memory::model::record::{Role, SESSION_BYTES};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::params::{self, bounded_string};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::recall::candidates;
use crate::memory::recall::recall_query::RecallFilter;
use crate::memory::recall::reply::MAX_HITS_BYTES;
use crate::memory::store::error::StoreError;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::projects;
use crate::memory::store::reader::{Reader, Snapshot};
use crate::memory::store::records::session_number;
use crate::memory::text::excerpt::beginning;
use crate::tokens;

/// Most turns of a reply (the contract).
const MAX_TURN_COUNT: i64 = 1000;

/// Records that are read to find them, at most: the newest. Picked.
const MAX_READ_COUNT: usize = 50_000;

/// Most tokens of a refresh (the contract).
const REFRESH_TOKENS: usize = 500;

/// Records that a refresh reads, at most: the newest.
const REFRESH_READ_COUNT: usize = 200;

/// Characters of each record in a refresh. Picked: a dozen records fit.
const REFRESH_CHARS: usize = 160;

/// Bytes of a turn in the reply beside its strings.
const EPISODE_BYTES: usize = 160;

/// The result of `episodes_recent`.
#[derive(Serialize)]
pub(crate) struct RecentEpisodes {
    turns: Vec<Episode>,
    count: usize,
    /// The turns that the reply has no room for.
    truncated: usize,
}

#[derive(Serialize)]
struct Episode {
    record_id: String,
    literal_surface: String,
    session_id: String,
    captured_at: String,
}

/// Answers `episodes_recent`: what users said, the newest first, with the turns that wait in the spool of `store`.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn episodes_recent(
    reader: &Reader,
    store: &Path,
    profile: &Profile,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<RecentEpisodes, CallError> {
    let most = params.integer_or("n", 0..=MAX_TURN_COUNT, 10)? as usize;
    let session = params.string_opt("session_id")?;
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let projects = caller.filter(connection)?.without_preference();
    let seqs = match &session {
        Some(name) => newest_of_session(connection, name, &projects, most)?,
        None => newest_of_all(&snapshot, &projects, most)?,
    };
    let own = projects::canonical(connection, &caller.name)?;
    let mut pending = Vec::new();
    for turn in pending_turns(store, connection, now)? {
        if session.as_deref().is_none_or(|name| name == turn.session)
            && (!projects.is_only()
                || turn.project.is_empty()
                || projects::canonical(connection, &turn.project)? == own)
        {
            pending.push(turn);
        }
    }
    let total = (seqs.len() + pending.len()).min(most);
    let mut pending = pending.into_iter().peekable();
    let mut read = snapshot.connection().prepare_cached(
        "SELECT id, ts, session.name, text FROM record JOIN session ON session.number = record.session
         WHERE seq = ?1",
    )?;
    let mut reply = RecentEpisodes { turns: Vec::new(), count: 0, truncated: 0 };
    let mut bytes = 0;
    for &seq in &seqs {
        let (ts, turn) = read.query_row([seq], |row| {
            let ts = UnixMicros(row.get(1)?);
            let turn = Episode {
                record_id: Uuid::from_bytes(row.get(0)?).to_string(),
                captured_at: ts.to_string(),
                session_id: row.get(2)?,
                literal_surface: row.get(3)?,
            };
            Ok((ts, turn))
        })?;
        while let Some(newer) = pending.next_if(|turn| turn.ts > ts) {
            reply.push(newer.into(), most, &mut bytes);
        }
        reply.push(turn, most, &mut bytes);
        if bytes > MAX_HITS_BYTES {
            break;
        }
    }
    pending.for_each(|turn| reply.push(turn.into(), most, &mut bytes));
    reply.count = reply.turns.len();
    reply.truncated = total - reply.count;
    Ok(reply)
}

impl RecentEpisodes {
    /// Appends a turn unless the reply has `most` or no room for it. `bytes` counts those that had room, and the first that
    /// had none.
    fn push(&mut self, turn: Episode, most: usize, bytes: &mut usize) {
        if self.turns.len() < most && *bytes <= MAX_HITS_BYTES {
            *bytes += json_bytes(&turn.literal_surface) + json_bytes(&turn.session_id) + EPISODE_BYTES;
            if *bytes <= MAX_HITS_BYTES {
                self.turns.push(turn);
            }
        }
    }
}

impl From<PendingTurn> for Episode {
    fn from(turn: PendingTurn) -> Episode {
        Episode {
            record_id: format!("pending:{}", turn.id),
            literal_surface: turn.text,
            session_id: turn.session,
            captured_at: turn.ts.to_string(),
        }
    }
}

/// Returns the newest records of users, at most `most`.
fn newest_of_all(snapshot: &Snapshot<'_>, projects: &ProjectFilter, most: usize) -> Result<Vec<i64>, StoreError> {
    let mut is_user = snapshot.connection().prepare_cached("SELECT 1 FROM record WHERE seq = ?1 AND role = ?2")?;
    // Half of what is stored is users' in most stores.
    let mut limit = (most * 4).max(64);
    let filter = RecallFilter::of(projects);
    loop {
        let newest = candidates::newest(snapshot, &filter, limit)?;
        let mut turns = Vec::new();
        for one in &newest {
            if turns.len() < most && is_user.exists((one.seq, Role::User as i64))? {
                turns.push(one.seq);
            }
        }
        if turns.len() == most || newest.len() < limit || limit >= MAX_READ_COUNT {
            return Ok(turns);
        }
        limit *= 4;
    }
}

/// Returns the newest records of users in a session, at most `most`.
fn newest_of_session(
    connection: &Connection,
    name: &str,
    projects: &ProjectFilter,
    most: usize,
) -> Result<Vec<i64>, rusqlite::Error> {
    let session = session_number(connection, name)?;
    let sql = "SELECT seq, project FROM record WHERE session = ?1 AND role = ?2 ORDER BY ts DESC, seq DESC LIMIT ?3";
    let mut read = connection.prepare_cached(sql)?;
    let mut rows = read.query((session, Role::User as i64, MAX_READ_COUNT as i64))?;
    let mut seqs = Vec::new();
    while seqs.len() < most
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        if projects.admits(connection, seq, row.get(1)?)? {
            seqs.push(seq);
        }
    }
    Ok(seqs)
}

/// Returns the length of a string as JSON, without its quotes.
fn json_bytes(text: &str) -> usize {
    text.bytes().map(|byte| if byte < 0x20 { 6 } else { 1 + usize::from(matches!(byte, b'"' | b'\\')) }).sum()
}

/// The result of `session_refresh_if_stale`.
#[derive(Serialize)]
pub(crate) struct SessionRefresh {
    /// One line per record; empty if nothing is new.
    rendered: String,
    /// The time of the newest record; empty if there is none.
    new_max_ts: String,
    /// True: all that was captured is in the store.
    caught_up: bool,
}

/// Answers `session_refresh_if_stale`: the records that other sessions have stored since the param `watermark`, in at most
/// [`REFRESH_TOKENS`] tokens, the newest first.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn session_refresh(
    reader: &Reader,
    profile: &Profile,
    params: &Params<'_>,
) -> Result<SessionRefresh, CallError> {
    let session = bounded_string(params, "session_id", "-", SESSION_BYTES)?;
    let watermark = match params.string_opt("watermark")?.as_deref() {
        None | Some("") => None,
        Some(_) => params::time(params, "watermark", DateBound::Start)?,
    };
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let projects = caller.filter(snapshot.connection())?.without_preference();
    let newest = candidates::newest(&snapshot, &RecallFilter::of(&projects), REFRESH_READ_COUNT)?;
    let seqs: Vec<i64> = newest.iter().map(|one| one.seq).collect();
    let rendered = match watermark {
        Some(since) => render(snapshot.connection(), &seqs, &session, since)?,
        // A client without a watermark has just read a session start.
        None => String::new(),
    };
    let new_max_ts = match seqs.first() {
        Some(&seq) => time_of(snapshot.connection(), seq)?.to_string(),
        None => String::new(),
    };
    Ok(SessionRefresh { rendered, new_max_ts, caught_up: true })
}

fn time_of(connection: &Connection, seq: i64) -> Result<UnixMicros, rusqlite::Error> {
    let sql = "SELECT ts FROM record WHERE seq = ?1";
    connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).map(UnixMicros)
}

fn render(connection: &Connection, seqs: &[i64], session: &str, since: UnixMicros) -> Result<String, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT ts, role, text FROM record
         WHERE seq = ?1 AND ts > ?2 AND valid_to IS NULL
         AND session IS NOT (SELECT number FROM session WHERE name = ?3)",
    )?;
    let mut rendered = String::new();
    let mut tokens = 0;
    for seq in seqs {
        let mut rows = read.query((seq, since.0, session))?;
        let Some(row) = rows.next()? else { continue };
        let (ts, role) = (UnixMicros(row.get(0)?), Role::numbered(row.get(1)?));
        let text: String = row.get(2)?;
        let line = format!("{ts} {}: {}\n", role.name(), beginning(&text, REFRESH_CHARS));
        tokens += tokens::estimate(&line);
        if tokens > REFRESH_TOKENS {
            break;
        }
        rendered.push_str(&line);
    }
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn texts(got: &Value) -> Vec<&str> {
        got["turns"].as_array().unwrap().iter().map(|turn| turn["literal_surface"].as_str().unwrap()).collect()
    }

    fn with_turns() -> Bench {
        let bench = Bench::new();
        for (text, session, role, ts) in [
            ("third thing that was said", "a", "user", "2024-05-03"),
            ("first thing that was said", "a", "user", "2024-05-01"),
            ("second thing, by another", "b", "user", "2024-05-02"),
            ("an answer that is newer", "a", "assistant", "2024-05-04"),
        ] {
            bench.capture(text, json!({"session_id": session, "role": role, "ts": ts}));
        }
        bench
    }

    #[test]
    fn episodes_are_what_users_said_the_newest_first() {
        let bench = with_turns();
        for (params, want) in [
            (json!({}), &["third", "second", "first"][..]),
            (json!({"n": 2}), &["third", "second"]),
            (json!({"n": 0}), &[]),
            (json!({"session_id": "a"}), &["third", "first"]),
            (json!({"session_id": "a", "n": 1}), &["third"]),
            (json!({"session_id": "none"}), &[]),
        ] {
            let got = bench.ok("episodes_recent", params.clone());
            let starts: Vec<_> = texts(&got).iter().map(|text| text.split(' ').next().unwrap()).collect();
            assert_eq!(starts.iter().map(|word| word.trim_end_matches(',')).collect::<Vec<_>>(), want, "{params}");
            assert_eq!((&got["count"], &got["truncated"]), (&json!(want.len()), &json!(0)));
        }
        let first = &bench.ok("episodes_recent", json!({}))["turns"][0];
        assert_eq!((&first["session_id"], &first["captured_at"]), (&json!("a"), &json!("2024-05-03T00:00:00Z")));
        assert!(uuid::Uuid::parse_str(first["record_id"].as_str().unwrap()).is_ok());
        assert!(bench.err("episodes_recent", json!({"n": 1001})).message.contains("'n'"));
    }

    #[test]
    fn turns_that_wait_in_the_spool_are_among_them() {
        let bench = with_turns();
        let folder = bench.folder.path().join(".deferred-captures");
        std::fs::create_dir(&folder).unwrap();
        let header = json!({"version": 1, "session_id": "a", "deferred_at": "2024-05-01T10:00:00Z"});
        let line = |text: &str, role: &str, ts: &str| json!({"text": text, "role": role, "ts": ts}).to_string();
        let newest = line("newest, and still in the spool", "user", "2024-05-09");
        for (name, lines) in [
            ("a.live.jsonl", vec![newest.clone(), line("an answer", "assistant", "2024-05-10"), "no capture".into()]),
            ("a-17.jsonl", vec![newest, line("between two that are stored", "user", "2024-05-02T12:00:00Z")]),
            ("b.failed-4000000000-attempt-1.jsonl", vec![line("third thing that was said", "user", "2024-05-03")]),
            ("c.jsonl", vec!["iai:enc:v1:AAEC".into(), line("iai:enc:v1:AAEC", "user", "2024-05-11")]),
            ("d.permanent-failed-17.jsonl", vec![line("given up on", "user", "2024-05-11")]),
        ] {
            std::fs::write(folder.join(name), format!("{header}\n{}\n", lines.join("\n"))).unwrap();
        }
        std::fs::write(folder.join("e.jsonl"), "iai:enc:v1:AAEC\n").unwrap();
        let starts = |params: Value| {
            let got = bench.ok("episodes_recent", params);
            assert_eq!(got["count"].as_u64().unwrap() as usize, texts(&got).len());
            let first = |text: &str| text.split([' ', ',']).next().unwrap().to_owned();
            (texts(&got).into_iter().map(first).collect::<Vec<_>>(), got)
        };
        let (all, got) = starts(json!({}));
        assert_eq!(all, ["newest", "third", "between", "second", "first"]);
        assert!(got["turns"][0]["record_id"].as_str().unwrap().starts_with("pending:"), "{got}");
        assert_eq!(
            (&got["turns"][0]["session_id"], &got["turns"][0]["captured_at"]),
            (&json!("a"), &json!("2024-05-09T00:00:00Z"))
        );
        assert_eq!(starts(json!({"n": 2})).0, ["newest", "third"]);
        assert_eq!(starts(json!({"n": 2})).1["truncated"], 0);
        assert_eq!(starts(json!({"session_id": "b"})).0, ["second"]);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 6, "no file is changed");
    }

    #[test]
    fn users_turns_are_found_behind_many_answers() {
        let bench = Bench::new();
        bench.capture("what the user had said before", json!({"ts": "2024-05-01"}));
        for i in 0..70 {
            bench.capture(&format!("answer number {i} of many"), json!({"role": "assistant", "ts": "2024-05-02"}));
        }
        assert_eq!(texts(&bench.ok("episodes_recent", json!({"n": 3}))), ["what the user had said before"]);
    }

    #[test]
    fn a_reply_ends_before_it_exceeds_its_size() {
        let bench = Bench::new();
        for i in 0..20 {
            bench.capture(&format!("{i} {}", "\"".repeat(60_000)), json!({}));
        }
        let got = bench.ok("episodes_recent", json!({"n": 20}));
        let (count, truncated) = (got["count"].as_u64().unwrap(), got["truncated"].as_u64().unwrap());
        assert!(count > 0 && truncated > 0 && count + truncated == 20, "{count} {truncated}");
        assert!(got.to_string().len() <= 1 << 20);
    }

    #[test]
    fn a_refresh_has_what_other_sessions_stored_since() {
        let bench = with_turns();
        let refresh = |params: Value| bench.ok("session_refresh_if_stale", params);
        let got = refresh(json!({"watermark": "2024-05-01T12:00:00Z", "session_id": "b"}));
        assert_eq!(got["new_max_ts"], "2024-05-04T00:00:00Z");
        assert_eq!(got["caught_up"], true);
        assert_eq!(
            got["rendered"],
            "2024-05-04T00:00:00Z assistant: an answer that is newer\n2024-05-03T00:00:00Z user: third thing that was said\n"
        );
        for params in [
            json!({}),
            json!({"watermark": ""}),
            json!({"watermark": "2024-05-04T00:00:00Z", "session_id": "b"}),
            json!({"watermark": "2024-05-02", "session_id": "a"}),
        ] {
            assert_eq!(refresh(params.clone())["rendered"], "", "{params}");
        }
        assert!(bench.err("session_refresh_if_stale", json!({"watermark": "now"})).message.contains("'watermark'"));
        let empty = Bench::new().ok("session_refresh_if_stale", json!({"watermark": "2024-05-02"}));
        assert_eq!((&empty["rendered"], &empty["new_max_ts"]), (&json!(""), &json!("")));
    }

    #[test]
    fn a_refresh_has_at_most_500_tokens() {
        let bench = Bench::new();
        for i in 0..50 {
            bench.capture(&format!("{i} {}", "Wörter und noch mehr ".repeat(20)), json!({"session_id": "a"}));
        }
        let got = bench.ok("session_refresh_if_stale", json!({"watermark": "2000-01-01", "session_id": "b"}));
        let chars = got["rendered"].as_str().unwrap().chars().count();
        assert!((1000..=2000).contains(&chars), "{chars}");
    }
}
