//! `config.toml` in the store's folder: what the user has set. No command writes it.
//!
//! The part of TOML that its keys need is read: tables, and arrays of strings. What is wrong with the file costs a warning
//! of `iaid doctor`, never more; what is right in it holds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::support::files;

/// The file's name.
pub(crate) const NAME: &str = "config.toml";

/// Largest file that is read. Picked: a thousand folders.
const MAX_BYTES: u64 = 256 << 10;

/// The keys. One is known.
const IGNORE: &str = "capture.ignore";
const TABLE: &str = "capture";

/// What the user has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserConfig {
    /// Folders to which hooks and imports do not listen, as written.
    pub(crate) ignore: Vec<String>,
    /// What is wrong with the file, a sentence each.
    pub(crate) problems: Vec<String>,
}

impl UserConfig {
    /// Reads the file in the store's folder. A missing file sets nothing.
    pub(crate) fn read(store: &Path) -> UserConfig {
        let path = store.join(NAME);
        match files::own_text(&path, MAX_BYTES) {
            Ok(Some(text)) => {
                let mut config = parse(&text);
                let mode = fs::symlink_metadata(&path).map_or(0, |about| about.mode() & 0o777);
                if mode & 0o077 != 0 {
                    let shown = path.display();
                    config
                        .problems
                        .push(format!("{NAME} has mode {mode:04o}: make it yours alone with chmod 600 {shown}"));
                }
                config
            }
            Ok(None) => UserConfig::default(),
            Err(error) => {
                let problems = vec![format!("{NAME} cannot be read, so nothing in it holds: {error}")];
                UserConfig { problems, ..UserConfig::default() }
            }
        }
    }
}

fn parse(text: &str) -> UserConfig {
    let mut config = UserConfig::default();
    let mut source = Source { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let (mut table, mut is_set) = (String::new(), false);
    loop {
        source.skip_blank();
        let line = source.line;
        let mut problem = |what: String| config.problems.push(format!("{NAME}, line {line}: {what}"));
        if source.rest.is_empty() {
            return config;
        }
        if source.rest.starts_with('[') {
            let header = source.take_line();
            let name = header.split('#').next().unwrap_or_default().trim();
            table = name.trim_matches(['[', ']', ' ', '"']).to_owned();
            if table != TABLE || name != format!("[{name}]", name = name.trim_matches(['[', ']'])) {
                problem(format!("unknown table {name}; known is [{TABLE}]"));
            }
            continue;
        }
        let Some(key) = source.take_key() else {
            problem("expected a line KEY = VALUE".into());
            source.take_line();
            continue;
        };
        let key = if table.is_empty() { key } else { format!("{table}.{key}") };
        let value = source.take_strings();
        match (key.as_str(), value) {
            (IGNORE, Some(StringList { strings, wrong })) => {
                if std::mem::replace(&mut is_set, true) {
                    problem(format!("{IGNORE} is set twice: both hold"));
                }
                if let Some((line, what)) = wrong {
                    let rest = "must be a list of strings, such as [\"~/private\"]; its other strings hold";
                    config.problems.push(format!("{NAME}, line {line}: {IGNORE} has {what}, and {rest}"));
                }
                for folder in strings {
                    let is_whole = folder == "~" || folder.starts_with("~/") || folder.starts_with('/');
                    match is_whole {
                        true => config.ignore.push(folder),
                        false => config.problems.push(format!(
                            "{NAME}, line {line}: {IGNORE} has the folder '{folder}', which must begin with / or ~/"
                        )),
                    }
                }
            }
            (IGNORE, None) => {
                problem(format!("{IGNORE} must be a list of strings, such as [\"~/private\"]"));
            }
            _ => problem(format!("unknown key {key}; known is {IGNORE}")),
        }
    }
}

/// A list of strings.
#[derive(Default)]
struct StringList {
    strings: Vec<String>,
    /// The first other element, and its line.
    wrong: Option<(usize, String)>,
}

impl StringList {
    fn add_wrong(&mut self, line: usize, what: &str) {
        self.wrong.get_or_insert_with(|| (line, what.to_owned()));
    }
}

/// The text that is still to be read.
struct Source<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Source<'t> {
    fn advance(&mut self, bytes: usize) {
        let (read, rest) = self.rest.split_at(bytes);
        self.line += read.matches('\n').count();
        self.rest = rest;
    }

    /// Skips white space, line ends and comments.
    fn skip_blank(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            self.take_line();
        }
    }

    fn take_line(&mut self) -> &'t str {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.advance(end);
        line
    }

    /// Takes a key and its `=`; `None` if the line has none.
    fn take_key(&mut self) -> Option<String> {
        let line = self.rest.lines().next().unwrap_or_default();
        let end = line.find('=')?;
        let key = line[..end].trim().replace(['"', '\'', ' '], "");
        self.advance(end + 1);
        Some(key)
    }

    /// Takes a list of strings and the rest of its last line. Takes the line and returns `None` if the value is another.
    fn take_strings(&mut self) -> Option<StringList> {
        let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.advance(blank);
        if !self.rest.starts_with('[') {
            self.take_line();
            return None;
        }
        self.advance(1);
        let (mut list, mut depth) = (StringList::default(), 1);
        while depth > 0 {
            self.skip_blank();
            let line = self.line;
            match self.rest.as_bytes().first() {
                Some(b']') => {
                    self.advance(1);
                    depth -= 1;
                }
                Some(b',') => self.advance(1),
                Some(b'[') if !self.rest.starts_with(&format!("[{TABLE}]")) => {
                    list.add_wrong(line, "a list");
                    self.advance(1);
                    depth += 1;
                }
                Some(b'"' | b'\'') => match self.take_string() {
                    Some(string) => list.strings.push(string),
                    None => {
                        list.add_wrong(line, "a string without an end or with an unknown escape");
                        self.skip_string();
                    }
                },
                // The next table or key.
                None | Some(b'[') => {
                    list.add_wrong(line, "no end");
                    return Some(list);
                }
                Some(_) => {
                    let end = self.rest.find([',', ']', '\n', '#', '"', '\'']).unwrap_or(self.rest.len());
                    let element = self.rest[..end].trim();
                    if element.contains('=') {
                        list.add_wrong(line, "no end");
                        return Some(list);
                    }
                    list.add_wrong(line, element);
                    self.advance(end);
                }
            }
        }
        let line = self.line;
        let after = self.take_line().trim();
        if !(after.is_empty() || after.starts_with('#')) {
            list.add_wrong(line, after);
        }
        Some(list)
    }

    /// Skips a string that cannot be read, or the rest of its line.
    fn skip_string(&mut self) {
        let line = self.rest.lines().next().unwrap_or_default();
        let end = line[1..].find(&line[..1]).map_or(line.len(), |end| end + 2);
        self.advance(end);
    }

    /// Takes a string: `"…"` with escapes, or `'…'` without.
    fn take_string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, next)) = chars.next() {
            match next {
                '\n' => return None,
                '\\' if quote == '"' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    escaped @ ('"' | '\\') => escaped,
                    _ => return None,
                }),
                _ if next == quote => {
                    self.advance(at + 1);
                    return Some(text);
                }
                _ => text.push(next),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_holds_and_what_is_wrong_is_named() {
        for (text, ignore, problems) in [
            ("", vec![], vec![]),
            (
                "# none\r\n[capture]\r\nignore = [\"~/private\", '/srv/x'] # two\r\n",
                vec!["~/private", "/srv/x"],
                vec![],
            ),
            ("\u{feff}capture.ignore = [\n  \"~\", # all\n  \"/a \\\"b\\\"\",\n]\n", vec!["~", "/a \"b\""], vec![]),
            ("[capture]\nignore = []\n", vec![], vec![]),
            ("[capture]\nignore = \"~/x\"\n", vec![], vec!["line 2: capture.ignore must be a list of strings"]),
            (
                "[capture]\nignore = [1]\nignor = [\"/a\"]\n",
                vec![],
                vec!["line 2: capture.ignore has 1, and must", "line 3: unknown key capture.ignor;"],
            ),
            ("[capture]\nignore = [\"/a\"\n", vec!["/a"], vec!["line 3: capture.ignore has no end"]),
            ("[capture]\nignore = [\"/a\", 5, true, '/b']\n", vec!["/a", "/b"], vec!["line 2: capture.ignore has 5,"]),
            ("[capture]\nignore = [~/a, '/b']\n", vec!["/b"], vec!["line 2: capture.ignore has ~/a, and"]),
            ("capture.ignore = ['/a' '/b', ['/c'], '/d']\n", vec!["/a", "/b", "/c", "/d"], vec!["has a list, and"]),
            ("capture.ignore = ['/a', \"/b\n, '/c']\n", vec!["/a", "/c"], vec!["has a string without an end"]),
            (
                "capture.ignore = [\"/a\\q\", '/c']\n",
                vec!["/c"],
                vec!["has a string without an end or with an unknown"],
            ),
            (
                "capture.ignore = ['/a'\ncapture.x = 1\n",
                vec!["/a"],
                vec!["has no end", "line 2: unknown key capture.x"],
            ),
            (
                "capture.ignore = ['/a',\n[capture]\nignore = ['/b']",
                vec!["/a", "/b"],
                vec!["has no end", "is set twice"],
            ),
            ("capture.ignore = ['/a'] and more\n", vec!["/a"], vec!["has and more"]),
            (
                "[capture]\nignore = [\"work\", \"/b\", \"~ana/x\"]\n",
                vec!["/b"],
                vec!["'work', which must begin", "'~ana/x', which"],
            ),
            (
                "ignore = [\"/a\"]\n[sleep]\nx = 1\n[capture]\nignore = ['/c']",
                vec!["/c"],
                vec!["line 1: unknown key ignore", "line 2: unknown table [sleep]", "line 3: unknown key sleep.x"],
            ),
            (
                "[capture]\nnonsense\nignore=['/c']\nignore=['/d']",
                vec!["/c", "/d"],
                vec!["line 2: expected a line", "line 4: capture.ignore is set twice"],
            ),
            ("[[capture]]\n", vec![], vec!["unknown table [[capture]]"]),
        ] {
            let config = parse(text);
            assert_eq!(config.ignore, ignore, "{text}");
            assert_eq!(config.problems.len(), problems.len(), "{text}: {:?}", config.problems);
            for (said, part) in config.problems.iter().zip(problems) {
                assert!(said.starts_with("config.toml, line ") && said.contains(part), "{text}: {said}");
            }
        }
    }
}
