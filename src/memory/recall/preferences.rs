//! What the profile makes of a search: how literally quoted words are meant, and which records count
//! for more than their words.
//!
//! Each knob has one number here, and unset it changes nothing. A leaning is small beside the words of a
//! question: it decides among records that answer it about as well, and finds none that does not.

use rusqlite::{Connection, OptionalExtension};

use crate::memory::profile::{Literalness, Profile};
use crate::memory::recall::query::WeightedQuery;
use crate::memory::text::phrase::PhraseMatch;
use crate::memory::text::tokenizer;

/// What quoted words add where `literal_preservation` is loose; in another spelling, half. As much as
/// half of the question's words.
const QUOTED_BOOST: f64 = 0.4;

/// What `interest_boost` 1 adds to a record that [`HANGING`] others hang on; with fewer, less.
const INTEREST: f64 = 0.3;

/// Links of a record that is of full interest. Picked: sleep makes three of each record.
const HANGING: f64 = 16.0;

/// What a `monotropism_depth` of 1 adds to a record of that domain.
const DEPTH: f64 = 0.3;

/// Domains that count, the deepest: as many as a question may have terms.
const DOMAINS: usize = 32;

/// How the knobs lean.
#[derive(Debug)]
pub(crate) struct Preferences {
    /// How literally quoted words are meant.
    pub(crate) literal: Literalness,
    interest: f64,
    /// The words of all domains.
    words: Option<WeightedQuery>,
    domains: Vec<Domain>,
}

/// A domain of `monotropism_depth`: a project, or words.
#[derive(Debug)]
struct Domain {
    name: String,
    /// All its terms.
    line: String,
    depth: f64,
    /// The places of its words; none where there was no room for them.
    words: Vec<usize>,
}

/// The depth of each project that is a domain.
#[derive(Debug, Default)]
pub(crate) struct Projects(Vec<(i64, f64)>);

impl Preferences {
    /// By the knobs as they are now.
    pub(crate) fn of(profile: &Profile) -> Preferences {
        let (mut asked, mut domains) = (Vec::new(), Vec::new());
        for (name, depth) in profile.domains.iter().take(DOMAINS) {
            let own = tokenizer::query_terms(name);
            let new: Vec<_> = own.iter().filter(|one| !asked.contains(*one)).cloned().collect();
            let mut words = Vec::new();
            if asked.len() + new.len() <= DOMAINS {
                asked.extend(new);
                words = own.iter().filter_map(|one| asked.iter().position(|other| other == one)).collect();
            }
            domains.push(Domain { name: name.clone(), line: tokenizer::index_terms(name), depth: *depth, words });
        }
        let words = (!asked.is_empty())
            .then(|| WeightedQuery::new("", asked.into_iter().map(|asked| (asked, 1.0, 1)).collect()));
        Preferences { literal: profile.literal, interest: profile.interest, words, domains }
    }

    /// Which projects are domains: by the whole name, or by the last part of a path.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn projects(&self, connection: &Connection) -> Result<Projects, rusqlite::Error> {
        let mut projects = Vec::new();
        if self.domains.is_empty() {
            return Ok(Projects(projects));
        }
        let mut all = connection.prepare_cached("SELECT number, name FROM project WHERE name <> ''")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_str().unwrap_or_default();
            let last = name.trim_end_matches('/').rsplit('/').next().map_or_else(String::new, tokenizer::index_terms);
            // The deepest comes first.
            let is_it = |domain: &&Domain| domain.name == name || (!last.is_empty() && domain.line == last);
            if let Some(domain) = self.domains.iter().find(is_it) {
                projects.push((row.get(0)?, domain.depth));
            }
        }
        Ok(Projects(projects))
    }

    /// What a record gains beside what its words are worth.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn gain(
        &self,
        connection: &Connection,
        seq: i64,
        text: &str,
        of_project: f64,
    ) -> Result<f64, rusqlite::Error> {
        Ok(DEPTH * self.depth(text).max(of_project) + INTEREST * self.interest * self.hanging(connection, seq)?)
    }

    /// How deep a domain the text is of.
    fn depth(&self, text: &str) -> f64 {
        let Some(words) = &self.words else { return 0.0 };
        let has = words.read(text, "").has;
        let is_of = |domain: &&Domain| !domain.words.is_empty() && domain.words.iter().all(|at| has.has(*at));
        self.domains.iter().find(is_of).map_or(0.0, |domain| domain.depth)
    }

    /// How much hangs on a record, 0 to 1.
    fn hanging(&self, connection: &Connection, seq: i64) -> Result<f64, rusqlite::Error> {
        if self.interest <= 0.0 {
            return Ok(0.0);
        }
        let mut read = connection.prepare_cached("SELECT degree FROM node WHERE record = ?1")?;
        let degree: Option<i64> = read.query_row([seq], |row| row.get(0)).optional()?;
        Ok((degree.unwrap_or(0) as f64 / HANGING).min(1.0))
    }
}

impl Projects {
    /// How deep a domain the project of this number is.
    pub(crate) fn depth(&self, number: i64) -> f64 {
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

    fn leaning(knob: &str, value: Value) -> Preferences {
        let bench = Bench::new();
        assert_eq!(bench.ok("profile_set", json!({"knob": knob, "value": value}))["status"], "ok");
        Preferences::of(&bench.memory.profiles.current())
    }

    #[test]
    fn a_text_is_as_deep_as_its_deepest_domain() {
        let leaning = leaning("monotropism_depth", json!({"trains": 0.4, "model trains": 0.9, "Küche": 0.5, "x": 0}));
        for (text, depth) in [
            ("nothing of the kind", 0.0),
            ("A train to Porto", 0.4),
            ("two models of trains", 0.9),
            ("a train in the kuche", 0.5),
            ("x marks the spot", 0.0),
        ] {
            assert_eq!(leaning.depth(text), depth, "{text}");
        }
        assert_eq!(self::leaning("interest_boost", json!(1)).depth("a train"), 0.0);
    }

    #[test]
    fn more_domains_than_there_is_room_for_are_known_as_projects_alone() {
        let many: serde_json::Map<String, Value> =
            (0..40).map(|n| (format!("red{n} blue{n}"), json!(1.0 - f64::from(n) / 100.0))).collect();
        let leaning = leaning("monotropism_depth", Value::Object(many));
        assert_eq!((leaning.depth("blue15 and red15"), leaning.depth("blue16 and red16")), (0.85, 0.0));
        assert_eq!((leaning.domains.len(), leaning.words.as_ref().map(WeightedQuery::len)), (DOMAINS, Some(DOMAINS)));
    }

    #[test]
    fn a_project_is_a_domain_by_its_name_or_its_folders() {
        let bench = Bench::new();
        for project in ["/home/me/Garden", "garden/", "/home/me/boat", "/home/me/gardening shed", "!!!", ""] {
            bench.capture(&format!("something about {project}"), json!({"project": project}));
        }
        let depth = json!({"garden": 0.5, "/home/me/boat": 1, "???": 1});
        bench.ok("profile_set", json!({"knob": "monotropism_depth", "value": depth}));
        let leaning = Preferences::of(&bench.memory.profiles.current());
        let connection = Connection::open(bench.folder.path().join("memory.db")).unwrap();
        let projects = leaning.projects(&connection).unwrap();
        let mut all = connection.prepare("SELECT number, name FROM project").unwrap();
        let rows = all.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
        for (number, name) in rows.map(Result::unwrap) {
            let want = match name.as_str() {
                "/home/me/Garden" | "garden/" => 0.5,
                "/home/me/boat" => 1.0,
                _ => 0.0,
            };
            assert_eq!(projects.depth(number), want, "{name}");
        }
    }
}
