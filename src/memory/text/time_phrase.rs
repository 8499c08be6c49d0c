//! Times in a question: *yesterday*, *last week*, *on November 22*, *two days ago*, in the plain forms of English,
//! German, French, Spanish, Russian, Arabic, Japanese and Chinese; days, weeks, months and years that are counted from
//! now in Italian, Portuguese and Dutch, too. `time_words.rs` has the words.
//!
//! Pure. The clock and the user's time zone are parameters. A time without a year is its last occurrence: a question asks
//! about what was said.

use jiff::civil::{Date, date};
use jiff::{Span, ToSpan};
use serde::{Serialize, Serializer};

use crate::memory::model::time::{UnixMicros, UserZone};
use crate::memory::text::stop_words;
use crate::memory::text::time_words::Unit::{self, Day, Month, Week, Weekend, Year};
use crate::memory::text::time_words::{
    AFTER_NAME, AMBIGUOUS_MONTHS, AMBIGUOUS_PHRASES, AmbiguousPhrase, BEFORE_NAME, CHINESE_MONTHS, LATEST, PHRASES,
    SPACELESS, SPACELESS_LATEST, SPACELESS_UNITS, UNITS, WEEKDAYS, day_number, month, number, weekday, year,
};
use crate::memory::text::tokenizer;

/// Words of a cue that are read. Picked: a question is shorter.
const MAX_WORD_COUNT: usize = 64;

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TimeSpan {
    #[serde(serialize_with = "iso_8601")]
    pub(crate) from: UnixMicros,
    #[serde(serialize_with = "iso_8601")]
    pub(crate) to: UnixMicros,
}

fn iso_8601<S: Serializer>(at: &UnixMicros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl TimeSpan {
    /// Returns true if the time is in the span.
    pub(crate) fn contains(self, at: UnixMicros) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// The time that a question asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePhrase {
    Span(TimeSpan),
    /// What was said last, whenever that was.
    Latest,
}

/// Arabic for *today* and for *the day*.
const ARABIC_TODAY: &str = "اليوم";

/// Days from the first to the last one.
type Days = (Date, Date);

/// Returns the time that `cue` asks about at the time `now`; `None` if it names none.
pub(crate) fn read(cue: &str, now: UnixMicros, zone: &UserZone) -> Option<TimePhrase> {
    let mut words: Vec<String> = Vec::new();
    tokenizer::for_each_token(cue, |token| {
        if words.len() < MAX_WORD_COUNT {
            words.push(token.word.to_owned());
        }
    });
    let question = Question { today: zone.date(now), cue, line: format!(" {} ", words.join(" ")), words };
    let days = question
        .full_date()
        .or_else(|| question.spaceless_date())
        .or_else(|| question.ago())
        .or_else(|| question.named_date())
        .or_else(|| question.weekday())
        .or_else(|| question.relative());
    if let Some((first, last)) = days {
        let (from, behind) = (zone.start_of(first)?, zone.start_of(last.tomorrow().ok()?)?);
        return Some(TimePhrase::Span(TimeSpan { from, to: UnixMicros(behind.0 - 1) }));
    }
    question.asks_for_latest().then_some(TimePhrase::Latest)
}

struct Question<'q> {
    today: Date,
    cue: &'q str,
    /// The folded words, each between spaces.
    line: String,
    words: Vec<String>,
}

impl Question<'_> {
    fn has(&self, phrase: &str) -> bool {
        // Few phrases begin with a word of the cue.
        self.words.iter().any(|word| phrase.starts_with(word.as_str()))
            && self
                .line
                .match_indices(phrase)
                .any(|(at, _)| self.line[..at].ends_with(' ') && self.line[at + phrase.len()..].starts_with(' '))
    }

    /// *yesterday*, *last week*.
    fn relative(&self) -> Option<Days> {
        let spaced = PHRASES.iter().find(|(phrase, ..)| self.has(phrase) && self.is_meant(phrase));
        let spaceless = || SPACELESS.iter().find(|(phrase, ..)| self.cue.contains(phrase));
        let (_, unit, count) = spaced.or_else(|| if self.cue.is_ascii() { None } else { spaceless() })?;
        self.counted(*unit, *count)
    }

    /// Returns true if a phrase names a time in the language of the other words of the cue, or if there are none.
    fn is_meant(&self, phrase: &str) -> bool {
        if phrase == ARABIC_TODAY {
            // With an adjective or a relative clause it is a certain day: *the next day*.
            return !self.line.contains(&format!(" {phrase} ال"));
        }
        let Some(ambiguous) = AMBIGUOUS_PHRASES.iter().find(|one| one.phrase == phrase) else { return true };
        let AmbiguousPhrase { language, other, letters, .. } = *ambiguous;
        if self.words.len() == 1 {
            return true;
        }
        let (mut of_it, mut of_others) = (usize::from(self.cue.contains(letters)), 0);
        for word in &self.words {
            match stop_words::languages(word) {
                0 => {}
                bits if bits & language == 0 => of_others += 1,
                bits => of_it += usize::from(bits & other == 0),
            }
        }
        of_it > of_others
    }

    /// Returns the day, week, month or year that is so many from now.
    fn counted(&self, unit: Unit, count: i64) -> Option<Days> {
        let step = |span: Span| self.today.checked_add(span).ok();
        match unit {
            Day => step(count.days()).map(|day| (day, day)),
            Week => {
                let monday = self.monday()?.checked_add(count.weeks()).ok()?;
                Some((monday, monday.checked_add(6.days()).ok()?))
            }
            Weekend => {
                let saturday = self.monday()?.checked_sub(2.days()).ok()?;
                Some((saturday, saturday.tomorrow().ok()?))
            }
            Month => step(count.months()).map(|day| (day.first_of_month(), day.last_of_month())),
            Year => step(count.years()).map(|day| (day.first_of_year(), day.last_of_year())),
        }
    }

    fn monday(&self) -> Option<Date> {
        self.today.checked_sub(i64::from(self.today.weekday().to_monday_zero_offset()).days()).ok()
    }

    /// *two days ago*: the day; of weeks, the three days around it on either side; of months and years, the whole one.
    fn ago(&self) -> Option<Days> {
        let (count, unit) = (0..self.words.len()).find_map(|at| self.ago_at(at)).or_else(|| self.spaceless_ago())?;
        match unit {
            Week => {
                let day = self.today.checked_sub(count.weeks()).ok()?;
                Some((day.checked_sub(3.days()).ok()?, day.checked_add(3.days()).ok()?))
            }
            unit => self.counted(unit, -count),
        }
    }

    /// Reads *N days ago* and its kin with the unit at this word.
    fn ago_at(&self, at: usize) -> Option<(i64, Unit)> {
        let word = |from_unit: isize| self.words.get(at.checked_add_signed(from_unit)?).map(String::as_str);
        let (unit, _) = UNITS.iter().find(|(_, names)| names.contains(&word(0).unwrap_or_default()))?;
        let before = word(-1).and_then(number);
        let own = word(0).and_then(number).or_else(|| word(1).and_then(number).filter(|_| word(-1) == Some("قبل")));
        let is_behind = matches!(word(1), Some("ago" | "назад"));
        let opens = |from: isize| {
            matches!(word(from), Some("vor" | "hace" | "قبل" | "منذ"))
                || (word(from) == Some("a") && word(from - 1) == Some("y"))
        };
        let count = match () {
            () if is_behind => before.or((word(1) == Some("назад")).then_some(1))?,
            () if before.is_some() && opens(-2) => before?,
            () if opens(-1) => own.or((word(-1) != Some("vor")).then_some(1))?,
            () => return None,
        };
        Some((count, *unit))
    }

    fn spaceless_ago(&self) -> Option<(i64, Unit)> {
        let forms = SPACELESS_UNITS.iter().flat_map(|(unit, forms)| forms.iter().map(move |form| (*unit, *form)));
        forms.filter_map(|(unit, form)| Some((last_number(self.cue.split_once(form)?.0)?, unit))).next()
    }

    /// *2026-11-22*, *22.11.2026*, *11/22/2026*.
    fn full_date(&self) -> Option<Days> {
        let numbers: Vec<i16> = self.words.iter().map(|word| word.parse().unwrap_or(-1)).collect();
        (0..numbers.len().saturating_sub(2)).find_map(|at| {
            let has = |mark: char| self.cue.contains(&self.words[at..at + 3].join(&mark.to_string()));
            let (a, b, c) = (numbers[at], numbers[at + 1], numbers[at + 2]);
            let (year, month, day) = match () {
                () if a > 999 && (has('-') || has('/') || has('.')) => (a, b, c),
                () if c > 999 && has('/') && b > 12 => (c, a, b),
                () if c > 999 && (has('.') || has('/') || has('-')) => (c, b, a),
                () => return None,
            };
            one_day(Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?)
        })
    }

    /// *11月22日*, *2026年5月*.
    fn spaceless_date(&self) -> Option<Days> {
        let year = self.cue.split_once('年').and_then(|(before, _)| last_number(before)).filter(|year| *year > 999);
        let Some((before, rest)) = self.cue.split_once('月') else {
            return whole_year(i16::try_from(year?).ok()?);
        };
        let named = || CHINESE_MONTHS.iter().find(|(name, _)| before.ends_with(name)).map(|(_, month)| *month);
        let month = match ends_in_number(before) {
            true => i8::try_from(last_number(before)?).ok(),
            false => named(),
        };
        let Some(month) = month else { return whole_year(i16::try_from(year?).ok()?) };
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let is_day = rest[digits.len()..].starts_with(['日', '号', '號']);
        let year = year.and_then(|year| i16::try_from(year).ok());
        match digits.parse::<i8>() {
            Ok(day) if is_day => self.day_of(year, month, day),
            _ => self.month_of(year, month),
        }
    }

    /// *November 22*, *22 ноября 2025*, *in May*, *in 2025*.
    fn named_date(&self) -> Option<Days> {
        let word = |at: usize| self.words.get(at).map_or("", String::as_str);
        let joins = |at: usize| matches!(word(at), "de" | "of" | "del" | "the");
        for at in 0..self.words.len() {
            let previous = if at == 0 { "" } else { word(at - 1) };
            let is_past = |year: &i16| *year <= self.today.year();
            if let Some(year) = year(word(at)).filter(|year| is_past(year) && BEFORE_NAME.contains(&previous)) {
                return whole_year(year);
            }
            let Some(month) = month(word(at)) else { continue };
            let from = at + 1 + usize::from(joins(at + 1));
            let before = if at > 1 && joins(at - 1) { day_number(word(at - 2)) } else { day_number(previous) };
            let after = day_number(word(from)).filter(|_| before.is_none());
            let behind = from + usize::from(after.is_some());
            let year = year(word(behind)).or_else(|| year(word(behind + usize::from(joins(behind)))));
            match before.or(after) {
                Some(day) => return self.day_of(year, month, day),
                None if year.is_some() || opens_month(previous, word(at)) || AFTER_NAME.contains(&word(at + 1)) => {
                    return self.month_of(year, month);
                }
                None => {}
            }
        }
        None
    }

    fn day_of(&self, year: Option<i16>, month: i8, day: i8) -> Option<Days> {
        if let Some(year) = year {
            return one_day(Date::new(year, month, day).ok()?);
        }
        // The 29th of February is every four years, but for one in a hundred.
        let years = (0..=8).map(|back| self.today.year() - back);
        years.filter_map(|year| Date::new(year, month, day).ok()).find(|day| *day <= self.today).and_then(one_day)
    }

    fn month_of(&self, year: Option<i16>, month: i8) -> Option<Days> {
        let this = self.today.year();
        let year = year.unwrap_or(if month > self.today.month() { this - 1 } else { this });
        let first = Date::new(year, month, 1).ok()?;
        Some((first, first.last_of_month()))
    }

    /// *on Monday*, *last Friday*: the last one before today.
    fn weekday(&self) -> Option<Days> {
        let word = |at: usize| self.words.get(at).map_or("", String::as_str);
        let spaced = (0..self.words.len()).find_map(|at| {
            let is_time = (at > 0 && BEFORE_NAME.contains(&word(at - 1))) || AFTER_NAME.contains(&word(at + 1));
            weekday(word(at)).filter(|_| is_time)
        });
        let spaceless = || {
            let is_named = |names: &[&str]| names[1..].iter().any(|name| self.cue.contains(name));
            WEEKDAYS.iter().position(|names| is_named(names)).map(|at| at as i8 + 1)
        };
        let wanted = spaced.or_else(spaceless)?;
        let back = (i64::from(self.today.weekday().to_monday_one_offset()) - i64::from(wanted) + 6) % 7 + 1;
        one_day(self.today.checked_sub(back.days()).ok()?)
    }

    /// *what did I say last*, *what is the latest?*, but not *the latest version*.
    fn asks_for_latest(&self) -> bool {
        let ends = |word: &str| self.line.trim_end().ends_with(word);
        ends(" the latest")
            || LATEST.iter().any(|phrase| self.has(phrase))
            || SPACELESS_LATEST.iter().any(|phrase| self.cue.contains(phrase))
    }
}

/// Returns true if the word before the name of a month makes it a time.
fn opens_month(before: &str, name: &str) -> bool {
    let ambiguous = AMBIGUOUS_MONTHS.iter().find(|(month, _)| *month == name);
    ambiguous.map_or(BEFORE_NAME, |(_, words)| words).contains(&before)
}

fn one_day(day: Date) -> Option<Days> {
    Some((day, day))
}

fn whole_year(year: i16) -> Option<Days> {
    let first = Date::new(year, 1, 1).ok()?;
    Some((first, date(year, 12, 31)))
}

/// Returns the number that a text ends in, in digits or as one Chinese character.
fn last_number(text: &str) -> Option<i64> {
    let digits = text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if digits > 0 {
        return text[text.len() - digits..].parse().ok();
    }
    let last = text.char_indices().next_back()?.0;
    number(&text[last..])
}

fn ends_in_number(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::model::time::DateBound;

    /// A Tuesday.
    const NOW: &str = "2026-03-31T22:30:00Z";

    fn zone_of(name: &str) -> UserZone {
        let rules = match name {
            "Asia/Tokyo" => "JST-9",
            "America/New_York" => "EST5EDT,M3.2.0,M11.1.0",
            "Europe/Berlin" => "CET-1CEST,M3.5.0,M10.5.0/3",
            _ => "UTC0",
        };
        UserZone::new(jiff::tz::TimeZone::posix(rules).unwrap())
    }

    fn read_in(cue: &str, zone: &str) -> String {
        let zone = zone_of(zone);
        match read(cue, UnixMicros::parse(NOW, DateBound::Start).unwrap(), &zone) {
            Some(TimePhrase::Span(span)) => {
                let days = [span.from, span.to].map(|at| zone.date(at).to_string());
                assert_eq!(zone.start_of(zone.date(span.from)), Some(span.from));
                if days[0] == days[1] { days[0].clone() } else { days.join("/") }
            }
            Some(TimePhrase::Latest) => "latest".to_owned(),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn plain_forms_of_times_are_read_in_eight_languages() {
        for (cue, want) in [
            ("what did we do yesterday?", "2026-03-30"),
            ("what did I say the day before yesterday", "2026-03-29"),
            ("what did we plan last week?", "2026-03-23/2026-03-29"),
            ("this week's notes", "2026-03-30/2026-04-05"),
            ("who came last weekend", "2026-03-28/2026-03-29"),
            ("what did we buy last month", "2026-02-01/2026-02-28"),
            ("holidays last year", "2025-01-01/2025-12-31"),
            ("what happened on November 22?", "2025-11-22"),
            ("what happened on the 22nd of November 2024", "2024-11-22"),
            ("what did I tell you on 2026-02-14?", "2026-02-14"),
            ("was war am 14.02.2026?", "2026-02-14"),
            ("the call of 2/14/2026", "2026-02-14"),
            ("what did we do in May?", "2025-05-01/2025-05-31"),
            ("in March", "2026-03-01/2026-03-31"),
            ("trips in 2024", "2024-01-01/2024-12-31"),
            ("what did Anna say on Friday?", "2026-03-27"),
            ("last Tuesday", "2026-03-24"),
            ("two days ago", "2026-03-29"),
            ("3 weeks ago", "2026-03-07/2026-03-13"),
            ("a month ago", "2026-02-01/2026-02-28"),
            ("what did I tell you last?", "latest"),
            ("was habe ich gestern gesagt", "2026-03-30"),
            ("was war letzte Woche", "2026-03-23/2026-03-29"),
            ("vor drei Tagen", "2026-03-28"),
            ("was haben wir am Montag besprochen", "2026-03-30"),
            ("im Mai", "2025-05-01/2025-05-31"),
            ("am 3. März", "2026-03-03"),
            ("was habe ich zuletzt gesagt", "latest"),
            ("qu'est-ce que j'ai dit hier ?", "2026-03-30"),
            ("hier", "2026-03-30"),
            ("on a mangé quoi hier soir", "2026-03-30"),
            ("la réunion d'hier", "2026-03-30"),
            ("en mars", "2026-03-01/2026-03-31"),
            ("what came in Mar", "2026-03-01/2026-03-31"),
            ("what's the latest?", "latest"),
            ("cosa ho detto ieri", "2026-03-30"),
            ("la settimana scorsa", "2026-03-23/2026-03-29"),
            ("o que eu disse ontem", "2026-03-30"),
            ("no mês passado", "2026-02-01/2026-02-28"),
            ("wat hebben we gisteren besproken", "2026-03-30"),
            ("五月我们去了哪里", "2025-05-01/2025-05-31"),
            ("十一月二十二", "2025-11-01/2025-11-30"),
            ("ماذا قلت لك اليوم", "2026-03-31"),
            ("la semaine dernière", "2026-03-23/2026-03-29"),
            ("il y a deux jours", "2026-03-29"),
            ("le 22 novembre 2025", "2025-11-22"),
            ("¿qué dije ayer?", "2026-03-30"),
            ("la semana pasada", "2026-03-23/2026-03-29"),
            ("hace tres días", "2026-03-28"),
            ("el 5 de mayo de 2025", "2025-05-05"),
            ("что я говорил вчера", "2026-03-30"),
            ("на прошлой неделе", "2026-03-23/2026-03-29"),
            ("два дня назад", "2026-03-29"),
            ("22 ноября", "2025-11-22"),
            ("в мае", "2025-05-01/2025-05-31"),
            ("ماذا قلت أمس", "2026-03-30"),
            ("الأسبوع الماضي", "2026-03-23/2026-03-29"),
            ("قبل يومين", "2026-03-29"),
            ("昨日何を話した？", "2026-03-30"),
            ("先週の会議", "2026-03-23/2026-03-29"),
            ("3日前", "2026-03-28"),
            ("11月22日に何があった", "2025-11-22"),
            ("昨天我说了什么", "2026-03-30"),
            ("上个月", "2026-02-01/2026-02-28"),
            ("两天前", "2026-03-29"),
            ("2025年5月", "2025-05-01/2025-05-31"),
        ] {
            assert_eq!(read_in(cue, "UTC"), want, "{cue}");
        }
    }

    #[test]
    fn other_words_are_no_times() {
        for cue in [
            "",
            "may I go?",
            "the march of the penguins",
            "how long did the milk last",
            "Wo ist hier das Bad?",
            "Wo kann man hier parken",
            "gibt es hier WLAN",
            "wer wohnt hier",
            "Parkplatz hier",
            "waar is hier de wc",
            "is there life on Mars",
            "la casa junto al mar de Vigo",
            "le groupe de sept personnes",
            "the latest version of Rust",
            "a key of 2048 bits in 2048 blocks",
            "三个月的租金",
            "اليوم الأول في المدرسة",
            "mañana",
            "am Morgen",
            "the last page",
            "room 2024",
            "Monday meetings",
            "the second day",
            "vor dem Haus",
            "version 2.10.1",
            "ten days",
            "april showers",
        ] {
            assert_eq!(read_in(cue, "UTC"), "none", "{cue}");
        }
    }

    #[test]
    fn a_day_is_that_of_the_users_zone() {
        for (zone, today, yesterday_from) in [
            ("UTC", "2026-03-31", "2026-03-30T00:00:00Z"),
            ("Asia/Tokyo", "2026-04-01", "2026-03-30T15:00:00Z"),
            ("America/New_York", "2026-03-31", "2026-03-30T04:00:00Z"),
            ("Europe/Berlin", "2026-04-01", "2026-03-30T22:00:00Z"),
        ] {
            assert_eq!(read_in("today", zone), today, "{zone}");
            let at = UnixMicros::parse(NOW, DateBound::Start).unwrap();
            let Some(TimePhrase::Span(span)) = read("yesterday", at, &zone_of(zone)) else { panic!() };
            assert_eq!(span.from.to_string(), yesterday_from, "{zone}");
        }
        // The day on which summer time begins has 23 hours.
        let zone = zone_of("Europe/Berlin");
        let at = UnixMicros::parse("2026-03-30T12:00:00Z", DateBound::Start).unwrap();
        let Some(TimePhrase::Span(span)) = read("yesterday", at, &zone) else { panic!() };
        assert_eq!(
            [span.from, span.to].map(|at| at.to_string()),
            ["2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999999Z"]
        );
    }
}
