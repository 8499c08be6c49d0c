//! Forgotten records: tables `forgotten`, `forgotten_text` and `forgetting`, and the deletion of one record.
//!
//! Of a forgotten record the store keeps the id, the number and the time, and apart from them keyed hashes of what it
//! said. By these it recognizes the same turn in an import, a hook's line or a deferred file, and keeps it out. The key
//! is the store's own, so a hash says nothing to somebody who has no copy of the store.
//!
//! A text is kept out if its session and role are those of the forgotten record, or if it is said to be of a time before
//! the forgetting. The same words said later, in another session, are new.

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

/// The length of the key, in bytes.
const KEY_BYTES: usize = 32;

/// What a hash is of.
#[derive(Clone, Copy)]
enum Subject {
    /// The words of a text.
    Words = 0,
    /// A session, a role and the words of a text.
    Turn = 1,
    /// A session, a role and the words of a line of a text.
    Line = 2,
}

/// What is hashed of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaidText<'t> {
    pub(crate) session: &'t str,
    pub(crate) role: Role,
    pub(crate) text: &'t str,
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
    fn hash(&self, subject: Subject, SaidText { session, role, .. }: SaidText<'_>, text: &str) -> [u8; 16] {
        let mut hash = [0; 16];
        for (half, key) in hash.chunks_exact_mut(8).zip(self.0.chunks_exact(16)) {
            let number = |at: usize| key[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            #[expect(deprecated, reason = "as above")]
            let mut hasher = SipHasher::new_with_keys(number(0), number(8));
            hasher.write_u8(subject as u8);
            if !matches!(subject, Subject::Words) {
                hasher.write(session.as_bytes());
                hasher.write(&[0xFF, role as u8]);
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

/// Returns when the record with this id was forgotten; `None` if it was not.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn forgotten_at(connection: &Connection, id: Uuid) -> Result<Option<UnixMicros>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT at FROM forgotten WHERE id = ?1")?;
    read.query_row([id.as_bytes()], |row| row.get(0)).optional().map(|at| at.map(UnixMicros))
}

/// Returns true if this text, said at `ts`, was forgotten, so that an import must not bring it back.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn keeps_out(connection: &Connection, said: SaidText<'_>, ts: UnixMicros) -> Result<bool, rusqlite::Error> {
    let Some(key) = TextKey::load(connection)? else { return Ok(false) };
    let mut find = connection.prepare_cached("SELECT at FROM forgotten_text WHERE hash = ?1")?;
    let mut at = |subject, text| find.query_row([key.hash(subject, said, text)], |row| row.get::<_, i64>(0)).optional();
    if at(Subject::Turn, said.text)?.is_some() || at(Subject::Words, said.text)?.is_some_and(|at| ts.0 <= at) {
        return Ok(true);
    }
    // A hook gets an answer of several blocks as one text, and the transcript has a line for each.
    let mut lines = lines_of(said.text).peekable();
    if said.role != Role::Assistant || lines.peek().is_none() {
        return Ok(false);
    }
    for line in lines {
        if at(Subject::Line, line)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

/// A record that is to be forgotten.
pub(crate) struct ForgottenRecord<'t> {
    pub(crate) seq: i64,
    pub(crate) said: SaidText<'t>,
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
    let mut put = connection.prepare_cached(
        "INSERT INTO forgotten_text (hash, at) VALUES (?1, ?2) ON CONFLICT (hash) DO UPDATE SET at = excluded.at",
    )?;
    // Imports and hooks send a text without its secrets.
    let masked = secrets::masked(said.text).map(|masked| masked.text).filter(|text| !text.trim().is_empty());
    for text in [Some(said.text), masked.as_deref()].into_iter().flatten() {
        for subject in [Subject::Words, Subject::Turn] {
            put.execute((key.hash(subject, said, text), at.0))?;
        }
        if record.is_early && said.role == Role::Assistant {
            for line in lines_of(text) {
                put.execute((key.hash(Subject::Line, said, line), at.0))?;
            }
        }
    }
    let note = "INSERT INTO forgotten (seq, id, at) SELECT seq, id, ?2 FROM record WHERE seq = ?1";
    connection.prepare_cached(note)?.execute((seq, at.0))?;
    connection.prepare_cached("DELETE FROM record WHERE seq = ?1")?.execute([seq])?;
    connection.prepare_cached("DELETE FROM forgetting WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'t>(session: &'t str, text: &'t str) -> SaidText<'t> {
        SaidText { session, role: Role::User, text }
    }

    #[test]
    fn a_hash_depends_on_the_key_the_words_and_for_a_turn_on_who_said_them() {
        let (one, other) = (TextKey(std::array::from_fn(|at| at as u8)), TextKey([2; KEY_BYTES]));
        let of = |key: &TextKey, subject, said: SaidText<'_>| key.hash(subject, said, said.text);
        let words = of(&one, Subject::Words, said("s", "the tea  is\ngreen"));
        assert_eq!(words, of(&one, Subject::Words, said("t", " the tea is green ")));
        for different in [
            of(&other, Subject::Words, said("s", "the tea is green")),
            of(&one, Subject::Words, said("s", "thetea is green")),
            of(&one, Subject::Turn, said("s", "the tea is green")),
            of(&one, Subject::Line, said("s", "the tea is green")),
        ] {
            assert_ne!(words, different);
        }
        assert_ne!(of(&one, Subject::Turn, said("s", "tea")), of(&one, Subject::Turn, said("t", "tea")));
        assert_ne!(words[..8], words[8..]);
    }

    #[test]
    fn the_hashes_are_the_same_in_every_release() {
        let key = TextKey(std::array::from_fn(|at| at as u8));
        let hash = key.hash(Subject::Turn, said("s", "tea"), "tea");
        assert_eq!(u128::from_be_bytes(hash), 289714750986437137314969229736237492746);
    }
}
