//! Words that begin alike: *photo* and *photography*, *Haustür* and *Haustürschlüssel*.
//!
//! Pure.

/// Characters that two words must share at their start for a prefix match. Picked: five in most alphabets are a root.
const PREFIX_CHARS: usize = 5;

/// Returns the prefixes of a term by which similar words are searched, the longest first: from the whole term down to
/// two thirds of it, at least [`PREFIX_CHARS`]. None for a term with a digit.
pub(crate) fn prefixes(term: &str) -> impl Iterator<Item = &str> {
    let chars = term.chars().count();
    let least = if has_digit(term) { usize::MAX } else { PREFIX_CHARS.max((chars * 2).div_ceil(3)) };
    let ends = term.char_indices().rev().map(|(at, c)| at + c.len_utf8()).zip((least..=chars).rev());
    ends.map(|(end, _)| &term[..end])
}

/// Returns true if two words share their first [`PREFIX_CHARS`]. False for words with digits: the digits tell names
/// such as *room12* apart.
pub(crate) fn share_prefix(a: &str, b: &str) -> bool {
    let shared = a.chars().zip(b.chars()).take(PREFIX_CHARS).take_while(|(a, b)| a == b).count();
    shared == PREFIX_CHARS && !has_digit(a) && !has_digit(b)
}

fn has_digit(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_two_thirds_of_the_term_and_five_letters_at_least() {
        for (term, want) in [
            ("haustur", &["haustur", "haustu", "haust"][..]),
            ("schlüssel", &["schlüssel", "schlüsse", "schlüss", "schlüs"]),
            ("кошка", &["кошка"]),
            ("tree", &[]),
            ("room12345", &[]),
            ("", &[]),
        ] {
            assert_eq!(prefixes(term).collect::<Vec<_>>(), want, "{term}");
        }
    }
}
