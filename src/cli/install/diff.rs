//! The lines in which two texts differ, shown for confirmation. Pure.

/// Characters shown of a line; a settings file may be a single line.
const MAX_LINE_CHARS: usize = 160;

/// Lines searched ahead for the next common line. Picked: more than is ever added.
const LOOKAHEAD_LINES: usize = 200;

/// Returns the removed (`-`) and added (`+`) lines, in order.
pub(crate) fn lines(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let (mut i, mut j) = (0, 0);
    let mut shown = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        let (gone, come) = step(&before[i..], &after[j..]);
        shown.extend(before[i..i + gone].iter().map(|line| shortened('-', line)));
        shown.extend(after[j..j + come].iter().map(|line| shortened('+', line)));
        (i, j) = (i + gone, j + come);
    }
    shown
}

/// Returns how many lines are removed and added before the next common line; the smallest sum.
fn step(before: &[&str], after: &[&str]) -> (usize, usize) {
    for far in 1..=LOOKAHEAD_LINES {
        for gone in 0..=far {
            let come = far - gone;
            match (before.get(gone), after.get(come)) {
                (Some(a), Some(b)) if a == b && !a.trim().is_empty() => return (gone, come),
                (None, None) if gone == before.len() && come == after.len() => return (gone, come),
                _ => {}
            }
        }
    }
    (before.len(), after.len())
}

fn shortened(mark: char, line: &str) -> String {
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => format!("{mark} {}…", &line[..end]),
        None => format!("{mark} {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differing_lines_are_shown() {
        for (before, after, want) in [
            ("a\nb\n", "a\nb\n", vec![]),
            ("", "a\nb\n", vec!["+ a", "+ b"]),
            ("a\n", "", vec!["- a"]),
            ("a\nb\nc\n", "a\nc\n", vec!["- b"]),
            ("a\nc\n", "a\nb\nc\n", vec!["+ b"]),
            ("{\n  x\n}\n", "{\n  x,\n  y {\n  }\n}\n", vec!["-   x", "+   x,", "+   y {", "+   }"]),
            ("a\nb\nc\nd\n", "a\nB\nc\nD\ne\n", vec!["- b", "+ B", "- d", "+ D", "+ e"]),
        ] {
            assert_eq!(lines(before, after), want, "{before:?} {after:?}");
        }
        let long = "é".repeat(1000);
        assert_eq!(lines("", &long), [format!("+ {}…", "é".repeat(160))]);
        let (many, other) = ("x\n".repeat(1000), "y\n".repeat(1000));
        assert_eq!(lines(&many, &other).len(), 2000);
    }
}
