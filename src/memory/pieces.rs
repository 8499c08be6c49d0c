//! A text too long for one record → pieces, which one after the other are the text again.

/// Cuts `text` into pieces of at most `most` bytes (4 or more): behind a line end, where a piece has
/// one, else between two characters. A text that fits is its own only piece.
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
