//! Records and sessions as resources: `iaid://record/ID` and `iaid://session/ID`. Pure.

use serde_json::value::RawValue;

use super::json_text::{self, ObjectText};
use crate::wire::members::Members;

/// The result of `resources/templates/list`.
pub(crate) const TEMPLATES: &str = concat!(
    r#"[{"uriTemplate":"iaid://record/{id}","name":"record","description":"A record of the memory: its exact text, whole","#,
    r#""mimeType":"text/plain"},"#,
    r#"{"uriTemplate":"iaid://session/{id}","name":"session","#,
    r#""description":"What was said in a session, in order, with times and roles","mimeType":"text/plain"}]"#,
);

const RECORD: &str = "iaid://record/";
const SESSION: &str = "iaid://session/";

/// The records that `resources/list` is made of: what users said last. Picked.
const LISTED_COUNT: usize = 30;

/// Most tokens of a session's texts. Picked: what an assistant accepts as one file.
const SESSION_TOKENS: usize = 16_000;

/// Characters of a record in the name of its resource. Picked: a line of a menu.
const NAME_CHARS: usize = 60;

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResourceKind {
    Record,
    Session,
}

/// A method of the daemon and its params, a JSON text.
pub(crate) type ResourceCall = (&'static str, String);

/// Returns the call that `resources/list` is answered from.
pub(crate) fn list_call(project: Option<&str>) -> ResourceCall {
    ("episodes_recent", with_project(ObjectText::new().raw("n", &LISTED_COUNT.to_string()), project))
}

/// Returns the kind of the resource at `uri` and the call that reads it, or `None` if there is no such resource.
pub(crate) fn read_call(uri: &str, project: Option<&str>) -> Option<(ResourceKind, ResourceCall)> {
    if let Some(id) = uri.strip_prefix(RECORD) {
        let params = with_project(ObjectText::new().string("id", &decoded(id)?), project);
        return Some((ResourceKind::Record, ("memory_read", params)));
    }
    let session = decoded(uri.strip_prefix(SESSION)?)?;
    let query = ObjectText::new().string("session", &session).end();
    let mut params = ObjectText::new();
    params.raw("structure_query", &query).raw("budget_tokens", &SESSION_TOKENS.to_string());
    let params = with_project(&mut params, project);
    Some((ResourceKind::Session, ("memory_recall_structural", params)))
}

/// Returns the params with the project of the host.
fn with_project(params: &mut ObjectText, project: Option<&str>) -> String {
    if let Some(project) = project {
        params.string("project", project);
    }
    params.end()
}

/// Returns the resources that `turns` of the daemon belong to, the newest first: sessions, then records.
pub(crate) fn list(result: &str) -> Option<String> {
    let turns: Vec<&RawValue> = serde_json::from_str(Members::read(result).ok()?.value("turns")?.get()).ok()?;
    let (mut sessions, mut records, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for turn in turns {
        let turn = Members::read(turn.get()).ok()?;
        let (id, text) = (turn.string("record_id")?, turn.string("literal_surface")?);
        let (session, at) = (turn.string("session_id")?, turn.string("captured_at")?);
        let day = at.get(..10).unwrap_or(&at);
        records.push(resource(&format!("{RECORD}{}", encoded(&id)), &beginning(&text), day));
        if session != "-" && !seen.contains(&session) {
            sessions.push(resource(
                &format!("{SESSION}{}", encoded(&session)),
                &format!("Session of {day}: {}", beginning(&text)),
                day,
            ));
            seen.push(session);
        }
    }
    sessions.append(&mut records);
    Some(json_text::array(&sessions))
}

fn resource(uri: &str, name: &str, day: &str) -> String {
    let mut resource = ObjectText::new();
    resource.string("uri", uri).string("name", name).string("description", day).string("mimeType", "text/plain").end()
}

/// Returns the contents of the resource at `uri` out of the daemon's result. Returns `None` if a session has no records.
pub(crate) fn contents(kind: ResourceKind, uri: &str, result: &str) -> Option<String> {
    let members = Members::read(result).ok()?;
    let text = match kind {
        ResourceKind::Record => members.string("literal_surface")?.into_owned(),
        ResourceKind::Session => {
            let hits: Vec<&RawValue> = serde_json::from_str(members.value("hits")?.get()).ok()?;
            // The daemon has the newest first.
            let turns = hits.iter().rev().filter_map(|hit| {
                let hit = Members::read(hit.get()).ok()?;
                Some(format!("{} {}: {}\n", hit.string("ts")?, hit.string("role")?, hit.string("literal_surface")?))
            });
            turns.collect::<String>()
        }
    };
    let contents = ObjectText::new().string("uri", uri).string("mimeType", "text/plain").string("text", &text).end();
    (kind == ResourceKind::Record || !text.is_empty()).then(|| json_text::array(&[contents]))
}

fn beginning(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Writes an id for a URI: bytes that are not unreserved as `%XX`.
fn encoded(id: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    id.bytes().map(byte).collect()
}

/// Reads an id of a URI. Returns `None` if it is empty or no text.
fn decoded(id: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = id.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [_, _, ..]) => u8::from_str_radix(str::from_utf8(&tail[..2]).ok()?, 16).ok(),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8(bytes).ok().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn ids_are_written_into_uris_and_read_from_them() {
        for id in ["a", "0198c3f2-7a41", "two words/и%", "%41", "\"\\"] {
            assert_eq!(decoded(&encoded(id)).as_deref(), Some(id));
        }
        for (uri, want) in [
            ("iaid://record/r-1", Some((ResourceKind::Record, "memory_read", json!({"id": "r-1"})))),
            (
                "iaid://session/a%20b",
                Some((
                    ResourceKind::Session,
                    "memory_recall_structural",
                    json!({"structure_query": {"session": "a b"}, "budget_tokens": 16000}),
                )),
            ),
            (
                "iaid://session/50%",
                Some((
                    ResourceKind::Session,
                    "memory_recall_structural",
                    json!({"structure_query": {"session": "50%"}, "budget_tokens": 16000}),
                )),
            ),
            ("iaid://record/", None),
            ("iaid://session/%FF", None),
            ("iaid://topic/a", None),
            ("file:///etc/passwd", None),
        ] {
            let got = read_call(uri, None)
                .map(|(kind, (method, params))| (kind, method, serde_json::from_str::<Value>(&params).unwrap()));
            assert_eq!(got, want, "{uri}");
        }
    }

    #[test]
    fn turns_become_sessions_and_records() {
        let turn = |id: &str, session: &str, text: &str| json!({"record_id": id, "session_id": session, "literal_surface": text, "captured_at": "2026-05-14T10:22:33Z"});
        let turns = json!({"turns": [turn("r3", "s 1", "third\nline"), turn("r2", "-", &"x".repeat(80)), turn("r1", "s 1", "first")]});
        let got: Value = serde_json::from_str(&list(&turns.to_string()).unwrap()).unwrap();
        let named: Vec<(&str, &str)> = got
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["uri"].as_str().unwrap(), one["name"].as_str().unwrap()))
            .collect();
        let long = format!("{}…", "x".repeat(60));
        assert_eq!(
            named,
            [
                ("iaid://session/s%201", "Session of 2026-05-14: third"),
                ("iaid://record/r3", "third"),
                ("iaid://record/r2", &long),
                ("iaid://record/r1", "first"),
            ]
        );
        assert_eq!(list("{\"turns\":[]}").as_deref(), Some("[]"));
        assert_eq!(list("[]"), None);
    }

    #[test]
    fn contents_are_the_text_or_the_turns_in_order() {
        let record = json!({"record_id": "r", "literal_surface": "a\n\"b\""});
        let got: Value =
            serde_json::from_str(&contents(ResourceKind::Record, "u", &record.to_string()).unwrap()).unwrap();
        assert_eq!(got, json!([{"uri": "u", "mimeType": "text/plain", "text": "a\n\"b\""}]));
        let hit = |ts: &str, text: &str| json!({"ts": ts, "role": "user", "literal_surface": text});
        let session = json!({"hits": [hit("t2", "two"), hit("t1", "one")]});
        let got: Value =
            serde_json::from_str(&contents(ResourceKind::Session, "u", &session.to_string()).unwrap()).unwrap();
        assert_eq!(got[0]["text"], "t1 user: one\nt2 user: two\n");
        assert_eq!(contents(ResourceKind::Session, "u", "{\"hits\":[]}"), None);
    }
}
