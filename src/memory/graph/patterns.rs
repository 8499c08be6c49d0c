//! Patterns that consolidation has induced, with their evidence and confidence.

use rusqlite::Connection;
use serde::Serialize;

use crate::memory::graph::links::LinkKind;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::{records, tags};
use crate::memory::text::language;
use crate::sort;

/// The least confidence of a pattern that needs no approval by the user.
const AUTO_CONFIDENCE: f64 = 0.7;

/// A pattern, as a result lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Schema {
    pub(crate) id: String,
    /// The pattern's terms.
    pub(crate) pattern: String,
    /// From 0 to 1: the share of valid records among those that show it (see [`confidence`]).
    pub(crate) confidence: f64,
    /// The number of records that show it.
    pub(crate) evidence_count: u64,
    /// The number of these records that are no longer valid.
    pub(crate) exceptions_count: u64,
    pub(crate) status: &'static str,
    pub(crate) language: &'static str,
}

/// Returns the valid ones of the newest `limit` patterns that the filter shows, only those of the projects with these
/// numbers if they are given, sorted by descending confidence.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn newest(
    connection: &Connection,
    of: Option<&[i64]>,
    projects: &ProjectFilter,
    limit: usize,
) -> Result<Vec<Schema>, rusqlite::Error> {
    let mut schemas = Vec::new();
    for seq in tags::newest_with(connection, tags::PATTERN, limit)? {
        schemas.extend(read_pattern(connection, seq, of, projects)?);
    }
    sort::sort_by(&mut schemas, |a: &Schema, b| b.confidence.total_cmp(&a.confidence));
    Ok(schemas)
}

/// Returns up to `limit` valid patterns that these records show and the filter does not leave out, those of the first record first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn shown_by(
    connection: &Connection,
    seqs: &[i64],
    projects: &ProjectFilter,
    limit: usize,
) -> Result<Vec<Schema>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT a FROM link WHERE b = ?1 AND kind = ?2 ORDER BY a LIMIT 8")?;
    let (mut seen, mut schemas) = (Vec::new(), Vec::new());
    for &seq in seqs {
        let patterns = read.query_map((seq, LinkKind::Evidence as i64), |row| row.get(0))?;
        for pattern in patterns.collect::<Result<Vec<i64>, _>>()? {
            if schemas.len() < limit && !seen.contains(&pattern) {
                seen.push(pattern);
                schemas.extend(read_pattern(connection, pattern, None, projects)?);
            }
        }
    }
    Ok(schemas)
}

fn read_pattern(
    connection: &Connection,
    seq: i64,
    of: Option<&[i64]>,
    projects: &ProjectFilter,
) -> Result<Option<Schema>, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT text, valid_to IS NULL, project,
                (SELECT count(*) FROM link WHERE a = ?1 AND kind = ?2),
                (SELECT count(*) FROM link JOIN record AS shows ON shows.seq = link.b
                 WHERE link.a = ?1 AND link.kind = ?2 AND shows.valid_to IS NOT NULL)
         FROM record WHERE record.seq = ?1",
    )?;
    let (text, holds, project, evidence, exceptions): (String, bool, i64, i64, i64) = read
        .query_row((seq, LinkKind::Evidence as i64), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
    if !holds || of.is_some_and(|of| !of.contains(&project)) || !projects.admits(connection, seq, project)? {
        return Ok(None);
    }
    let pattern = text.strip_prefix(PATTERN_PREFIX).unwrap_or(&text);
    let confidence = confidence(evidence - exceptions, exceptions);
    Ok(Some(Schema {
        id: records::id_of(connection, seq)?.to_string(),
        pattern: pattern.to_owned(),
        confidence,
        evidence_count: evidence.unsigned_abs(),
        exceptions_count: exceptions.unsigned_abs(),
        status: if confidence >= AUTO_CONFIDENCE { "auto" } else { "pending_user_approval" },
        language: language::of(pattern),
    }))
}

/// Returns the confidence by Laplace's rule of succession, rounded to thousandths: 0.8 for three valid records, 0.667
/// for three valid and one refuted.
fn confidence(shown: i64, refuted: i64) -> f64 {
    let share = (shown + 1) as f64 / (shown + refuted + 2) as f64;
    (share * 1000.0).round() / 1000.0
}

/// The beginning of a pattern's text. Its terms follow.
pub(crate) const PATTERN_PREFIX: &str = "Recurring pattern: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_grows_with_evidence_and_falls_with_exceptions() {
        for (shown, refuted, want) in [(0, 0, 0.5), (3, 0, 0.8), (8, 0, 0.9), (3, 1, 0.667), (1, 3, 0.333)] {
            assert_eq!(confidence(shown, refuted), want, "{shown} {refuted}");
        }
    }
}
