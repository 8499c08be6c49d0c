//! What a source file of the crate is and what it names, read without a compiler.
//!
//! Pure: text in, names out. Comments, string literals and items under `#[cfg(test)]` are left out.

use std::collections::BTreeSet;

/// A source file.
#[derive(Debug)]
pub struct Source {
    /// Its path under `src`, such as `memory/recall/mod.rs`.
    pub name: String,
    /// Its module, such as `memory::recall`; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// Its `//!` header.
    pub header: String,
    tokens: Vec<String>,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Source {
        let path = name.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let module = match path {
            "lib" | "main" => Vec::new(),
            path => path.split('/').map(str::to_owned).collect(),
        };
        let header = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        let tokens = without_test_items(tokens(text));
        Source { name: name.to_owned(), module, header, tokens }
    }

    /// Returns the paths inside the crate that the code names, each as its segments: those that begin with `crate`,
    /// `self`, `super` or a child module. Groups in braces are expanded.
    pub fn references(&self) -> BTreeSet<Vec<String>> {
        let children = self.children();
        let mut found = BTreeSet::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let is_path = self.tokens.get(at + 1).is_some_and(|next| next == "::");
            let is_continued = at > 0 && self.tokens[at - 1] == "::";
            if !is_path || is_continued {
                continue;
            }
            let base = match token.as_str() {
                "crate" => Vec::new(),
                "iaid" if self.name == "main.rs" => Vec::new(),
                "self" => self.module.clone(),
                "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
                child if children.contains(child) => [self.module.clone(), vec![child.to_owned()]].concat(),
                _ => continue,
            };
            self.expand(at + 2, base, &mut found);
        }
        found
    }

    /// Adds the paths that begin at token `at`, behind a `::`, to `found`. Returns the first token behind them.
    fn expand(&self, at: usize, mut base: Vec<String>, found: &mut BTreeSet<Vec<String>>) -> usize {
        match self.tokens.get(at).map(String::as_str) {
            Some("super") if self.tokens.get(at + 1).is_some_and(|next| next == "::") => {
                base.pop();
                self.expand(at + 2, base, found)
            }
            Some("{") => {
                let mut at = at + 1;
                while self.tokens.get(at).is_some_and(|token| token != "}") {
                    let next = self.expand(at, base.clone(), found);
                    at = if next == at || self.tokens.get(next).is_some_and(|token| token == ",") {
                        next + 1
                    } else {
                        next
                    };
                }
                at + 1
            }
            Some("self" | "*") => {
                found.insert(base);
                at + 1
            }
            Some(name) if is_identifier(name) => {
                base.push(name.to_owned());
                if self.tokens.get(at + 1).is_some_and(|next| next == "::") {
                    return self.expand(at + 2, base, found);
                }
                found.insert(base);
                // Behind `as NAME`.
                if self.tokens.get(at + 1).is_some_and(|next| next == "as") { at + 3 } else { at + 1 }
            }
            _ => {
                found.insert(base);
                at
            }
        }
    }

    /// Returns the names of the types that this file shows to others.
    pub fn exported_types(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut tokens = self.tokens.iter().map(String::as_str).peekable();
        while let Some(token) = tokens.next() {
            if token != "pub" {
                continue;
            }
            if tokens.peek() == Some(&"(") {
                tokens.by_ref().find(|token| *token == ")");
            }
            if let Some(&("struct" | "enum" | "trait" | "type" | "union")) = tokens.peek() {
                tokens.next();
                names.extend(tokens.next().map(str::to_owned));
            }
        }
        names
    }

    /// Returns true if the code has these tokens one after the other: `names("std::fs")`.
    pub fn names(&self, path: &str) -> bool {
        let wanted = tokens(path);
        self.tokens.windows(wanted.len()).any(|some| some == wanted)
    }

    /// Returns true if the code imports `last` in a group: `use FIRST::{LAST, …}`.
    pub fn names_in_group(&self, first: &str, last: &str) -> bool {
        let begins = |at: &usize| self.tokens[*at..].starts_with(&[first, "::", "{"].map(str::to_owned));
        (0..self.tokens.len()).filter(begins).any(|at| {
            let group = self.tokens[at..].iter().take_while(|token| *token != ";");
            group.zip(self.tokens[at + 1..].iter()).any(|(one, next)| next == last && (one == "{" || one == ","))
        })
    }

    fn children(&self) -> BTreeSet<&str> {
        let declared = |three: &[String]| (three[0] == "mod" && three[2] == ";").then(|| three[1].clone());
        self.tokens.windows(3).filter(|three| declared(three).is_some()).map(|three| three[1].as_str()).collect()
    }
}

/// Splits code into identifiers, `::` and single characters.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => rest.windows(2).position(|two| two == ['*', '/']).map_or(rest.len(), |end| end + 2),
            ['r', '#', '"', ..] => rest.windows(2).position(|two| two == ['"', '#']).map_or(rest.len(), |end| end + 2),
            ['r', '"', ..] => 2 + rest[2..].iter().position(|&c| c == '"').map_or(0, |end| end + 1),
            ['"', ..] => string_length(rest),
            ['\'', '\\', ..] => 3 + rest[3..].iter().position(|&c| c == '\'').map_or(0, |end| end + 1),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if length > 0 {
            at += length;
        } else if rest[0].is_alphabetic() || rest[0] == '_' {
            let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            at += word.chars().count();
            tokens.push(word);
        } else if rest.starts_with(&[':', ':']) {
            at += 2;
            tokens.push("::".to_owned());
        } else {
            if !rest[0].is_whitespace() {
                tokens.push(rest[0].to_string());
            }
            at += 1;
        }
    }
    tokens
}

/// Returns the length of the string literal that `rest` begins with, its quotes included.
fn string_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Leaves out each item under an attribute `cfg` that names `test`.
fn without_test_items(tokens: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let attribute = attribute_length(&tokens[at..]);
        let is_test =
            attribute > 0 && tokens[at + 2] == "cfg" && tokens[at..at + attribute].iter().any(|t| t == "test");
        if !is_test {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += attribute;
        while attribute_length(&tokens[at..]) > 0 {
            at += attribute_length(&tokens[at..]);
        }
        let mut depth = 0_usize;
        while at < tokens.len() {
            let token = tokens[at].as_str();
            at += 1;
            match token {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && (token == ";" || token == "}") {
                break;
            }
        }
    }
    kept
}

/// Returns the number of tokens of the outer attribute that `tokens` begin with, or 0.
fn attribute_length(tokens: &[String]) -> usize {
    let is_attribute = tokens.len() > 2 && tokens[0] == "#" && tokens[1] == "[";
    if !is_attribute {
        return 0;
    }
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(1) {
        match token.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    0
}

fn is_identifier(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}
