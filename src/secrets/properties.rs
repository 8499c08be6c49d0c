//! The property that the fuzz target checks, as a function that a unit test also runs. Compiled only for these.

use super::{find, masked, masked_pieces};

/// Checks that the spans of a text are in order, without overlap and between two characters; that masking it leaves no
/// masked secret in its place and nothing between the secrets out; that masking it again leaves the masks (what is left
/// may be a secret only now that it is shorter, such as a token that was too long); and that a text in two pieces becomes what it becomes as one, but for what lies in both.
///
/// # Panics
/// If one of these does not hold.
pub fn masking_is_exact_and_keeps_masks(data: &[u8]) {
    let text = &String::from_utf8_lossy(data);
    let spans = find(text);
    let mut last = 0;
    for span in &spans {
        assert!(last <= span.start && span.start < span.end, "{spans:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{spans:?}");
        last = span.end;
    }
    let Some(once) = masked(text) else {
        assert!(spans.is_empty());
        return;
    };
    if !once.has_private {
        let mut rest = once.text.as_str();
        let mut copied = 0;
        for span in &spans {
            rest = rest.strip_prefix(&text[copied..span.start]).unwrap();
            rest = rest.strip_prefix(&format!("[secret: {}]", span.kind)).unwrap();
            copied = span.end;
        }
        assert_eq!(rest, &text[copied..]);
    }
    let masks = |text: &str| text.matches("[secret: ").count();
    if let Some(twice) = masked(&once.text) {
        assert_eq!(masks(&twice.text), masks(&once.text) + twice.kinds.len(), "{text:?} became {:?}", once.text);
    }
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let pieces = masked_pieces(text, &[middle, text.len()]).unwrap();
    let counts: usize = pieces.iter().flatten().map(|piece| piece.kinds.len()).sum();
    assert_eq!(counts, once.kinds.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Picked: a quarter of a second in a debug build.
    const MIXTURES: usize = 2000;

    #[test]
    fn examples() {
        for text in [
            "",
            "password = hunter2 and postgres://a:b1@c",
            "a\u{e9}密码：Abc12345，x",
            "password=<private>x</private>hunter2",
            "Bearer Bearer x7Kq2vBn9LmZ4rTyWd8s",
            "password=password=password=hunter2=hunter3",
        ] {
            masking_is_exact_and_keeps_masks(text.as_bytes());
        }
    }

    /// Parts of the examples, in any order: where one ends, another begins.
    #[test]
    fn mixtures_of_examples() {
        let texts: Vec<String> = super::super::tables::TRUE.iter().map(|(text, _)| text.replace('¦', "")).collect();
        let mut state = 1_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below.max(1)
        };
        let rounds = std::env::var("FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(MIXTURES);
        for _ in 0..rounds {
            let mut mixed = Vec::new();
            for _ in 0..1 + next(4) {
                let text = texts[next(texts.len())].as_bytes();
                let start = next(text.len());
                mixed.extend_from_slice(&text[start.min(next(8) * start)..]);
                mixed.truncate(mixed.len() - next(6).min(mixed.len()));
            }
            masking_is_exact_and_keeps_masks(&mixed);
        }
    }

    /// The texts that make a scanner go back the furthest.
    #[test]
    fn hostile_texts_end() {
        for part in [
            "-----BEGIN PRIVATE KEY-----\n",
            "eyJaaaaaaaaaaaa-",
            "sk-ant-",
            "a://a:",
            "password=",
            "\\\\",
            " = ",
            "<private",
            "\"a\",",
        ] {
            let text = part.repeat((1 << 15) / part.len());
            assert!(find(&text).len() <= text.len());
        }
    }
}
