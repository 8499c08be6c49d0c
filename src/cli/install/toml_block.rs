//! Adds a marked block at the end of a TOML file and removes it again. Pure.
//!
//! The parser handles only what is needed to see whether a table exists already: comments, strings, headers and keys.
//! The block has only tables, so it is valid after any content.

/// First and last line of the block.
const BEGIN: &str = "# >>> written by iaid install; iaid uninstall removes it";
const END: &str = "# <<< end of iaid";

/// Returns the text with a block of these lines, replacing an earlier block. `lines` ends in a newline.
pub(crate) fn with(text: &str, lines: &str) -> String {
    let mut text = without(text);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + BEGIN + "\n" + lines + END + "\n"
}

/// Returns the text without the block.
pub(crate) fn without(text: &str) -> String {
    let Some(start) = line_start(text, BEGIN) else { return text.to_owned() };
    let rest = &text[start..];
    let end = line_start(rest, END).map_or(rest.len(), |at| {
        let line = &rest[at..];
        at + line.find('\n').map_or(line.len(), |newline| newline + 1)
    });
    text[..start].to_owned() + &rest[end..]
}

/// Returns true if the file defines `table.key`, as `[table.key]`, as `table.key.x = …` or as a member of `[table]`, or
/// defines `table` in a form that no header can extend.
pub(crate) fn mentions(text: &str, table: &str, key: &str) -> bool {
    assignments(text).any(|(path, value)| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        names.starts_with(&[table, key]) || (names == [table] && !value.is_empty())
    })
}

/// Returns the string at a path, if it is on one line.
pub(crate) fn string(text: &str, path: &[&str]) -> Option<String> {
    let (_, value) = assignments(text).find(|(names, _)| names == path)?;
    match value.strip_prefix('\'') {
        Some(literal) => literal.split('\'').next().map(str::to_owned),
        // A comment may follow.
        None => serde_json::Deserializer::from_str(value).into_iter().next()?.ok(),
    }
}

/// Returns the headers and the keys with their values, each with its full path. The value of a header is empty, that of
/// an array of tables is `[[`.
fn assignments(text: &str) -> impl Iterator<Item = (Vec<String>, &str)> {
    let mut header: Vec<String> = Vec::new();
    statements(text).into_iter().map(move |statement| match statement.strip_prefix('[') {
        Some(inside) => {
            header = path(inside.trim_start_matches('[').split(']').next().unwrap_or_default());
            (header.clone(), if inside.starts_with('[') { "[[" } else { "" })
        }
        None => {
            let (name, value) = split_key(statement);
            (header.iter().cloned().chain(path(name)).collect(), value.trim())
        }
    })
}

fn line_start(text: &str, line: &str) -> Option<usize> {
    text.match_indices(line).map(|(at, _)| at).find(|at| *at == 0 || text[..*at].ends_with('\n'))
}

/// Returns the lines with a header or a key, without those inside multi-line strings and arrays.
fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut quote) = (0_i32, "");
    for line in text.lines() {
        let start = line.trim_start();
        if depth == 0 && quote.is_empty() && !start.is_empty() && !start.starts_with('#') {
            found.push(start);
        }
        let is_header = depth == 0 && quote.is_empty() && start.starts_with('[');
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let mut taken = c.len_utf8();
            if !quote.is_empty() {
                if rest.starts_with(quote) {
                    taken = quote.len();
                    quote = "";
                } else if c == '\\' && quote.starts_with('"') {
                    taken += rest[1..].chars().next().map_or(0, char::len_utf8);
                }
            } else if let Some(opens) = ["\"\"\"", "'''", "\"", "'"].iter().find(|quote| rest.starts_with(**quote)) {
                quote = opens;
                taken = opens.len();
            } else if c == '#' {
                break;
            } else if !is_header {
                depth += i32::from(matches!(c, '[' | '{')) - i32::from(matches!(c, ']' | '}'));
            }
            rest = &rest[taken..];
        }
        // Only multi-line strings continue on the next line.
        if quote.len() == 1 {
            quote = "";
        }
    }
    found
}

/// Splits `key = value`.
fn split_key(statement: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, c) in statement.char_indices() {
        match (quote, c) {
            (None, '=') => return (&statement[..at], &statement[at + 1..]),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    (statement, "")
}

/// Splits `a . "b" . c` into its parts.
fn path(dotted: &str) -> Vec<String> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None);
    for c in dotted.chars() {
        match (quote, c) {
            (None, '.') => parts.push(std::mem::take(&mut part)),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ' | '\t') => {}
            _ => part.push(c),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "[mcp_servers.iaid]\ncommand = \"/b/iaid\"\n";

    #[test]
    fn adding_is_idempotent_and_removing_restores_the_text() {
        for text in ["", "model = \"m\"\n", "[a]\nb = 1\n\n", "# only a comment\n"] {
            let once = with(text, BLOCK);
            assert!(once.starts_with(text) && once.contains(BLOCK), "{once}");
            assert_eq!(with(&once, BLOCK), once);
            assert_eq!(with(&with(text, "[other]\n"), BLOCK), once);
            assert_eq!(without(&once), text);
        }
        assert_eq!(with("a = 1", BLOCK), with("a = 1\n", BLOCK));
        let between = with("a = 1\n", BLOCK) + "[later]\n";
        assert_eq!(without(&between), "a = 1\n[later]\n");
        assert_eq!(without(&(BEGIN.to_owned() + "\n[x]\n")), "");
    }

    #[test]
    fn a_table_is_found_in_every_form_but_not_in_strings() {
        for (text, want) in [
            ("[mcp_servers.iaid]\ncommand = \"x\"", true),
            ("  [ mcp_servers . \"iaid\" ] # mine", true),
            ("[mcp_servers.iaid.env]\nA = \"b\"", true),
            ("[mcp_servers]\niaid = { command = \"x\" }", true),
            ("[mcp_servers]\niaid.command = \"x\"", true),
            ("mcp_servers.iaid.command = 'x'", true),
            ("mcp_servers = { other = { command = \"x\" } }", true),
            ("[[mcp_servers.iaid]]", true),
            ("[[mcp_servers]]\ncommand = \"x\"", true),
            ("[mcp_servers]\n[mcp_servers.other]\ncommand = \"iaid\"", false),
            ("[other]\niaid = 1\nmcp_servers.iaid = 2", false),
            ("# [mcp_servers.iaid]", false),
            ("a = \"\"\"\n[mcp_servers.iaid]\n\"\"\"", false),
            ("a = '''\n[mcp_servers.iaid]\n'''\nb = 1", false),
            ("a = [\n  \"x\", # ]\n  [\"mcp_servers\"],\n]\n[b]", false),
            ("a = \"\\\"\" # \"\"\"\n[mcp_servers.iaid]", true),
            ("a = \"it's\"\n[mcp_servers.iaid]", true),
            ("\"mcp_servers.iaid\" = 1", false),
            ("", false),
        ] {
            assert_eq!(mentions(text, "mcp_servers", "iaid"), want, "{text}");
        }
    }
}
