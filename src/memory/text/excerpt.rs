//! Excerpts: the beginning of a text on one line.
//!
//! Pure.

/// Returns at most `max_chars` characters of `text` on one line, white space collapsed. An `…` ends a text that was cut;
/// a text of exactly `max_chars` is cut, too.
pub(crate) fn beginning(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count + 1 >= max_chars {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_one_line_of_bounded_length() {
        for (text, max_chars, want) in
            [("", 5, ""), (" a \n\t b ", 5, "a b"), ("abcdef", 4, "abc…"), ("abc", 4, "abc"), ("ab cd ef", 5, "ab c…")]
        {
            assert_eq!(beginning(text, max_chars), want, "{text:?}");
        }
    }
}
