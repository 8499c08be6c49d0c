//! A new record: its fingerprint and index terms, and its insertion.
//!
//! A worker prepares it ([`NewRecord::prepare`]), the writer inserts it.

use rusqlite::Connection;
use uuid::Uuid;

use crate::memory::model::record::{Role, Tier, fingerprint, is_shared_session};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::forgotten::{self, SaidText};
use crate::memory::store::masked::{self, MaskedFrom};
use crate::memory::store::projects;
use crate::memory::store::records::{new_id, project_number, session_number};
use crate::memory::store::repetitions;
use crate::memory::store::tags;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::text::tokenizer;
use crate::secrets;

/// The fields of a record that the caller gives.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) text: String,
    pub(crate) cue: String,
    pub(crate) tier: Tier,
    pub(crate) role: Role,
    pub(crate) session: String,
    pub(crate) project: String,
    /// The folder in the project that a client works in: another name of it. Empty if there is none.
    pub(crate) folder: String,
    pub(crate) ts: UnixMicros,
    /// The number of this part, from 1, and the number of parts.
    pub(crate) part: Option<(i64, i64)>,
    /// Tags that it gets.
    pub(crate) tags: Vec<String>,
}

/// A record that is ready to be inserted, with the fingerprint of its draft. Each of the insert methods is called at
/// most once: it moves the index terms out.
#[derive(Debug)]
pub(crate) struct NewRecord {
    pub(crate) draft: Draft,
    pub(crate) hash: [u8; 16],
    /// What was done to the text, if it is not what was said.
    pub(crate) masked: Option<MaskedFrom>,
    /// The draft's time is given, and not that of the call.
    pub(crate) has_ts: bool,
    /// How often the same words were said before, if another store or an export says so.
    pub(crate) repetitions: Vec<i64>,
    text_terms: String,
    cue_terms: String,
}

/// The result of [`NewRecord::insert_once`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InsertOutcome {
    /// It was stored.
    New { seq: i64, id: Uuid },
    /// A valid record has the same session, role and text already, and without a session the same project.
    Known { seq: i64, id: Uuid },
}

/// The fields of a record that an import gives and that a capture makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportedIdentity {
    /// The record's id.
    pub(crate) id: Uuid,
    /// The end of its validity, if it is over.
    pub(crate) valid_to: Option<UnixMicros>,
}

impl Draft {
    /// Notes that the folder is another name of the project.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn note_folder(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        projects::note_folder(connection, &self.project, &self.folder)
    }

    /// Returns true if a record of this project with the same session, role and text is the same record. Without a
    /// session, each project has its own.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn is_same_in(&self, connection: &Connection, project: &str) -> Result<bool, rusqlite::Error> {
        Ok(!is_shared_session(&self.session)
            || projects::canonical(connection, &self.project)? == projects::canonical(connection, project)?)
    }
}

impl NewRecord {
    /// Computes the fingerprint and the index terms.
    pub(crate) fn prepare(draft: Draft) -> NewRecord {
        let hash = fingerprint(&draft.session, draft.role, &draft.text);
        let (text_terms, cue_terms) = (tokenizer::index_terms(&draft.text), tokenizer::index_terms(&draft.cue));
        let repetitions = Vec::new();
        NewRecord { draft, hash, masked: None, has_ts: true, repetitions, text_terms, cue_terms }
    }

    /// Returns its approximate size in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let Draft { text, cue, tags, .. } = &self.draft;
        size_of::<NewRecord>()
            + text.len()
            + cue.len()
            + tags.iter().map(String::len).sum::<usize>()
            + self.text_terms.len()
            + self.cue_terms.len()
    }

    /// Inserts the record unless a valid one has the same session, role and text, and without a session the same project.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn insert_once(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<InsertOutcome, rusqlite::Error> {
        self.draft.note_folder(transaction.connection)?;
        let session = session_number_or_new(transaction.connection, &self.draft.session)?;
        match self.find_same_text(transaction.connection, session)? {
            SameText::Same { seq, id } => Ok(InsertOutcome::Known { seq, id }),
            SameText::Different(twin) => {
                let id = new_id();
                let seq = self.insert(transaction, session, twin, ImportedIdentity { id, valid_to: None })?;
                Ok(InsertOutcome::New { seq, id })
            }
        }
    }

    /// Inserts the record even if a valid one has the same session, role and text.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn insert_again(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<(i64, Uuid), rusqlite::Error> {
        let session = session_number_or_new(transaction.connection, &self.draft.session)?;
        let twin = self.free_twin(transaction.connection, session)?;
        let id = new_id();
        let seq = self.insert(transaction, session, twin, ImportedIdentity { id, valid_to: None })?;
        Ok((seq, id))
    }

    /// Inserts the record with the given identity, whose id must be free, even if a valid record has the same session,
    /// role and text. Uses `twin` unless a valid record with this fingerprint has that number.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn insert_as(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        identity: ImportedIdentity,
        twin: i64,
    ) -> Result<i64, rusqlite::Error> {
        let session = session_number_or_new(transaction.connection, &self.draft.session)?;
        let sql = "SELECT 1 FROM record WHERE session = ?1 AND hash = ?2 AND twin = ?3 AND valid_to IS NULL";
        let is_taken = identity.valid_to.is_none()
            && transaction.connection.prepare_cached(sql)?.exists((session, self.hash, twin))?;
        let twin = if is_taken { self.free_twin(transaction.connection, session)? } else { twin };
        self.insert(transaction, session, twin, identity)
    }

    /// As [`NewRecord::insert_once`]; `None` if the text was forgotten.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn insert_unless_forgotten(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Option<InsertOutcome>, rusqlite::Error> {
        match self.is_forgotten(transaction.connection)? {
            true => Ok(None),
            false => self.insert_once(transaction).map(Some),
        }
    }

    /// Returns true if the text was forgotten and must not come back.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn is_forgotten(&self, connection: &Connection) -> Result<bool, rusqlite::Error> {
        forgotten::keeps_out(connection, self.said(), self.has_ts.then_some(self.draft.ts))
    }

    /// Returns what makes the record's fingerprint.
    pub(crate) fn said(&self) -> SaidText<'_> {
        let Draft { session, role, text, .. } = &self.draft;
        SaidText { session, role: *role, text }
    }

    /// Returns true if a valid record has the same session, role and text.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn is_stored(&self, connection: &Connection) -> Result<bool, rusqlite::Error> {
        let session = session_number_or_new(connection, &self.draft.session)?;
        Ok(matches!(self.find_same_text(connection, session)?, SameText::Same { .. }))
    }

    fn free_twin(&self, connection: &Connection, session: i64) -> Result<i64, rusqlite::Error> {
        let sql = "SELECT coalesce(max(twin) + 1, 0) FROM record WHERE session = ?1 AND hash = ?2 AND valid_to IS NULL";
        connection.prepare_cached(sql)?.query_row((session, self.hash), |row| row.get(0))
    }

    /// Finds the valid record with the same session, role and text, or that with the text as it was before it was masked.
    fn find_same_text(&self, connection: &Connection, session: i64) -> Result<SameText, rusqlite::Error> {
        let found = self.find_by_hash(connection, session, self.hash)?;
        match (found, self.masked.as_ref().and_then(|masked| masked.was)) {
            (SameText::Different(twin), Some(was)) => match self.find_by_hash(connection, session, was)? {
                SameText::Different(_) => Ok(SameText::Different(twin)),
                same => Ok(same),
            },
            (found, _) => Ok(found),
        }
    }

    /// Returns true if the text is that of this record, or becomes it when it is masked.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        text == self.draft.text
            || (self.masked.is_some() && secrets::masked(text).is_some_and(|masked| masked.text == self.draft.text))
    }

    fn find_by_hash(&self, connection: &Connection, session: i64, hash: [u8; 16]) -> Result<SameText, rusqlite::Error> {
        let mut find = connection.prepare_cached(
            "SELECT seq, id, twin, role, text, project.name FROM record
             JOIN project ON project.number = record.project
             WHERE session = ?1 AND hash = ?2 AND valid_to IS NULL ORDER BY twin",
        )?;
        let mut rows = find.query((session, hash))?;
        let mut twin = 0;
        while let Some(row) = rows.next()? {
            let is_same = row.get::<_, i64>(3)? == self.draft.role as i64
                && self.is_text(row.get_ref(4)?.as_str()?)
                && self.draft.is_same_in(connection, row.get_ref(5)?.as_str()?)?;
            if is_same {
                return Ok(SameText::Same { seq: row.get(0)?, id: Uuid::from_bytes(row.get(1)?) });
            }
            twin = row.get::<_, i64>(2)? + 1;
        }
        Ok(SameText::Different(twin))
    }

    fn insert(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        session: i64,
        twin: i64,
        ImportedIdentity { id, valid_to }: ImportedIdentity,
    ) -> Result<i64, rusqlite::Error> {
        let connection = transaction.connection;
        let project = project_number_or_new(connection, &self.draft.project)?;
        if self.repetitions.is_empty() {
            let number = repetitions::next(connection, self.hash, self.said())?;
            self.repetitions.push(number);
        }
        let draft = &self.draft;
        connection
            .prepare_cached(
                "INSERT INTO record
                     (seq, id, ts, tier, role, session, project, part, parts, valid_to, hash, twin, cue, text)
                 VALUES (1 + max((SELECT coalesce(max(seq), 0) FROM record), (SELECT coalesce(max(seq), 0) FROM forgotten),
                                 (SELECT coalesce(max(seq), 0) FROM absorbed_record)),
                         ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(rusqlite::params![
                id.as_bytes(),
                draft.ts.0,
                draft.tier as i64,
                draft.role as i64,
                session,
                project,
                draft.part.map(|(part, _)| part),
                draft.part.map(|(_, parts)| parts),
                valid_to.map(|at| at.0),
                self.hash,
                twin,
                draft.cue,
                draft.text,
            ])?;
        let seq = connection.last_insert_rowid();
        repetitions::set(connection, seq, &self.repetitions)?;
        for tag in &draft.tags {
            tags::add(connection, seq, tag)?;
            transaction.tag_added(tag);
        }
        if let Some(masked) = &self.masked
            && let Some(counts) = masked::count(connection, &draft.session, &masked.kinds)?
        {
            transaction.masked = Some(counts);
        }
        transaction.record_added(seq, std::mem::take(&mut self.text_terms), std::mem::take(&mut self.cue_terms));
        Ok(seq)
    }
}

enum SameText {
    /// The valid record with the same session, role and text.
    Same { seq: i64, id: Uuid },
    /// No record has the same text. The number distinguishes the new record from valid ones with its fingerprint.
    Different(i64),
}

fn session_number_or_new(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    match session_number(connection, name)? {
        Some(number) => Ok(number),
        None => add_name(connection, "INSERT INTO session (name) VALUES (?1)", name),
    }
}

pub(crate) fn project_number_or_new(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    match project_number(connection, name)? {
        Some(number) => Ok(number),
        None => add_name(connection, "INSERT INTO project (name) VALUES (?1)", name),
    }
}

fn add_name(connection: &Connection, sql: &str, name: &str) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached(sql)?.execute([name])?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open;
    use crate::memory::test_support::Bench;

    #[test]
    fn another_text_with_the_same_fingerprint_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open::open(folder.path()).unwrap();
        let store_one = |text: &str, session: &str| {
            let mut new = NewRecord::prepare(draft(text, session));
            new.hash = [7; 16];
            new.insert_once(&mut WriteTransaction::of(&opened.connection)).unwrap()
        };
        let known = |placed| match placed {
            InsertOutcome::New { seq, id } | InsertOutcome::Known { seq, id } => InsertOutcome::Known { seq, id },
        };
        let is_new = |placed: &InsertOutcome| matches!(placed, InsertOutcome::New { .. });
        let texts = ["the first of the texts", "the second of the texts", "the third of the texts"];
        let first = texts.map(|text| store_one(text, "a"));
        assert!(first.iter().all(is_new));
        assert!(is_new(&store_one(texts[0], "b")));
        for (text, placed) in texts.iter().zip(first) {
            assert_eq!(store_one(text, "a"), known(placed), "{text}");
        }
        // Once the first one is no longer valid, the others are still found, and its text counts as new.
        opened.connection.execute("UPDATE record SET valid_to = 5 WHERE twin = 0", []).unwrap();
        assert_eq!(store_one(texts[2], "a"), known(first[2]));
        assert!(is_new(&store_one(texts[0], "a")));
        assert!(!is_new(&store_one(texts[0], "a")));
    }

    #[test]
    fn insert_again_stores_a_duplicate() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open::open(folder.path()).unwrap();
        let mut transaction = WriteTransaction::of(&opened.connection);
        let one = || NewRecord::prepare(draft("the same words again", "a"));
        let seqs: Vec<i64> = (0..3).map(|_| one().insert_again(&mut transaction).unwrap().0).collect();
        assert_eq!(seqs, [1, 2, 3]);
        assert!(matches!(one().insert_once(&mut transaction).unwrap(), InsertOutcome::Known { seq: 1, .. }));
    }

    fn draft(text: &str, session: &str) -> Draft {
        Draft {
            text: text.into(),
            cue: String::new(),
            tier: Tier::Episodic,
            role: Role::User,
            session: session.into(),
            project: String::new(),
            folder: String::new(),
            ts: Bench::NOW,
            part: None,
            tags: Vec::new(),
        }
    }
}
