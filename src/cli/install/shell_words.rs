//! Commands of this program as words, and which of them `iaid install` writes. Pure.

use std::path::Path;

/// Name of this program; copies of other releases begin with it and a hyphen.
pub(crate) const NAME: &str = "iaid";

/// Options with a value that install writes.
const OPTIONS: [&str; 3] = ["--socket", "--store", "--assistant"];

/// Quotes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Splits a command into words; the inverse of [`quoted`].
pub(crate) fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => word.extend(chars.next()),
            (None, ' ' | '\t') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Returns true if a path or name is that of this program, of any release.
pub(crate) fn is_this_program(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix(NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Returns the arguments without the options that install writes, if `program` is this program, whatever its folder, and
/// no other option is given.
pub(crate) fn arguments<'a>(program: &str, args: &'a [String]) -> Option<Vec<&'a str>> {
    if !is_this_program(program) {
        return None;
    }
    let mut found = Vec::new();
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        if OPTIONS.contains(&arg) {
            args.next()?;
        } else if arg.starts_with('-') {
            arg.split_once('=').filter(|(name, _)| OPTIONS.contains(name))?;
        } else {
            found.push(arg);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_of_the_form_that_install_writes_are_recognized() {
        for (command, want) in [
            ("iaid mcp", Some(vec!["mcp"])),
            ("/opt/iaid-0.2 --socket /s mcp", Some(vec!["mcp"])),
            (r"'/o ld/it'\''s/iaid' --socket '/run/a b' hook stop --store=/m", Some(vec!["hook", "stop"])),
            ("\"/o/iaid\" hook stop", Some(vec!["hook", "stop"])),
            ("iaid hook stop && notify", Some(vec!["hook", "stop", "&&", "notify"])),
            ("iaid hook stop; notify", Some(vec!["hook", "stop;", "notify"])),
            ("iaid mcp --verbose", None),
            ("iaid mcp --socket", None),
            ("iaidx mcp", None),
            ("ssh far iaid mcp", None),
            ("", None),
        ] {
            let words = words(command);
            let found = words.split_first().and_then(|(program, args)| arguments(program, args));
            assert_eq!(found, want, "{command}");
        }
    }

    #[test]
    fn a_quoted_word_is_split_into_itself() {
        for word in ["a", "/b/c", "it's", "a b", "\"", "\\", "é x", "$(x)"] {
            assert_eq!(words(&format!("{} {}", quoted(word), quoted(word))), [word, word]);
        }
    }
}
