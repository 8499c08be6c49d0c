//! Splits a text that is too long for one record into pieces whose concatenation is the text. Pure.

/// Splits `text` into pieces of at most `most` bytes, `most >= 4`: after the last line end that fits, else between two
/// characters. A text that fits is returned as one piece.
pub fn pieces(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > most {
        let longest = (0..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
        let end = rest[..longest].rfind('\n').map_or(longest, |newline| newline + 1);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_line_ends_or_between_characters() {
        for (text, want) in [
            ("", vec![""]),
            ("12345678", vec!["12345678"]),
            ("123456789", vec!["12345678", "9"]),
            ("1\n345\n789", vec!["1\n345\n", "789"]),
            ("1234567\n9", vec!["1234567\n", "9"]),
            ("12345678\n", vec!["12345678", "\n"]),
            ("\n\n\n\n\n\n\n\n\n", vec!["\n\n\n\n\n\n\n\n", "\n"]),
            ("ééééé", vec!["éééé", "é"]),
            ("1234567é", vec!["1234567", "é"]),
            ("😀😀😀", vec!["😀😀", "😀"]),
        ] {
            assert_eq!(pieces(text, 8), want, "{text:?}");
            assert_eq!(pieces(text, 8).concat(), text);
        }
    }
}
