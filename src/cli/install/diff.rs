//! The lines in which two texts differ, for people to look at before they say yes. Pure.

/// Most characters of a line that are shown: a settings file may be one line.
const LINE_CHARS: usize = 160;

/// Lines that are looked ahead to find where two texts go on alike. Picked: more than is ever entered.
const AHEAD: usize = 200;

/// The lines that go (`-`) and come (`+`), in their order.
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

/// How many lines go and come until both go on alike; the fewest.
fn step(before: &[&str], after: &[&str]) -> (usize, usize) {
    for far in 1..=AHEAD {
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
    match line.char_indices().nth(LINE_CHARS) {
        Some((end, _)) => format!("{mark} {}…", &line[..end]),
        None => format!("{mark} {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_and_nothing_else() {
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
