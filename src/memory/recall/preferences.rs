//! Ranking preferences from the profile: how quoted phrases are treated, and which records get a boost.
//!
//! Each knob has one weight here; a knob that is not set adds nothing. Boosts are small beside the words of a query:
//! they reorder records that match about as well, and make no record a hit.

use rusqlite::{Connection, OptionalExtension};

use crate::memory::profile::{Literalness, Profile};
use crate::memory::recall::query::WeightedQuery;
use crate::memory::text::cue_terms;
use crate::memory::text::phrase::PhraseMatch;
use crate::memory::text::tokenizer;

/// Boost of a quoted phrase if `literal_preservation` is loose; half of it in another spelling. About as much as half of
/// the query's words.
const QUOTED_BOOST: f64 = 0.4;

/// Boost of a record with at least [`FULL_INTEREST_LINKS`] links if `interest_boost` is 1; in proportion for fewer.
const INTEREST_BOOST: f64 = 0.3;

/// Links of a record of full interest. Picked: consolidation makes three for each record.
const FULL_INTEREST_LINKS: f64 = 16.0;

/// Boost of a record whose domain has a `monotropism_depth` of 1.
const DEPTH_BOOST: f64 = 0.3;

/// Most domains that count, the deepest; also the most terms of all domains, since a [`WeightedQuery`] has at most 32.
const MAX_DOMAIN_COUNT: usize = 32;

/// What a recall takes from the profile.
#[derive(Debug)]
pub(crate) struct Preferences {
    /// How quoted phrases are treated.
    pub(crate) literal: Literalness,
    interest: f64,
    /// The terms of all domains; `None` if there are none.
    terms: Option<WeightedQuery>,
    /// The deepest first.
    domains: Vec<Domain>,
}

/// A domain of `monotropism_depth`: a project, or a set of terms.
#[derive(Debug)]
struct Domain {
    name: String,
    /// Its name as index terms.
    index_terms: String,
    depth: f64,
    /// The positions of its terms in [`Preferences::terms`]; empty if they exceed [`MAX_DOMAIN_COUNT`].
    terms: Vec<usize>,
}

/// The depth of each project that is a domain, by the project's number.
#[derive(Debug, Default)]
pub(crate) struct ProjectDepths(Vec<(i64, f64)>);

impl Preferences {
    /// Returns the preferences of a profile.
    pub(crate) fn of(profile: &Profile) -> Preferences {
        let (mut all, mut domains) = (Vec::new(), Vec::new());
        for (name, depth) in profile.domains.iter().take(MAX_DOMAIN_COUNT) {
            let own = cue_terms::query_terms(name);
            let new: Vec<_> = own.iter().filter(|one| !all.contains(*one)).cloned().collect();
            let mut terms = Vec::new();
            if all.len() + new.len() <= MAX_DOMAIN_COUNT {
                all.extend(new);
                terms = own.iter().filter_map(|one| all.iter().position(|other| other == one)).collect();
            }
            let index_terms = tokenizer::index_terms(name);
            domains.push(Domain { name: name.clone(), index_terms, depth: *depth, terms });
        }
        let terms =
            (!all.is_empty()).then(|| WeightedQuery::new("", all.into_iter().map(|term| (term, 1.0, 1)).collect()));
        Preferences { literal: profile.literal, interest: profile.interest, terms, domains }
    }

    /// Returns the depth of each project that is a domain, by its whole name or by the last part of its path.
    ///
    /// # Errors
    /// Any error of reading table `project`.
    pub(crate) fn project_depths(&self, connection: &Connection) -> Result<ProjectDepths, rusqlite::Error> {
        let mut depths = Vec::new();
        if self.domains.is_empty() {
            return Ok(ProjectDepths(depths));
        }
        let mut all = connection.prepare_cached("SELECT number, name FROM project WHERE name <> ''")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_str().unwrap_or_default();
            let last = name.trim_end_matches('/').rsplit('/').next().map_or_else(String::new, tokenizer::index_terms);
            // The first match is the deepest.
            let is_named = |domain: &&Domain| domain.name == name || (!last.is_empty() && domain.index_terms == last);
            if let Some(domain) = self.domains.iter().find(is_named) {
                depths.push((row.get(0)?, domain.depth));
            }
        }
        Ok(ProjectDepths(depths))
    }

    /// Returns the boost of a record, given its project's depth.
    ///
    /// # Errors
    /// Any error of reading table `node`.
    pub(crate) fn boost(
        &self,
        connection: &Connection,
        seq: i64,
        text: &str,
        project_depth: f64,
    ) -> Result<f64, rusqlite::Error> {
        let depth = self.depth(text).max(project_depth);
        Ok(DEPTH_BOOST * depth + INTEREST_BOOST * self.interest * self.connectedness(connection, seq)?)
    }

    /// Returns the depth of the deepest domain all of whose terms the text has; 0 if there is none.
    fn depth(&self, text: &str) -> f64 {
        let Some(terms) = &self.terms else { return 0.0 };
        let has = terms.read(text, "").has;
        let is_of = |domain: &&Domain| !domain.terms.is_empty() && domain.terms.iter().all(|at| has.has(*at));
        self.domains.iter().find(is_of).map_or(0.0, |domain| domain.depth)
    }

    /// Returns the record's links as a share of [`FULL_INTEREST_LINKS`], at most 1; 0 if the knob is not set.
    fn connectedness(&self, connection: &Connection, seq: i64) -> Result<f64, rusqlite::Error> {
        if self.interest <= 0.0 {
            return Ok(0.0);
        }
        let mut read = connection.prepare_cached("SELECT degree FROM node WHERE record = ?1")?;
        let degree: Option<i64> = read.query_row([seq], |row| row.get(0)).optional()?;
        Ok((degree.unwrap_or(0) as f64 / FULL_INTEREST_LINKS).min(1.0))
    }
}

impl ProjectDepths {
    /// Returns the depth of the project of this number; 0 if it is no domain.
    pub(crate) fn of(&self, number: i64) -> f64 {
        self.0.iter().find(|(one, _)| *one == number).map_or(0.0, |(_, depth)| *depth)
    }
}

/// Returns the boost of a record by how it has a quoted phrase.
pub(crate) fn phrase_boost(literal: Literalness, phrase: PhraseMatch) -> f64 {
    match (literal, phrase) {
        (Literalness::Strong | Literalness::Medium, _) | (Literalness::Loose, PhraseMatch::None) => 0.0,
        (Literalness::Loose, PhraseMatch::Alike) => QUOTED_BOOST / 2.0,
        (Literalness::Loose, PhraseMatch::Exact) => QUOTED_BOOST,
    }
}

/// Returns the phrase match by which a record is ranked before others, given the match that it has.
pub(crate) fn leading_phrase(literal: Literalness, phrase: PhraseMatch) -> PhraseMatch {
    if literal == Literalness::Loose { PhraseMatch::None } else { phrase }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn preferences(knob: &str, value: Value) -> Preferences {
        let bench = Bench::new();
        assert_eq!(bench.ok("profile_set", json!({"knob": knob, "value": value}))["status"], "ok");
        Preferences::of(&bench.memory.profiles.current())
    }

    #[test]
    fn a_text_has_the_depth_of_its_deepest_domain() {
        let preferences =
            preferences("monotropism_depth", json!({"trains": 0.4, "model trains": 0.9, "Küche": 0.5, "x": 0}));
        for (text, depth) in [
            ("nothing of the kind", 0.0),
            ("A train to Porto", 0.4),
            ("two models of trains", 0.9),
            ("a train in the kuche", 0.5),
            ("x marks the spot", 0.0),
        ] {
            assert_eq!(preferences.depth(text), depth, "{text}");
        }
        assert_eq!(self::preferences("interest_boost", json!(1)).depth("a train"), 0.0);
    }

    #[test]
    fn domains_over_the_limit_of_terms_match_as_projects_only() {
        let many: serde_json::Map<String, Value> =
            (0..40).map(|n| (format!("red{n} blue{n}"), json!(1.0 - f64::from(n) / 100.0))).collect();
        let preferences = preferences("monotropism_depth", Value::Object(many));
        assert_eq!((preferences.depth("blue15 and red15"), preferences.depth("blue16 and red16")), (0.85, 0.0));
        assert_eq!(
            (preferences.domains.len(), preferences.terms.as_ref().map(WeightedQuery::len)),
            (MAX_DOMAIN_COUNT, Some(MAX_DOMAIN_COUNT))
        );
    }

    #[test]
    fn a_project_is_a_domain_by_its_name_or_its_last_folder() {
        let bench = Bench::new();
        for project in ["/home/me/Garden", "garden/", "/home/me/boat", "/home/me/gardening shed", "!!!", ""] {
            bench.capture(&format!("something about {project}"), json!({"project": project}));
        }
        let depth = json!({"garden": 0.5, "/home/me/boat": 1, "???": 1});
        bench.ok("profile_set", json!({"knob": "monotropism_depth", "value": depth}));
        let preferences = Preferences::of(&bench.memory.profiles.current());
        let connection = Connection::open(bench.folder.path().join("memory.db")).unwrap();
        let depths = preferences.project_depths(&connection).unwrap();
        let mut all = connection.prepare("SELECT number, name FROM project").unwrap();
        let rows = all.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
        for (number, name) in rows.map(Result::unwrap) {
            let want = match name.as_str() {
                "/home/me/Garden" | "garden/" => 0.5,
                "/home/me/boat" => 1.0,
                _ => 0.0,
            };
            assert_eq!(depths.of(number), want, "{name}");
        }
    }
}
