//! Text that programs inject into a conversation between tags, and its removal. Pure.

/// Tag before the text that this program gives to an assistant.
pub const OPEN_TAG: &str = "<iaid-memory>";
/// Tag after the text that this program gives to an assistant.
pub const CLOSE_TAG: &str = "</iaid-memory>";

/// The tags of this program, as an assistant escapes them.
const ESCAPED_TAGS: (&str, &str) = ("&lt;iaid-memory&gt;", "&lt;/iaid-memory&gt;");

/// Names of tags around injected text. An opening tag counts only at the beginning of a line.
const NAMES: [&str; 19] = [
    "iaid-memory",
    "INSTRUCTIONS",
    "apps_instructions",
    "bash-input",
    "browser",
    "browser_instruction",
    "channel",
    "collaboration_mode",
    "fetched-web-content",
    "model_switch",
    "persisted-output",
    "personality_spec",
    "skill",
    "terminal",
    "tick",
    "turn_aborted",
    "untrusted-widget-state",
    "user_action",
    "user_shell_command",
];

/// Beginnings and ends of further names: each release of an assistant has more of these kinds.
const NAME_PREFIXES: [&str; 2] = ["ide_", "ide-"];
const NAME_SUFFIXES: [&str; 23] = [
    "-caveat",
    "-context",
    "-diagnostics",
    "-hook",
    "-message",
    "-notification",
    "-ping",
    "-relay",
    "-reminder",
    "-stderr",
    "-stdout",
    "-update",
    "_aborted",
    "_agents",
    "_context",
    "_hook",
    "_instructions",
    "_message",
    "_notification",
    "_permissions",
    "_plugins",
    "_prompt",
    "_reminder",
];

/// Names of tags whose text runs to the end if the closing tag is missing.
const ENDLESS: [&str; 2] = ["iaid-memory", "system-reminder"];

/// Returns `text` without injected text: from an opening tag to its closing tag. If the closing tag is missing, to the
/// end of the text if the tag begins the text or is of this program or a reminder; otherwise the tag is part of the
/// text. If anything was removed, white space at both ends is trimmed.
pub(crate) fn without(text: String) -> String {
    let text = without_escaped(text);
    let Some(mut next) = first(&text, true) else { return text };
    let (mut left, mut rest) = (String::with_capacity(text.len()), text.as_str());
    loop {
        left.push_str(&rest[..next.start]);
        rest = &rest[next.end..];
        match first(rest, left.trim().is_empty()) {
            Some(found) => next = found,
            None => break,
        }
    }
    left.push_str(rest);
    left.trim().to_owned()
}

/// Returns `text` without what this program gave to an assistant that has escaped the tags: Gemini CLI and Qwen Code do.
fn without_escaped(mut text: String) -> String {
    while let Some(start) = text.find(ESCAPED_TAGS.0) {
        let line = text[..start].rsplit('\n').next().unwrap_or_default();
        if !line.trim().is_empty() {
            break;
        }
        let end = text[start..].find(ESCAPED_TAGS.1).map_or(text.len(), |end| start + end + ESCAPED_TAGS.1.len());
        text = format!("{}{}", &text[..start], &text[end..]).trim().to_owned();
    }
    text
}

/// Returns the range of the first injected text. `is_start`: nothing precedes `text`.
fn first(text: &str, is_start: bool) -> Option<std::ops::Range<usize>> {
    for (at, _) in text.match_indices('<') {
        let before = &text[..at];
        if !before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty()) {
            continue;
        }
        let Some((name, inside)) = opening_tag(&text[at..]) else { continue };
        let close = format!("</{name}>");
        match text[at + inside..].find(&close) {
            Some(end) => return Some(at..at + inside + end + close.len()),
            None if ENDLESS.contains(&name) || (is_start && before.trim().is_empty()) => return Some(at..text.len()),
            None => {}
        }
    }
    None
}

/// Returns the name of the tag that `text` begins with, and the tag's length, if it is one around injected text.
fn opening_tag(text: &str) -> Option<(&str, usize)> {
    let end = text.find('>')?;
    let inside = text[1..end].lines().next()?;
    let name = inside.split(' ').next()?;
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':'));
    let is_ours = NAMES.contains(&name)
        || NAME_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || NAME_SUFFIXES.iter().any(|suffix| name.ends_with(suffix) && name.len() > suffix.len());
    (is_name && is_ours && inside.len() == end - 1).then_some((name, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injected_text_is_removed_and_the_rest_kept() {
        for (text, want) in [
            (" said by a person \n", " said by a person \n"),
            ("<iaid-memory>\nold things\n</iaid-memory>", ""),
            ("before\n<iaid-memory>\nold\n</iaid-memory>\nafter\n", "before\n\nafter"),
            ("<system-reminder>a</system-reminder>\nsaid\n  <system-reminder>b</system-reminder>", "said"),
            ("said\n<system-reminder>without an end", "said"),
            ("<system-reminder><iaid-memory>a</iaid-memory></system-reminder>said", "said"),
            ("what does <system-reminder> mean?", "what does <system-reminder> mean?"),
            ("the mark is `<iaid-memory>`\n", "the mark is `<iaid-memory>`\n"),
            ("<ide_selection>lines 1 to 3</ide_selection>\nwhat is this?", "what is this?"),
            ("<ide_opened_file>without an end", ""),
            ("<teammate-message teammate_id=\"lead\">take 14\nand 15</teammate-message>", ""),
            ("<channel source=\"x\">hello</channel>", ""),
            (
                "<qwen:user-prompt-submit-context>\n&lt;iaid-memory&gt;\nold\n&lt;/iaid-memory&gt;\n</qwen:user-prompt-submit-context>",
                "",
            ),
            ("<xs:element>kept</xs:element>", "<xs:element>kept</xs:element>"),
            ("said\n<task-notification>without an end", "said\n<task-notification>without an end"),
            ("<my-element>kept</my-element>", "<my-element>kept</my-element>"),
            ("<div>\n<b>kept</b></div>", "<div>\n<b>kept</b></div>"),
            ("1 < 2 and <-message> > 0", "1 < 2 and <-message> > 0"),
            ("<", "<"),
            ("", ""),
        ] {
            assert_eq!(without(text.to_owned()), want, "{text:?}");
        }
    }
}
