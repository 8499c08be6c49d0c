//! `memory_recall`: finds the records that match a cue and returns their texts as they were stored.
//!
//! Reads the params, determines the cue mode, has `candidates.rs` find the records, and renders the reply within its
//! bounds. Writes happen after the reply: [`DeferredWrites`] are submitted to the writer.

pub(crate) mod caller_project;
pub(crate) mod candidate_reader;
pub(crate) mod candidates;
pub(crate) mod context;
pub(crate) mod copies;
pub(crate) mod further;
pub(crate) mod hit;
pub(crate) mod initials;
pub(crate) mod mode;
pub(crate) mod passage;
pub(crate) mod postings;
pub(crate) mod preferences;
pub(crate) mod prompt;
pub(crate) mod query;
pub(crate) mod rank;
pub(crate) mod recall_query;
pub(crate) mod record_weights;
pub(crate) mod related;
pub(crate) mod rendered_hit;
pub(crate) mod reply;
pub(crate) mod rules;
pub(crate) mod scoped_index;
pub(crate) mod search;
pub(crate) mod spellings;
pub(crate) mod structural;
pub(crate) mod suggestions;
pub(crate) mod temporal;
pub(crate) mod text_match;
pub(crate) mod time_leaning;
pub(crate) mod word_match;
pub(crate) mod word_prefix;

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::graph::links;
use crate::memory::model::time::{CallTime, DateBound, UnixMicros};
use crate::memory::params;
use crate::memory::profile::{Literalness, Profile};
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::recall::candidates::SearchResult;
use crate::memory::recall::further::FurtherWords;
use crate::memory::recall::mode::{CueMode, quoted};
use crate::memory::recall::preferences::Preferences;
use crate::memory::recall::recall_query::{RecallFilter, RecallQuery};
use crate::memory::recall::related::{Related, SPARE_HIT_COUNT};
use crate::memory::recall::rendered_hit::MatchReason;
use crate::memory::recall::reply::RecallResponse;
use crate::memory::recall::scoped_index::ScopedIndex;
use crate::memory::recall::suggestions::{LOW_SCORE, Suggestions};
use crate::memory::recall::time_leaning::{LATEST_COUNT, TIME_CANDIDATE_COUNT, TimeLeaning};
use crate::memory::session::SessionState;
use crate::memory::session::context::OwnTurns;
use crate::memory::session::digest::{self, CycleTotals};
use crate::memory::session::first_turn::FirstTurn;
use crate::memory::store::error::StoreError;
use crate::memory::store::error::read_failed;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::projects;
use crate::memory::store::reader::{Reader, Snapshot};
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::background_task;
use crate::memory::text::cue_terms::CueTerms;
use crate::memory::text::phrase::QuotedPhrase;
use crate::memory::text::time_phrase::{self, TimePhrase, TimeSpan};

/// Answers `memory_recall`, then submits its deferred writes to the writer.
pub(crate) fn answer(
    reader: Result<&Reader, CallError>,
    profile: &Profile,
    state: &SessionState,
    writer: &Writer,
    params: &Params<'_>,
    time: CallTime<'_>,
    reply: Reply<'_>,
) {
    let now = time.now;
    match reader.and_then(|reader| recall(reader, profile, state, params, time)) {
        Ok((response, deferred)) => {
            reply.send(Ok(response));
            if !deferred.is_empty() {
                writer.submit(background_task("deferred writes of a recall", move |transaction| {
                    Ok(deferred.write(transaction.connection, now)?)
                }));
            }
        }
        Err(error) => reply.send::<()>(Err(read_failed(error))),
    }
}

/// Returns the response out of what was read by the deadline, and the writes to submit.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
fn recall(
    reader: &Reader,
    profile: &Profile,
    state: &SessionState,
    params: &Params<'_>,
    time: CallTime<'_>,
) -> Result<(RecallResponse, DeferredWrites), CallError> {
    let now = time.now;
    let cue = params.string("cue")?;
    let budget = params.integer_or("budget_tokens", 0..=i64::from(u32::MAX), 1500)? as usize;
    let limit = params.integer_or("limit", 1..=100, 10)? as usize;
    let session = params.string_or("session_id", "unknown")?;
    params.string_opt("language")?;
    let caller = CallerProject::read(params, profile)?;
    let terms = CueTerms::of(&cue);
    let also = FurtherWords::read(params, &terms.searched())?;
    let mode = CueMode::of(&cue);
    let preferences = Preferences::of(profile);
    let (since, until) =
        (params::time(params, "since", DateBound::Start)?, params::time(params, "until", DateBound::End)?);
    let snapshot = reader.snapshot()?;
    let projects = caller.filter(snapshot.connection())?;
    let own = OwnTurns::of(snapshot.connection(), &session)?;
    let filter = RecallFilter { since, until, own, ..RecallFilter::of(&projects) };
    let query = RecallQuery {
        cue: &cue,
        terms,
        further: &also.terms,
        is_literal: mode == CueMode::Verbatim && preferences.literal == Literalness::Strong,
        phrases: quoted(&cue).into_iter().filter_map(QuotedPhrase::new).collect(),
        filter,
        preferences: &preferences,
        time: None,
    };
    let query = RecallQuery { time: read_time(&snapshot, &cue, time, &filter)?, ..query };
    let (hits, match_reason, suggestions) = if query.terms.is_empty() {
        // A cue without a term is treated as an empty one.
        let newest = candidates::newest(&snapshot, &filter, limit + SPARE_HIT_COUNT)?;
        (newest, MatchReason::Newest, Suggestions::default())
    } else {
        let result = candidates::search(&snapshot, &query, time.deadline, limit + SPARE_HIT_COUNT)?;
        let suggestions = suggest(&snapshot, &projects, &result, time.deadline)?;
        (result.hits, MatchReason::Terms { cue: result.terms, further: result.further }, suggestions)
    };
    let connection = snapshot.connection();
    let related = Related::of(connection, hits, &projects, limit, now)?;
    let mut reply = RecallResponse::new(mode);
    reply.has_passages = params.boolean_or("passages", false)?;
    reply.also_left_out = also.left_out;
    (reply.unknown_words, reply.did_you_mean) = (suggestions.unknown, suggestions.near);
    reply.time_read = query.time.as_ref().map(|time| time.span);
    reply.add_hits(connection, &related, &match_reason, budget, profile)?;
    reply.add_related(connection, &related, &projects, &match_reason)?;
    let deferred = DeferredWrites {
        used: related.used.clone(),
        first_turn: state.first_turns.take(&session, now),
        digest: state.digest.take(now),
        folder: caller.new_folder(connection)?,
    };
    let mut add = || {
        if let Some(totals) = deferred.digest {
            reply.overnight_digest = state.digest.render(connection, totals, &projects, now)?;
        }
        match deferred.first_turn {
            Some(_) => reply.add_first_turn(&snapshot, &related, &filter, &session, profile),
            None => Ok(()),
        }
    };
    match add() {
        Ok(()) => Ok((reply, deferred)),
        Err(error) => {
            if let Some(turn) = deferred.first_turn {
                state.first_turns.put_back(turn);
            }
            if let Some(totals) = deferred.digest {
                state.digest.put_back(totals);
            }
            Err(error)
        }
    }
}

/// Returns the words to try instead, if the best hit has a low score. A word that some record begins with is known.
///
/// # Errors
/// Any [`StoreError`] of reading the store, except [`StoreError::Interrupted`] at the deadline.
fn suggest(
    snapshot: &Snapshot<'_>,
    projects: &ProjectFilter,
    result: &SearchResult,
    deadline: Instant,
) -> Result<Suggestions, StoreError> {
    if result.hits.first().is_some_and(|best| best.score >= LOW_SCORE) {
        return Ok(Suggestions::default());
    }
    let is_unknown = |at: &usize| {
        result.terms[*at].kind.is_written()
            && result.unknown.contains(at)
            && result.hits.iter().all(|hit| !hit.terms.contains(at) && !hit.prefix_terms.contains(at))
    };
    let (unknown, known): (Vec<usize>, Vec<usize>) = (0..result.terms.len()).partition(is_unknown);
    let terms = |positions: &[usize]| positions.iter().map(|&at| result.terms[at].clone()).collect::<Vec<_>>();
    let (unknown, known) = (terms(&unknown), terms(&known));
    let index = ScopedIndex::of(snapshot, projects)?;
    match snapshot.until(deadline, |_| Suggestions::of(index, &unknown, &known)) {
        Err(StoreError::Interrupted) => Ok(Suggestions::default()),
        suggestions => suggestions,
    }
}

/// Returns the time that `cue` names, with its newest records; `None` if it names none.
///
/// # Errors
/// Any [`StoreError`] of reading records.
fn read_time(
    snapshot: &Snapshot<'_>,
    cue: &str,
    time: CallTime<'_>,
    filter: &RecallFilter<'_>,
) -> Result<Option<TimeLeaning>, StoreError> {
    let newest = |filter: &RecallFilter<'_>, most: usize| -> Result<Vec<i64>, StoreError> {
        Ok(candidates::newest(snapshot, filter, most)?.into_iter().map(|hit| hit.seq).collect())
    };
    Ok(match time_phrase::read(cue, time.now, time.zone) {
        None => None,
        Some(TimePhrase::Span(span)) => {
            let since = filter.since.map_or(span.from, |since| since.max(span.from));
            let until = filter.until.map_or(span.to, |until| until.min(span.to));
            let filter = RecallFilter { since: Some(since), until: Some(until), ..*filter };
            Some(TimeLeaning { span, is_latest: false, newest: newest(&filter, TIME_CANDIDATE_COUNT)? })
        }
        Some(TimePhrase::Latest) => {
            let newest = newest(filter, LATEST_COUNT)?;
            let mut read = snapshot.connection().prepare_cached("SELECT ts FROM record WHERE seq = ?1")?;
            let mut span = TimeSpan { from: time.now, to: time.now };
            for seq in &newest {
                span.from = span.from.min(UnixMicros(read.query_row([seq], |row| row.get(0))?));
            }
            Some(TimeLeaning { span, is_latest: true, newest })
        }
    })
}

/// What a recall writes after its reply.
#[derive(Debug, Default)]
struct DeferredWrites {
    /// Pairs of hits whose link is to be renewed.
    used: Vec<(i64, i64)>,
    /// The first turn that was shown.
    first_turn: Option<FirstTurn>,
    /// The totals that the digest has shown.
    digest: Option<CycleTotals>,
    /// A project, and a folder in it that is to be noted.
    folder: Option<(String, String)>,
}

impl DeferredWrites {
    fn is_empty(&self) -> bool {
        self.used.is_empty() && self.first_turn.is_none() && self.digest.is_none() && self.folder.is_none()
    }

    /// Writes all to the store.
    ///
    /// # Errors
    /// Any error of writing to the store.
    fn write(&self, connection: &Connection, now: UnixMicros) -> Result<(), rusqlite::Error> {
        if let Some(turn) = &self.first_turn {
            turn.delete(connection)?;
        }
        if let Some(totals) = self.digest {
            digest::record_shown(connection, totals, now)?;
        }
        if let Some((project, folder)) = &self.folder {
            projects::note_folder(connection, project, folder)?;
        }
        links::touch(connection, &self.used, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Runner;
    use crate::memory::test_support::{Bench, call_on};
    use serde_json::{Value, json};

    fn texts(got: &Value) -> Vec<&str> {
        got["hits"].as_array().unwrap().iter().map(|hit| hit["literal_surface"].as_str().unwrap()).collect()
    }

    /// Recalls, and checks that the reply has all keys and falling scores.
    fn recalled(bench: &Bench, params: Value) -> Value {
        let got = bench.ok("memory_recall", params);
        let is_always = |key: &&String| !matches!(key.as_str(), "unknown_words" | "did_you_mean");
        let keys: Vec<_> = got.as_object().unwrap().keys().filter(is_always).cloned().collect();
        assert_eq!(
            keys,
            [
                "activation_trace",
                "anti_hits",
                "budget_used",
                "cue_mode",
                "hits",
                "overnight_digest",
                "patterns_observed",
                "truncated"
            ]
        );
        let scores: Vec<f64> =
            got["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.windows(2).all(|two| two[0] > two[1]), "{scores:?}");
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score) && *score > 0.0), "{scores:?}");
        got
    }

    fn multilingual() -> Bench {
        let bench = Bench::new();
        for (i, text) in [
            "Anna: we went camping in the mountains last summer",
            "Anna: my cat Momo sleeps on the keyboard",
            "Boris: the database migration failed on the staging server",
            "Boris: I bought a red bicycle for my daughter",
            "Мы ездили на дачу, и кошка Мурка поймала мышь",
            "Вчера обсуждали отпуск: едем на Байкал в августе",
            "Die Besprechung über den Häuserkauf ist am Donnerstag",
            "Wir haben die Straße gesperrt, weil der Kran kommt",
            "Le chat de la voisine s'appelle Félix et l'homme l'adore",
            "Nous préférons les châteaux de la Loire",
            "El perro de mi hermana corre por la playa",
            "Mañana tenemos una reunión con el equipo de diseño",
            "ذهبنا إلى المدرسة الجديدة صباح اليوم",
            "اشتريت كِتَاباً عن تاريخ المدينة",
            "昨日、東京タワーの近くで猫を見ました",
            "来週の会議は大阪で開催されます",
            "我们昨天在北京吃了烤鸭和饺子",
            "他正在大学里学习编写操作系统",
            "어제 학교에서 친구를 만났어요",
            "เมื่อวานเราไปเที่ยวเชียงใหม่กับครอบครัว",
            "हम कल दिल्ली में मिले थे और चाय पी",
            "Χθες πήγαμε στην Αθήνα με το τρένο",
            "party tonight 🎉 bring the guitar and some snacks",
            "the same guitar was repaired by Boris in the old workshop downtown near the river",
        ]
        .iter()
        .enumerate()
        {
            bench.capture(text, json!({"session_id": format!("s{}", i / 4)}));
        }
        bench
    }

    #[test]
    fn words_are_found_in_every_language() {
        let bench = multilingual();
        for (cue, part) in [
            ("When did Anna go camping?", "camping in the mountains"),
            ("What is the name of the cat?", "Momo"),
            ("migrating databases", "database migration"),
            ("bicycles", "red bicycle"),
            ("как зовут кошку", "Мурка"),
            ("отпуск на байкале", "Байкал"),
            ("hauserkauf", "Häuserkauf"),
            ("STRASSE gesperrt", "Straße"),
            ("chats de Felix", "Félix"),
            ("homme", "l'homme"),
            ("chateau", "châteaux"),
            ("manana reunion", "Mañana"),
            ("perros en la playa", "El perro"),
            ("مدرسة", "المدرسة"),
            ("كتاب التاريخ", "كِتَاباً"),
            ("猫", "猫を見ました"),
            ("とうきょうタワー タワー", "東京タワー"),
            ("大阪の会議", "大阪"),
            ("北京烤鸭", "烤鸭"),
            ("操作系统", "操作系统"),
            ("학교", "학교에서"),
            ("เชียงใหม่", "เชียงใหม่"),
            ("दिल्ली चाय", "दिल्ली"),
            ("αθηνα", "Αθήνα"),
            ("🎉", "🎉"),
            ("guitar repaired", "repaired by Boris"),
        ] {
            let got = recalled(&bench, json!({"cue": cue}));
            let first = texts(&got).first().copied().unwrap_or_default();
            assert!(first.contains(part), "{cue}: {:?}", texts(&got));
        }
    }

    #[test]
    fn a_hit_has_every_key_and_the_exact_text() {
        let bench = Bench::new();
        let text = "  exact \u{0} bytes,\r\n of a ТЕКСТ with «quotes»\t";
        let id = bench.capture(text, json!({"session_id": "s", "role": "system", "ts": "2024-01-02T03:04:05+01:00"}));
        bench.capture("a longer text about bytes and other such things", json!({}));
        let got = recalled(&bench, json!({"cue": "bytes текст"}));
        let hit = &got["hits"][0];
        assert_eq!(hit["literal_surface"], text);
        for (key, want) in [
            ("record_id", json!(id)),
            ("reason", json!("matches 2 of 2 words: bytes, текст")),
            ("adjacent_suggestions", json!([])),
            ("valid_from", json!("2024-01-02T02:04:05Z")),
            ("valid_to", json!(null)),
            ("session_id", json!("s")),
            ("role", json!("system")),
            ("ts", json!("2024-01-02T02:04:05Z")),
        ] {
            assert_eq!(hit[key], want, "{key}");
        }
        assert_eq!(hit["_scene_hint"]["captured_at"], "2024-01-02T02:04:05Z");
        bench.ok("profile_set", json!({"knob": "scene_construction_scaffold", "value": false}));
        bench.sql("UPDATE record SET valid_to = 1000000 WHERE seq = 1");
        let got = recalled(&bench, json!({"cue": "bytes текст"}));
        assert_eq!(got["hits"][0]["_scene_hint"], json!(null));
        assert_eq!(got["hits"][0]["valid_to"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn no_character_of_a_cue_is_an_operator() {
        let bench = multilingual();
        let nested = "(".repeat(5000);
        let open = "«".repeat(50_000);
        let words = |count: u32| (0..count).map(|n| format!("word{n} ")).collect::<String>();
        let many = words(16_000);
        let long = format!("{} camping", "x".repeat(100_000));
        for cue in [
            "camping OR NOT AND NEAR/3",
            "NEAR(camping mountains, 5)",
            "\"camping",
            "camping\"",
            "text:camping cue:x -camping +camping ^camping camping*",
            "camping' OR 1=1; DROP TABLE record; --",
            "camping \0 \u{1} \u{7f} \u{fffd}",
            "{camping} : [x] camping_x rowid",
            "🎉🎉 camping",
            &format!("{nested} camping"),
            &format!("{open} camping"),
            &format!("{} camping", words(500)),
            &long,
        ] {
            let got = recalled(&bench, json!({"cue": cue}));
            assert!(texts(&got).iter().any(|text| text.contains("camping")), "{:.60}", cue);
        }
        for cue in ["zzz", "\"zzz\"", &many, "x".repeat(100_000).as_str()] {
            assert_eq!(texts(&recalled(&bench, json!({"cue": cue}))), [""; 0], "{:.60}", cue);
        }
    }

    #[test]
    fn a_cue_without_a_word_returns_the_newest_records() {
        let bench = Bench::new();
        for (text, ts, project) in [
            ("the first of all texts", "2024-03-01", "p"),
            ("an older text that came later", "2023-01-01", "p"),
            ("the second of all texts", "2024-03-02", ""),
            ("the third of all texts", "2024-03-02", "q"),
        ] {
            bench.capture(text, json!({"ts": ts, "project": project}));
        }
        let order = |params| texts(&recalled(&bench, params)).iter().map(|t| t[4..9].to_owned()).collect::<Vec<_>>();
        for cue in ["", " \n ", "?!", "\"\""] {
            assert_eq!(order(json!({"cue": cue})), ["third", "secon", "first", "lder "], "{cue}");
        }
        assert_eq!(order(json!({"cue": "", "limit": 2})), ["third", "secon"]);
        assert_eq!(order(json!({"cue": "", "project": "p"})), ["first", "lder ", "third", "secon"]);
        assert_eq!(order(json!({"cue": "", "until": "2024-03-01"})), ["first", "lder "]);
        assert_eq!(recalled(&bench, json!({"cue": ""}))["hits"][0]["reason"], "among the most recent");
        assert_eq!(texts(&recalled(&Bench::new(), json!({"cue": ""}))), [""; 0]);
    }

    #[test]
    fn a_cue_of_stop_words_is_searched_by_them() {
        let bench = multilingual();
        bench.capture("what it was is what it is", json!({}));
        assert_eq!(texts(&recalled(&bench, json!({"cue": "what is it?", "limit": 1}))), ["what it was is what it is"]);
    }

    #[test]
    fn dates_filter_and_projects_rank_first() {
        let bench = Bench::new();
        for (text, ts, project) in [
            ("garden: planted tomatoes", "2024-05-01T10:00:00Z", ""),
            ("garden: garden garden tomatoes", "2024-05-02T23:59:59.5Z", "/home/a"),
            ("garden: watered tomatoes", "2024-05-03T10:00:00Z", "/home/b"),
        ] {
            bench.capture(text, json!({"ts": ts, "project": project, "session_id": ts}));
        }
        for (params, want) in [
            (json!({"since": "2024-05-02"}), &["garden: garden", "garden: watere"][..]),
            (json!({"until": "2024-05-02"}), &["garden: garden", "garden: plante"]),
            (json!({"until": "2024-05-02T12:00:00Z"}), &["garden: plante"]),
            (json!({"since": "2024-05-01T12:00:00+02:00", "until": "2024-05-01T10:00:00Z"}), &["garden: plante"]),
            (json!({"since": "2025-01-01"}), &[]),
            (json!({"project": "/home/b"}), &["garden: watere", "garden: garden", "garden: plante"]),
            (json!({"project": "/home/none"}), &["garden: garden", "garden: watere", "garden: plante"]),
        ] {
            let mut asked = params.clone();
            asked["cue"] = "garden".into();
            let got = recalled(&bench, asked);
            let starts: Vec<_> = texts(&got).iter().map(|text| &text[..14]).collect();
            assert_eq!(starts, want, "{params}");
        }
        let got = recalled(&bench, json!({"cue": "garden", "project": "/home/b"}));
        assert_eq!(got["hits"][0]["reason"], "of this project; matches 1 of 1 words: garden");
        for name in ["since", "until"] {
            let error = bench.err("memory_recall", json!({"cue": "x", name: "soon"}));
            assert!(error.message.starts_with(&format!("param '{name}' must be an ISO 8601 date")), "{error}");
        }
    }

    #[test]
    fn a_quoted_phrase_asks_for_exact_words() {
        let bench = Bench::new();
        for (text, tier) in [
            ("the meeting is to be moved, or not", "episodic"),
            ("Hamlet: To be, or not to be, that is the question", "episodic"),
            ("hamlet said: to be or not to be", "episodic"),
            ("to be or not to be is a semantic note on Hamlet", "semantic"),
            ("日本語で「猫が好き」と言いました", "episodic"),
        ] {
            bench.capture(text, json!({"tier": tier}));
        }
        for (cue, mode, first) in [
            ("\"to be or not to be\"", "verbatim", ""),
            ("who has “To be, or not to be”?", "verbatim", "Hamlet: To be, or not to be"),
            ("what was «to be or not»", "verbatim", ""),
            ("「猫が好き」", "verbatim", "日本語で"),
            ("verbatim hamlet", "verbatim", "ham"),
            ("what exactly about hamlet", "concept", "h"),
            ("Найди дословно hamlet", "verbatim", "h"),
        ] {
            let got = recalled(&bench, json!({"cue": cue}));
            assert_eq!(got["cue_mode"], mode, "{cue}");
            let found = texts(&got);
            assert!(found[0].to_lowercase().starts_with(&first.to_lowercase()), "{cue}: {found:?}");
            let has_note = found.iter().any(|text| text.contains("semantic"));
            assert!(has_note || cue.contains('猫'), "{cue}: {found:?}");
        }
        let got = recalled(&bench, json!({"cue": "\"to be or not to be\""}));
        let reasons: Vec<_> =
            got["hits"].as_array().unwrap().iter().map(|hit| hit["reason"].as_str().unwrap()).collect();
        assert!(reasons[..2].iter().all(|one| one.starts_with("has the quoted words exactly; matches")), "{reasons:?}");
        assert!(reasons[2].starts_with("has the quoted words in another spelling; "), "{reasons:?}");
    }

    #[test]
    fn budget_and_limit_bound_the_hits_but_one_is_always_returned() {
        let bench = Bench::new();
        for n in 1..=5 {
            bench.capture(&format!("pear number {n} {}", "я".repeat(86)), json!({}));
        }
        for (params, count, used) in [
            (json!({}), 5, 85),
            (json!({"limit": 2}), 2, 34),
            (json!({"budget_tokens": 50}), 2, 34),
            (json!({"budget_tokens": 51}), 3, 51),
            (json!({"budget_tokens": 0}), 1, 17),
        ] {
            let mut asked = params.clone();
            asked["cue"] = "pear".into();
            let got = recalled(&bench, asked);
            assert_eq!((texts(&got).len(), &got["budget_used"]), (count, &json!(used)), "{params}");
            assert_eq!(got["truncated"], 0);
        }
        for (name, value) in [("limit", 0), ("limit", 101), ("budget_tokens", -1)] {
            let error = bench.err("memory_recall", json!({"cue": "x", name: value}));
            assert!(error.message.starts_with(&format!("param '{name}' must be an integer from ")), "{error}");
        }
        assert_eq!(bench.err("memory_recall", json!({})).message, "missing required param: 'cue'");
        assert_eq!(bench.err("memory_recall", json!({"cue": 5})).message, "param 'cue' must be a string");
    }

    #[test]
    fn a_reply_stays_under_a_mebibyte() {
        let bench = Bench::new();
        for n in 0..8 {
            bench.capture(&format!("plum {n} {}", "\u{1}".repeat(60_000)), json!({}));
        }
        let got = recalled(&bench, json!({"cue": "plum", "budget_tokens": 1_000_000, "limit": 8}));
        let count = texts(&got).len();
        assert!(got.to_string().len() <= 1 << 20);
        assert_eq!((count, &got["truncated"]), (2, &json!(6)));
    }

    #[test]
    fn a_recall_past_its_deadline_returns_what_it_has_read() {
        let bench = multilingual();
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let reader = runner.worker.as_mut().unwrap().reader().unwrap();
        let text = json!({"cue": "guitar"}).to_string();
        let params = Params::read(Some(&text)).unwrap();
        let profile = bench.memory.profiles.current();
        let hits = |deadline| {
            let time = CallTime { deadline, ..bench.memory.call_time() };
            recall(reader, &profile, &bench.memory.session_state, &params, time).unwrap().0.hits.len()
        };
        let now = Instant::now();
        assert_eq!(
            (hits(now), hits(now + std::time::Duration::from_secs(60))),
            (1, 4),
            "past the deadline: the first record read; before it: both matches and their neighbors"
        );
    }
}
