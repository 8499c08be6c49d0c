//! A TOML document with the spans of its statements, and edits that keep every other byte. Pure.
//!
//! A document is refused if it has a syntax error or defines a key twice, so that an edit never hides that the file was
//! broken before.

use std::collections::BTreeMap;
use std::ops::Range;

use super::toml_syntax::{self, StatementKind, TomlError, TomlStatement, TomlValue, ValueKind, line_of};

pub(crate) struct TomlDocument {
    statements: Vec<TomlStatement>,
    /// The spans of the comments, in order.
    pub(crate) comments: Vec<Range<usize>>,
    /// The full key of each statement.
    keys: Vec<Vec<String>>,
}

/// What a key is defined as.
enum Node {
    /// A value, also an array or inline table: it cannot be extended.
    Value,
    Table(Definition, Children),
    /// An array of tables: the members of its last element.
    Tables(Children),
}

/// How a table was defined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Definition {
    /// By a longer header.
    Implicit,
    /// By a header.
    Header,
    /// By a dotted key.
    Dotted,
}

type Children = BTreeMap<String, Node>;

impl TomlDocument {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TomlError`] if the text is not TOML.
    pub(crate) fn read(text: &str) -> Result<TomlDocument, TomlError> {
        let (statements, comments) = toml_syntax::parse(text)?;
        let (mut header, mut keys) = (Vec::new(), Vec::new());
        for statement in &statements {
            if let StatementKind::Assignment(_) = statement.kind {
                keys.push(header.iter().chain(&statement.key).cloned().collect());
            } else {
                header.clone_from(&statement.key);
                keys.push(statement.key.clone());
            }
        }
        check_keys(text, &statements)?;
        Ok(TomlDocument { statements, comments, keys })
    }

    /// Returns the value at a key, also within inline tables.
    pub(crate) fn value(&self, path: &[&str]) -> Option<&TomlValue> {
        self.under(&[]).find_map(|(at, _)| match &self.statements[at].kind {
            StatementKind::Assignment(value) => value_at(&self.keys[at], value, path),
            _ => None,
        })
    }

    /// Returns true if the key or a key below it is defined, also within inline tables.
    pub(crate) fn defines(&self, path: &[&str]) -> bool {
        let mut statements = self.statements.iter().zip(&self.keys);
        statements.any(|(statement, key)| defines(key, &statement.kind, path))
    }

    /// Returns true if the key can be extended by a header: it is undefined, or a table that is no inline table.
    pub(crate) fn is_open_table(&self, path: &[&str]) -> bool {
        !(1..=path.len()).any(|depth| {
            self.under(&path[..depth])
                .any(|(at, rest)| rest == 0 && !matches!(self.statements[at].kind, StatementKind::Header))
        })
    }

    /// Returns the spans of the statements that define a key or keys below it.
    pub(crate) fn spans(&self, path: &[&str]) -> Vec<Range<usize>> {
        self.under(path).map(|(at, _)| self.statements[at].span.clone()).collect()
    }

    /// Returns the statements whose key begins with a path: index, and number of parts behind the path.
    fn under<'s>(&'s self, path: &'s [&str]) -> impl Iterator<Item = (usize, usize)> + 's {
        let keys = self.keys.iter().enumerate();
        keys.filter(move |(_, key)| key.len() >= path.len() && key.iter().zip(path).all(|(key, part)| key == part))
            .map(move |(at, key)| (at, key.len() - path.len()))
    }
}

/// Returns the text without these statements, which are in order. A line that has only a removed statement goes as a
/// whole; a comment behind one stays.
pub(crate) fn without(text: &str, spans: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        let line = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[span.end..];
        let behind = rest.trim_start_matches([' ', '\t', '\r']);
        let (start, end) = match behind.strip_prefix('\n') {
            Some(next) => (line, text.len() - next.len()),
            None if behind.is_empty() => (line, text.len()),
            None => (span.start, text.len() - behind.len()),
        };
        left.push_str(&text[from..start]);
        from = end;
    }
    left + &text[from..]
}

/// Returns true if a statement with this key defines `path` or a key below it.
fn defines(key: &[String], kind: &StatementKind, path: &[&str]) -> bool {
    if !key.iter().zip(path).all(|(key, part)| key == part) {
        return false;
    }
    match kind {
        _ if key.len() >= path.len() => true,
        StatementKind::Assignment(TomlValue { kind: ValueKind::Table(members), .. }) => {
            members.iter().any(|member| defines(&member.key, &member.kind, &path[key.len()..]))
        }
        _ => false,
    }
}

/// Finds the value at `path` in the value of `key`.
fn value_at<'v>(key: &[String], value: &'v TomlValue, path: &[&str]) -> Option<&'v TomlValue> {
    if key.len() > path.len() || !key.iter().zip(path).all(|(key, part)| key == part) {
        return None;
    }
    let rest = &path[key.len()..];
    match &value.kind {
        _ if rest.is_empty() => Some(value),
        ValueKind::Table(members) => members.iter().find_map(|member| match &member.kind {
            StatementKind::Assignment(value) => value_at(&member.key, value, rest),
            _ => None,
        }),
        _ => None,
    }
}

/// Checks that no statement defines what an earlier one has defined otherwise.
fn check_keys(text: &str, statements: &[TomlStatement]) -> Result<(), TomlError> {
    let mut root = Children::new();
    let mut header: &[String] = &[];
    for statement in statements {
        let entered = match &statement.kind {
            StatementKind::Header | StatementKind::ArrayHeader => {
                header = &statement.key;
                enter_header(&mut root, header, statement.kind == StatementKind::ArrayHeader)
            }
            StatementKind::Assignment(value) => current(&mut root, header)
                .and_then(|table| enter_value(table, &statement.key))
                .and_then(|()| check_value(value)),
        };
        if entered.is_none() {
            let line = line_of(text, statement.span.start);
            return Err(TomlError { line, what: "the key is defined twice, or as two different things" });
        }
    }
    Ok(())
}

/// Checks the keys of the inline tables in a value.
fn check_value(value: &TomlValue) -> Option<()> {
    match &value.kind {
        ValueKind::Array(elements) => elements.iter().try_for_each(check_value),
        ValueKind::Table(members) => {
            let mut table = Children::new();
            members.iter().try_for_each(|member| match &member.kind {
                StatementKind::Assignment(value) => {
                    enter_value(&mut table, &member.key).and_then(|()| check_value(value))
                }
                _ => None,
            })
        }
        _ => Some(()),
    }
}

/// Returns the members of the table that a header has opened.
fn current<'n>(mut table: &'n mut Children, header: &[String]) -> Option<&'n mut Children> {
    for key in header {
        table = match table.get_mut(key)? {
            Node::Table(_, children) | Node::Tables(children) => children,
            Node::Value => return None,
        };
    }
    Some(table)
}

fn enter_header(mut table: &mut Children, header: &[String], is_array: bool) -> Option<()> {
    let (last, parents) = header.split_last()?;
    for key in parents {
        let node = table.entry(key.clone()).or_insert_with(|| Node::Table(Definition::Implicit, Children::new()));
        table = match node {
            Node::Table(_, children) | Node::Tables(children) => children,
            Node::Value => return None,
        };
    }
    match (table.get_mut(last), is_array) {
        (None, true) => drop(table.insert(last.clone(), Node::Tables(Children::new()))),
        (None, false) => drop(table.insert(last.clone(), Node::Table(Definition::Header, Children::new()))),
        (Some(Node::Tables(children)), true) => children.clear(),
        (Some(Node::Table(definition @ Definition::Implicit, _)), false) => *definition = Definition::Header,
        _ => return None,
    }
    Some(())
}

fn enter_value(mut table: &mut Children, key: &[String]) -> Option<()> {
    let (last, parents) = key.split_last()?;
    for key in parents {
        let node = table.entry(key.clone()).or_insert_with(|| Node::Table(Definition::Dotted, Children::new()));
        table = match node {
            Node::Table(Definition::Dotted | Definition::Implicit, children) => children,
            _ => return None,
        };
    }
    table.insert(last.clone(), Node::Value).is_none().then_some(())
}
