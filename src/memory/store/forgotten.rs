//! Forgotten records: tables `forgotten`, `forgotten_text` and `forgetting`, and the deletion of one record.
//!
//! Of a forgotten record the store keeps the id, the number and the time, and apart from them keyed hashes of what it
//! said. By these it recognizes the same turn in an import, a hook's line or a deferred file, and keeps it out. The key
//! is the store's own, so a hash says nothing to somebody who has no copy of the store.
//!
//! A text is kept out if it was said before the forgetting: by the same author in the same session, or, unless it is short,
//! by anybody anywhere. A turn that has the id of a forgotten one is kept out in any session. The same words said later
//! are new, and so is a short text of another session, such as *yes*.

#[expect(deprecated, reason = "SipHash 2-4 with a key; the hashes are stored, and DefaultHasher may change")]
use std::hash::SipHasher;
use std::hash::{BuildHasher, Hasher, RandomState};

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use crate::memory::model::record::Role;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::meta;
use crate::secrets;

/// Meta key: the key of the hashes, 32 random bytes.
const KEY: &str = "forgotten_key";

/// Meta key: records exist whose ids are noted as forgotten.
const NOTED: &str = "forgotten_noted";

/// The length of the key, in bytes.
const KEY_BYTES: usize = 32;

/// A text of fewer bytes is said by many in many sessions. Picked: *looks good to me* is shorter.
pub(crate) const SHORT_TEXT_BYTES: usize = 24;

/// What a hash is of.
#[derive(Clone, Copy)]
enum Subject<'s> {
    /// The words of a text that is not short.
    Words,
    /// A session, a role and the words of a text.
    Turn(&'s str, Role),
    /// A session, a role and the words of a line of a text.
    Line(&'s str, Role),
    /// The number of a record and the words of its short text.
    Record(i64),
    /// The name of a session or project.
    Name,
    /// The id of an event.
    Event,
    /// A session, a role, how often the text was said before, and the exact text.
    Repetition(&'s str, Role, i64),
}

/// What is hashed of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaidText<'t> {
    pub(crate) session: &'t str,
    pub(crate) role: Role,
    pub(crate) text: &'t str,
}

impl<'t> SaidText<'t> {
    fn turn(self) -> Subject<'t> {
        Subject::Turn(self.session, self.role)
    }

    fn line(self) -> Subject<'t> {
        Subject::Line(self.session, self.role)
    }

    fn repetition(self, number: i64) -> Subject<'t> {
        Subject::Repetition(self.session, self.role, number)
    }
}

/// The store's key.
struct TextKey([u8; KEY_BYTES]);

impl TextKey {
    /// Returns the key; `None` if nothing was ever forgotten.
    fn load(connection: &Connection) -> Result<Option<TextKey>, rusqlite::Error> {
        meta::read(connection, KEY).map(|key| key.map(TextKey))
    }

    fn load_or_create(connection: &Connection) -> Result<TextKey, rusqlite::Error> {
        if let Some(key) = TextKey::load(connection)? {
            return Ok(key);
        }
        // The standard library seeds it from the system's random numbers.
        let random = RandomState::new();
        let mut key = [0; KEY_BYTES];
        for (at, part) in key.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&random.hash_one(at).to_be_bytes());
        }
        meta::write(connection, KEY, key)?;
        Ok(TextKey(key))
    }

    /// Returns the hash of the words of `text`, whatever white space is between them.
    fn hash(&self, subject: Subject<'_>, text: &str) -> [u8; 16] {
        let mut hash = [0; 16];
        for (half, key) in hash.chunks_exact_mut(8).zip(self.0.chunks_exact(16)) {
            let number = |at: usize| key[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            #[expect(deprecated, reason = "as above")]
            let mut hasher = SipHasher::new_with_keys(number(0), number(8));
            match subject {
                Subject::Words => hasher.write_u8(0),
                Subject::Turn(session, role) => hash_author(&mut hasher, 1, session, role),
                Subject::Line(session, role) => hash_author(&mut hasher, 2, session, role),
                Subject::Record(seq) => {
                    hasher.write_u8(3);
                    hasher.write(&seq.to_be_bytes());
                }
                Subject::Name => hasher.write_u8(4),
                Subject::Event => hasher.write_u8(5),
                Subject::Repetition(session, role, repetition) => {
                    hash_author(&mut hasher, 6, session, role);
                    hasher.write(&repetition.to_be_bytes());
                    hasher.write(text.as_bytes());
                }
            }
            for word in text.split_whitespace() {
                hasher.write(word.as_bytes());
                hasher.write_u8(0xFF);
            }
            half.copy_from_slice(&hasher.finish().to_be_bytes());
        }
        hash
    }
}

fn hash_author(hasher: &mut impl Hasher, number: u8, session: &str, role: Role) {
    hasher.write_u8(number);
    hasher.write(session.as_bytes());
    hasher.write(&[0xFF, role as u8]);
}

fn is_short(text: &str) -> bool {
    text.trim().len() < SHORT_TEXT_BYTES
}

/// Returns when the record with this id was forgotten; `None` if it was not.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn forgotten_at(connection: &Connection, id: Uuid) -> Result<Option<UnixMicros>, rusqlite::Error> {
    let sql = "SELECT at FROM forgotten WHERE id = ?1 UNION ALL SELECT at FROM forgotten_id WHERE id = ?1";
    let mut read = connection.prepare_cached(sql)?;
    read.query_row([id.as_bytes()], |row| row.get(0)).optional().map(|at| at.map(UnixMicros))
}

/// Returns true if any record was ever forgotten, here or by a store that has told this one.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn has_any(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM forgotten) OR EXISTS (SELECT 1 FROM forgotten_id)
                   OR EXISTS (SELECT 1 FROM forgotten_record)";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Returns true if the record of this session, role, text and repetition was forgotten, under whatever id.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn is_forgotten_record(
    connection: &Connection,
    said: SaidText<'_>,
    repetition: i64,
) -> Result<bool, rusqlite::Error> {
    let Some(key) = TextKey::load(connection)? else { return Ok(false) };
    let mut find = connection.prepare_cached("SELECT 1 FROM forgotten_record WHERE hash = ?1")?;
    find.exists([key.hash(said.repetition(repetition), said.text)])
}

/// Notes that the record of this session, role and text was forgotten that has these repetitions.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_record(
    connection: &Connection,
    said: SaidText<'_>,
    repetitions: &[i64],
) -> Result<(), rusqlite::Error> {
    let key = TextKey::load_or_create(connection)?;
    let sql = "INSERT INTO forgotten_record (hash) VALUES (?1) ON CONFLICT DO NOTHING";
    let mut put = connection.prepare_cached(sql)?;
    repetitions.iter().try_for_each(|number| put.execute([key.hash(said.repetition(*number), said.text)]).map(drop))
}

/// Notes that an id was forgotten whose record this store does not have, or has yet to delete. Does nothing if that is
/// known.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_id(connection: &Connection, id: Uuid, at: UnixMicros) -> Result<(), rusqlite::Error> {
    if forgotten_at(connection, id)?.is_none() {
        let sql = "INSERT INTO forgotten_id (id, at) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute((id.as_bytes(), at.0))?;
    }
    Ok(())
}

/// Notes that a record of this store was forgotten, which is yet to be deleted: by the job that follows, or if that is
/// cut off, by the next one and at the next start.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_stored(connection: &Connection, id: Uuid, at: UnixMicros) -> Result<(), rusqlite::Error> {
    note_id(connection, id, at)?;
    meta::write(connection, NOTED, 1)
}

/// Returns true if records may exist whose ids are noted as forgotten.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn has_noted(connection: &Connection) -> Result<bool, rusqlite::Error> {
    meta::read::<i64>(connection, NOTED).map(|noted| noted.is_some())
}

/// Puts the records whose ids are noted as forgotten into table `forgetting`.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn select_noted(connection: &Connection) -> Result<(), rusqlite::Error> {
    if has_noted(connection)? {
        connection.execute(
            "INSERT OR IGNORE INTO forgetting (seq)
             SELECT seq FROM forgotten_id AS noted CROSS JOIN record ON record.id = noted.id
             UNION ALL SELECT record FROM forgotten_id AS noted CROSS JOIN record_alias ON record_alias.id = noted.id",
            [],
        )?;
        meta::remove(connection, NOTED)?;
    }
    Ok(())
}

/// Returns true if this text was forgotten, so that an import must not bring it back. `ts`: when it was said, `None` if that
/// is not known.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn keeps_out(
    connection: &Connection,
    said: SaidText<'_>,
    ts: Option<UnixMicros>,
) -> Result<bool, rusqlite::Error> {
    let Some(key) = TextKey::load(connection)? else { return Ok(false) };
    let has = |subject, text: &str| -> Result<bool, rusqlite::Error> {
        let at = time_of(connection, key.hash(subject, text))?;
        Ok(at.is_some_and(|at| ts.is_none_or(|ts| ts.0 <= at)))
    };
    if has(said.turn(), said.text)? || (ts.is_some() && !is_short(said.text) && has(Subject::Words, said.text)?) {
        return Ok(true);
    }
    // A hook gets an answer of several blocks as one text, and the transcript has a line for each.
    let mut lines = lines_of(said.text).peekable();
    if said.role != Role::Assistant || lines.peek().is_none() {
        return Ok(false);
    }
    for line in lines {
        if !has(said.line(), line)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns true if the text of the forgotten record with the number `seq` was this one. Of a text that is not short, whether
/// any record that was forgotten had it.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn was_text_of(connection: &Connection, seq: i64, text: &str) -> Result<bool, rusqlite::Error> {
    has(connection, if is_short(text) { Subject::Record(seq) } else { Subject::Words }, text)
}

/// Returns true if all records of the session or project of this name were forgotten.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn is_name_forgotten(connection: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
    has(connection, Subject::Name, name)
}

/// Returns true if the event with this id was deleted by a forgetting.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn is_event_forgotten(connection: &Connection, id: Uuid) -> Result<bool, rusqlite::Error> {
    has(connection, Subject::Event, &id.to_string())
}

/// Notes that no record has the session or project of this name any more.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_name(connection: &Connection, name: &str, at: UnixMicros) -> Result<(), rusqlite::Error> {
    put(connection, &TextKey::load_or_create(connection)?, Subject::Name, name, at)
}

/// Notes that the event with this id is deleted.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_event(connection: &Connection, id: Uuid, at: UnixMicros) -> Result<(), rusqlite::Error> {
    put(connection, &TextKey::load_or_create(connection)?, Subject::Event, &id.to_string(), at)
}

fn has(connection: &Connection, subject: Subject<'_>, text: &str) -> Result<bool, rusqlite::Error> {
    let Some(key) = TextKey::load(connection)? else { return Ok(false) };
    Ok(time_of(connection, key.hash(subject, text))?.is_some())
}

/// Returns the time of the forgetting that has stored the hash.
fn time_of(connection: &Connection, hash: [u8; 16]) -> Result<Option<i64>, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT at FROM forgotten_text WHERE hash = ?1")?;
    find.query_row([hash], |row| row.get(0)).optional()
}

fn put(
    connection: &Connection,
    key: &TextKey,
    subject: Subject<'_>,
    text: &str,
    at: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let mut put = connection.prepare_cached(
        "INSERT INTO forgotten_text (hash, at) VALUES (?1, ?2) ON CONFLICT (hash) DO UPDATE SET at = excluded.at",
    )?;
    put.execute((key.hash(subject, text), at.0)).map(drop)
}

fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

/// A record that is to be forgotten.
pub(crate) struct ForgottenRecord<'t> {
    pub(crate) seq: i64,
    pub(crate) said: SaidText<'t>,
    /// How often the same words were said before (repetitions.rs).
    pub(crate) repetitions: Vec<i64>,
    /// It was stored from the input of a hook, before its lines were read.
    pub(crate) is_early: bool,
}

/// Deletes the row of a record of table `forgetting`, whose references are gone, and notes that it was forgotten `at`.
///
/// # Errors
/// Any SQLite error, such as a reference that is left.
pub(crate) fn delete(
    connection: &Connection,
    record: &ForgottenRecord<'_>,
    at: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let (said, seq) = (record.said, record.seq);
    let key = TextKey::load_or_create(connection)?;
    // Imports and hooks send a text without its secrets.
    let masked = secrets::masked(said.text).map(|masked| masked.text).filter(|text| !text.trim().is_empty());
    for text in [Some(said.text), masked.as_deref()].into_iter().flatten() {
        let anywhere = if is_short(text) { Subject::Record(seq) } else { Subject::Words };
        for subject in [anywhere, said.turn()] {
            put(connection, &key, subject, text, at)?;
        }
        if record.is_early && said.role == Role::Assistant {
            for line in lines_of(text) {
                put(connection, &key, said.line(), line, at)?;
            }
        }
    }
    note_record(connection, said, &record.repetitions)?;
    let note = "INSERT INTO forgotten (seq, id, at) SELECT seq, id, ?2 FROM record WHERE seq = ?1";
    connection.prepare_cached(note)?.execute((seq, at.0))?;
    connection.prepare_cached("DELETE FROM record WHERE seq = ?1")?.execute([seq])?;
    connection.prepare_cached("DELETE FROM forgetting WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_key_the_words_and_for_a_turn_on_who_said_them() {
        let (one, other) = (TextKey(std::array::from_fn(|at| at as u8)), TextKey([2; KEY_BYTES]));
        let words = one.hash(Subject::Words, "the tea  is\ngreen");
        let tea = "the tea is green";
        assert_eq!(words, one.hash(Subject::Words, " the tea is green "));
        let turn = |session| Subject::Turn(session, Role::User);
        for different in [
            other.hash(Subject::Words, tea),
            one.hash(Subject::Words, "thetea is green"),
            one.hash(turn("s"), tea),
            one.hash(Subject::Line("s", Role::User), tea),
            one.hash(Subject::Record(1), tea),
            one.hash(Subject::Name, tea),
            one.hash(Subject::Event, tea),
        ] {
            assert_ne!(words, different);
        }
        assert_ne!(one.hash(turn("s"), "tea"), one.hash(turn("t"), "tea"));
        assert_ne!(one.hash(Subject::Record(1), "tea"), one.hash(Subject::Record(2), "tea"));
        assert_ne!(words[..8], words[8..]);
    }

    #[test]
    fn the_hashes_are_the_same_in_every_release() {
        let key = TextKey(std::array::from_fn(|at| at as u8));
        let hash = key.hash(Subject::Turn("s", Role::User), "tea");
        assert_eq!(u128::from_be_bytes(hash), 289714750986437137314969229736237492746);
    }
}
