//! `memory_list`, `memory_show`, `memory_sessions` and `memory_projects`: what the store holds, for the person it belongs
//! to.

use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::links;
use crate::memory::methods::record_view::RecordView;
use crate::memory::model::record::{PROJECT_BYTES, Role, SESSION_BYTES};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::params::{self, check_len};
use crate::memory::recall::reply::MAX_HITS_BYTES;
use crate::memory::store::aliases;
use crate::memory::store::copies;
use crate::memory::store::projects;
use crate::memory::store::reader::Reader;
use crate::memory::store::record_list::{ListedRecord, RecordList};
use crate::memory::store::records::{self, RecordGroup, Side};
use crate::memory::store::tags;
use crate::memory::store::writer::Writer;
use crate::memory::text::excerpt::beginning;

/// Most entries of a reply.
const MAX_COUNT: i64 = 1000;

/// Records that a call reads at most: with a role or a project that few have, a reply may have fewer than `limit`. Picked.
const MAX_READ_COUNT: usize = 20_000;

/// Records before and after the one that is shown. Picked: the exchange around it.
const NEIGHBOR_COUNT: usize = 2;

/// Characters of the other records that are shown with one.
const EXCERPT_CHARS: usize = 120;

/// Other names of a project that a list has, at most. Picked.
const MAX_NAME_COUNT: usize = 20;

/// Answers `memory_list`: the records that match, the newest first. Remembers the report that they are written to.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn memory_list(
    reader: &Reader,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<Value, CallError> {
    let file = optional_name(params, "file", PROJECT_BYTES)?.filter(|file| !file.is_empty());
    let list = list(reader, params)?;
    if let Some(file) = file.filter(|_| params.raw("cursor").is_none_or(|cursor| cursor == "null")) {
        copies::remember(writer, "report", &file, now);
    }
    Ok(list)
}

fn list(reader: &Reader, params: &Params<'_>) -> Result<Value, CallError> {
    let session = optional_name(params, "session_id", SESSION_BYTES)?;
    let project = optional_name(params, "project", PROJECT_BYTES)?;
    let role = match params.string_opt("role")? {
        Some(name) => {
            Some(Role::named(&name).ok_or_else(|| CallError::invalid("role", "one of user, assistant, system"))?)
        }
        None => None,
    };
    let since = params::time(params, "since", DateBound::Start)?.map_or(i64::MIN, |at| at.0);
    let until = params::time(params, "until", DateBound::End)?.map_or(i64::MAX, |at| at.0);
    let limit = params.integer_or("limit", 1..=MAX_COUNT, 20)? as usize;
    let mut place = cursor(params)?.filter(|(ts, _)| *ts <= until).unwrap_or((until, i64::MAX));
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let session = session.map(|name| records::session_number(connection, &name)).transpose()?;
    let projects = project.map(|name| projects::numbers(connection, &name)).transpose()?;
    if session == Some(None) || projects.as_ref().is_some_and(Vec::is_empty) {
        return Ok(json!({"records": [], "next": null}));
    }
    let mut list = RecordList::of(connection, session.flatten(), projects, since, place)?;
    let (mut found, mut bytes, mut read_count) = (Vec::new(), 0, 0);
    while let Some(ListedRecord { place: at, is_wanted }) = list.next()? {
        if found.len() == limit || bytes > MAX_HITS_BYTES || read_count == MAX_READ_COUNT {
            return Ok(json!({"records": found, "next": text_of(place)}));
        }
        read_count += 1;
        if is_wanted {
            let record = RecordView::read(connection, at.1)?;
            if role.is_none_or(|role| role.name() == record.role) {
                let record = json!(record);
                bytes += record.to_string().len();
                // The first is returned in any case.
                if bytes > MAX_HITS_BYTES && !found.is_empty() {
                    return Ok(json!({"records": found, "next": text_of(place)}));
                }
                found.push(record);
            }
        }
        place = at;
    }
    Ok(json!({"records": found, "next": null}))
}

/// Answers `memory_show`: a record with its neighbors in the session, its links, and what it replaced or was replaced by.
///
/// # Errors
/// -32602 if the id is invalid or no record has it, -32001 if the store cannot be read.
pub(crate) fn memory_show(reader: &Reader, params: &Params<'_>, now: UnixMicros) -> Result<Value, CallError> {
    let id = params::id(params, "id")?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let seq = records::seq_of(connection, "id", id)?;
    let session: i64 =
        connection.prepare_cached("SELECT session FROM record WHERE seq = ?1")?.query_row([seq], |row| row.get(0))?;
    let around = |side: Side| -> Result<Vec<Value>, CallError> {
        let (mut at, mut all) = (seq, Vec::new());
        while all.len() < NEIGHBOR_COUNT
            && let Some(next) = records::neighbor_in_session(connection, session, at, side)?
        {
            all.push(excerpt(connection, next)?);
            at = next;
        }
        Ok(all)
    };
    let links = links::links_of(connection, seq, now)?;
    let successors = links::successor_chain(connection, seq)?;
    let excerpts = |seqs: &[i64]| seqs.iter().map(|seq| excerpt(connection, *seq)).collect::<Result<Vec<_>, _>>();
    let mut linked = Vec::new();
    for neighbor in &links.neighbors {
        let mut other = excerpt(connection, neighbor.seq)?;
        other["weight"] = (neighbor.weight as f64 / links::STRONGEST as f64).into();
        linked.push(other);
    }
    let mut before = around(Side::Before)?;
    before.reverse();
    let mut shown = json!(RecordView::read(connection, seq)?);
    let other_ids = aliases::of(connection, seq)?;
    if !other_ids.is_empty() {
        shown["other_ids"] = other_ids.iter().map(Uuid::to_string).collect();
    }
    shown["tags"] = tags::of(connection, seq)?.into();
    shown["before"] = before.into();
    shown["after"] = around(Side::After)?.into();
    shown["links"] = linked.into();
    shown["replaced_by"] = excerpts(&successors[1..])?.into();
    shown["replaces"] = excerpts(&links.predecessors)?.into();
    Ok(shown)
}

/// Answers `memory_sessions`: the sessions, that with the newest record first.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn memory_sessions(reader: &Reader, params: &Params<'_>) -> Result<Value, CallError> {
    groups(reader, params, RecordGroup::Session, "sessions", "session_id")
}

/// Answers `memory_projects`: the projects, that with the newest record first.
///
/// # Errors
/// -32602 for an invalid param, -32001 if the store cannot be read.
pub(crate) fn memory_projects(reader: &Reader, params: &Params<'_>) -> Result<Value, CallError> {
    groups(reader, params, RecordGroup::Project, "projects", "project")
}

fn groups(
    reader: &Reader,
    params: &Params<'_>,
    group: RecordGroup,
    list: &str,
    name_key: &str,
) -> Result<Value, CallError> {
    let limit = params.integer_or("limit", 1..=MAX_COUNT, 20)? as usize;
    let from = cursor(params)?;
    let snapshot = reader.snapshot()?;
    let all = records::groups(snapshot.connection(), group)?;
    let mut rest = all.iter().filter(|one| from.is_none_or(|from| (one.last, one.numbers[0]) < from));
    let mut entries = Vec::new();
    let mut last = None;
    for one in rest.by_ref().take(limit) {
        let (count, first) = records::extent_of(snapshot.connection(), group, &one.numbers)?;
        let (first, newest) = (UnixMicros(first).to_string(), UnixMicros(one.last).to_string());
        let mut entry = json!({name_key: one.name, "records": count, "first_ts": first, "last_ts": newest});
        if group == RecordGroup::Project {
            let names = projects::other_names(snapshot.connection(), &one.name, MAX_NAME_COUNT)?;
            entry["other_names"] = names.into();
        }
        entries.push(entry);
        last = Some((one.last, one.numbers[0]));
    }
    let next = rest.next().and(last).map(text_of);
    Ok(json!({list: entries, "next": next}))
}

fn optional_name(params: &Params<'_>, name: &str, limit: usize) -> Result<Option<String>, CallError> {
    let Some(text) = params.string_opt(name)? else { return Ok(None) };
    check_len(name, &text, limit)?;
    Ok(Some(text.into_owned()))
}

/// Returns the place after which a list continues: a time and a number.
fn cursor(params: &Params<'_>) -> Result<Option<(i64, i64)>, CallError> {
    let Some(text) = params.string_opt("cursor")? else { return Ok(None) };
    let place = text.split_once('.').and_then(|(ts, number)| Some((ts.parse().ok()?, number.parse().ok()?)));
    place.map(Some).ok_or_else(|| CallError::invalid("cursor", "the 'next' of an earlier reply"))
}

fn text_of((ts, number): (i64, i64)) -> String {
    format!("{ts}.{number}")
}

/// Returns a record's id, time, role and first words.
fn excerpt(connection: &Connection, seq: i64) -> Result<Value, rusqlite::Error> {
    let RecordView { record_id, ts, role, text, .. } = RecordView::read(connection, seq)?;
    Ok(json!({"record_id": record_id, "ts": ts, "role": role, "beginning": beginning(&text, EXCERPT_CHARS)}))
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn filled() -> Bench {
        let bench = Bench::new();
        for n in 0..12 {
            let (session, project) = (["a", "b"][n % 2], ["/p", "/q", ""][n % 3]);
            let about = json!({"session_id": session, "project": project, "role": (["user", "assistant"][n / 6]),
                "ts": format!("2024-05-{:02}", 1 + n / 2)});
            bench.capture(&format!("text number {n}"), about);
        }
        bench
    }

    fn numbers(got: &Value) -> Vec<u32> {
        let number = |record: &Value| record["text"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        got["records"].as_array().unwrap().iter().map(number).collect()
    }

    #[test]
    fn a_list_has_the_records_that_match_the_newest_first() {
        let bench = filled();
        for (params, want) in [
            (json!({}), (0..12).rev().collect::<Vec<u32>>()),
            (json!({"limit": 3}), vec![11, 10, 9]),
            (json!({"session_id": "a"}), vec![10, 8, 6, 4, 2, 0]),
            (json!({"project": "/q"}), vec![10, 7, 4, 1]),
            (json!({"project": ""}), vec![11, 8, 5, 2]),
            (json!({"session_id": "b", "project": "/p"}), vec![9, 3]),
            (json!({"role": "user", "session_id": "a"}), vec![4, 2, 0]),
            (json!({"role": "system"}), vec![]),
            (json!({"since": "2024-05-02", "until": "2024-05-03"}), vec![5, 4, 3, 2]),
            (json!({"session_id": "none"}), vec![]),
            (json!({"project": "none"}), vec![]),
        ] {
            assert_eq!(numbers(&bench.ok("memory_list", params.clone())), want, "{params}");
        }
        let first = &bench.ok("memory_list", json!({"limit": 1}))["records"][0];
        assert_eq!(
            (&first["session_id"], &first["project"], &first["role"]),
            (&json!("b"), &json!(""), &json!("assistant"))
        );
        assert_eq!((&first["tier"], &first["valid_to"]), (&json!("episodic"), &json!(null)));
    }

    #[test]
    fn a_cursor_continues_each_list_to_its_end() {
        let bench = filled();
        for filter in [json!({}), json!({"session_id": "a"}), json!({"project": "/p"}), json!({"role": "user"})] {
            let all = numbers(&bench.ok("memory_list", filter.clone()));
            for limit in [1, 2, 5] {
                let (mut pages, mut next) = (Vec::new(), json!(null));
                loop {
                    let mut params = filter.clone();
                    params["limit"] = json!(limit);
                    params["cursor"] = next;
                    let got = bench.ok("memory_list", params);
                    pages.extend(numbers(&got));
                    next = got["next"].clone();
                    if next.is_null() {
                        break;
                    }
                }
                assert_eq!(pages, all, "{filter} {limit}");
            }
        }
        for cursor in ["", "1", "x.1", "1.x"] {
            assert!(bench.err("memory_list", json!({"cursor": cursor})).message.contains("'cursor'"), "{cursor}");
        }
        assert!(bench.err("memory_list", json!({"role": "agent"})).message.contains("'role'"));
    }

    #[test]
    fn a_reply_ends_before_it_exceeds_its_size() {
        let bench = Bench::new();
        for n in 0..20 {
            bench.capture(&format!("{}{n}", "\u{1} ".repeat(20_000)), json!({}));
        }
        let (mut count, mut next) = (0, json!(null));
        loop {
            let got = bench.ok("memory_list", json!({"cursor": next, "limit": 1000}));
            assert!(got.to_string().len() <= 1 << 20);
            count += got["records"].as_array().unwrap().len();
            next = got["next"].clone();
            if next.is_null() {
                break;
            }
        }
        assert_eq!(count, 20);
    }

    #[test]
    fn sessions_and_projects_have_counts_and_times() {
        let bench = filled();
        let got = bench.ok("memory_sessions", json!({}));
        let want = json!({"session_id": "b", "records": 6, "first_ts": "2024-05-01T00:00:00Z", "last_ts": "2024-05-06T00:00:00Z"});
        assert_eq!((&got["sessions"][0], &got["next"]), (&want, &json!(null)));
        let first = bench.ok("memory_projects", json!({"limit": 2}));
        let second = bench.ok("memory_projects", json!({"limit": 2, "cursor": first["next"]}));
        let names = |got: &Value| -> Vec<Value> {
            got["projects"].as_array().unwrap().iter().map(|one| one["project"].clone()).collect()
        };
        let mut all = [names(&first), names(&second)].concat();
        all.sort_by_key(ToString::to_string);
        assert_eq!((all, &second["next"]), (vec![json!(""), json!("/p"), json!("/q")], &json!(null)));
        assert_eq!(Bench::new().ok("memory_sessions", json!({})), json!({"sessions": [], "next": null}));
    }

    #[test]
    fn a_record_is_shown_with_what_is_around_it() {
        let bench = Bench::new();
        let ids: Vec<String> =
            (0..5).map(|n| bench.capture(&format!("text number {n}"), json!({"session_id": "s"}))).collect();
        bench.capture("of another session", json!({"session_id": "t"}));
        bench.ok("memory_reinforce", json!({"ids": [ids[2], ids[4]]}));
        let new = bench.ok("memory_contradict", json!({"id": ids[2], "new_fact": "another text"}));
        let got = bench.ok("memory_show", json!({"id": ids[2]}));
        let of = |key: &str| -> Vec<&str> {
            got[key].as_array().unwrap().iter().map(|one| one["beginning"].as_str().unwrap()).collect()
        };
        assert_eq!((got["text"].as_str(), got["record_id"].as_str()), (Some("text number 2"), Some(ids[2].as_str())));
        assert_eq!(of("before"), ["text number 0", "text number 1"]);
        assert_eq!(of("after")[0], "text number 3");
        assert_eq!((of("links"), of("replaced_by")), (vec!["text number 4"], vec!["another text"]));
        assert!(got["valid_to"].is_string() && got["links"][0]["weight"].as_f64().unwrap() > 0.0);
        let got = bench.ok("memory_show", json!({"id": new["new_record_id"]}));
        assert_eq!(got["replaces"][0]["record_id"], json!(ids[2]));
        let unknown = "00000000-0000-7000-8000-000000000000";
        assert!(bench.err("memory_show", json!({"id": unknown})).message.contains(unknown));
    }
}
