//! Character folding for the index: lower case, no diacritics, one width, one spelling of each letter.
//!
//! Pure. It is not Unicode normalization: it unites only spellings that people mix (ё and е, é and e + U+0301, ﾃ and テ,
//! with and without Arabic vowel marks). Folded text is never shown.

/// The role of a folded character in word segmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Part of a word, in a script with spaces between words.
    Word,
    /// The first character of a cluster, in a script without spaces (or with suffixed particles, such as Korean). Runs of
    /// clusters are indexed as pairs.
    Gram,
    /// A mark that belongs to the preceding cluster.
    GramMark,
    /// An emoji or pictograph: a word by itself.
    Sign,
    /// A separator of words.
    Gap,
}

/// Calls `out` with each character that `c` folds to; never for a mark that is dropped.
pub(crate) fn fold(c: char, out: &mut impl FnMut(char)) {
    if c.is_ascii() {
        return out(c.to_ascii_lowercase());
    }
    if is_dropped(c) {
        return;
    }
    match spelled(c) {
        "" => match letter(c) {
            Some(base) => out(base),
            None => c.to_lowercase().filter(|l| !is_dropped(*l)).for_each(|l| out(letter(l).unwrap_or(l))),
        },
        text => text.chars().for_each(out),
    }
}

/// Returns a folded text.
pub(crate) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| fold(c, &mut |folded| out.push(folded)));
    out
}

/// Returns the composed character of `before` and the following `c`, both folded: of a kana and its voicing mark, or of
/// decomposed Korean letters.
pub(crate) fn compose(before: char, c: char) -> Option<char> {
    let (b, n) = (before as u32, c as u32);
    let composed = match (b, n) {
        (0x3046, 0x3099) => 0x3094,
        // The voiced form of か to ぢ is the next code point; from つ on, small っ shifts the parity.
        (0x304B..=0x3061, 0x3099) if b % 2 == 1 => b + 1,
        (0x3064..=0x3068, 0x3099) if b.is_multiple_of(2) => b + 1,
        (0x306F..=0x307B, 0x3099) if b.is_multiple_of(3) => b + 1,
        (0x306F..=0x307B, 0x309A) if b.is_multiple_of(3) => b + 2,
        // The Unicode Standard, section 3.12: 19 leading, 21 vowel and 27 trailing letters.
        (0x1100..=0x1112, 0x1161..=0x1175) => 0xAC00 + ((b - 0x1100) * 21 + (n - 0x1161)) * 28,
        (0xAC00..=0xD7A3, 0x11A8..=0x11C2) if (b - 0xAC00).is_multiple_of(28) => b + (n - 0x11A7),
        _ => return None,
    };
    char::from_u32(composed)
}

/// Returns the class of a folded character.
pub(crate) fn class(c: char) -> Class {
    match c {
        'a'..='z' | '0'..='9' => Class::Word,
        '\0'..='\x7f' => Class::Gap,
        '\u{3041}'..='\u{309F}' | '\u{30FC}' | '\u{3005}' | '\u{3007}' => match c {
            '\u{3099}' | '\u{309A}' => Class::GramMark,
            _ => Class::Gram,
        },
        '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' => Class::Gram,
        '\u{20000}'..='\u{3FFFF}' | '\u{3105}'..='\u{312F}' | '\u{31A0}'..='\u{31BF}' => Class::Gram,
        '\u{AC00}'..='\u{D7A3}' | '\u{1100}'..='\u{11FF}' | '\u{3131}'..='\u{318E}' => Class::Gram,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => south_east(c),
        '\u{2600}'..='\u{27BF}' | '\u{1F000}'..='\u{1FAFF}' => match c {
            // Skin tones carry no meaning by themselves.
            '\u{1F3FB}'..='\u{1F3FF}' => Class::Gap,
            _ => Class::Sign,
        },
        // Vowel signs and viramas of Indic scripts and Tibetan are inside words; Unicode does not list all of them as
        // alphabetic.
        '\u{0900}'..='\u{0DFF}' | '\u{0F71}'..='\u{0FBC}' if !matches!(c, '\u{0964}' | '\u{0965}' | '\u{0970}') => {
            Class::Word
        }
        _ if c.is_alphanumeric() => Class::Word,
        _ => Class::Gap,
    }
}

fn south_east(c: char) -> Class {
    match c {
        '\u{0E2F}' | '\u{0E3F}' | '\u{0E4F}' | '\u{0E5A}' | '\u{0E5B}' => Class::Gap,
        '\u{104A}'..='\u{104F}' | '\u{17D4}'..='\u{17DB}' => Class::Gap,
        '\u{0E31}' | '\u{0E33}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}' => Class::GramMark,
        '\u{0EB1}' | '\u{0EB3}'..='\u{0EBC}' | '\u{0EC8}'..='\u{0ECE}' => Class::GramMark,
        '\u{102B}'..='\u{103E}' | '\u{1056}'..='\u{1059}' | '\u{105E}'..='\u{1064}' => Class::GramMark,
        '\u{17B4}'..='\u{17D3}' | '\u{17DD}' => Class::GramMark,
        _ if c.is_alphanumeric() => Class::Gram,
        _ => Class::Gap,
    }
}

/// Returns true for marks that are often left out, and for invisible characters.
fn is_dropped(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{200C}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E01EF}'
        | '\u{0300}'..='\u{036F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}' | '\u{0483}'..='\u{0489}'
        | '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}' | '\u{05C2}' | '\u{05C4}' | '\u{05C5}' | '\u{05C7}'
        | '\u{0610}'..='\u{061A}' | '\u{061C}' | '\u{0640}' | '\u{064B}'..='\u{065F}' | '\u{0670}'
        | '\u{06D6}'..='\u{06DC}' | '\u{06DF}'..='\u{06E4}' | '\u{06E7}' | '\u{06E8}' | '\u{06EA}'..='\u{06ED}'
        | '\u{08D3}'..='\u{08FF}')
}

/// Returns the letters that `c` is spelled out as; `""` if it is not.
fn spelled(c: char) -> &'static str {
    match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' | 'ǽ' | 'Ǽ' => "ae",
        'œ' | 'Œ' => "oe",
        'þ' | 'Þ' => "th",
        'ĳ' | 'Ĳ' => "ij",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        '№' => "no",
        '½' => " 1/2 ",
        '¼' => " 1/4 ",
        '¾' => " 3/4 ",
        '⅓' => " 1/3 ",
        '⅔' => " 2/3 ",
        '⅛' => " 1/8 ",
        '℃' => "\u{B0}c",
        '℉' => "\u{B0}f",
        '㎎' => "mg",
        '㎏' => "kg",
        '㎐' => "hz",
        '㎒' => "mhz",
        '㎓' => "ghz",
        '㎖' => "ml",
        '㎜' => "mm",
        '㎝' => "cm",
        '㎞' => "km",
        '㎡' => "m2",
        '㎥' => "m3",
        '㏄' => "cc",
        '㎾' => "kw",
        '㎅' => "kb",
        '㎆' => "mb",
        '㎇' => "gb",
        '㏈' => "db",
        '\u{2469}'..='\u{2473}' => CIRCLED[(c as usize - 0x2469).min(10)],
        '\u{FEF5}'..='\u{FEFC}' => "لا",
        '\u{2160}'..='\u{216B}' => ROMAN[(c as usize - 0x2160).min(11)],
        '\u{2170}'..='\u{217B}' => ROMAN[(c as usize - 0x2170).min(11)],
        _ => "",
    }
}

/// The roman numerals that are one character.
const ROMAN: [&str; 12] = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"];

/// The numbers from ten on that are one character.
const CIRCLED: [&str; 11] = ["10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"];

/// The Arabic letters by the forms that they have within a word, from U+FE80 on: texts copied out of documents have them.
const ARABIC_FORMS: &str = "ءااااؤؤاائئئئااببببههتتتتثثثثججججححححخخخخددذذررززسسسسششششصصصصضضضضططططظظظظععععغغغغففففققققككككللللممممننننههههوويييييي";

/// Returns the plain letter or digit of a character that has one.
fn letter(c: char) -> Option<char> {
    let n = c as u32;
    match c {
        '\u{00C0}'..='\u{024F}' => plain(LATIN[(n - 0xC0) as usize]),
        '\u{1E00}'..='\u{1EFF}' => plain(LATIN_ADDITIONAL[(n - 0x1E00) as usize]),
        'ς' => Some('σ'),
        'ά' | 'Ά' => Some('α'),
        'έ' | 'Έ' => Some('ε'),
        'ή' | 'Ή' => Some('η'),
        'ί' | 'ϊ' | 'ΐ' | 'Ί' | 'Ϊ' => Some('ι'),
        'ό' | 'Ό' => Some('ο'),
        'ύ' | 'ϋ' | 'ΰ' | 'Ύ' | 'Ϋ' => Some('υ'),
        'ώ' | 'Ώ' => Some('ω'),
        '\u{1F00}'..='\u{1FFF}' => polytonic(n),
        'ѐ' | 'ё' | 'Ѐ' | 'Ё' => Some('е'),
        'й' | 'ѝ' | 'Й' | 'Ѝ' => Some('и'),
        'ї' | 'Ї' => Some('і'),
        'ў' | 'Ў' => Some('у'),
        'ѓ' | 'Ѓ' | 'ґ' | 'Ґ' => Some('г'),
        'ќ' | 'Ќ' => Some('к'),
        'آ' | 'أ' | 'إ' | 'ٱ' => Some('ا'),
        'ى' | 'ی' => Some('ي'),
        'ة' => Some('ه'),
        'ک' => Some('ك'),
        '\u{0660}'..='\u{0669}' => char::from_u32(n - 0x660 + 0x30),
        '\u{06F0}'..='\u{06F9}' => char::from_u32(n - 0x6F0 + 0x30),
        '\u{0966}'..='\u{096F}' => char::from_u32(n - 0x966 + 0x30),
        // The micro sign is the Greek letter.
        '\u{B5}' => Some('μ'),
        // Raised, lowered and enclosed characters, and those of mathematics.
        '\u{AA}' => Some('a'),
        '\u{BA}' => Some('o'),
        '\u{2113}' => Some('l'),
        '\u{FE80}'..='\u{FEF4}' => ARABIC_FORMS.chars().nth((n - 0xFE80) as usize),
        '\u{B9}' => Some('1'),
        '\u{B2}' | '\u{B3}' => char::from_u32(n - 0xB2 + 0x32),
        '\u{2070}' => Some('0'),
        '\u{2074}'..='\u{2079}' => char::from_u32(n - 0x2070 + 0x30),
        '\u{2080}'..='\u{2089}' => char::from_u32(n - 0x2080 + 0x30),
        '\u{2090}'..='\u{209C}' => b"aeox.hklmnpst".get((n - 0x2090) as usize).and_then(|base| plain(*base)),
        '\u{2071}' => Some('i'),
        '\u{207F}' => Some('n'),
        '\u{2460}'..='\u{2468}' => char::from_u32(n - 0x2460 + 0x31),
        '\u{24B6}'..='\u{24E9}' => char::from_u32((n - 0x24B6) % 26 + 0x61),
        '\u{1D400}'..='\u{1D6A3}' => char::from_u32((n - 0x1D400) % 26 + 0x61),
        '\u{1D7CE}'..='\u{1D7FF}' => char::from_u32((n - 0x1D7CE) % 10 + 0x30),
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(n - 0xFEE0).map(|wide| wide.to_ascii_lowercase()),
        '\u{FF66}'..='\u{FF9F}' => HALF_WIDTH.chars().nth((n - 0xFF66) as usize),
        // Katakana as hiragana: many words are written either way.
        '\u{30A1}'..='\u{30F6}' | '\u{30FD}' | '\u{30FE}' => char::from_u32(n - 0x60),
        _ => None,
    }
}

fn plain(base: u8) -> Option<char> {
    (base != b'.').then_some(base as char)
}

fn polytonic(n: u32) -> Option<char> {
    Some(match n {
        0x1F00..=0x1F0F | 0x1F70..=0x1F71 | 0x1F80..=0x1F8F | 0x1FB0..=0x1FBC => 'α',
        0x1F10..=0x1F1F | 0x1F72..=0x1F73 | 0x1FC8..=0x1FC9 => 'ε',
        0x1F20..=0x1F2F | 0x1F74..=0x1F75 | 0x1F90..=0x1F9F | 0x1FC2..=0x1FC7 | 0x1FCA..=0x1FCC => 'η',
        0x1F30..=0x1F3F | 0x1F76..=0x1F77 | 0x1FD0..=0x1FDB => 'ι',
        0x1F40..=0x1F4F | 0x1F78..=0x1F79 | 0x1FF8..=0x1FF9 => 'ο',
        0x1F50..=0x1F5F | 0x1F7A..=0x1F7B | 0x1FE0..=0x1FE3 | 0x1FE6..=0x1FEB => 'υ',
        0x1F60..=0x1F6F | 0x1F7C..=0x1F7D | 0x1FA0..=0x1FAF | 0x1FF2..=0x1FF7 | 0x1FFA..=0x1FFC => 'ω',
        0x1FE4..=0x1FE5 | 0x1FEC => 'ρ',
        _ => return None,
    })
}

/// U+00C0 to U+024F: the letter without its mark; `.` if there is none or it is spelled out.
const LATIN: &[u8; 400] = b"\
aaaaaa.ceeeeiiii.nooooo..uuuuy..aaaaaa.ceeeeiiiidnooooo.ouuuuy.yaaaaaaccccccccdd.deeeeeeeeeegggg\
gggghh.hiiiiiiiiii..jjkkkllllll.l.lnnnnnnn.noooooo..rrrrrrsssssssstttt.tuuuuuuuuuuuuwwyyyzzzzzzs\
b...............................oo.............uu.....z......................aaiioouuuuuuuuuu.aa\
aa...gggkkoooo..j...gg..nnaa....aaaaeeeeiiiioooorrrruuuusstt..hh......aaeeooooooooyy............\
.........j...r.y";

/// U+1E00 to U+1EFF, likewise.
const LATIN_ADDITIONAL: &[u8; 256] = b"\
aabbbbbbccddddddddddeeeeeeeeeeffgghhhhhhhhhhiiiikkkkkkllllllllmmmmmmnnnnnnnnoooooooopppprrrrrrrr\
ssssssssssttttttttuuuuuuuuuuvvvvwwwwwwwwwwxxxxyyzzzzzzhtwy......aaaaaaaaaaaaaaaaaaaaaaaaeeeeeeee\
eeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy......";

/// U+FF66 to U+FF9F, half-width katakana and its two voice marks, as hiragana.
const HALF_WIDTH: &str = "をぁぃぅぇぉゃゅょっーあいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわん\u{3099}\u{309A}";

#[cfg(test)]
mod tests {
    use super::*;

    fn folded_and_composed(text: &str) -> String {
        let mut out = String::new();
        text.chars().for_each(|c| {
            fold(c, &mut |f| match out.chars().next_back().and_then(|before| compose(before, f)) {
                Some(one) => {
                    out.pop();
                    out.push(one);
                }
                None => out.push(f),
            })
        });
        out
    }

    #[test]
    fn each_spelling_of_a_letter_folds_to_one() {
        for (text, want) in [
            ("HELLO wörld", "hello world"),
            ("Straße STRASSE STRAẞE", "strasse strasse strasse"),
            ("Café cafe\u{301}", "cafe cafe"),
            ("Ångström ÅNGSTRÖM", "angstrom angstrom"),
            ("Łódź Đorđe Øre Þór", "lodz dorde ore thor"),
            ("İstanbul ISPARTA ısı", "istanbul isparta isi"),
            ("Tiếng Việt TIẾNG", "tieng viet tieng"),
            ("Ёлка ёлка елка", "елка елка елка"),
            ("и\u{306}од йод", "иод иод"),
            ("Αθήνα ΑΘΗΝΑ ὁ λόγος", "αθηνα αθηνα ο λογοσ"),
            ("كِتَابٌ كتـــاب", "كتاب كتاب"),
            ("أحمد إلى مدرسة", "احمد الي مدرسه"),
            ("١٢٣ ۱۲۳ १२३ １２３", "123 123 123 123"),
            ("שָׁלוֹם שלום", "שלום שלום"),
            ("カタカナ ｶﾞｷﾞ ﾊﾟﾝ ガ か\u{3099} は\u{309A}", "かたかな がぎ ぱん が が ぱ"),
            ("づ つ\u{3099} ど と\u{3099} ゔ う\u{3099}", "づ づ ど ど ゔ ゔ"),
            ("ＡＢＣ ﬁne", "abc fine"),
            ("한국 \u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}", "한국 한국"),
            ("soft\u{AD}hyphen می\u{200C}خواهم", "softhyphen ميخواهم"),
        ] {
            assert_eq!(folded_and_composed(text), want, "{text}");
        }
    }

    #[test]
    fn folding_is_idempotent() {
        for c in '\0'..=char::MAX {
            let mut once = String::new();
            fold(c, &mut |f| once.push(f));
            let mut twice = String::new();
            once.chars().for_each(|c| fold(c, &mut |f| twice.push(f)));
            assert_eq!(once, twice, "U+{:04X}", c as u32);
        }
    }

    #[test]
    fn the_tables_cover_their_ranges() {
        assert_eq!(HALF_WIDTH.chars().count(), 0xFF9F - 0xFF66 + 1);
        assert_eq!((letter('\u{00C0}'), letter('\u{024F}')), (Some('a'), Some('y')));
        assert_eq!((letter('\u{1E00}'), letter('\u{1EF9}')), (Some('a'), Some('y')));
    }

    #[test]
    fn classes_follow_the_script() {
        for (c, want) in [
            ('a', Class::Word),
            ('_', Class::Gap),
            ('я', Class::Word),
            ('ه', Class::Word),
            ('क', Class::Word),
            ('\u{094D}', Class::Word),
            ('।', Class::Gap),
            ('漢', Class::Gram),
            ('か', Class::Gram),
            ('ー', Class::Gram),
            ('・', Class::Gap),
            ('한', Class::Gram),
            ('ท', Class::Gram),
            ('\u{0E35}', Class::GramMark),
            ('🎉', Class::Sign),
            ('☂', Class::Sign),
            ('。', Class::Gap),
            ('“', Class::Gap),
        ] {
            assert_eq!(class(c), want, "{c}");
        }
    }
}
