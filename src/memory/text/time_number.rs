//! Numbers in a time: in letters, as ordinals, as days of a month, in Chinese characters.
//!
//! Pure.

use std::ops::Range;

use crate::memory::text::time_words::{has, place};

/// The counts of units that are read: jiff panics on a span of more than 19 998 years.
pub(crate) const COUNTS: Range<i64> = 1..1000;

/// The number that *a few* is.
pub(crate) const FEW: i64 = 0;

/// The numbers one to ten.
#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    " a an one ein eine einem einer un une una uno um uma een один одну 一 واحد ",
    " two zwei deux dos due dois duas twee два две 二 两 兩 يومين اسبوعين شهرين سنتين عامين ",
    " three drei trois tres tre drie три 三 ثلاثه ثلاث ",
    " four vier quatre cuatro quattro quatro четыре 四 اربعه اربع ",
    " five funf cinq cinco cinque vijf пять 五 خمسه خمس ",
    " six sechs seis sei zes шесть 六 سته ست ",
    " seven sieben sept siete sette sete zeven семь 七 سبعه سبع ",
    " eight acht huit ocho otto oito восемь 八 ثمانيه ثماني ",
    " nine neun neuf nueve nove negen девять 九 تسعه تسع ",
    " ten zehn dix diez dieci dez tien десять 十 عشره عشر ",
];

/// Further numbers.
#[rustfmt::skip]
const LARGER_NUMBERS: &[(i64, &str)] = &[
    (FEW, " few several paar einigen einige mehreren quelques unos unas varios algunos algunas alcuni alcune qualche alguns \
        algumas uns umas enkele несколько 数 几 幾 عده بضعه "),
    (2, " couple par paio пару "),
    (11, " eleven elf onze undici одиннадцать "), (12, " twelve zwolf douze doce dodici doze twaalf двенадцать "),
    (14, " fourteen vierzehn quatorze catorce veertien четырнадцать "),
    (15, " fifteen funfzehn quinze quince quindici vijftien пятнадцать "),
    (20, " twenty zwanzig vingt veinte venti vinte twintig двадцать "),
    (30, " thirty dreissig trente treinta trenta trinta dertig тридцать "),
];

/// The four quarters, before the unit.
pub(crate) const ORDINALS: &[&str] = &[
    " first 1st erstes ersten premier primer primo primeiro eerste ",
    " second 2nd zweites zweiten deuxieme segundo secondo tweede ",
    " third 3rd drittes dritten troisieme tercer terzo terceiro derde ",
    " fourth 4th viertes vierten quatrieme cuarto quarto vierde ",
];

/// The numbers of the months in Chinese and Japanese, the longer of two that end alike first.
#[rustfmt::skip]
pub(crate) const CHINESE_MONTHS: &[(&str, i8)] = &[
    ("十二", 12), ("十一", 11), ("十", 10), ("一", 1), ("二", 2), ("三", 3), ("四", 4), ("五", 5), ("六", 6), ("七", 7),
    ("八", 8), ("九", 9),
];

/// Returns the number of an ordinal up to the fourth.
pub(crate) fn ordinal(word: &str) -> Option<i8> {
    place(ORDINALS, word)
}

/// Returns the number that a word is, in digits or letters.
pub(crate) fn number(word: &str) -> Option<i64> {
    let digits = word.parse().ok().filter(|number| COUNTS.contains(number));
    digits
        .or_else(|| place(NUMBERS, word).map(i64::from))
        .or_else(|| LARGER_NUMBERS.iter().find(|(_, names)| has(names, word)).map(|(number, _)| *number))
}

/// Returns the number that a text ends in, in digits or Chinese characters: *12*, *十二*, *二〇二五*.
pub(crate) fn last_number(text: &str) -> Option<i64> {
    let is_digit = |c: char| c.is_ascii_digit();
    let digits = &text[text.trim_end_matches(is_digit).len()..];
    if !digits.is_empty() {
        return digits.parse().ok();
    }
    let is_numeral = |c: char| c == '〇' || chinese_digit(c).is_some();
    let numerals = &text[text.trim_end_matches(is_numeral).len()..];
    if let Some((tens, ones)) = numerals.split_once('十') {
        let digit = |text: &str, none: i64| text.chars().next_back().map_or(Some(none), chinese_digit);
        return Some(digit(tens, 1)? * 10 + digit(ones, 0)?);
    }
    if numerals.chars().count() > 1 {
        return numerals.chars().try_fold(0_i64, |sum, c| {
            sum.checked_mul(10)?.checked_add(if c == '〇' { 0 } else { chinese_digit(c)? })
        });
    }
    let last = text.char_indices().next_back()?.0;
    number(&text[last..])
}

fn chinese_digit(c: char) -> Option<i64> {
    "一二三四五六七八九十".chars().position(|digit| digit == c).map(|at| at as i64 + 1)
}

/// Returns the day of a month: *22*, *22nd*, *1er*.
pub(crate) fn day_number(word: &str) -> Option<i8> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let is_ordinal = digits.len() == word.len() || has(" st nd rd th er o e ", &word[digits.len()..]);
    digits.parse().ok().filter(|day| is_ordinal && (1..=31).contains(day))
}
