//! Converts the arguments of a tool call to params of the daemon. Pure.
//!
//! The daemon is strict about types; models are not. A value of another type is converted where its meaning is clear:
//! `"5"` for a number, `""`, `"null"` or null for an optional argument, an object as a JSON string, words in one string for a
//! list.
//! Anything else is passed on as it is, and the daemon says what is wrong with it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json_schema::{JsonSchema, Presence, SchemaField};
use super::json_text::{self, ObjectText};
use crate::dispatch::Params;
use crate::wire::json;
use crate::wire::members::Members;

/// The argument whose empty string is a value: no project.
const PROJECT: &str = "project";

/// What programming languages print for a missing value. No project and no session has such a name.
const NO_VALUES: [&str; 3] = ["None", "null", "undefined"];

/// Separators of the words in a string that is given for a list, in several scripts.
const WORD_SEPARATORS: [char; 7] = [',', ';', '\n', '，', '、', '；', '،'];

/// Returns the arguments of a call as the text of an object. They may be null, a JSON text in a string, or the empty
/// array that some languages write for an empty object. Returns `None` if they are something else.
pub(crate) fn object(raw: Option<&str>) -> Option<Cow<'_, str>> {
    let text = match raw {
        None | Some("null") => return Some("{}".into()),
        Some(text) => json::string(text).map_or(Cow::Borrowed(text), |inner| inner.trim().to_owned().into()),
    };
    match &*text {
        "" | "null" | "[]" => Some("{}".into()),
        object if object.starts_with('{') => Some(text),
        _ => None,
    }
}

/// Returns the argument for `field` as a JSON text, converted to its type; `None` if it is absent.
pub(crate) fn value<'a>(field: &SchemaField, arguments: &Params<'a>) -> Option<Cow<'a, str>> {
    converted(field, arguments.raw(field.name)?)
}

fn converted<'a>(field: &SchemaField, raw: &'a str) -> Option<Cow<'a, str>> {
    use JsonSchema::{Any, Choice, Count, Fraction, Integer, List, ListUpTo, Map, Nullable, Number, Object, Text};
    let is_optional = field.presence == Presence::Optional;
    let string = json::string(raw);
    match (&field.schema, string) {
        (Any, Some(text)) => Some(json_in(text.trim(), b"tf-0123456789{[").map_or(Cow::Borrowed(raw), Cow::Owned)),
        (Any, None) => Some(raw.into()),
        (_, None) if raw == "null" => None,
        (_, Some(text)) if is_optional && NO_VALUES.contains(&text.trim()) => None,
        (Text | Choice(_), Some(text)) if text.is_empty() && is_optional && field.name != PROJECT => None,
        (Choice(values), Some(text)) => {
            let meant = values.iter().find(|value| value.eq_ignore_ascii_case(text.trim()));
            Some(meant.map_or(Cow::Borrowed(raw), |value| json_text::string(value).into()))
        }
        // A number or a boolean as text.
        (Text, None) if !raw.starts_with(['{', '[']) => Some(json_text::string(raw).into()),
        (Integer(..) | Count | Number | Fraction | Map(_) | Object(_), Some(text)) if text.trim().is_empty() => None,
        (Integer(..) | Count | Number | Fraction, Some(text)) => {
            Some(json_in(text.trim(), b"-0123456789").map_or(Cow::Borrowed(raw), Cow::Owned))
        }
        (List(_) | ListUpTo(..), Some(text)) => Some(json_in(text.trim(), b"[").unwrap_or_else(|| words(&text)).into()),
        (Object(fields), Some(text)) if text.trim().starts_with('{') => members(fields, text.trim()).map(Cow::Owned),
        (Object(fields), None) => members(fields, raw).map_or(Some(raw.into()), |text| Some(text.into())),
        (Nullable(_) | Text | Choice(_) | List(_) | ListUpTo(..) | Map(_) | Object(_), _)
        | (Integer(..) | Count | Number | Fraction, None) => Some(raw.into()),
    }
}

/// Returns `text` if it is one JSON value that begins with one of these bytes.
fn json_in(text: &str, first: &[u8]) -> Option<String> {
    let begins = text.bytes().next().is_some_and(|byte| first.contains(&byte));
    (begins && serde_json::from_str::<&RawValue>(text).is_ok()).then(|| text.to_owned())
}

/// Returns an object with its members converted, and without those that are absent.
fn members(fields: &[SchemaField], raw: &str) -> Option<String> {
    let mut object = ObjectText::new();
    for (name, value) in Members::read(raw).ok()?.into_all() {
        let field = fields.iter().find(|field| field.name == name);
        match field.map_or_else(|| Some(value.get().into()), |field| converted(field, value.get())) {
            Some(value) => object.raw(&name, &value),
            None => &mut object,
        };
    }
    Some(object.end())
}

fn words(text: &str) -> String {
    let words = text.split(WORD_SEPARATORS).filter(|word| !word.is_empty()).map(json_text::string);
    json_text::array(&words.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::tools;
    use super::*;

    #[test]
    fn arguments_of_another_type_are_converted_where_their_meaning_is_clear() {
        for (tool, name, given, want) in [
            ("memory_recall", "limit", "5", Some("5")),
            ("memory_recall", "limit", "5.0", Some("5.0")),
            ("memory_recall", "limit", r#"" 5 ""#, Some("5")),
            ("memory_recall", "limit", r#""5.0""#, Some("5.0")),
            ("memory_recall", "limit", r#""""#, None),
            ("memory_recall", "limit", "null", None),
            ("memory_recall", "limit", r#""many""#, Some(r#""many""#)),
            ("memory_recall", "limit", r#""0x5""#, Some(r#""0x5""#)),
            ("memory_recall", "limit", "[5]", Some("[5]")),
            ("memory_recall", "since", r#""""#, None),
            ("memory_recall", "since", "null", None),
            ("memory_recall", "since", "2026", Some(r#""2026""#)),
            ("memory_recall", "cue", r#""""#, Some(r#""""#)),
            ("memory_recall", "cue", "42", Some(r#""42""#)),
            ("memory_recall", "cue", "true", Some(r#""true""#)),
            ("memory_recall", "cue", "null", None),
            ("memory_recall", "cue", r#"["a"]"#, Some(r#"["a"]"#)),
            ("memory_recall", "project", r#""""#, Some(r#""""#)),
            ("memory_recall", "also", r#"["a","b"]"#, Some(r#"["a","b"]"#)),
            ("memory_recall", "since", r#""null""#, None),
            ("memory_recall", "limit", r#""None""#, None),
            ("memory_recall", "project", r#""undefined""#, None),
            ("memory_recall", "cue", r#""null""#, Some(r#""null""#)),
            ("memory_capture", "text", r#""None""#, Some(r#""None""#)),
            ("memory_recall", "also", r#""a, b、c""#, Some(r#"["a"," b","c"]"#)),
            ("memory_recall", "also", r#""[\"a\",\"b\"]""#, Some(r#"["a","b"]"#)),
            ("memory_recall", "also", r#""""#, Some("[]")),
            ("memory_reinforce", "ids", r#""x,y""#, Some(r#"["x","y"]"#)),
            ("memory_capture", "tier", r#""Semantic ""#, Some(r#""semantic""#)),
            ("memory_capture", "tier", r#""best""#, Some(r#""best""#)),
            ("memory_capture", "role", r#""""#, None),
            ("memory_capture", "text", r#""""#, Some(r#""""#)),
            ("schema_list", "confidence_min", r#""0.5""#, Some("0.5")),
            ("memory_recall_structural", "structure_query", r#""{\"who\":\"user\"}""#, Some(r#"{"who":"user"}"#)),
            (
                "memory_recall_structural",
                "structure_query",
                r#"{"who":"","day":null,"x":1,"tag":7}"#,
                Some(r#"{"x":1,"tag":"7"}"#),
            ),
            ("memory_recall_structural", "structure_query", r#""""#, None),
            ("memory_recall_structural", "structure_query", r#"[1]"#, Some("[1]")),
            ("profile_get_set", "value", r#""true""#, Some("true")),
            ("profile_get_set", "value", r#""0.5""#, Some("0.5")),
            ("profile_get_set", "value", r#""{\"work\":1}""#, Some(r#"{"work":1}"#)),
            ("profile_get_set", "value", r#""strong""#, Some(r#""strong""#)),
            ("profile_get_set", "value", r#""""#, Some(r#""""#)),
            ("profile_get_set", "value", "null", Some("null")),
        ] {
            let tool = tools::find(tools::TOOLS, tool).unwrap();
            let field = tool.arguments().iter().find(|field| field.name == name).unwrap();
            assert_eq!(converted(field, given).as_deref(), want, "{name}: {given}");
        }
    }

    #[test]
    fn arguments_are_an_object_in_several_forms() {
        for (given, want) in [
            (None, Some("{}")),
            (Some("null"), Some("{}")),
            (Some("[]"), Some("{}")),
            (Some(r#""""#), Some("{}")),
            (Some(r#"" {\"a\":1} ""#), Some(r#"{"a":1}"#)),
            (Some(r#"{"a":1}"#), Some(r#"{"a":1}"#)),
            (Some("[1]"), None),
            (Some("7"), None),
            (Some(r#""a""#), None),
        ] {
            assert_eq!(object(given).as_deref(), want, "{given:?}");
        }
    }
}
