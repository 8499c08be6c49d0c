//! Stored text in an HTML page. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns a text as HTML, in an element or in a quoted attribute: it is shown as it is and acts on nothing. Control
/// characters become their pictures, and line and paragraph separators references.
pub(crate) fn html(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| {
        !matches!(c, '&' | '<' | '>' | '"' | '\'' | '`' | '\u{2028}' | '\u{2029}' | '\u{feff}') && !is_control(c)
    };
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_plain(c) => out.push(c),
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('\u{2421}'),
            '\u{80}'..='\u{9f}' => out.push('\u{fffd}'),
            // Writing to a String cannot fail.
            c => drop(write!(out, "&#{};", c as u32)),
        }
    }
    out.into()
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_element_or_attribute() {
        for (text, want) in [
            ("plain text, émoji 🎉\n\tand a line", "plain text, émoji 🎉\n\tand a line"),
            ("</script><script>alert(1)</script>", "&#60;/script&#62;&#60;script&#62;alert(1)&#60;/script&#62;"),
            ("\" onload='x' `", "&#34; onload=&#39;x&#39; &#96;"),
            ("a & b &amp; <!-- -->", "a &#38; b &#38;amp; &#60;!-- --&#62;"),
            ("\u{0}\u{1b}[2J\r\u{7f}\u{9b}", "␀␛[2J␍␡\u{fffd}"),
            ("\u{2028}\u{2029}\u{feff}", "&#8232;&#8233;&#65279;"),
        ] {
            assert_eq!(html(text), want);
        }
    }
}
