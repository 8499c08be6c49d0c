//! The context of a session's model: what it has heard in the session itself, and what it was given from the memory.
//!
//! Held in table `session_context`, so that each hook process and a restarted daemon know it. A session is opened when it
//! is started, resumed or compacted; what it said before that counts as said by any other session.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use crate::memory::model::record::NO_SESSION;
use crate::memory::model::time::UnixMicros;
use crate::memory::session::first_turn::cut;
use crate::memory::store::records;

/// Most sessions whose context is known; the one that changed first is forgotten.
const MAX_SESSION_COUNT: i64 = 512;

/// Most records of one session that are known to be given; the newest.
const MAX_GIVEN_COUNT: usize = 512;

/// The turns of a session that its model has in its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnTurns {
    /// The session's number.
    session: i64,
    since: UnixMicros,
}

impl OwnTurns {
    /// Returns the turns of the session of this name since it was opened; `None` if it has said nothing, was not opened or
    /// is no session. Whether the model of a session that was not opened still has what it said is not known.
    ///
    /// # Errors
    /// Any error of reading tables `session` and `session_context`.
    pub(crate) fn of(connection: &Connection, name: &str) -> Result<Option<OwnTurns>, rusqlite::Error> {
        let sql = "SELECT since FROM session_context WHERE session = ?1";
        let since = connection.prepare_cached(sql)?.query_row([cut(name)], |row| row.get(0)).optional()?;
        since.map_or(Ok(None), |since| OwnTurns::since(connection, name, UnixMicros(since)))
    }

    /// Returns the same for a prompt: of a session that was not opened, all turns, since the hook that gives a model what
    /// it has already said only adds noise.
    ///
    /// # Errors
    /// As [`OwnTurns::of`].
    pub(crate) fn of_prompt(connection: &Connection, name: &str) -> Result<Option<OwnTurns>, rusqlite::Error> {
        match OwnTurns::of(connection, name)? {
            None => OwnTurns::since(connection, name, UnixMicros(i64::MIN)),
            opened => Ok(opened),
        }
    }

    fn since(connection: &Connection, name: &str, since: UnixMicros) -> Result<Option<OwnTurns>, rusqlite::Error> {
        if NO_SESSION.contains(&name) {
            return Ok(None);
        }
        Ok(records::session_number(connection, name)?.map(|session| OwnTurns { session, since }))
    }

    /// Returns true if a record of this session and time is among them.
    pub(crate) fn has(self, session: i64, said: UnixMicros) -> bool {
        session == self.session && said >= self.since
    }
}

/// Records that a session was opened: started, resumed or compacted, or (unless `is_start`) joined by a client. That
/// begins the context of a session that is not known.
///
/// # Errors
/// Any error of writing table `session_context`.
pub(crate) fn record_opened(
    connection: &Connection,
    session: &str,
    at: UnixMicros,
    is_start: bool,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO session_context (session, since, changed, given) VALUES (?1, ?2, ?2, '')
               ON CONFLICT (session) DO UPDATE SET since = excluded.since, changed = excluded.changed WHERE ?3";
    connection.prepare_cached(sql)?.execute((cut(session), at.0, is_start))?;
    forget_oldest(connection)
}

/// Returns the records that a session's prompts were given.
///
/// # Errors
/// Any error of reading table `session_context`.
pub(crate) fn given(connection: &Connection, session: &str) -> Result<BTreeSet<i64>, rusqlite::Error> {
    let sql = "SELECT given FROM session_context WHERE session = ?1";
    let given: Option<String> =
        connection.prepare_cached(sql)?.query_row([cut(session)], |row| row.get(0)).optional()?;
    Ok(given.unwrap_or_default().split(' ').filter_map(|seq| seq.parse().ok()).collect())
}

/// Records that a session was given these records with a prompt.
///
/// # Errors
/// Any error of writing table `session_context`.
pub(crate) fn record_given(
    connection: &Connection,
    session: &str,
    seqs: &[i64],
    at: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let mut all = given(connection, session)?;
    all.extend(seqs);
    let kept = all.iter().rev().take(MAX_GIVEN_COUNT);
    let text = kept.map(i64::to_string).collect::<Vec<_>>().join(" ");
    let sql = "INSERT INTO session_context (session, since, changed, given) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (session) DO UPDATE SET changed = excluded.changed, given = excluded.given";
    connection.prepare_cached(sql)?.execute((cut(session), i64::MIN, at.0, text))?;
    forget_oldest(connection)
}

fn forget_oldest(connection: &Connection) -> Result<(), rusqlite::Error> {
    let sql = "DELETE FROM session_context WHERE session IN (
                   SELECT session FROM session_context ORDER BY changed DESC, session LIMIT -1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute([MAX_SESSION_COUNT]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn order(got: &Value) -> Vec<&str> {
        got["hits"].as_array().unwrap().iter().map(|hit| hit["literal_surface"].as_str().unwrap()).collect()
    }

    #[test]
    fn what_a_session_has_said_since_it_was_opened_stands_behind_the_rest() {
        let bench = Bench::new();
        let hour = |hours: i64| UnixMicros(Bench::NOW.0 + hours * 3_600_000_000);
        let said = |text: &str, session: &str, at: i64| {
            bench.capture(text, json!({"session_id": session, "ts": hour(at).to_string()}));
        };
        said("which color has the boat of the harbor master?", "own", 1);
        said("the boat of somebody is in the harbor", "other", -5);
        said("a boat has a color", "third", -6);
        let recall = |cue: &str, session: &str| bench.ok("memory_recall", json!({"cue": cue, "session_id": session}));
        let cue = "which color has the boat of the harbor master?";
        // Of a session that was not opened, nothing is known to be in its context.
        assert_eq!(order(&recall("", "own"))[0], cue);
        bench.memory.maintenance().session_opened("own", hour(0).0, true).unwrap();
        let got = recall(cue, "own");
        assert_eq!((order(&got).len(), *order(&got).last().unwrap()), (3, cue));
        // What is quoted comes first, whoever has said it.
        assert_eq!(order(&recall("\"boat of the harbor\"", "own"))[0], cue);
        let scores: Vec<f64> =
            got["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.windows(2).all(|two| two[0] > two[1]), "{scores:?}");
        assert_eq!(*order(&recall("", "own")).last().unwrap(), cue, "the newest");
        for session in ["other", "third", "-", "unknown", "new"] {
            assert_eq!(order(&recall("", session))[0], cue, "{session}");
        }
        // Opened before it was said, and after.
        for (at, is_last) in [(0, true), (2, false)] {
            bench.memory.maintenance().session_opened("own", hour(at).0, true).unwrap();
            // A client that joins the session does not begin its context.
            bench.memory.maintenance().session_opened("own", hour(9).0, false).unwrap();
            let got = recall("", "own");
            assert_eq!(*order(&got).last().unwrap() == cue, is_last, "{at}: {got}");
        }
        // The same text of another session is found as that session's.
        said(cue, "third", -1);
        bench.memory.maintenance().session_opened("own", hour(0).0, true).unwrap();
        let got = recall(cue, "own");
        let of = |hit: &Value| (hit["literal_surface"].clone(), hit["session_id"].clone());
        assert!(got["hits"].as_array().unwrap().iter().map(of).any(|hit| hit == (json!(cue), json!("third"))), "{got}");
        assert!(!got["hits"].as_array().unwrap().iter().map(of).any(|hit| hit == (json!(cue), json!("own"))), "{got}");
    }

    #[test]
    fn what_is_known_of_sessions_is_bounded() {
        let bench = Bench::new();
        let names = |of: i64| format!("s{of}");
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Write).unwrap();
        for n in 0..MAX_SESSION_COUNT + 3 {
            record_opened(&connection, &names(n), UnixMicros(n), true).unwrap();
        }
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM session_context WHERE ?1", 1), MAX_SESSION_COUNT);
        let seqs: Vec<i64> = (1..=MAX_GIVEN_COUNT as i64 + 5).collect();
        record_given(&connection, "s9", &seqs, UnixMicros(9999)).unwrap();
        record_given(&connection, "s9", &[7], UnixMicros(9999)).unwrap();
        let given = given(&connection, "s9").unwrap();
        assert_eq!((given.len(), given.first()), (MAX_GIVEN_COUNT, Some(&6)));
    }
}
