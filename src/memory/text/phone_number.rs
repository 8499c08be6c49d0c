//! Telephone numbers: the national and the international form of one are told to be the same number.
//!
//! Pure. *020 7946 0958*, *+44 20 7946 0958*, *+44 (0)20 7946-0958* and *00442079460958* have the national number
//! 2079460958. A cue or a text has digits only, so each run of digits of the right length counts as a number; two are the
//! same if their national numbers are, and their country codes, if both have one.

use std::ops::Range;

/// Digits of a number, with its country code or the prefix of the national form: at most as many as E.164 allows.
const DIGITS: Range<usize> = 9..16;

/// Most groups of digits in a row that are tried as one number.
const MAX_GROUP_COUNT: usize = 8;

/// Most numbers of a cue. Picked: each is looked up in some hundred forms.
const MAX_NUMBER_COUNT: usize = 3;

/// Digits of a number of the countries whose national form begins with 1 (North America) or 8 (Russia).
const TRUNK_ONE_DIGITS: usize = 11;

/// A telephone number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PhoneNumber {
    /// The country code, if the number is written with one.
    country: Option<String>,
    /// The digits without country code, and without a 0 before them.
    national: String,
    /// The digits without the 1 or 8 that a national form may begin with, if they may be one.
    without_trunk: Option<String>,
}

impl PhoneNumber {
    /// Returns the number that these digits are; `None` if they are too few or too many.
    fn of(digits: &str, has_plus: bool) -> Option<PhoneNumber> {
        let international = if has_plus { Some(digits) } else { digits.strip_prefix("00") };
        let (country, national) = match international {
            Some(digits) => {
                let (country, national) = digits.split_at_checked(country_code_digits(digits))?;
                (Some(country.to_owned()), national)
            }
            None => (None, digits),
        };
        let has_trunk = country.is_none() && digits.len() == TRUNK_ONE_DIGITS && digits.starts_with(['1', '8']);
        let without_trunk = has_trunk.then(|| digits[1..].to_owned());
        let national = national.strip_prefix('0').unwrap_or(national).to_owned();
        DIGITS.contains(&digits.len()).then_some(PhoneNumber { country, national, without_trunk })
    }

    fn is_same(&self, other: &PhoneNumber) -> bool {
        let same_country = self.country.is_none() || other.country.is_none() || self.country == other.country;
        let same_digits = self.national == other.national
            || self.without_trunk.as_ref() == Some(&other.national)
            || other.without_trunk.as_ref() == Some(&self.national);
        same_digits && same_country
    }

    fn nationals(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.national).chain(&self.without_trunk)
    }

    /// Returns the forms of the number as one word of digits: with each country code, if it is written without one.
    pub(crate) fn words(&self) -> Vec<String> {
        let codes = match &self.country {
            Some(country) => vec![country.clone(), format!("00{country}")],
            None => country_codes().collect(),
        };
        let prefixes: Vec<String> = ["", "0", "1", "8"].map(str::to_owned).into_iter().chain(codes).collect();
        let of_one =
            |national: &String| prefixes.iter().map(|prefix| format!("{prefix}{national}")).collect::<Vec<_>>();
        self.nationals().flat_map(of_one).collect()
    }

    /// Returns the digits of the national form, which a text may have in several groups: with and without its prefix.
    pub(crate) fn national_forms(&self) -> Vec<String> {
        self.nationals().flat_map(|national| [format!("0{national}"), national.clone()]).collect()
    }
}

/// Returns the longest number of each of the first runs of digits in a cue that have one, and where it is.
pub(crate) fn numbers_of(cue: &str) -> Vec<(PhoneNumber, Range<usize>)> {
    let mut numbers = Vec::new();
    for_each_run(cue, &mut |groups| {
        let all = groups.iter().map(|group| &cue[group.digits.clone()]).collect::<String>();
        if let Some(number) = PhoneNumber::of(&all, groups[0].has_plus) {
            numbers.push((number, groups[0].digits.start..groups[groups.len() - 1].digits.end));
        }
        numbers.len() == MAX_NUMBER_COUNT
    });
    numbers
}

/// Returns true if a text has one of the forms of this number, in adjacent groups of digits.
pub(crate) fn has_number(text: &str, number: &PhoneNumber) -> bool {
    for_each_run(text, &mut |groups| {
        // An international number begins where its mark is.
        let is_international = groups[0].has_plus || text[groups[0].digits.clone()].starts_with("00");
        (0..if is_international { 1 } else { groups.len() }).any(|first| {
            let mut digits = String::new();
            groups[first..].iter().take(MAX_GROUP_COUNT).any(|group| {
                digits.push_str(&text[group.digits.clone()]);
                digits.len() < DIGITS.end
                    && PhoneNumber::of(&digits, groups[first].has_plus).is_some_and(|other| other.is_same(number))
            })
        })
    })
}

/// A group of digits.
struct Group {
    digits: Range<usize>,
    has_plus: bool,
}

/// Calls `sink` with the groups of each run of digits that only the marks of telephone numbers separate, until it returns
/// true. Returns true if it has.
fn for_each_run(text: &str, sink: &mut dyn FnMut(&[Group]) -> bool) -> bool {
    let bytes = text.as_bytes();
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (before, has_plus) = match at.checked_sub(1).map(|before| bytes[before]) {
            Some(b'+') => (at.checked_sub(2).map(|before| bytes[before]), true),
            before => (before, false),
        };
        let is_within_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let is_word = !is_within_word(before) && !is_within_word(bytes.get(end).copied());
        let continues = groups.last().is_some_and(|last| {
            let gap = &bytes[last.digits.end..at];
            !has_plus
                && gap.len() <= 3
                && gap.iter().all(|byte| matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')'))
        });
        let is_continued = continues && is_word;
        if !groups.is_empty() && !is_continued {
            if sink(&groups) {
                return true;
            }
            groups.clear();
        }
        if is_word {
            groups.push(Group { digits: at..end, has_plus });
        }
        at = end;
    }
    !groups.is_empty() && sink(&groups)
}

/// Returns the number of digits of the country code that an international number begins with. No code begins with
/// another (ITU-T E.164).
fn country_code_digits(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

/// Returns all country codes, and those that are not assigned.
fn country_codes() -> impl Iterator<Item = String> {
    (1..1000).map(|code: u32| code.to_string()).filter(|code| country_code_digits(code) == code.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(text: &str, cue: &str) -> bool {
        numbers_of(cue).iter().any(|(number, _)| has_number(text, number))
    }

    #[test]
    fn the_forms_of_a_number_are_the_same_and_others_are_not() {
        for (a, b, want) in [
            ("020 7946 0958", "+442079460958", true),
            ("call 020 7946 0958 (work) at 9", "+44 20 7946 0958", true),
            ("02079460958", "0044 20 7946 0958", true),
            ("+44 (0)20 7946-0958", "020.7946.0958", true),
            ("030/901820-17", "+49 30 90182017", true),
            ("8 (495) 123-45-67", "+7 495 123 45 67", true),
            ("(555) 010-9999", "+1 555 010 9999", true),
            ("1-555-010-9999", "+15550109999", true),
            ("612 345 678", "+34 612345678", true),
            ("138 0013 8000", "+86 13800138000", true),
            ("0151 2345 6789", "+4915123456789", true),
            ("8 800 555 3535", "+78005553535", true),
            ("06 6982 1234", "+39 06 69821234", true),
            ("+44 20 7946 0958", "+49 20 7946 0958", false),
            ("020 7946 0958", "+442079460959", false),
            ("020 7946 0958", "021 7946 0958", false),
            ("x0207946095", "+44207946095", false),
            ("2026-11-22", "22 11 2026", false),
        ] {
            assert_eq!((is_same(a, b), is_same(b, a)), (want, want), "{a} {b}");
        }
    }

    #[test]
    fn the_words_of_a_number_have_its_country_codes() {
        let words = |cue| numbers_of(cue).remove(0).0.words();
        assert_eq!(
            words("+44 20 7946 0958"),
            ["2079460958", "02079460958", "12079460958", "82079460958", "442079460958", "00442079460958"]
        );
        let all = words("020 7946 0958");
        assert!(all.contains(&"442079460958".to_owned()) && all.contains(&"3542079460958".to_owned()));
        assert!(all.len() < 320, "{}", all.len());
    }
}
