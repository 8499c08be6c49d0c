//! Reads the records of the candidates and of their neighbors in the session, and matches each against the query.
//!
//! A record is decoded once into a [`RecordRow`]. The neighbors of a candidate mostly have the seqs beside its own, so one
//! statement reads them all.

use std::time::Instant;

use rusqlite::{CachedStatement, Connection, Row};

use crate::memory::model::record::{Role, Tier};
use crate::memory::model::seq_map::SeqMap;
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::context::{Candidate, ConversationOrder};
use crate::memory::recall::copies::{CopyGroups, TextHash};
use crate::memory::recall::hit::ProjectMatch;
use crate::memory::recall::preferences::ProjectDepths;
use crate::memory::recall::rank::Scorer;
use crate::memory::recall::recall_query::RecallQuery;
use crate::memory::recall::rules::RULES;
use crate::memory::store::error::StoreError;
use crate::memory::store::records::{self, Side};
use crate::memory::store::tags;
use crate::memory::text::non_answer;
use crate::memory::text::phrase::PhraseMatch;

/// The heaviest candidates, whose neighbors in the session are read too.
const WITH_NEIGHBORS_COUNT: usize = 40;

/// Neighbors read on either side.
const NEIGHBOR_COUNT: usize = 2;

/// The records of a range of seqs.
const READ: &str = "SELECT seq, ts, tier, project, session, cue, text, role, valid_to FROM record
                    WHERE seq BETWEEN ?1 AND ?2";

/// A record as a recall reads it.
struct RecordRow<'r> {
    seq: i64,
    said: UnixMicros,
    tier: i64,
    project: i64,
    session: i64,
    cue: &'r str,
    text: &'r str,
    role: i64,
    /// The record has not been superseded.
    holds: bool,
}

impl<'r> RecordRow<'r> {
    /// Returns the record of a row, given its seq.
    fn of(row: &'r Row<'_>, seq: i64) -> Result<RecordRow<'r>, StoreError> {
        Ok(RecordRow {
            seq,
            said: UnixMicros(row.get(1)?),
            tier: row.get(2)?,
            project: row.get(3)?,
            session: row.get(4)?,
            cue: records::string(row, 5)?,
            text: records::string(row, 6)?,
            role: row.get(7)?,
            holds: row.get::<_, Option<i64>>(8)?.is_none(),
        })
    }
}

/// Reads candidates and their neighbors.
pub(crate) struct CandidateReader<'r> {
    connection: &'r Connection,
    query: &'r RecallQuery<'r>,
    scorer: &'r Scorer,
    deadline: Instant,
    depths: ProjectDepths,
    pub(crate) read: Vec<Candidate>,
    /// The session of each record that was read.
    sessions: SeqMap<i64>,
    pub(crate) copies: CopyGroups,
    pub(crate) order: ConversationOrder,
}

impl<'r> CandidateReader<'r> {
    pub(crate) fn new(
        connection: &'r Connection,
        query: &'r RecallQuery<'r>,
        scorer: &'r Scorer,
        deadline: Instant,
    ) -> Result<CandidateReader<'r>, StoreError> {
        Ok(CandidateReader {
            connection,
            query,
            scorer,
            deadline,
            depths: query.preferences.project_depths(connection)?,
            read: Vec::new(),
            sessions: SeqMap::default(),
            copies: CopyGroups::default(),
            order: ConversationOrder::default(),
        })
    }

    /// Reads the first `most` of these records that the filter admits, and as many again of the filter's project. A record
    /// with the text of another is counted as its copy, and read no further.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading a record.
    pub(crate) fn read_candidates(&mut self, seqs: impl Iterator<Item = i64>, most: usize) -> Result<(), StoreError> {
        let mut find = self.connection.prepare_cached(READ)?;
        // Indexed by `ProjectMatch`. The caller's own records count apart, so that they displace no others.
        let mut left = if self.query.filter.projects.own().is_empty() { [most, 0] } else { [most; 2] };
        let mut left_own = most;
        for seq in seqs {
            if self.is_late() || left == [0; 2] {
                break;
            }
            if self.sessions.contains_key(&seq) {
                continue;
            }
            let mut rows = find.query((seq, seq))?;
            let Some(row) = rows.next()? else { continue };
            let row = RecordRow::of(row, seq)?;
            let (project_match, is_own) = (self.project_match(&row), self.is_own(&row));
            let left = if is_own { &mut left_own } else { &mut left[project_match as usize] };
            if *left == 0 || !self.admits(&row)? || self.is_pattern(&row)? {
                continue;
            }
            let hash = self.copies.hash(row.text);
            if row.holds && self.copies.get(hash).is_some() {
                if !is_own {
                    self.copies.add(hash, seq, row.said, project_match == ProjectMatch::Same);
                }
            } else {
                *left -= 1;
                self.take(&row, hash)?;
            }
        }
        Ok(())
    }

    /// Reads the neighbors of the heaviest candidates.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading a record.
    pub(crate) fn read_neighbors(&mut self) -> Result<(), StoreError> {
        let mut find = self.connection.prepare_cached(READ)?;
        let heaviest: Vec<(i64, i64)> =
            self.read.iter().take(WITH_NEIGHBORS_COUNT).map(|one| (one.session, one.seq)).collect();
        for (session, seq) in heaviest {
            if self.is_late() {
                break;
            }
            let reach = NEIGHBOR_COUNT as i64;
            self.read_range(&mut find, session, seq - reach..=seq + reach)?;
            let mut first = seq;
            for _ in 0..NEIGHBOR_COUNT {
                let Some(before) = self.read_neighbor(&mut find, session, first, Side::Before)? else {
                    self.order.openings.insert(first);
                    break;
                };
                self.order.next.insert(before, first);
                first = before;
            }
            let mut last = seq;
            for _ in 0..NEIGHBOR_COUNT {
                let Some(after) = self.read_neighbor(&mut find, session, last, Side::After)? else { break };
                self.order.next.insert(last, after);
                last = after;
            }
        }
        Ok(())
    }

    /// Reads the records of the session in this range that were not read yet.
    fn read_range(
        &mut self,
        find: &mut CachedStatement<'_>,
        session: i64,
        seqs: std::ops::RangeInclusive<i64>,
    ) -> Result<(), StoreError> {
        let is_unread = |seq: &i64| !self.sessions.contains_key(seq);
        let (Some(first), Some(last)) = (seqs.clone().find(is_unread), seqs.rev().find(is_unread)) else {
            return Ok(());
        };
        let mut rows = find.query((first, last))?;
        while let Some(row) = rows.next()? {
            let seq = row.get(0)?;
            if self.sessions.contains_key(&seq) {
                continue;
            }
            let row = RecordRow::of(row, seq)?;
            if row.session != session {
                continue;
            }
            let hash = self.copies.hash(row.text);
            self.take(&row, hash)?;
        }
        Ok(())
    }

    /// Returns the record just before or after another of the session, if there is one, and reads it.
    fn read_neighbor(
        &mut self,
        find: &mut CachedStatement<'_>,
        session: i64,
        seq: i64,
        side: Side,
    ) -> Result<Option<i64>, StoreError> {
        let adjacent = side.adjacent(seq);
        if self.sessions.get(&adjacent) == Some(&session) {
            return Ok(Some(adjacent));
        }
        let found = records::neighbor_in_session(self.connection, session, seq, side)?;
        if let Some(seq) = found {
            self.read_range(find, session, seq..=seq)?;
        }
        Ok(found)
    }

    fn take(&mut self, row: &RecordRow<'_>, text_hash: TextHash) -> Result<(), StoreError> {
        let (project_match, is_own, is_admitted) = (self.project_match(row), self.is_own(row), self.admits(row)?);
        if is_admitted && row.holds && !is_own {
            self.copies.add(text_hash, row.seq, row.said, project_match == ProjectMatch::Same);
        }
        let query = self.query;
        let is_literal = query.is_literal && row.tier == Tier::Episodic as i64;
        let depth = self.depths.of(row.project);
        self.sessions.insert(row.seq, row.session);
        self.read.push(Candidate {
            seq: row.seq,
            session: row.session,
            said: row.said,
            text_match: self.scorer.query.read(row.text, row.cue),
            phrase: query.phrases.iter().map(|phrase| phrase.found_in(row.text)).max().unwrap_or(PhraseMatch::None),
            project_match,
            is_own,
            boost: query.preferences.boost(self.connection, row.seq, row.text, depth)?
                + if is_literal { RULES.literal } else { 0.0 },
            is_admitted,
            is_non_answer: Role::numbered(row.role) == Role::Assistant && non_answer::is_non_answer(row.text),
            holds: row.holds,
            text_hash,
            time_share: query.time.as_ref().map_or(0.0, |time| time.share(row.said)),
        });
        Ok(())
    }

    fn is_own(&self, row: &RecordRow<'_>) -> bool {
        self.query.filter.own.is_some_and(|own| own.has(row.session, row.said))
    }

    fn admits(&self, row: &RecordRow<'_>) -> Result<bool, StoreError> {
        let filter = &self.query.filter;
        Ok(filter.admits(row.said, row.tier) && filter.projects.admits(self.connection, row.seq, row.project)?)
    }

    /// Returns true if the record is a pattern: replies name patterns beside the hits, never as hits.
    fn is_pattern(&self, row: &RecordRow<'_>) -> Result<bool, StoreError> {
        Ok(row.tier == Tier::Semantic as i64 && tags::has(self.connection, row.seq, tags::PATTERN)?)
    }

    fn project_match(&self, row: &RecordRow<'_>) -> ProjectMatch {
        if self.query.filter.projects.is_own(row.project) { ProjectMatch::Same } else { ProjectMatch::Other }
    }

    /// Returns true if the deadline has passed and at least one record was read.
    fn is_late(&self) -> bool {
        !self.read.is_empty() && Instant::now() >= self.deadline
    }
}
