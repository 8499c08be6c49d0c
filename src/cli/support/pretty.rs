//! Indents JSON text. Numbers, strings and the order of keys stay as the daemon wrote them; parsing and
//! re-serializing would change them.

/// Returns `json`, which must be one valid JSON text, indented over several lines.
pub(crate) fn pretty(json: &str) -> String {
    let mut shown = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.trim_ascii().chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                shown.push(c);
                while let Some(inner) = rest.next() {
                    shown.push(inner);
                    match inner {
                        '\\' => shown.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                shown.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(close) => shown.push(close),
                    None => {
                        depth += 1;
                        new_line(&mut shown, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut shown, depth);
                shown.push(c);
            }
            ',' => {
                shown.push(c);
                new_line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => shown.push(c),
        }
    }
    shown
}

fn new_line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_unchanged() {
        for (json, shown) in [
            ("{}", "{}"),
            ("[ ]", "[]"),
            ("1.50", "1.50"),
            (r#""a:{,\"[""#, r#""a:{,\"[""#),
            (r#""\\""#, r#""\\""#),
            (
                r#"{"b":1e2,"a":[1, {"c":"x, y"}],"e":{}}"#,
                "{\n  \"b\": 1e2,\n  \"a\": [\n    1,\n    {\n      \"c\": \"x, y\"\n    }\n  ],\n  \"e\": {}\n}",
            ),
        ] {
            assert_eq!(pretty(json), shown);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(shown).unwrap(),
                serde_json::from_str::<serde_json::Value>(json).unwrap()
            );
        }
    }
}
