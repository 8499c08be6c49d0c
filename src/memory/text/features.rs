//! Text features: ends in a question, mentions a time, starts with a speaker label.
//!
//! Pure. The word lists have the commonest words of a few languages, folded.

use crate::memory::model::time::CalendarDay;

/// Longest speaker label, in bytes.
const LABEL_BYTES: usize = 40;

/// Longest speaker label, in words: *Dr. Anna Weber:*.
const LABEL_WORDS: usize = 3;

/// Returns true if the text ends in a question mark, ignoring a remark in square brackets at its end.
pub(crate) fn asks(text: &str) -> bool {
    let mut rest = text.trim_end();
    if let Some((before, _)) = rest.strip_suffix(']').and_then(|inside| inside.rsplit_once('[')) {
        rest = before.trim_end();
    }
    rest.ends_with(['?', '？', '؟'])
}

/// Returns the speaker label of a text that begins with a name and a colon, as in a transcript.
pub(crate) fn label(text: &str) -> Option<&str> {
    let (label, _) = text.split_once(':')?;
    let is_name = !label.is_empty()
        && label.len() <= LABEL_BYTES
        && !label.contains('\n')
        && label.split_whitespace().count() <= LABEL_WORDS;
    is_name.then_some(label)
}

/// Returns true if the folded word asks for a time when a question contains it.
pub(crate) fn asks_when(word: &str) -> bool {
    matches!(
        word,
        "when"
            | "date"
            | "day"
            | "month"
            | "year"
            | "time"
            | "wann"
            | "datum"
            | "tag"
            | "monat"
            | "jahr"
            | "quand"
            | "jour"
            | "mois"
            | "annee"
            | "cuando"
            | "fecha"
            | "dia"
            | "mes"
            | "ano"
            | "quando"
            | "когда"
            | "день"
            | "месяц"
            | "год"
            | "متي"
            | "いつ"
            | "何時"
            | "时候"
            | "時候"
    )
}

/// Returns true if the folded word asks for a person.
pub(crate) fn asks_who(word: &str) -> bool {
    matches!(word, "who" | "whom" | "whose" | "wer" | "wen" | "wem" | "qui" | "quien" | "chi" | "quem" | "кто" | "من")
}

/// Returns true if the folded word mentions a time.
pub(crate) fn tells_time(word: &str) -> bool {
    DatePart::named(word).is_some()
        || matches!(
            word,
            "yesterday"
                | "today"
                | "tomorrow"
                | "tonight"
                | "ago"
                | "last"
                | "next"
                | "week"
                | "weekend"
                | "month"
                | "year"
                | "recently"
                | "soon"
                | "since"
                | "morning"
                | "evening"
                | "night"
                | "day"
                | "earlier"
                | "later"
                | "spring"
                | "summer"
                | "autumn"
                | "fall"
                | "winter"
                | "gestern"
                | "heute"
                | "morgen"
                | "woche"
                | "monat"
                | "jahr"
                | "fruher"
                | "spater"
                | "letzte"
                | "letzten"
                | "nachste"
                | "nachsten"
                | "hier"
                | "aujourd"
                | "demain"
                | "semaine"
                | "mois"
                | "annee"
                | "dernier"
                | "derniere"
                | "prochain"
                | "ayer"
                | "hoy"
                | "manana"
                | "semana"
                | "mes"
                | "ano"
                | "pasado"
                | "pasada"
                | "proximo"
                | "вчера"
                | "сегодня"
                | "завтра"
                | "неделе"
                | "неделя"
                | "неделю"
                | "месяц"
                | "год"
                | "году"
                | "назад"
                | "امس"
                | "اليوم"
                | "غدا"
                | "昨日"
                | "今日"
                | "明日"
                | "昨天"
                | "今天"
                | "明天"
        )
}

/// A part of a date that one word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatePart {
    /// 1 is January.
    Month(i8),
    /// 1 is Monday.
    Weekday(i8),
    /// Of the common era.
    Year(i16),
}

impl DatePart {
    /// Returns the part that the folded word names.
    pub(crate) fn named(word: &str) -> Option<DatePart> {
        // Called for each word of many texts: most end as no name with their first letter does.
        let (Some(first), Some(last)) = (word.bytes().next(), word.bytes().last()) else { return None };
        if !first.is_ascii_digit() && NAME_ENDS[usize::from(first & 31)] & 1 << (last & 31) == 0 {
            return None;
        }
        let place = |lists: &[&[&str]]| {
            lists.iter().find_map(|list| list.iter().position(|name| *name == word)).map(|at| at as i8 + 1)
        };
        if let Some(year) = word.parse().ok().filter(|year| word.len() == 4 && (1900..2200).contains(year)) {
            return Some(DatePart::Year(year));
        }
        place(MONTHS).map(DatePart::Month).or_else(|| place(WEEKDAYS).map(DatePart::Weekday))
    }

    /// Returns true if it is a part of the date of `day`.
    pub(crate) fn is_of(self, day: CalendarDay) -> bool {
        match self {
            DatePart::Month(month) => day.month == month,
            DatePart::Weekday(weekday) => day.weekday == weekday,
            DatePart::Year(year) => day.year == year,
        }
    }
}

/// For each first byte of a month or weekday, the last bytes of those with it, as bits; of all bytes the lowest five bits.
const NAME_ENDS: [u32; 32] = {
    let mut ends = [0; 32];
    let lists = [MONTHS, WEEKDAYS];
    let mut list = 0;
    while list < lists.len() {
        let mut language = 0;
        while language < lists[list].len() {
            let names = lists[list][language];
            let mut at = 0;
            while at < names.len() {
                let name = names[at].as_bytes();
                ends[(name[0] & 31) as usize] |= 1 << (name[name.len() - 1] & 31);
                at += 1;
            }
            language += 1;
        }
        list += 1;
    }
    ends
};

/// The months in English, German, French, Spanish and Russian, folded.
#[rustfmt::skip]
const MONTHS: &[&[&str]] = &[
    &["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
      "december"],
    &["januar", "februar", "marz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november",
      "dezember"],
    &["janvier", "fevrier", "mars", "avril", "mai", "juin", "juillet", "aout", "septembre", "octobre", "novembre",
      "decembre"],
    &["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
      "diciembre"],
    &["январе", "феврале", "марте", "апреле", "мае", "июне", "июле", "августе", "сентябре", "октябре", "ноябре",
      "декабре"],
];

/// The weekdays in the same languages, folded.
#[rustfmt::skip]
const WEEKDAYS: &[&[&str]] = &[
    &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    &["montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag"],
    &["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    &["lunes", "martes", "miercoles", "jueves", "viernes", "sabado", "domingo"],
    &["понедельник", "вторник", "среду", "четверг", "пятницу", "субботу", "воскресенье"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_end_in_a_question_mark() {
        for (text, want) in [
            ("Where is it?", true),
            ("Where is it? ", true),
            ("Like it? [image: a red car]", true),
            ("どこですか？", true),
            ("أين؟", true),
            ("Is it? It is.", false),
            ("[?]", false),
            ("", false),
            ("]", false),
        ] {
            assert_eq!(asks(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_label_is_a_short_name_before_a_colon() {
        for (text, want) in [
            ("Anna: hello", Some("Anna")),
            ("Dr. Anna Weber: hello", Some("Dr. Anna Weber")),
            ("one two three four: no", None),
            (": no", None),
            ("no colon", None),
            ("two\nlines: no", None),
            ("averyveryveryverylongwordthatisnonameofanybody: no", None),
        ] {
            assert_eq!(label(text), want, "{text:?}");
        }
    }

    #[test]
    fn words_name_parts_of_dates() {
        for (word, want) in [
            ("may", Some(DatePart::Month(5))),
            ("dezember", Some(DatePart::Month(12))),
            ("mai", Some(DatePart::Month(5))),
            ("sunday", Some(DatePart::Weekday(7))),
            ("среду", Some(DatePart::Weekday(3))),
            ("2023", Some(DatePart::Year(2023))),
            ("1066", None),
            ("20230", None),
            ("word", None),
        ] {
            assert_eq!(DatePart::named(word), want, "{word}");
        }
        let day = CalendarDay { year: 2023, month: 5, weekday: 7 };
        for (part, fits) in [
            (DatePart::Month(5), true),
            (DatePart::Month(6), false),
            (DatePart::Weekday(7), true),
            (DatePart::Year(2023), true),
            (DatePart::Year(2022), false),
        ] {
            assert_eq!(part.is_of(day), fits, "{part:?}");
        }
        assert!(asks_when("when") && !asks_when("where"));
        assert!(tells_time("yesterday") && tells_time("may") && !tells_time("tea"));
    }
}
