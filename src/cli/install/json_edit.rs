//! Edits a JSON text and keeps the rest of it, byte for byte. Pure.
//!
//! Values are located by the spans of the parser. A new value is formatted like its neighbors: with their indentation
//! and line ends, or on one line. Where an assistant accepts comments and trailing commas, the parser is given a copy of
//! the text in which these are blank.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON text whose value is an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonDocument {
    text: String,
    /// The text without comments and trailing commas, which are blanks: `plain.len() == text.len()`, and each line end is
    /// where it was.
    plain: String,
}

/// Why a text cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EditError {
    /// The text is not JSON, or its value is not an object.
    NotJson(String),
    /// The value at this key exists and is not of the type needed there.
    WrongType { key: String, wanted: &'static str },
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NotJson(why) => write!(f, "it is not JSON ({why})"),
            EditError::WrongType { key, wanted } => write!(f, "its \"{key}\" is not an {wanted}"),
        }
    }
}

/// What an empty text counts as.
const EMPTY: &str = "{}\n";

struct Member {
    key: String,
    value: Range<usize>,
}

/// An object or array.
struct Container {
    /// Including its braces or brackets.
    span: Range<usize>,
    items: Vec<Range<usize>>,
}

/// The members of an object as JSON texts.
#[derive(Default)]
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'a>, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'de>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl JsonDocument {
    /// Parses a text. An empty text counts as an empty object.
    ///
    /// # Errors
    /// [`EditError::NotJson`] if the text is not JSON or not an object.
    pub(crate) fn read(text: &str) -> Result<JsonDocument, EditError> {
        JsonDocument::new(text, text.to_owned())
    }

    /// Parses a text that may have comments and trailing commas.
    ///
    /// # Errors
    /// [`EditError::NotJson`] if it is not JSON without them, or not an object.
    pub(crate) fn read_commented(text: &str) -> Result<JsonDocument, EditError> {
        JsonDocument::new(text, without_comments(text))
    }

    fn new(text: &str, plain: String) -> Result<JsonDocument, EditError> {
        if text.trim().is_empty() {
            return Ok(JsonDocument { text: EMPTY.to_owned(), plain: EMPTY.to_owned() });
        }
        let whole: &RawValue = serde_json::from_str(&plain).map_err(|error| EditError::NotJson(error.to_string()))?;
        if !whole.get().starts_with('{') {
            return Err(EditError::NotJson("not an object".into()));
        }
        Ok(JsonDocument { text: text.to_owned(), plain })
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Returns true if the object has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members(self.root()).is_empty()
    }

    /// Returns the text of the value at a path of keys, without comments.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&str> {
        self.span(path).map(|span| &self.plain[span])
    }

    /// Returns the keys of the object at a path.
    pub(crate) fn keys(&self, path: &[&str]) -> Vec<String> {
        let members = self.span(path).map(|span| self.members(span)).unwrap_or_default();
        members.into_iter().map(|member| member.key).collect()
    }

    /// Returns the texts of the elements of the array at a path.
    pub(crate) fn elements(&self, path: &[&str]) -> Vec<&str> {
        let elements = self.span(path).map(|span| self.array(span)).unwrap_or_default();
        elements.into_iter().map(|span| &self.text[span]).collect()
    }

    /// Sets the value at a path; creates missing objects on the path.
    ///
    /// # Errors
    /// [`EditError::WrongType`] if a value on the path is not an object.
    pub(crate) fn set(&mut self, path: &[&str], value: &Value) -> Result<(), EditError> {
        let Some((key, parents)) = path.split_last() else { return Ok(()) };
        for depth in 1..=parents.len() {
            match self.at(&path[..depth]) {
                Some(value) if value.starts_with('{') => {}
                Some(_) => return Err(EditError::WrongType { key: path[depth - 1].into(), wanted: "object" }),
                None => self.add_member(&path[..depth - 1], path[depth - 1], &Value::Object(serde_json::Map::new())),
            }
        }
        match self.span(path) {
            Some(span) => {
                let text = self.rendered(value, self.line_indent(span.start));
                self.replace(span, &text);
            }
            None => self.add_member(parents, key, value),
        }
        Ok(())
    }

    /// Appends an element to the array at a path; creates the array and missing objects on the path.
    ///
    /// # Errors
    /// [`EditError::WrongType`] if a value on the path is not an object, or the value at the path is not an array.
    pub(crate) fn push(&mut self, path: &[&str], value: &Value) -> Result<(), EditError> {
        match self.at(path) {
            None => self.set(path, &Value::Array(Vec::new()))?,
            Some(found) if found.starts_with('[') => {}
            Some(_) => {
                let key = path.last().copied().unwrap_or_default();
                return Err(EditError::WrongType { key: key.into(), wanted: "array" });
            }
        }
        if let Some(span) = self.span(path) {
            let container = Container { items: self.array(span.clone()), span };
            self.insert(&container, None, value);
        }
        Ok(())
    }

    /// Removes the member at a path, if it exists.
    pub(crate) fn remove(&mut self, path: &[&str]) {
        let Some((key, parents)) = path.split_last() else { return };
        let Some(span) = self.span(parents) else { return };
        let members = self.members(span.clone());
        if let Some(at) = members.iter().rposition(|member| member.key == *key) {
            let items = members.into_iter().map(|member| member.value).collect();
            self.take_out(&Container { span, items }, at);
        }
    }

    /// Removes an element of the array at a path, if it exists.
    pub(crate) fn remove_element(&mut self, path: &[&str], at: usize) {
        if let Some(span) = self.span(path) {
            let items = self.array(span.clone());
            if at < items.len() {
                self.take_out(&Container { span, items }, at);
            }
        }
    }

    /// Replaces an element of the array at a path, if it exists.
    pub(crate) fn replace_element(&mut self, path: &[&str], at: usize, text: &str) {
        let span = self.span(path).and_then(|span| self.array(span).into_iter().nth(at));
        if let Some(span) = span {
            self.replace(span, text);
        }
    }

    /// Replaces a part of the text.
    fn replace(&mut self, span: Range<usize>, new: &str) {
        let has_comments = self.plain != self.text;
        self.text.replace_range(span, new);
        self.plain = if has_comments { without_comments(&self.text) } else { self.text.clone() };
    }

    fn root(&self) -> Range<usize> {
        let start = self.plain.len() - self.plain.trim_start().len();
        start..self.plain.trim_end().len()
    }

    fn span(&self, path: &[&str]) -> Option<Range<usize>> {
        let mut span = self.root();
        for key in path {
            span = self.members(span).into_iter().rfind(|member| member.key == *key)?.value;
        }
        Some(span)
    }

    fn members(&self, span: Range<usize>) -> Vec<Member> {
        let found: Pairs = serde_json::from_str(&self.plain[span]).unwrap_or_default();
        // A key with half a surrogate pair is no string; as its JSON text it equals no key of ours.
        let name = |key: &RawValue| serde_json::from_str(key.get()).unwrap_or_else(|_| key.get().to_owned());
        found.0.into_iter().map(|(key, value)| Member { key: name(key), value: self.span_of(value) }).collect()
    }

    fn array(&self, span: Range<usize>) -> Vec<Range<usize>> {
        let found: Vec<&RawValue> = serde_json::from_str(&self.plain[span]).unwrap_or_default();
        found.into_iter().map(|value| self.span_of(value)).collect()
    }

    /// Returns the span of a value that borrows from the text.
    fn span_of(&self, value: &RawValue) -> Range<usize> {
        let start = value.get().as_ptr() as usize - self.plain.as_ptr() as usize;
        start..start + value.get().len()
    }

    fn add_member(&mut self, parents: &[&str], key: &str, value: &Value) {
        if let Some(span) = self.span(parents) {
            let items = self.members(span.clone()).into_iter().map(|member| member.value).collect();
            self.insert(&Container { span, items }, Some(key), value);
        }
    }

    /// Inserts an item after the last one.
    fn insert(&mut self, container: &Container, key: Option<&str>, value: &Value) {
        let open = container.span.start + 1;
        let name = key.map(|key| Value::from(key).to_string() + ":").unwrap_or_default();
        let space = if key.is_some() && self.is_multiline() { " " } else { "" };
        let Some(last) = container.items.last() else {
            let outer = self.line_indent(container.span.start);
            let inside = open..container.span.end - 1;
            let comments = self.text[inside.clone()].trim_end();
            let comments = if comments.trim().is_empty() { "" } else { comments };
            let text = if self.is_multiline() {
                let (end, inner) = (self.line_end(), format!("{outer}{}", self.unit()));
                format!("{comments}{end}{inner}{name}{space}{}{end}{outer}", self.rendered(value, &inner))
            } else {
                format!("{comments}{name}{}", self.rendered(value, ""))
            };
            self.replace(inside, &text);
            return;
        };
        let first = open + (self.plain[open..].len() - self.plain[open..].trim_start().len());
        let mut before = &self.text[open..first];
        // Comments before the first item are not repeated.
        if before != &self.plain[open..first] {
            before = &self.plain[open..first];
            before = before.rfind('\n').map_or(" ", |newline| &before[newline..]);
        }
        let value = match before.rsplit_once('\n') {
            Some((_, indent)) => self.rendered(value, indent),
            None => value.to_string(),
        };
        let text = format!(",{before}{name}{space}{value}");
        self.replace(last.end..last.end, &text);
    }

    fn take_out(&mut self, container: &Container, at: usize) {
        let items = &container.items;
        let out = match (at.checked_sub(1), items.get(at + 1)) {
            (Some(before), _) => items[before].end..items[at].end,
            (None, Some(_)) => {
                let open = container.span.start + 1;
                let start = open + (self.plain[open..].len() - self.plain[open..].trim_start().len());
                let rest = &self.plain[items[0].end..];
                let behind = rest.trim_start().strip_prefix(',').unwrap_or(rest).trim_start();
                start..self.plain.len() - behind.len()
            }
            (None, None) if self.plain == self.text => container.span.start + 1..container.span.end - 1,
            (None, None) => {
                let open = container.span.start + 1;
                let start = open + (self.plain[open..].len() - self.plain[open..].trim_start().len());
                self.text[..start].trim_end().len().max(open)..items[at].end
            }
        };
        self.replace(out, "");
    }

    /// Formats a value; all lines but the first are indented by `indent`.
    fn rendered(&self, value: &Value, indent: &str) -> String {
        let inner = format!("{indent}{}", self.unit());
        let (open, items, close) = match value {
            Value::Object(members) if self.is_multiline() && !members.is_empty() => {
                let member = |(key, value): (&String, &Value)| {
                    format!("{}: {}", Value::from(key.as_str()), self.rendered(value, &inner))
                };
                ('{', members.iter().map(member).collect::<Vec<_>>(), '}')
            }
            Value::Array(elements) if self.is_multiline() && !elements.is_empty() => {
                ('[', elements.iter().map(|value| self.rendered(value, &inner)).collect(), ']')
            }
            _ => return value.to_string(),
        };
        let end = self.line_end();
        format!("{open}{end}{inner}{}{end}{indent}{close}", items.join(&format!(",{end}{inner}")))
    }

    /// Returns true if new values go on lines of their own: the text has several lines, or no members to follow.
    fn is_multiline(&self) -> bool {
        let root = self.root();
        self.text[root.clone()].contains('\n') || self.members(root).is_empty()
    }

    fn line_end(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Returns one step of indentation: that of the first member.
    fn unit(&self) -> &str {
        let inside = &self.plain[self.root().start + 1..];
        let before = &inside[..inside.len() - inside.trim_start().len()];
        let indent = before.rsplit_once('\n').map_or("", |(_, indent)| indent);
        if indent.is_empty() || self.members(self.root()).is_empty() { "  " } else { indent }
    }

    /// Returns the white space at the beginning of the line of a byte.
    fn line_indent(&self, at: usize) -> &str {
        let line = &self.plain[self.plain[..at].rfind('\n').map_or(0, |newline| newline + 1)..];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }
}

/// Returns the text with blanks in place of comments and trailing commas. A comma is trailing if only white space and
/// comments are between it and the end of an object or array.
fn without_comments(text: &str) -> String {
    let mut plain = text.as_bytes().to_vec();
    // The last byte that is of no comment and no white space.
    let mut last = b'{';
    let (mut at, mut comma) = (0, None);
    while at < plain.len() {
        let end = match (plain[at], plain.get(at + 1)) {
            (b'"', _) => {
                (comma, last) = (None, b'"');
                string_end(&plain, at)
            }
            (b'/', Some(b'/')) => {
                let end = plain[at..].iter().position(|byte| *byte == b'\n').map_or(plain.len(), |length| at + length);
                blank(&mut plain[at..end]);
                end
            }
            (b'/', Some(b'*')) => {
                let end = plain[at + 2..].windows(2).position(|pair| pair == b"*/");
                let end = end.map_or(plain.len(), |length| at + 2 + length + 2);
                blank(&mut plain[at..end]);
                end
            }
            (byte, _) => {
                match byte {
                    b',' => comma = Some(at).filter(|_| !matches!(last, b'{' | b'[' | b',')),
                    b'}' | b']' => comma.take().into_iter().for_each(|comma| plain[comma] = b' '),
                    _ if byte.is_ascii_whitespace() => {}
                    _ => comma = None,
                }
                last = if byte.is_ascii_whitespace() { last } else { byte };
                at + 1
            }
        };
        at = end;
    }
    // Whole characters were replaced, so it is still UTF-8.
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

/// Returns the end of the string that begins at a quotation mark.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// Replaces all but line ends.
fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changed(text: &str, change: impl FnOnce(&mut JsonDocument)) -> String {
        let mut json = JsonDocument::read(text).unwrap();
        change(&mut json);
        let text = json.into_text();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        text
    }

    #[test]
    fn comments_and_trailing_commas_stay() {
        for text in [
            "// about\n{\n  // first\n  \"a\": 1, // one\n  /* two */ \"b\": [1, 2,], // \"m\": {\n}\n",
            "{\n  // nothing yet\n}\n",
            "{\n  \"m\": {\n    // none, } or ]\n  },\n}\n",
            "{\"a\":\"// no /* comment \\\" \",/**/}",
            "{\n  \"u\": \"http://x/é\" // é\n}",
        ] {
            let had = JsonDocument::read_commented(text).unwrap().at(&["m"]).is_some();
            let mut json = JsonDocument::read_commented(text).unwrap();
            json.set(&["m", "x"], &json!({"n": "//"})).unwrap();
            let entered = json.clone().into_text();
            assert_eq!(JsonDocument::read_commented(&entered).as_ref(), Ok(&json), "{entered}");
            assert_eq!(json.at(&["m", "x", "n"]), Some("\"//\""), "{entered}");
            for part in ["first", "one", "/* two */", "nothing yet", "none, } or ]", "/**/", "// é"] {
                assert_eq!(entered.contains(part), text.contains(part), "{part}: {entered}");
            }
            json.remove(if had { &["m", "x"] } else { &["m"] });
            assert_eq!(json.into_text(), text, "{entered}");
        }
        for broken in ["{/*", "{\"a\":1,,}", "// {}", "{\"a\" /", "{,}"] {
            assert!(JsonDocument::read_commented(broken).is_err(), "{broken}");
        }
        assert!(JsonDocument::read("{\"a\":1,}").is_err());
    }

    #[test]
    fn a_member_is_formatted_like_its_neighbors() {
        for (text, want) in [
            ("", "{\n  \"m\": {\n    \"x\": {\n      \"n\": 1\n    }\n  }\n}\n"),
            ("{}", "{\n  \"m\": {\n    \"x\": {\n      \"n\": 1\n    }\n  }\n}"),
            ("{ \n }\n", "{\n  \"m\": {\n    \"x\": {\n      \"n\": 1\n    }\n  }\n}\n"),
            (r#"{"a":1}"#, r#"{"a":1,"m":{"x":{"n":1}}}"#),
            (r#"{"m":{"b":[]}}"#, r#"{"m":{"b":[],"x":{"n":1}}}"#),
            ("{\n\t\"a\": 1\n}\n", "{\n\t\"a\": 1,\n\t\"m\": {\n\t\t\"x\": {\n\t\t\t\"n\": 1\n\t\t}\n\t}\n}\n"),
            (
                "{\r\n    \"m\": {}\r\n}",
                "{\r\n    \"m\": {\r\n        \"x\": {\r\n            \"n\": 1\r\n        }\r\n    }\r\n}",
            ),
            (
                "{\n  \"z\": 1.50,\n  \"m\": { \"b\": 2 }\n}",
                "{\n  \"z\": 1.50,\n  \"m\": { \"b\": 2, \"x\": {\"n\":1} }\n}",
            ),
            (
                "{\n  \"m\": {\n    \"x\": [1,\n 2]\n  }, \"z\":1e2\n}",
                "{\n  \"m\": {\n    \"x\": {\n      \"n\": 1\n    }\n  }, \"z\":1e2\n}",
            ),
        ] {
            assert_eq!(changed(text, |json| json.set(&["m", "x"], &json!({"n": 1})).unwrap()), want, "{text:?}");
        }
    }

    #[test]
    fn removing_what_was_added_restores_every_byte() {
        for text in [
            "{\"a\":1}",
            "{\n  \"a\": {\n    \"list\": [\n      1\n    ]\n  },\n  \"b\": \"}\\\"{\"\n}\n",
            "{\n\t\"a\": {\"list\": [ {\"x\": [] } ]}\n}",
            "  {\r\n \"a\" : { \"list\" : [ 1 , 2 ] }\r\n}\r\n\r\n",
            "{\"a\":{},\n\"\\u0061b\":[{}]}",
        ] {
            let added = changed(text, |json| {
                json.set(&["new", "deep"], &json!([{"k": "v"}])).unwrap();
                json.push(&["list"], &json!({"k": [1]})).unwrap();
            });
            assert_ne!(added, text);
            let back = changed(&added, |json| {
                json.remove(&["list"]);
                json.remove(&["new"]);
            });
            assert_eq!(back, text);
        }
    }

    #[test]
    fn elements_are_removed_and_replaced_in_place() {
        let text = "{\n  \"l\": [\n    1,\n    [2, 3],\n    {\"a\": 4}\n  ]\n}\n";
        for (at, want) in [
            (0, "{\n  \"l\": [\n    [2, 3],\n    {\"a\": 4}\n  ]\n}\n"),
            (1, "{\n  \"l\": [\n    1,\n    {\"a\": 4}\n  ]\n}\n"),
            (2, "{\n  \"l\": [\n    1,\n    [2, 3]\n  ]\n}\n"),
            (3, text),
        ] {
            assert_eq!(changed(text, |json| json.remove_element(&["l"], at)), want);
        }
        assert_eq!(changed("{\"l\":[5]}", |json| json.remove_element(&["l"], 0)), "{\"l\":[]}");
        assert_eq!(changed("{\"l\":[5]}", |json| json.replace_element(&["l"], 0, "[7]")), "{\"l\":[[7]]}");
        assert_eq!(JsonDocument::read(text).unwrap().elements(&["l"]), ["1", "[2, 3]", "{\"a\": 4}"]);
        assert_eq!(changed(text, |json| json.remove(&["none", "such"])), text);
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let json = JsonDocument::read(r#"{"a":1,"a":{"b":2}}"#).unwrap();
        assert_eq!(json.at(&["a", "b"]), Some("2"));
        assert_eq!(json.keys(&[]), ["a", "a"]);
    }

    #[test]
    fn a_failed_edit_changes_nothing() {
        for text in ["[1]", "5", "{", "{} {}", "// a comment\n{}", "{\"a\":1,}", "\u{feff}{}", "null"] {
            assert!(matches!(JsonDocument::read(text), Err(EditError::NotJson(_))), "{text}");
        }
        let mut json = JsonDocument::read(r#"{"a":1,"o":{}}"#).unwrap();
        let wrong = |key: &str, wanted| Err(EditError::WrongType { key: key.into(), wanted });
        assert_eq!(json.set(&["a", "b"], &json!(1)), wrong("a", "object"));
        assert_eq!(json.push(&["o"], &json!(1)), wrong("o", "array"));
        assert_eq!(json.into_text(), r#"{"a":1,"o":{}}"#);
    }
}
