//! Excerpts: the beginning of a text on one line.

/// The first `most` characters of a text on one line.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count + 1 >= most {
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
    fn beginnings_are_one_line() {
        for (text, most, want) in
            [("", 5, ""), (" a \n\t b ", 5, "a b"), ("abcdef", 4, "abc…"), ("abc", 4, "abc"), ("ab cd ef", 5, "ab c…")]
        {
            assert_eq!(beginning(text, most), want, "{text:?}");
        }
    }
}
