//! Recognizes a turn of a conversation that the store has already: from another file, in another form, or from a hook.
//!
//! A turn is a record of a transcript or of a hook's input. It is known
//! 1. by the assistant's id of it, in every file that has a copy;
//! 2. by its session, role and time to the millisecond. A record of a release that knew no ids may have the same turn in
//!    another form, with more or fewer words;
//! 3. by its session, role and words, if the record was stored before the turn's line was read (table `early_turn`). Each
//!    such record is the first line with its words, so the same words said twice are two records.
//!
//! A turn that a hook takes from its own input has no line yet: it is known if the session's newest record of that role,
//! or one of about the same time, has its words. If that was an earlier turn with the same words, the line, which is read
//! later, is stored.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use uuid::{Builder, Uuid};

use crate::dispatch::{CallError, Params};
use crate::memory::model::record::{Role, SESSION_BYTES, digest};
use crate::memory::params::{bounded_string, check_len};
use crate::memory::store::forgotten::{self, SaidText};
use crate::memory::store::new_record::{Draft, ImportedIdentity, InsertOutcome, NewRecord};
use crate::memory::store::tags::ASSISTANT;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{meta, records};
use crate::secrets;
use crate::transcript::{TurnSource, same_words};

/// Longest id of a turn, in bytes. Picked: ten UUIDs.
const ID_BYTES: usize = 512;

/// Longest name of an assistant, in bytes. Picked.
const ASSISTANT_BYTES: usize = 32;

/// Most sessions of which one is a fork. Picked.
const MAX_PARENTS: usize = 16;

/// Difference of a hook's time to that of the same turn's line. Picked: the other hooks of the assistant run between.
const HOOK_DELAY: Duration = Duration::from_secs(120);

/// Records of a session stored before their lines that a line is compared with, newest first. Picked: lines are read
/// soon after.
const EARLY_RECORDS: i64 = 64;

/// Records of a session, role and time whose words are not those of a turn to the byte, and that the turn is compared with.
/// Picked: a moment has a few, but a converted transcript may have one time for all of its lines.
const RECORDS_OF_A_TIME: i64 = 64;

/// The newest records of a session that a hook's input is compared with: enough to have one of each role.
const NEWEST_RECORDS: i64 = 64;

const MICROS_PER_MILLI: i64 = 1000;

/// The row's key `turn`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnKey {
    id: Option<String>,
    parents: Vec<String>,
    source: TurnSource,
    /// The name of the assistant, which the record keeps as a tag.
    assistant: Option<String>,
    /// The row has a time.
    has_ts: bool,
}

impl TurnKey {
    /// Reads the key `turn` of a row; `None` if it has none.
    ///
    /// # Errors
    /// -32602 if a field has a wrong type or is too long; the message names it.
    pub(crate) fn parse(row: &Params<'_>) -> Result<Option<TurnKey>, CallError> {
        let Some(text) = row.raw("turn").filter(|text| *text != "null") else { return Ok(None) };
        if !text.starts_with('{') {
            return Err(CallError::invalid("turn", "an object"));
        }
        let turn = Params::read(Some(text))?;
        let id = bounded_string(&turn, "id", "", ID_BYTES)?;
        let list = turn.raw("parents").unwrap_or("[]");
        let parents: Vec<String> =
            serde_json::from_str(list).map_err(|_| CallError::invalid("parents", "an array of strings"))?;
        if parents.len() > MAX_PARENTS {
            return Err(CallError::invalid("parents", format_args!("at most {MAX_PARENTS} sessions")));
        }
        parents.iter().try_for_each(|session| check_len("parents", session, SESSION_BYTES))?;
        let source = match &*turn.string_or("source", "line")? {
            "line" => TurnSource::Line,
            "queue" => TurnSource::Queue,
            "hook" => TurnSource::Hook,
            _ => return Err(CallError::invalid("source", "one of line, queue, hook")),
        };
        let assistant = bounded_string(&turn, "assistant", "", ASSISTANT_BYTES)?;
        if !assistant.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return Err(CallError::invalid("assistant", "a name of lower-case letters, digits and hyphens"));
        }
        let has_ts = row.raw("ts").is_some_and(|ts| ts != "null");
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Some(TurnKey { id: given(id), parents, source, assistant: given(assistant), has_ts }))
    }

    /// Inserts the record of a turn unless the store has the turn; `None` if it was forgotten.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn insert_once(
        &self,
        new: &mut NewRecord,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Option<InsertOutcome>, rusqlite::Error> {
        // A time with a part of a millisecond marks a record whose line has another time, in each copy of the store.
        if self.source == TurnSource::Hook && new.draft.ts.0 % MICROS_PER_MILLI == 0 {
            new.draft.ts.0 += 1;
        }
        let id = self.id.as_deref().map(|id| hashed(id, new.draft.part));
        if self.is_forgotten(new, id, transaction.connection)? {
            return Ok(None);
        }
        new.draft.note_folder(transaction.connection)?;
        let mut known = Search { connection: transaction.connection, new, key: self }.run(id)?;
        let is_new = known.is_none();
        let found = match known.take() {
            Some(found) => Some(found),
            None => self.insert(new, transaction)?,
        };
        let Some(Found { seq, id: record }) = found else { return Ok(None) };
        if let Some(id) = id {
            let sql = "INSERT INTO turn (id, record) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            transaction.connection.prepare_cached(sql)?.execute((id, seq))?;
        }
        let outcome =
            if is_new { InsertOutcome::New { seq, id: record } } else { InsertOutcome::Known { seq, id: record } };
        Ok(Some(outcome))
    }

    /// Returns true if the turn was forgotten: in its session, in one that this is a fork of, or by its id.
    fn is_forgotten(
        &self,
        new: &NewRecord,
        id: Option<[u8; 16]>,
        connection: &Connection,
    ) -> Result<bool, rusqlite::Error> {
        let Draft { role, text, ts, .. } = &new.draft;
        // A hook runs later than the turn was said.
        let said = if self.source == TurnSource::Hook { *ts - HOOK_DELAY } else { *ts };
        let said = self.has_ts.then_some(said);
        for session in [&new.draft.session].into_iter().chain(&self.parents) {
            if forgotten::keeps_out(connection, SaidText { session, role: *role, text }, said)? {
                return Ok(true);
            }
        }
        let Some(id) = id else { return Ok(false) };
        let sql = "SELECT record FROM turn JOIN forgotten ON seq = record WHERE turn.id = ?1";
        let record = connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
        record.map_or(Ok(false), |seq| forgotten::was_text_of(connection, seq, text))
    }

    /// Inserts the record; `None` if another store has forgotten it.
    fn insert(
        &self,
        new: &mut NewRecord,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Option<Found>, rusqlite::Error> {
        let Some(id) = free_id(new, transaction.connection)? else { return Ok(None) };
        new.draft.tags.extend(self.assistant.as_ref().map(|name| format!("{ASSISTANT}{name}")));
        let seq = new.insert_as(transaction, ImportedIdentity { id, valid_to: None }, 0)?;
        if self.source != TurnSource::Line {
            let sql = "INSERT INTO early_turn (session, record) SELECT session, seq FROM record WHERE seq = ?1";
            transaction.connection.prepare_cached(sql)?.execute([seq])?;
        }
        Ok(Some(Found { seq, id }))
    }
}

/// Returns the record's id: derived from session, role and text, so that it is the same on every machine. A second
/// record with these has one that is derived from its time, too. `None` if a record with that id was
/// forgotten after it was said.
fn free_id(new: &NewRecord, connection: &Connection) -> Result<Option<Uuid>, rusqlite::Error> {
    let with_time = [new.hash.as_slice(), &new.draft.ts.0.to_be_bytes()].concat();
    for bytes in [new.hash, digest(&with_time).to_be_bytes()] {
        let id = Builder::from_custom_bytes(bytes).into_uuid();
        if let Some(at) = forgotten::forgotten_at(connection, id)? {
            // Another store has forgotten it. What was said since is another record, and has another id.
            if !new.has_ts || new.draft.ts <= at {
                return Ok(None);
            }
            continue;
        }
        if records::find_seq(connection, id)?.is_none() {
            return Ok(Some(id));
        }
    }
    Ok(Some(records::new_id()))
}

/// Returns the hash of a turn's id, for one of its parts.
fn hashed(id: &str, part: Option<(i64, i64)>) -> [u8; 16] {
    let part = part.map_or(0, |(part, _)| part);
    digest(&[id.as_bytes(), &[0xFF], &part.to_be_bytes()].concat()).to_be_bytes()
}

/// A record that has the turn.
struct Found {
    seq: i64,
    id: Uuid,
}

/// The search for a turn's record.
struct Search<'a> {
    connection: &'a Connection,
    new: &'a NewRecord,
    key: &'a TurnKey,
}

impl Search<'_> {
    fn run(&self, id: Option<[u8; 16]>) -> Result<Option<Found>, rusqlite::Error> {
        if let Some(id) = id
            && let Some(found) = self.by_id(id)?
        {
            return Ok(Some(found));
        }
        let own = records::session_number(self.connection, &self.new.draft.session)?;
        if self.key.source == TurnSource::Hook {
            let Some(own) = own else { return Ok(None) };
            return match self.by_time(own, HOOK_DELAY)? {
                Some(found) => Ok(Some(found)),
                None => self.newest(own),
            };
        }
        let parents = self.key.parents.iter().map(|name| records::session_number(self.connection, name));
        let parents: Vec<Option<i64>> = parents.collect::<Result<_, _>>()?;
        for session in own.into_iter().chain(parents.into_iter().flatten()) {
            if self.key.has_ts
                && let Some(found) = self.by_time(session, Duration::ZERO)?
            {
                return Ok(Some(found));
            }
            if let Some(found) = self.early(session)? {
                return Ok(Some(found));
            }
        }
        let Some(own) = own else { return Ok(None) };
        match (self.by_text(own, self.new.hash)?, self.new.masked.as_ref().and_then(|masked| masked.was)) {
            (None, Some(was)) => self.by_text(own, was),
            (found, _) => Ok(found),
        }
    }

    /// Finds the record that has the turn's id, if it has the same words: ids of other programs may not be unique.
    fn by_id(&self, id: [u8; 16]) -> Result<Option<Found>, rusqlite::Error> {
        let sql = "SELECT seq, record.id, role, text FROM turn JOIN record ON seq = record WHERE turn.id = ?1";
        let mut find = self.connection.prepare_cached(sql)?;
        let found = find
            .query_row([id], |row| {
                let is_same = row.get::<_, i64>(2)? == self.role() && self.is_same_text(row.get_ref(3)?.as_str()?);
                Ok(is_same.then_some(Found { seq: row.get(0)?, id: Uuid::from_bytes(row.get(1)?) }))
            })
            .optional()?;
        Ok(found.flatten())
    }

    /// Finds a record of the session and role of the same millisecond, or within `delay` of it.
    fn by_time(&self, session: i64, delay: Duration) -> Result<Option<Found>, rusqlite::Error> {
        let first = self.new.draft.ts.0.div_euclid(MICROS_PER_MILLI) * MICROS_PER_MILLI;
        let delay = delay.as_micros() as i64;
        let last_legacy: i64 = meta::read(self.connection, "last_without_turns")?.unwrap_or(0);
        // The same words first, by their fingerprint: the sign keeps SQLite from the index by time.
        let sql = "SELECT seq, id, text FROM (
                       SELECT seq, id, text FROM record
                       WHERE hash = ?5 AND valid_to IS NULL AND session = ?1 AND +ts BETWEEN ?2 AND ?3 AND role = ?4
                       UNION ALL SELECT * FROM (
                           SELECT seq, id, text FROM record
                           WHERE session = ?1 AND ts BETWEEN ?2 AND ?3 AND role = ?4 LIMIT ?6))";
        let mut find = self.connection.prepare_cached(sql)?;
        let (from, until) = (first - delay, first + delay + MICROS_PER_MILLI - 1);
        let mut rows = find.query((session, from, until, self.role(), self.new.hash, RECORDS_OF_A_TIME))?;
        while let Some(row) = rows.next()? {
            let (seq, text) = (row.get(0)?, row.get_ref(2)?.as_str()?);
            let is_other_form = seq <= last_legacy && delay == 0 && self.is_like(text, is_form_of);
            if is_other_form || self.is_same_text(text) {
                return Ok(Some(Found { seq, id: Uuid::from_bytes(row.get(1)?) }));
            }
        }
        Ok(None)
    }

    /// Finds a record of the session and role that was stored before its line, and notes that this is the line.
    fn early(&self, session: i64) -> Result<Option<Found>, rusqlite::Error> {
        let sql = "SELECT seq, id, ts, line_ts, text FROM early_turn JOIN record ON seq = record
                   WHERE early_turn.session = ?1 AND role = ?2 ORDER BY record DESC LIMIT ?3";
        let mut find = self.connection.prepare_cached(sql)?;
        let mut rows = find.query((session, self.role(), EARLY_RECORDS))?;
        let ts = self.new.draft.ts.0;
        let mut nearest: Option<(u64, Found)> = None;
        while let Some(row) = rows.next()? {
            let (early_ts, line_ts, text) =
                (row.get::<_, i64>(2)?, row.get::<_, Option<i64>>(3)?, row.get_ref(4)?.as_str()?);
            let found = Found { seq: row.get(0)?, id: Uuid::from_bytes(row.get(1)?) };
            // Of an answer in several blocks, a hook gets all and a line may have one.
            let is_block = self.new.draft.role == Role::Assistant && self.is_like(text, has_lines);
            let is_same = self.is_same_text(text);
            if (is_block && !is_same) || (is_same && line_ts == Some(ts)) {
                return Ok(Some(found));
            }
            let distance = early_ts.abs_diff(ts);
            if is_same && line_ts.is_none() && nearest.as_ref().is_none_or(|(other, _)| distance < *other) {
                nearest = Some((distance, found));
            }
        }
        let Some((_, found)) = nearest else { return Ok(None) };
        let sql = "UPDATE early_turn SET line_ts = ?3 WHERE session = ?1 AND record = ?2";
        self.connection.prepare_cached(sql)?.execute((session, found.seq, ts))?;
        Ok(Some(found))
    }

    /// Finds a valid record of the same session, role and text, which has this hash, that has no line yet: of another time than a line has,
    /// which is a capture or comes from another store. Any such record is the turn if the line has no time.
    fn by_text(&self, session: i64, hash: [u8; 16]) -> Result<Option<Found>, rusqlite::Error> {
        let mut find = self.connection.prepare_cached(
            "SELECT seq, id, ts, text FROM record
             WHERE hash = ?1 AND valid_to IS NULL AND session = ?2 AND role = ?3
               AND NOT EXISTS (SELECT 1 FROM early_turn WHERE early_turn.session = ?2 AND early_turn.record = seq)",
        )?;
        let mut rows = find.query((hash, session, self.role()))?;
        while let Some(row) = rows.next()? {
            let is_clocked = row.get::<_, i64>(2)? % MICROS_PER_MILLI != 0;
            if (is_clocked || !self.key.has_ts) && self.new.is_text(row.get_ref(3)?.as_str()?) {
                let found = Found { seq: row.get(0)?, id: Uuid::from_bytes(row.get(1)?) };
                if is_clocked && self.key.has_ts {
                    let sql = "INSERT INTO early_turn (session, record, line_ts) VALUES (?1, ?2, ?3)";
                    let ts = self.new.draft.ts.0;
                    self.connection.prepare_cached(sql)?.execute((session, found.seq, ts))?;
                }
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Finds the session's newest record of the role, if it has the same words.
    fn newest(&self, session: i64) -> Result<Option<Found>, rusqlite::Error> {
        let sql = "SELECT seq, id, role, text FROM record WHERE session = ?1 ORDER BY seq DESC LIMIT ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let mut rows = find.query((session, NEWEST_RECORDS))?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(2)? == self.role() {
                let is_same = self.is_same_text(row.get_ref(3)?.as_str()?);
                return Ok(is_same.then_some(Found { seq: row.get(0)?, id: Uuid::from_bytes(row.get(1)?) }));
            }
        }
        Ok(None)
    }

    /// Returns true if `is_same` holds for a stored text and the turn, or for the stored text once its secrets are masked: it
    /// may be of a release that masked none, or of a capture.
    fn is_like(&self, stored: &str, is_same: fn(&str, &str) -> bool) -> bool {
        let (own, is_masked) = (&self.new.draft.text, self.new.masked.is_some());
        is_same(stored, own) || (is_masked && secrets::masked(stored).is_some_and(|masked| is_same(&masked.text, own)))
    }

    fn role(&self) -> i64 {
        self.new.draft.role as i64
    }

    fn is_same_text(&self, text: &str) -> bool {
        self.is_like(text, same_words)
    }
}

/// Returns true if the words of one text are among the other's, in order.
fn is_form_of(a: &str, b: &str) -> bool {
    let contains = |long: &str, short: &str| {
        let mut words = long.split_whitespace();
        short.split_whitespace().all(|word| words.any(|other| other == word))
    };
    contains(a, b) || contains(b, a)
}

/// Returns true if `part` is a run of whole lines of `text`.
fn has_lines(text: &str, part: &str) -> bool {
    let part = part.trim();
    text.match_indices(part).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + part.len()..]);
        (before.is_empty() || before.ends_with('\n')) && (after.is_empty() || after.starts_with('\n'))
    })
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn row(session: &str, role: &str, ts: &str, text: &str, turn: Value) -> Value {
        let mut row = json!({"kind": "record", "session_id": session, "role": role, "text": text, "turn": turn});
        if !ts.is_empty() {
            row["ts"] = format!("2026-01-01T{ts}Z").into();
        }
        row
    }

    /// Imports rows one by one. Returns `n` for each new one and `k` for each known one.
    fn outcomes(bench: &Bench, rows: &[Value]) -> String {
        let one = |row: &Value| {
            let got = bench.ok("store_import", json!({"rows": [row]}));
            assert_eq!(got["refused"], json!([]), "{row}");
            if got["new"] == 1 { 'n' } else { 'k' }
        };
        rows.iter().map(one).collect()
    }

    #[test]
    fn a_turn_is_stored_once_however_it_is_met() {
        let (said, other) = ("keep the blue kettle in the hall", "and the red one in the cellar");
        let line = |session: &str, ts: &str, text: &str, id: &str| row(session, "user", ts, text, json!({"id": id}));
        let plain = |ts: &str, text: &str| row("a", "user", ts, text, json!({}));
        let hook = |ts: &str, text: &str| row("a", "user", ts, text, json!({"source": "hook"}));
        let queue = |ts: &str, text: &str| row("a", "user", ts, text, json!({"source": "queue"}));
        let fork = |ts: &str, text: &str| row("b", "user", ts, text, json!({"parents": ["a"]}));
        let answer = |source: &str, ts: &str, text: &str| row("a", "assistant", ts, text, json!({"source": source}));
        for (what, rows, want) in [
            ("the same line", vec![line("a", "10:00:00", said, "u"), line("a", "10:00:00", said, "u")], "nk"),
            ("a copy in a fork", vec![line("a", "10:00:00", said, "u"), line("b", "11:00:00", said, "u")], "nk"),
            ("an id of two texts", vec![line("a", "10:00:00", said, "u"), line("a", "10:00:01", other, "u")], "nn"),
            ("said twice", vec![line("a", "10:00:00", said, "u"), line("a", "10:00:05", said, "v")], "nn"),
            ("said twice, no ids, read twice", vec![plain("10:00:00.001", said), plain("10:00:00.002", said)], "nn"),
            ("a form with an id", vec![plain("10:00:00", said), line("a", "10:00:00", said, "u")], "nk"),
            ("a copy without an id", vec![plain("10:00:00", said), fork("10:00:00", said)], "nk"),
            ("words of the fork", vec![plain("10:00:00", said), fork("10:00:09", said)], "nn"),
            ("no time", vec![plain("", said), plain("", said), plain("", other)], "nkn"),
            ("a hook, then the line", vec![hook("10:00:00", said), line("a", "09:00:00", said, "u")], "nk"),
            ("other white space", vec![hook("10:00:00", &format!("{said}\n")), plain("10:00:01", said)], "nk"),
            (
                "a hook, then two lines",
                vec![hook("10:00:00", said), plain("10:00:01", said), plain("10:00:09", said)],
                "nkn",
            ),
            ("read again", vec![hook("10:00:00", said), plain("10:00:01", said), plain("10:00:01", said)], "nkk"),
            ("the line, then its hook", vec![plain("10:00:01", said), hook("10:00:02", said)], "nk"),
            (
                "later words between",
                vec![plain("10:00:01", said), plain("10:01:00", other), hook("10:01:30", said)],
                "nnk",
            ),
            (
                "a hook much later",
                vec![plain("10:00:01", said), plain("10:01:00", other), hook("11:00:00", said)],
                "nnn",
            ),
            ("a hook runs twice", vec![hook("10:00:00", said), hook("10:00:01", said)], "nk"),
            ("in a queue, then sent", vec![queue("10:00:00", said), line("a", "10:05:00", said, "u")], "nk"),
            (
                "in a queue twice",
                vec![queue("10:00:00", said), queue("10:00:00", said), queue("10:00:07", said)],
                "nkk",
            ),
            (
                "an answer of two blocks",
                vec![
                    answer("hook", "10:00:00", &format!("{said}\n{other}")),
                    answer("line", "09:00:00", said),
                    answer("line", "09:00:00", other),
                ],
                "nkk",
            ),
            (
                "an answer's line is not a part of a line",
                vec![answer("hook", "10:00:00", &format!("not {said}")), answer("line", "09:00:00", said)],
                "nn",
            ),
            (
                "a part of the user's words",
                vec![hook("10:00:00", &format!("{said}\n{other}")), plain("10:00:01", said)],
                "nn",
            ),
        ] {
            let bench = Bench::new();
            assert_eq!(outcomes(&bench, &rows), want, "{what}");
            let again = outcomes(&bench, &rows);
            assert!(!again.contains('n'), "{what}, read again: {again}");
            assert_eq!(bench.ok("store_check", json!({}))["problems"], json!([]), "{what}");
        }
    }

    #[test]
    fn a_turn_is_known_among_many_of_one_time() {
        let bench = Bench::new();
        let rows: Vec<Value> =
            (0..200).map(|n| row("a", "user", "10:00:00", &format!("kettle number {n}"), json!({}))).collect();
        assert_eq!(outcomes(&bench, &rows), "n".repeat(200));
        assert_eq!(outcomes(&bench, &rows), "k".repeat(200));
        let later = [row("a", "user", "10:00:30", "kettle number 150", json!({"source": "hook"}))];
        assert_eq!(outcomes(&bench, &later), "k");
    }

    #[test]
    fn a_turn_of_an_earlier_release_is_known_in_another_form() {
        let wrapped = "# Context from my IDE setup:\n\n## My request for Codex:\nwhy is the gull grey";
        let earlier = |ts: &str, text: &str| json!({"kind": "record", "session_id": "a", "ts": format!("2026-01-01T{ts}Z"), "text": text});
        let later = |ts: &str, text: &str| row("a", "user", ts, text, json!({"id": ts}));
        let bench = Bench::new();
        let old = [earlier("10:00:00.123", wrapped), earlier("10:00:05", "said at that time only once")];
        bench.ok("store_import", json!({"rows": old}));
        let rows = [
            later("10:00:00.123", "why is the gull grey"),
            later("10:00:00.124", "why is the gull grey"),
            later("10:00:00.123", "why is the tern grey"),
            later("10:00:05", "said at that time only once"),
            later("10:00:09", "said at that time only once"),
        ];
        // In a store of this release, other words are another turn.
        assert_eq!(outcomes(&bench, &rows), "nnnkn");
        let bench = Bench::new();
        bench.ok("store_import", json!({"rows": old}));
        bench.sql("UPDATE meta SET value = 2 WHERE key = 'last_without_turns'");
        assert_eq!(outcomes(&bench, &rows), "knnkn");
        assert_eq!(outcomes(&bench, &rows), "kkkkk");
    }

    #[test]
    fn a_turn_is_known_in_a_store_that_was_exported_and_imported() {
        let bench = Bench::new();
        let said = "keep the blue kettle in the hall";
        let hook = row("a", "user", "10:00:00", said, json!({"source": "hook"}));
        let lines = [
            row("a", "user", "10:00:01", said, json!({"id": "u"})),
            row("a", "user", "10:00:09", said, json!({"id": "v"})),
        ];
        assert_eq!(outcomes(&bench, &[hook.clone(), lines[0].clone(), lines[1].clone()]), "nkn");
        let rows = bench.ok("store_export", json!({}))["rows"].clone();
        let other = Bench::new();
        assert_eq!(other.ok("store_import", json!({"rows": rows}))["new"], 2);
        assert_eq!(outcomes(&other, &[lines[0].clone(), lines[1].clone(), lines[0].clone(), hook]), "kkkk");
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_name() {
        let bench = Bench::new();
        for (turn, name) in [
            (json!(5), "'turn'"),
            (json!({"id": 5}), "'id'"),
            (json!({"id": "x".repeat(513)}), "'id'"),
            (json!({"parents": "a"}), "'parents'"),
            (json!({"parents": vec!["a"; 17]}), "'parents'"),
            (json!({"parents": ["s".repeat(513)]}), "'parents'"),
            (json!({"source": "dream"}), "'source'"),
        ] {
            let rows = json!([row("a", "user", "10:00:00", "keep the blue kettle", turn.clone())]);
            let got = bench.ok("store_import", json!({"rows": rows}));
            assert!(got["refused"][0]["reason"].as_str().unwrap().contains(name), "{turn}: {got}");
        }
    }
}
