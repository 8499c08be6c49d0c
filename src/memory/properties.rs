//! The property that the fuzz target `cue` checks, as a function that a unit test runs too. Built for tests and fuzzing
//! only.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};

use crate::dispatch::{CallError, CallOutcome, Dispatch, LateReply, ReplySink, Runner};
use crate::memory::service::{Memory, Worker};

/// The records' texts: several scripts, quotes, numbers, dates, and text that looks like query syntax.
const TEXTS: [&str; 14] = [
    "The harbour master keeps the tide tables in the blue folder.",
    "My sister Ana moved to Lisbon in March 2024 and likes it there.",
    "Use `cargo build --release` before the benchmark, never the debug build.",
    "NEAR(a b) AND \"c\" OR d* NOT e: that is how the query language looks.",
    "Die Straße nach Süden ist wegen Überschwemmung gesperrt.",
    "Он живёт в Москве и любит чай с лимоном.",
    "彼女は東京の大学で物理学を勉強しています。",
    "أحب القهوة في الصباح الباكر",
    "naïve café résumé: three words with accents",
    "Call me on 2024-06-01 at 12:30, room 17b, +49 30 1234567.",
    "user_id=42; DROP TABLE records; --",
    "The road trip was long; the roadtrip was fun. 👩‍👩‍👧‍👦 🇵🇹",
    "Birds sang all night.",
    "Ordinary words that occur again: the folder, the harbour, the build, the room.",
];

/// A store with a record for each of [`TEXTS`].
#[derive(Debug)]
pub struct CueStore {
    memory: Memory,
    runner: Runner<Worker>,
    /// The texts by record id.
    texts: HashMap<String, &'static str>,
}

impl CueStore {
    /// Creates the store in an empty folder.
    pub fn new(folder: &Path) -> CueStore {
        let memory = Memory::open(folder).unwrap();
        let mut runner = Runner::default();
        let capture = |(at, text): (usize, &'static str)| {
            let params = json!({"text": text, "session_id": format!("s{}", at % 3), "role": "user"});
            let captured = call_on(&memory, &mut runner, "memory_capture", Some(&params.to_string())).unwrap();
            (captured["record_id"].as_str().unwrap_or_else(|| panic!("{text}: {captured}")).to_owned(), text)
        };
        let texts = TEXTS.into_iter().enumerate().map(capture).collect();
        CueStore { memory, runner, texts }
    }

    /// Checks that recall treats any cue as plain text: it returns stored records with their exact text, each once, in
    /// descending order of score, and stores nothing. The first byte of `input` gives the limit, the rest is the cue.
    ///
    /// # Panics
    /// If the property does not hold.
    pub fn check_cue_is_plain_text(&mut self, input: &[u8]) {
        let Some((&first, cue)) = input.split_first() else { return };
        let (cue, limit) = (String::from_utf8_lossy(cue), usize::from(first % 20) + 1);
        let params = json!({"cue": cue, "limit": limit, "budget_tokens": 100_000});
        let recalled = call_on(&self.memory, &mut self.runner, "memory_recall", Some(&params.to_string()));
        let recalled = recalled.unwrap_or_else(|error| panic!("{cue:?} was refused: {error}"));
        let hits = recalled["hits"].as_array().unwrap();
        assert!(hits.len() <= limit, "{} hits for a limit of {limit}", hits.len());
        let (mut before, mut seen) = (f64::INFINITY, Vec::new());
        for hit in hits {
            let (id, score) = (hit["record_id"].as_str().unwrap(), hit["score"].as_f64().unwrap());
            assert_eq!(hit["literal_surface"].as_str(), self.texts.get(id).copied(), "{cue:?}");
            assert!((0.0..=1.0).contains(&score) && score <= before, "{cue:?}: {score} after {before}");
            assert!(!seen.contains(&id), "{cue:?}: {id} twice");
            before = score;
            seen.push(id);
        }
        assert_eq!(self.memory.records().load(std::sync::atomic::Ordering::Relaxed), TEXTS.len() as u64);
    }
}

struct Sink(Sender<(usize, Result<Vec<u8>, CallError>)>);

impl ReplySink for Sink {
    fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>) {
        self.0.send((slot, answer)).unwrap();
    }
}

/// Makes one call on `runner`'s worker and returns its reply.
pub(crate) fn call_on(
    memory: &Memory,
    runner: &mut Runner<Worker>,
    method: &str,
    params: Option<&str>,
) -> Result<Value, CallError> {
    memory.method(method).ok_or_else(|| CallError::unknown_method(method))?;
    let (sender, answers) = channel();
    let sink: Arc<dyn ReplySink> = Arc::new(Sink(sender));
    let outcome = runner.run(memory, method, params, &|| LateReply::new(Arc::clone(&sink), 7));
    drop(sink);
    let answer = match outcome {
        CallOutcome::Now(answer) => answer.map(<[u8]>::to_vec),
        CallOutcome::Later => {
            let (slot, answer) = answers.recv().unwrap();
            assert_eq!(slot, 7);
            answer
        }
    };
    assert!(answers.recv().is_err(), "{method} was answered twice");
    Ok(serde_json::from_slice(&answer?).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn query_syntax_in_a_cue_is_plain_text() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = CueStore::new(folder.path());
        for cue in [
            "",
            " ",
            "\"",
            "\"\"",
            "\"harbour",
            "harbour\" OR \"x",
            "NEAR(harbour, 5)",
            "text:harbour",
            "-harbour ^harbour harbour*",
            "AND OR NOT",
            "';--",
            "2024-06-01 06/01/2024 2024-13-45 0000-00-00 99999-99-99",
            "\u{0}harbour\u{0}",
            "ｈａｒｂｏｕｒ 東京 Straße STRASSE ﬃ İ",
            "👩‍👩‍👧‍👦",
            "\u{202e}harbour\u{feff}",
        ] {
            for first in [0, 19] {
                store.check_cue_is_plain_text(&[&[first], cue.as_bytes()].concat());
            }
        }
        store.check_cue_is_plain_text(&[b"\x05".as_slice(), &b"harbour ".repeat(2000)].concat());
        store.check_cue_is_plain_text(&[b"\x05".as_slice(), &b"x".repeat(5000)].concat());
    }

    #[test]
    fn any_cue_is_plain_text() {
        let folder = tempfile::tempdir().unwrap();
        let store = std::cell::RefCell::new(CueStore::new(folder.path()));
        proptest!(ProptestConfig::with_cases(128), |(cue in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "\\PC{0,60}".prop_map(String::into_bytes),
            "[\"'*:^()a-c ,.0-9-]{0,40}".prop_map(String::into_bytes),
        ])| {
            store.borrow_mut().check_cue_is_plain_text(&cue);
        });
    }
}
