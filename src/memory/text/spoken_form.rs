//! Forms that are said or written out: a clock time with *pm* or *Uhr* (*2:30 pm*, *14h30*), a language's name with its sign
//! in words (*c plus plus*), a version in words (*version 2*), a number with leading zeros (*0042*).
//!
//! Pure. `tokenizer.rs` adds the usual form of each to the words of a text.

use std::borrow::Cow;

use crate::memory::text::spelling::NUMBER_BORDER;

/// Signs in words behind the letter that they belong to, each with its name.
const SIGNS: [(&str, &str); 3] = [(" plus plus", "pp"), (" plusplus", "pp"), (" sharp", "sharp")];

/// Words behind an hour or a clock time, each with the hours to add to those before noon; the longer of two that begin alike
/// first.
const CLOCK_WORDS: [(&str, u8); 7] =
    [("p.m.", 12), ("pm", 12), ("a.m.", 0), ("am", 0), ("uhr", 24), ("hrs", 24), ("h", 24)];

/// Digits of a number with leading zeros that is found without them: those of times and dates have fewer.
const MIN_PADDED_DIGITS: usize = 3;

/// A further form of a number in a text.
pub(crate) enum NumberForm {
    /// The form of the number and the words beside it: `14·30`, *v2*.
    Joined(String),
    /// The number without leading zeros.
    Unpadded(String),
}

/// Returns the name of the sign in words that stands behind this letter of a text: *c plus plus*.
pub(crate) fn spoken_sign(letter: u8, behind: &str) -> Option<&'static str> {
    let letter = letter.to_ascii_lowercase();
    if !matches!(letter, b'c' | b'f') {
        return None;
    }
    let is_it = |(words, name): &(&str, &str)| (letter == b'c' || *name == "sharp") && starts_with_word(behind, words);
    SIGNS.into_iter().find(is_it).map(|(_, name)| name)
}

/// Returns true if a text begins with these words in any case, and no letter or digit follows.
fn starts_with_word(text: &str, word: &str) -> bool {
    let ends = |c: char| !c.is_alphanumeric();
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        && text[word.len()..].chars().next().is_none_or(ends)
}

/// Returns the further form of the number that the `word` at `start` of a text begins with.
pub(crate) fn number_form(text: &str, start: usize, word: &str) -> Option<NumberForm> {
    if let Some((hour, minute, _)) = clock_time(text, start) {
        return Some(NumberForm::Joined(format!("{hour}{NUMBER_BORDER}{minute:02}")));
    }
    if !word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let before = &text.as_bytes()[..start];
    let is_version = before.len() >= 8 && before[before.len() - 8..].eq_ignore_ascii_case(b"version ");
    if is_version && !text[start + word.len()..].starts_with('.') {
        return Some(NumberForm::Joined(format!("v{word}")));
    }
    let unpadded = word.trim_start_matches('0');
    let is_padded = word.len() >= MIN_PADDED_DIGITS && unpadded.len() < word.len() && !unpadded.is_empty();
    is_padded.then(|| NumberForm::Unpadded(unpadded.to_owned()))
}

/// Returns the hour, the minute and the end of the clock time at this place of a text, if it is written with a word or with
/// a leading zero: *2:30 pm*, *3 pm*, *14h30*, *15 Uhr*, *09:05*. The others are found by their digits.
fn clock_time(text: &str, start: usize) -> Option<(u8, u8, usize)> {
    let begins = |c: char| c.is_whitespace() || matches!(c, '(' | '"' | '~' | '\u{201c}' | ',' | ';');
    if !text[..start].chars().next_back().is_none_or(begins) {
        return None;
    }
    let number = |at: usize| {
        let digits = text[at..].bytes().take_while(u8::is_ascii_digit).take(3).count();
        let value = text[at..at + digits].parse::<u8>().ok().filter(|_| (1..=2).contains(&digits))?;
        Some((value, at + digits))
    };
    let (hour, hour_end) = number(start)?;
    let minute_at = |at: usize| number(at).filter(|(minute, end)| *minute < 60 && *end == at + 2);
    let minute = text[hour_end..].starts_with([':', '.']).then(|| minute_at(hour_end + 1)).flatten();
    let end = minute.map_or(hour_end, |(_, end)| end);
    let behind = &text[end..];
    let gap = usize::from(behind.starts_with(' '));
    let word = CLOCK_WORDS.into_iter().find(|(word, _)| starts_with_word(&behind[gap..], word));
    // 14h30, 14 Uhr 30.
    let infix = CLOCK_WORDS[4..].iter().find_map(|(word, _)| {
        let rest = behind[gap..].get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word))?.len() + end + gap;
        minute_at(rest + usize::from(text[rest..].starts_with(' ')))
    });
    let ends = |at: usize| !text[at..].starts_with(|c: char| c.is_alphanumeric());
    match (minute, word, infix) {
        (None, _, Some((minute, end))) if hour < 24 && ends(end) => Some((hour, minute, end)),
        (minute, Some((word, 24)), _) if hour < 24 => {
            Some((hour, minute.map_or(0, |(minute, _)| minute), end + gap + word.len()))
        }
        (minute, Some((word, more)), _) if (1..=12).contains(&hour) && more < 24 => {
            Some((hour % 12 + more, minute.map_or(0, |(minute, _)| minute), end + gap + word.len()))
        }
        (Some((minute, end)), None, _) if text[start..].starts_with('0') && text[hour_end..].starts_with(':') => {
            (ends(end) && !text[end..].starts_with(':')).then_some((hour, minute, end))
        }
        _ => None,
    }
}

/// Returns the cue with each clock time of twelve hours as one of 24: *2:30 pm* as *14:30*.
pub(crate) fn as_written(cue: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let bytes = cue.as_bytes();
    for at in 0..bytes.len() {
        let begins = at >= copied && at.checked_sub(1).is_none_or(|before| !bytes[before].is_ascii_alphanumeric());
        if !begins || !bytes[at].is_ascii_digit() {
            continue;
        }
        let Some((hour, minute, end)) = clock_time(cue, at) else { continue };
        if cue[at..end].ends_with(['m', 'M', '.']) {
            out.push_str(&cue[copied..at]);
            out.push_str(&format!("{hour}:{minute:02}"));
            copied = end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(cue);
    }
    out.push_str(&cue[copied..]);
    Cow::Owned(out)
}

/// Returns the other form of a clock time among two words of a cue, or one: *1430* for *14:30*, `14·30` for *1430*.
pub(crate) fn clock_alias(word: &str, next: &str, cue: &str) -> Option<String> {
    let digits = |word: &str, count: usize| word.len() == count && word.bytes().all(|b| b.is_ascii_digit());
    let is_time = |hour: &str, minute: &str| hour < "24" && minute < "60";
    if digits(word, 4) {
        let (hour, minute) = word.split_at(2);
        let hour = hour.strip_prefix('0').unwrap_or(hour);
        return is_time(&word[..2], minute).then(|| format!("{hour}{NUMBER_BORDER}{minute}"));
    }
    let is_clock = (digits(word, 1) || digits(word, 2)) && digits(next, 2) && cue.contains(&format!("{word}:{next}"));
    let hour = format!("{word:0>2}");
    (is_clock && is_time(&hour, next)).then(|| hour + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_times_of_twelve_hours_are_written_with_24() {
        for (cue, want) in [
            ("the call at 2:30 pm", "the call at 14:30"),
            ("at 2.30pm, sharp", "at 14:30, sharp"),
            ("3 p.m. or 3pm", "15:00 or 15:00"),
            ("12 am and 12 PM", "0:00 and 12:00"),
            ("2024-01-05 pm", "2024-01-05 pm"),
            ("10:02:05", "10:02:05"),
            ("5 amps, 3 parts, 7 hours", "5 amps, 3 parts, 7 hours"),
            ("13 pm", "13 pm"),
            ("14:30", "14:30"),
            ("3 é", "3 é"),
        ] {
            assert_eq!(as_written(cue), want, "{cue}");
        }
    }

    #[test]
    fn a_clock_time_without_a_mark_has_an_alias() {
        for (word, next, cue, want) in [
            ("1430", "", "1430", Some("14·30")),
            ("0905", "", "0905", Some("9·05")),
            ("14", "30", "at 14:30", Some("1430")),
            ("9", "05", "at 9:05", Some("0905")),
            ("2460", "", "2460", None),
            ("1975", "", "1975", None),
            ("14", "30", "14.30", None),
        ] {
            assert_eq!(clock_alias(word, next, cue).as_deref(), want, "{word} {next}");
        }
    }
}
