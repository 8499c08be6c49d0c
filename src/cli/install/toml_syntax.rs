//! The grammar of TOML 1.1: a text becomes statements with the spans of their values. Pure.
//!
//! Only strings are decoded, because keys and commands are compared. Numbers and dates are checked and otherwise
//! opaque. Which statements may stand beside each other is checked in `toml_document`.

use std::fmt;
use std::ops::Range;

use super::toml_scalar::{is_date, is_scalar};

/// Deepest nesting of arrays and inline tables. The parser that Codex uses has the same limit.
const MAX_DEPTH: usize = 80;

/// Why a text is not TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TomlError {
    /// Number of the line, from 1.
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// A statement: a header or an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TomlStatement {
    /// The key as written: relative to the header above it.
    pub(crate) key: Vec<String>,
    pub(crate) kind: StatementKind,
    /// From the first byte of the header or key to the last byte of the header or value.
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatementKind {
    /// `[key]`
    Header,
    /// `[[key]]`
    ArrayHeader,
    /// `key = value`
    Assignment(TomlValue),
}

/// A value and its span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TomlValue {
    pub(crate) kind: ValueKind,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    String(String),
    Array(Vec<TomlValue>),
    /// The assignments of an inline table.
    Table(Vec<TomlStatement>),
    /// A number, a boolean, a date or a time.
    Scalar,
}

/// Parses a text into its statements and the spans of its comments.
///
/// # Errors
/// [`TomlError`] with the first line that does not follow the grammar.
pub(crate) fn parse(text: &str) -> Result<(Vec<TomlStatement>, Vec<Range<usize>>), TomlError> {
    let mut parser = Parser { text, at: 0, comments: Vec::new() };
    let mut found = Vec::new();
    parser.document(&mut found).map_err(|what| TomlError { line: line_of(text, parser.at), what })?;
    Ok((found, parser.comments))
}

/// Returns the number of the line of a byte.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

type Parsed<T> = Result<T, &'static str>;

struct Parser<'t> {
    text: &'t str,
    /// All bytes before it have been parsed.
    at: usize,
    comments: Vec<Range<usize>>,
}

impl Parser<'_> {
    fn document(&mut self, found: &mut Vec<TomlStatement>) -> Parsed<()> {
        // A byte order mark.
        self.takes("\u{feff}");
        loop {
            self.skip_lines()?;
            if self.at == self.text.len() {
                return Ok(());
            }
            let start = self.at;
            let (key, kind) = if self.takes("[[") {
                (self.header("]]")?, StatementKind::ArrayHeader)
            } else if self.takes("[") {
                (self.header("]")?, StatementKind::Header)
            } else {
                let (key, value) = self.assignment(0)?;
                (key, StatementKind::Assignment(value))
            };
            found.push(TomlStatement { key, kind, span: start..self.at });
            self.skip_blanks();
            self.comment()?;
            if self.at < self.text.len() && !self.line_end() {
                return Err("unexpected text after the value or header");
            }
        }
    }

    fn header(&mut self, close: &str) -> Parsed<Vec<String>> {
        self.skip_blanks();
        let key = self.key()?;
        if self.takes(close) { Ok(key) } else { Err("the header has no closing bracket") }
    }

    fn assignment(&mut self, depth: usize) -> Parsed<(Vec<String>, TomlValue)> {
        let key = self.key()?;
        if !self.takes("=") {
            return Err("expected `=` after the key");
        }
        self.skip_blanks();
        Ok((key, self.value(depth)?))
    }

    /// Parses a dotted key and the blanks behind it.
    fn key(&mut self) -> Parsed<Vec<String>> {
        let mut parts = Vec::new();
        loop {
            parts.push(match self.rest().as_bytes().first() {
                Some(b'"') => self.basic_string()?,
                Some(b'\'') => self.literal_string()?,
                _ => {
                    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    let bare = self.take_while(is_bare);
                    if bare.is_empty() {
                        return Err("expected a key");
                    }
                    bare.to_owned()
                }
            });
            self.skip_blanks();
            if !self.takes(".") {
                return Ok(parts);
            }
            self.skip_blanks();
        }
    }

    fn value(&mut self, depth: usize) -> Parsed<TomlValue> {
        if depth > MAX_DEPTH {
            return Err("the value is nested too deeply");
        }
        let start = self.at;
        let rest = self.rest();
        let kind = if rest.starts_with("\"\"\"") {
            ValueKind::String(self.long_basic_string()?)
        } else if rest.starts_with("'''") {
            ValueKind::String(self.long_literal_string()?)
        } else if rest.starts_with('"') {
            ValueKind::String(self.basic_string()?)
        } else if rest.starts_with('\'') {
            ValueKind::String(self.literal_string()?)
        } else if self.takes("[") {
            ValueKind::Array(self.items(b']', |parser| parser.value(depth + 1))?)
        } else if self.takes("{") {
            ValueKind::Table(self.items(b'}', |parser| {
                let start = parser.at;
                let (key, value) = parser.assignment(depth + 1)?;
                Ok(TomlStatement { key, kind: StatementKind::Assignment(value), span: start..parser.at })
            })?)
        } else {
            self.scalar()?;
            ValueKind::Scalar
        };
        Ok(TomlValue { kind, span: start..self.at })
    }

    /// Parses the items of an array or inline table after its opening bracket.
    fn items<T>(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.skip_lines()?;
            if self.takes_byte(close) {
                return Ok(items);
            }
            items.push(item(self)?);
            self.skip_lines()?;
            if self.takes_byte(close) {
                return Ok(items);
            }
            if !self.takes(",") {
                return Err("the array or inline table is not closed");
            }
        }
    }

    fn basic_string(&mut self) -> Parsed<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next_char() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) if is_text(c) => text.push(c),
                _ => return Err("the string is not closed on its line, or has a control character"),
            }
        }
    }

    fn literal_string(&mut self) -> Parsed<String> {
        self.at += 1;
        let text = self.take_while(|c| is_text(c) && c != '\'').to_owned();
        if self.takes("'") { Ok(text) } else { Err("the string is not closed on its line, or has a control character") }
    }

    fn long_basic_string(&mut self) -> Parsed<String> {
        self.at += 3;
        self.line_end();
        let mut text = String::new();
        loop {
            if let Some(quotes) = self.closing_quotes("\"") {
                return Ok(text + quotes);
            }
            if self.line_end() {
                text.push('\n');
                continue;
            }
            match self.next_char() {
                Some('\\') => {
                    // A backslash at the end of a line removes the white space up to the next character.
                    let before = self.at;
                    self.skip_blanks();
                    if self.line_end() {
                        while !self.take_while(|c| matches!(c, ' ' | '\t')).is_empty() || self.line_end() {}
                    } else {
                        self.at = before;
                        text.push(self.escape()?);
                    }
                }
                Some(c) if is_text(c) => text.push(c),
                _ => return Err("the multi-line string is not closed, or has a control character"),
            }
        }
    }

    fn long_literal_string(&mut self) -> Parsed<String> {
        self.at += 3;
        self.line_end();
        let mut text = String::new();
        loop {
            if let Some(quotes) = self.closing_quotes("'") {
                return Ok(text + quotes);
            }
            if self.line_end() {
                text.push('\n');
                continue;
            }
            match self.next_char() {
                Some(c) if is_text(c) => text.push(c),
                _ => return Err("the multi-line string is not closed, or has a control character"),
            }
        }
    }

    /// Takes three to five quotes. Returns those that belong to the string's text, at most two.
    fn closing_quotes(&mut self, quote: &str) -> Option<&'static str> {
        let rest = self.rest();
        let count = rest.len() - rest.trim_start_matches(quote).len();
        if count < 3 {
            return None;
        }
        let kept = (count - 3).min(2);
        self.at += 3 + kept;
        let quotes = if quote == "'" { "''" } else { "\"\"" };
        Some(&quotes[..kept])
    }

    /// Parses an escape sequence after its backslash.
    fn escape(&mut self) -> Parsed<char> {
        let digits = match self.next_char() {
            Some('b') => return Ok('\u{8}'),
            Some('t') => return Ok('\t'),
            Some('n') => return Ok('\n'),
            Some('f') => return Ok('\u{c}'),
            Some('r') => return Ok('\r'),
            Some('e') => return Ok('\u{1b}'),
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("the string has an unknown escape sequence"),
        };
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let c = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        self.at += if c.is_some() { digits } else { 0 };
        c.ok_or("the string has an escape sequence that is no character")
    }

    fn scalar(&mut self) -> Parsed<()> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.' | ':');
        let start = self.at;
        let word = self.take_while(is_part).len();
        let mut end = start + word;
        // A date and a time may be separated by a space.
        if is_date(&self.text[start..end]) && self.rest().starts_with(' ') {
            self.at += 1;
            match self.take_while(is_part) {
                "" => self.at = end,
                time => end += 1 + time.len(),
            }
        }
        let text = &self.text[start..end];
        match text {
            "" => Err("expected a value"),
            _ if is_scalar(text) => Ok(()),
            _ => Err("the value is not a string, number, date or boolean; a string needs quotes"),
        }
    }

    /// Skips blanks, newlines and comments.
    fn skip_lines(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            self.comment()?;
            if !self.line_end() {
                return Ok(());
            }
        }
    }

    fn comment(&mut self) -> Parsed<()> {
        if !self.rest().starts_with('#') {
            return Ok(());
        }
        let start = self.at;
        self.take_while(is_text);
        self.comments.push(start..self.at);
        let rest = self.rest();
        let is_ended = rest.is_empty() || rest.starts_with('\n') || rest.starts_with("\r\n");
        if is_ended { Ok(()) } else { Err("the comment has a control character") }
    }

    fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t'));
    }

    fn line_end(&mut self) -> bool {
        self.takes("\n") || self.takes("\r\n")
    }

    fn takes(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    fn takes_byte(&mut self, byte: u8) -> bool {
        let is_there = self.rest().as_bytes().first() == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> &str {
        let rest = self.rest();
        let len = rest.find(|c| !is_taken(c)).unwrap_or(rest.len());
        let start = self.at;
        self.at += len;
        &self.text[start..self.at]
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }
}

/// Returns true if a character may stand in a string or comment as it is.
fn is_text(c: char) -> bool {
    c == '\t' || !c.is_ascii_control()
}
