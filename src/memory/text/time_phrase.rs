//! Times in a question: *yesterday*, *last week*, *on November 22*, *two days ago*, in the plain forms of English,
//! German, French, Spanish, Italian, Portuguese, Dutch, Russian, Arabic, Japanese and Chinese, and the plainest of Korean.
//! `time_words.rs` has the words, `time_range.rs` reads *between Monday and Wednesday*.
//!
//! Pure. The clock and the user's time zone are parameters. A time without a year is its last occurrence: a question asks
//! about what was said.

use jiff::civil::Date;
use jiff::{Span, ToSpan};
use serde::{Serialize, Serializer};

use crate::memory::model::time::{UnixMicros, UserZone};
use crate::memory::text::folding::fold;
use crate::memory::text::numeric_date::month_at_end;
use crate::memory::text::stop_words;
use crate::memory::text::time_number::{day_number, ordinal};
use crate::memory::text::time_question::{Days, Question, one_day, whole_year};
use crate::memory::text::time_weekday::is_each;
use crate::memory::text::time_words::Unit::{self, Day, Hour, Minute, Month, Quarter, Week, Weekend, Year};
use crate::memory::text::time_words::{
    AMBIGUOUS_MONTHS, AMBIGUOUS_PHRASES, AmbiguousPhrase, BEFORE_NAME, BEFORE_OF, BEFORE_ROMANCE_NAME, IN_SEASON,
    LAST_BEFORE, LAST_BEHIND, LATEST, NOT_LATEST, PHRASES, SEASON_ADVERBS, SINCE, SINCE_NAME, SPACELESS,
    SPACELESS_LATEST, SPACELESS_SEASONS, THIS, UNITS, WEEKENDS, compound_weekday, has, month, phrases, season, unit,
    weekday, year,
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

/// Returns the time that `cue` asks about at the time `now`; `None` if it names none.
pub(crate) fn read(cue: &str, now: UnixMicros, zone: &UserZone) -> Option<TimePhrase> {
    let mut line = String::from(" ");
    let mut count = 0;
    tokenizer::for_each_token(cue, |token| {
        if count < MAX_WORD_COUNT {
            count += 1;
            // Arabic *and* is one word with the next.
            let joined = token.word.strip_prefix('و').filter(|rest| month(rest).or(weekday(rest)).is_some());
            let parts = if let Some(rest) = joined { ["و ", rest] } else { ["", token.word] };
            line.extend(parts);
            line.push(' ');
        }
    });
    for name in WEEKENDS {
        if line.contains(name) {
            line = line.replace(name, " weekend ");
        }
    }
    let mut lower = String::with_capacity(cue.len());
    for c in cue.chars() {
        let is_counted = lower.trim_end().ends_with(|last: char| last.is_ascii_digit());
        match c {
            '년' if is_counted => lower.push('年'),
            '월' if is_counted => lower.push('月'),
            '일' if is_counted => lower.push('日'),
            c if c.is_numeric() => lower.push(folded_digit(c)),
            c => lower.extend(c.to_lowercase()),
        }
    }
    let words = line.split_whitespace().map(str::to_owned).collect();
    let question = Question { today: zone.date(now), now, zone, cue: &lower, line, words };
    let days = question.range().or_else(|| {
        let (first, last) = question.single()?;
        Some((first, if question.is_since() { question.today.max(last) } else { last }))
    });
    if let Some((first, last)) = days {
        let (from, behind) = (zone.start_of(first)?, zone.start_of(last.tomorrow().ok()?)?);
        return Some(TimePhrase::Span(TimeSpan { from, to: UnixMicros(behind.0 - 1) }));
    }
    question.asks_for_latest().then_some(TimePhrase::Latest)
}

impl Question<'_> {
    /// Returns the days of a time that is no range.
    fn single(&self) -> Option<Days> {
        self.full_date()
            .or_else(|| self.spaceless_date())
            .or_else(|| self.ago())
            .or_else(|| self.part_of_relative())
            .or_else(|| self.season())
            .or_else(|| self.quarter())
            .or_else(|| self.named_date())
            .or_else(|| self.weekday())
            .or_else(|| self.short_date())
            .or_else(|| self.relative().map(|(_, days)| days))
    }

    fn has(&self, phrase: &str) -> bool {
        // Few phrases begin with a word of the cue.
        self.words.iter().any(|word| phrase.starts_with(word.as_str()))
            && self
                .line
                .match_indices(phrase)
                .any(|(at, _)| self.line[..at].ends_with(' ') && self.line[at + phrase.len()..].starts_with(' '))
    }

    fn is_since(&self) -> bool {
        let is_name =
            |word: &str| month(word).or(weekday(word)).is_some() || unit(word).is_some() || has(LAST_BEFORE, word);
        (0..self.words.len()).any(|at| {
            let word = self.word(at);
            has(SINCE, word)
                || (has(SINCE_NAME, word) && is_name(self.word(at + 1)))
                // Before an Italian weekday or month; in Portuguese it means *of the*.
                || (word == "da" && (self.word(at + 1).ends_with("edi") || month(self.word(at + 1)).is_some()))
        }) || ["日から", "曜から", "月から", "週から", "年から", "以来", "以來"]
            .iter()
            .any(|since| self.cue.contains(since))
    }

    /// *yesterday*, *last week*.
    pub(super) fn relative(&self) -> Option<(Unit, Days)> {
        let spaced = PHRASES.iter().find(|(.., list)| phrases(list).any(|one| self.has(one) && self.is_meant(one)));
        let (unit, count) = match spaced.map(|(unit, count, _)| (*unit, *count)).or_else(|| self.last_or_this()) {
            Some(counted) => counted,
            None if self.cue.is_ascii() => return None,
            None => {
                let is_time = |one: &str| self.cue.find(one).is_some_and(|at| !is_each(&self.cue[..at]));
                SPACELESS
                    .iter()
                    .find(|(.., list)| phrases(list).any(is_time))
                    .map(|(unit, count, _)| (*unit, *count))?
            }
        };
        Some((unit, self.counted(unit, count)?))
    }

    /// *last week*, *settimana scorsa*, *dieses Jahr*: a unit of at least a week beside such an adjective.
    fn last_or_this(&self) -> Option<(Unit, i64)> {
        (0..self.words.len()).find_map(|at| {
            let (word, before) = (self.word(at), self.before(at));
            let (unit, ..) = UNITS[3..].iter().find(|(_, one, _)| has(one, word))?;
            // English *an*.
            let is_this = has(THIS, before) && word != "an";
            let is_last = has(LAST_BEFORE, before) || has(LAST_BEHIND, self.word(at + 1));
            (is_last || is_this).then_some((*unit, -i64::from(is_last)))
        })
    }

    /// *Tuesday last week*, *in May last year*, *last year's summer*.
    fn part_of_relative(&self) -> Option<Days> {
        let (unit, (first, _)) = self.relative()?;
        match unit {
            Week => self.day_of_week(first),
            Year => {
                let spaceless = || self.cue.split_once('月').and_then(|(before, _)| month_at_end(before));
                let is_month = |(at, word): (usize, &String)| month(word).filter(|_| self.opens_month(at));
                let named = self.words.iter().enumerate().find_map(is_month).or_else(spaceless);
                if let Some(month) = named {
                    return self.month_of(Some(first.year()), month);
                }
                let spaceless = || SPACELESS_SEASONS.iter().find(|(name, _)| self.cue.contains(*name));
                let named = self.words.iter().find_map(|word| season(word));
                three_months(first.year(), named.or_else(|| spaceless().map(|(_, month)| *month))?)
            }
            _ => None,
        }
    }

    /// Returns the named weekday of the week that begins on this day.
    pub(super) fn day_of_week(&self, monday: Date) -> Option<Days> {
        let named = self.words.iter().find_map(|word| weekday(word).or_else(|| compound_weekday(word)));
        one_day(monday.checked_add(i64::from(named.or_else(|| self.spaceless_weekday())? - 1).days()).ok()?)
    }

    /// *last summer*, *in summer 2025*.
    fn season(&self) -> Option<Days> {
        let (at, month) = self.words.iter().enumerate().find_map(|(at, word)| Some((at, season(word)?)))?;
        let near = [at.wrapping_sub(1), at + 1, at + 2];
        if let Some(year) = near.iter().find_map(|at| year(self.word(*at))) {
            return three_months(year, month);
        }
        let (before, behind) = (self.before(at), self.word(at + 1));
        let is_this = has(THIS, before);
        let is_in_the = matches!(before, "the" | "de") && at > 1 && self.word(at - 2) == "in";
        let is_time = is_this
            || has(LAST_BEFORE, before)
            || has(LAST_BEHIND, behind)
            || (behind.is_empty() && (is_in_the || has(IN_SEASON, before)))
            || has(SEASON_ADVERBS, self.word(at));
        let mut seasons = (0..=2).filter_map(|back| three_months(self.today.year() - back, month));
        let is_past = |days: &Days| if is_this { days.0 <= self.today } else { days.1 < self.today };
        seasons.find(is_past).filter(|_| is_time)
    }

    /// *Q3*, *Q3 2025*, *in the third quarter of 2025*.
    fn quarter(&self) -> Option<Days> {
        let named = |at: usize| match self.word(at).as_bytes() {
            [b'q', number @ b'1'..=b'4'] => Some((at, (number - b'0') as i8)),
            _ if unit(self.word(at)) == Some(Quarter) => Some((at, ordinal(self.before(at))?)),
            _ => None,
        };
        let (at, number) = (0..self.words.len()).find_map(named)?;
        let near = [at.wrapping_sub(1), at + 1, at + 2];
        let given = near.iter().find_map(|at| year(self.word(*at)));
        let (month, this) = (number * 3 - 2, self.today.year());
        let is_opened = |at: usize| has(BEFORE_NAME, self.before(at));
        let is_time = given.is_some() || is_opened(at) || is_opened(at.saturating_sub(1)) || self.words.len() == 1;
        let year = given.unwrap_or(if month > self.today.month() { this - 1 } else { this });
        three_months(year, month).filter(|_| is_time)
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
    pub(super) fn counted(&self, unit: Unit, count: i64) -> Option<Days> {
        let step = |span: Span| self.today.checked_add(span).ok();
        match unit {
            Day => step(count.days()).map(|day| (day, day)),
            Week => {
                let monday = self.monday()?.checked_add(count.weeks()).ok()?;
                Some((monday, monday.checked_add(6.days()).ok()?))
            }
            Minute | Hour => {
                let minutes = if unit == Hour { 60 } else { 1 } * count;
                one_day(self.zone.date(UnixMicros(self.now.0.checked_add(minutes.checked_mul(60_000_000)?)?)))
            }
            Weekend => {
                let monday = self.monday()?;
                let this = monday.checked_add(5.days()).ok().filter(|day| count == 0 && *day <= self.today);
                let saturday = this.or_else(|| monday.checked_sub(2.days()).ok())?;
                Some((saturday, saturday.tomorrow().ok()?))
            }
            Quarter => {
                let quarter = i64::from(self.today.month() - 1) / 3 + count;
                three_months(
                    self.today.year() + i16::try_from(quarter.div_euclid(4)).ok()?,
                    quarter.rem_euclid(4) as i8 * 3 + 1,
                )
            }
            Month => step(count.months()).map(|day| (day.first_of_month(), day.last_of_month())),
            Year => step(count.years()).map(|day| (day.first_of_year(), day.last_of_year())),
        }
    }

    fn monday(&self) -> Option<Date> {
        self.today.checked_sub(i64::from(self.today.weekday().to_monday_zero_offset()).days()).ok()
    }

    /// *November 22*, *22 ноября 2025*, *in May*, *in 2025*.
    fn named_date(&self) -> Option<Days> {
        let word = |at: usize| self.word(at);
        let joins = |at: usize| matches!(word(at), "de" | "of" | "del" | "the" | "di");
        for at in 0..self.words.len() {
            let previous = self.before(at);
            let is_past = |year: &i16| *year <= self.today.year();
            if let Some(year) = year(word(at)).filter(|year| is_past(year) && has(BEFORE_NAME, previous)) {
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
                None if year.is_some() || self.opens_month(at) || has(LAST_BEHIND, word(at + 1)) => {
                    return self.month_of(year, month);
                }
                None => {}
            }
        }
        None
    }

    /// Returns true if the words before the name of a month make it a time.
    fn opens_month(&self, at: usize) -> bool {
        let (name, before) = (self.word(at), self.before(at));
        // Italian and Portuguese names: *a maggio*, *do outubro*.
        let is_romance = name.len() > 4 && name.ends_with(['o', 'e']);
        match AMBIGUOUS_MONTHS.iter().find(|(month, _)| *month == name) {
            Some((_, words)) if has(words, before) => true,
            None if has(BEFORE_NAME, before) || (is_romance && has(BEFORE_ROMANCE_NAME, before)) => true,
            _ => before == "of" && at > 1 && has(BEFORE_OF, self.word(at - 2)),
        }
    }

    /// *what did I say last*, *what is the latest?*, but not *the latest version*.
    fn asks_for_latest(&self) -> bool {
        let contains = |list: &'static str| phrases(list).any(|phrase| self.cue.contains(phrase));
        self.line.ends_with(" the latest ")
            || phrases(LATEST).any(|phrase| self.has(phrase))
            || (!self.cue.is_ascii() && contains(SPACELESS_LATEST) && !contains(NOT_LATEST))
    }
}

fn three_months(year: i16, first: i8) -> Option<Days> {
    let first = Date::new(year, first, 1).ok()?;
    Some((first, first.checked_add(2.months()).ok()?.last_of_month()))
}

fn folded_digit(c: char) -> char {
    let mut digit = c;
    fold(c, &mut |folded| digit = folded);
    if digit.is_ascii_digit() { digit } else { c }
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
    fn counts_that_no_calendar_has_are_no_time() {
        for count in ["40000", "1000000", "99999999999", "9223372036854775807"] {
            for unit in
                ["日前", "週間前", "か月前", "年前", "天前", "个月前", "小时前", "년 전", " days ago", " years ago"]
            {
                assert_eq!(read_in(&format!("{count}{unit}"), "UTC"), "none", "{count}{unit}");
            }
        }
        assert_eq!(read_in("999年前", "UTC"), "1027-01-01/1027-12-31");
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
    fn numbers_parts_and_ranges_of_times_are_read() {
        for (cue, want) in [
            ("what did I say this afternoon?", "2026-03-31"),
            ("hier soir", "2026-03-30"),
            ("esta noche", "2026-03-31"),
            ("an hour ago", "2026-03-31"),
            ("vor 23 Stunden", "2026-03-30"),
            ("a couple of days ago", "2026-03-29"),
            ("a few days ago", "2026-03-26/2026-03-29"),
            ("vor ein paar Tagen", "2026-03-26/2026-03-29"),
            ("il y a quelques jours", "2026-03-26/2026-03-29"),
            ("несколько дней назад", "2026-03-26/2026-03-29"),
            ("几天前", "2026-03-26/2026-03-29"),
            ("eleven days ago", "2026-03-20"),
            ("十二天前", "2026-03-19"),
            ("１０日前", "2026-03-21"),
            ("in the last 3 days", "2026-03-28/2026-03-31"),
            ("in den letzten zwei Wochen", "2026-03-17/2026-03-31"),
            ("les trois derniers jours", "2026-03-28/2026-03-31"),
            ("what did we do at the weekend?", "2026-03-28/2026-03-29"),
            ("am Wochenende", "2026-03-28/2026-03-29"),
            ("what did Anna say on Friday of last week?", "2026-03-27"),
            ("Monday last week", "2026-03-23"),
            ("上周一", "2026-03-23"),
            ("in May last year", "2025-05-01/2025-05-31"),
            ("去年五月", "2025-05-01/2025-05-31"),
            ("今年二月", "2026-02-01/2026-02-28"),
            ("last summer", "2025-06-01/2025-08-31"),
            ("im Sommer 2024", "2024-06-01/2024-08-31"),
            ("l'été dernier", "2025-06-01/2025-08-31"),
            ("прошлым летом", "2025-06-01/2025-08-31"),
            ("去年の夏", "2025-06-01/2025-08-31"),
            ("last winter", "2025-12-01/2026-02-28"),
            ("this spring", "2026-03-01/2026-05-31"),
            ("last quarter", "2025-10-01/2025-12-31"),
            ("this quarter", "2026-01-01/2026-03-31"),
            ("what did we earn in Q3?", "2025-07-01/2025-09-30"),
            ("Q2 2025", "2025-04-01/2025-06-30"),
            ("since Friday", "2026-03-27/2026-03-31"),
            ("seit gestern", "2026-03-30/2026-03-31"),
            ("22.11.", "2025-11-22"),
            ("was war am 22.11.?", "2025-11-22"),
            ("am 22. 11.", "2025-11-22"),
            ("am 22.11.24", "2024-11-22"),
            ("what did I say on 11/22?", "2025-11-22"),
            ("le 3/2", "2026-02-03"),
            ("on the 22nd", "2026-03-22"),
            ("2025-11", "2025-11-01/2025-11-30"),
            ("what happened at 2026-02-14T10:30:00Z", "2026-02-14"),
            ("十一月二十二日", "2025-11-22"),
            ("二〇二五年五月", "2025-05-01/2025-05-31"),
            ("Anfang Mai", "2025-05-01/2025-05-31"),
            ("金曜の会議", "2026-03-27"),
            ("Friday", "2026-03-27"),
            ("what was the last thing I told you?", "latest"),
            ("what did I just say?", "latest"),
            ("qu'est-ce que je viens de dire ?", "latest"),
            ("¿qué fue lo último que te dije?", "latest"),
            ("我刚刚说了什么", "latest"),
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
            "version 22.11",
            "ubuntu 22.04 and 3.11.2",
            "3/4 cup of 10.11",
            "24/7 support",
            "the spring framework",
            "configure it in spring boot",
            "a house of summer colors",
            "I just need the port",
            "日曜大工",
            "金曜ロードショー",
            "每周五的会议",
            "一周五天",
            "最近的地铁站",
            "on the 5th floor",
            "Ella sat in the sun",
            "one second",
            "a quarter of the cake",
            "q3 of four",
        ] {
            assert_eq!(read_in(cue, "UTC"), "none", "{cue}");
        }
    }

    #[test]
    fn ranges_of_times_are_read() {
        for (cue, want) in [
            ("what did we discuss between Monday and Wednesday?", "2026-03-23/2026-03-25"),
            ("from Tuesday to Thursday", "2026-03-24/2026-03-26"),
            ("between May and July", "2025-05-01/2025-07-31"),
            ("between May and July 2024", "2024-05-01/2024-07-31"),
            ("between December and February", "2025-12-01/2026-02-28"),
            ("from November 2024 to January", "2024-11-01/2025-01-31"),
            ("notes between 3 and 5 November", "2025-11-03/2025-11-05"),
            ("between November 3 and 5", "2025-11-03/2025-11-05"),
            ("3-5 November", "2025-11-03/2025-11-05"),
            ("what did we do November 3–5?", "2025-11-03/2025-11-05"),
            ("May–July", "2025-05-01/2025-07-31"),
            ("between 2026-02-03 and 2026-02-05", "2026-02-03/2026-02-05"),
            ("between 2/3 and 2/5", "2026-02-03/2026-02-05"),
            ("between 2020 and 2022", "2020-01-01/2022-12-31"),
            ("from last Monday to yesterday", "2026-03-23/2026-03-30"),
            ("zwischen Montag und Mittwoch", "2026-03-23/2026-03-25"),
            ("vom 3. bis zum 5. November", "2025-11-03/2025-11-05"),
            ("vom 3.2. bis 5.2.", "2026-02-03/2026-02-05"),
            ("Montag bis Mittwoch", "2026-03-23/2026-03-25"),
            ("3.-5. November", "2025-11-03/2025-11-05"),
            ("du lundi au mercredi", "2026-03-23/2026-03-25"),
            ("entre le 3 et le 5 novembre", "2025-11-03/2025-11-05"),
            ("du 3 novembre au 5 décembre", "2025-11-03/2025-12-05"),
            ("entre el lunes y el miércoles", "2026-03-23/2026-03-25"),
            ("de mayo a julio", "2025-05-01/2025-07-31"),
            ("tra lunedì e mercoledì", "2026-03-23/2026-03-25"),
            ("dal 3 al 5 novembre", "2025-11-03/2025-11-05"),
            ("entre segunda e quarta-feira", "2026-03-23/2026-03-25"),
            ("de 3 a 5 de novembro", "2025-11-03/2025-11-05"),
            ("tussen maandag en woensdag", "2026-03-23/2026-03-25"),
            ("van 3 tot en met 5 november", "2025-11-03/2025-11-05"),
            ("с понедельника по среду", "2026-03-23/2026-03-25"),
            ("بين الاثنين والأربعاء", "2026-03-23/2026-03-25"),
            ("月曜から水曜まで", "2026-03-23/2026-03-25"),
            ("11月3日から5日まで", "2025-11-03/2025-11-05"),
            ("五月和七月之间", "2025-05-01/2025-07-31"),
            ("between Anna and Bob", "none"),
            ("between 3 and 5 people", "none"),
            ("from 2 to 4 GB", "none"),
            ("from version 3 to 5", "none"),
            ("May and June went home", "none"),
            ("pages 3-5", "none"),
        ] {
            assert_eq!(read_in(cue, "UTC"), want, "{cue}");
        }
    }

    #[test]
    fn days_without_a_preposition_and_times_of_further_languages_are_read() {
        for (cue, want) in [
            ("what did we decide Tuesday?", "2026-03-24"),
            ("what did we decide Tuesday about the budget?", "2026-03-24"),
            ("was haben wir Dienstag besprochen?", "2026-03-24"),
            ("wer hat Freitagabend angerufen?", "2026-03-27"),
            ("qu'a dit Anna mardi à la réunion ?", "2026-03-24"),
            ("cosa ha detto Anna martedì in riunione?", "2026-03-24"),
            ("o que decidimos na terça?", "2026-03-24"),
            ("wie belde vrijdagavond?", "2026-03-27"),
            ("what did we agree two weeks ago on Friday?", "2026-03-20"),
            ("Freitag vor zwei Wochen", "2026-03-20"),
            ("二週間前の金曜日", "2026-03-20"),
            ("the week before last", "2026-03-16/2026-03-22"),
            ("vorletzte Woche", "2026-03-16/2026-03-22"),
            ("in den letzten Wochen", "2026-02-23/2026-03-31"),
            ("in the third quarter of 2025", "2025-07-01/2025-09-30"),
            ("at the end of May", "2025-05-01/2025-05-31"),
            ("am 22.", "2026-03-22"),
            ("depuis hier", "2026-03-30/2026-03-31"),
            ("昨日から", "2026-03-30/2026-03-31"),
            ("stamattina", "2026-03-31"),
            ("tre giorni fa", "2026-03-28"),
            ("un paio di giorni fa", "2026-03-29"),
            ("lunedì scorso", "2026-03-30"),
            ("a maggio", "2025-05-01/2025-05-31"),
            ("nel fine settimana", "2026-03-28/2026-03-29"),
            ("l'estate scorsa", "2025-06-01/2025-08-31"),
            ("há três dias", "2026-03-28"),
            ("na segunda-feira passada", "2026-03-30"),
            ("em março de 2025", "2025-03-01/2025-03-31"),
            ("no fim de semana passado", "2026-03-28/2026-03-29"),
            ("drie dagen geleden", "2026-03-28"),
            ("vorige week dinsdag", "2026-03-24"),
            ("op 3 november", "2025-11-03"),
            ("eergisteren", "2026-03-29"),
            ("지난주 회의", "2026-03-23/2026-03-29"),
            ("11월 22일", "2025-11-22"),
            ("3일 전", "2026-03-28"),
            ("desde outubro", "2025-10-01/2026-03-31"),
            ("im ersten Quartal", "2026-01-01/2026-03-31"),
            ("há um ano", "2025-01-01/2025-12-31"),
            ("toda sexta-feira", "none"),
            ("who is May?", "none"),
            ("is this an error?", "none"),
            ("a quarter past three", "none"),
            ("what does Friday the parrot eat?", "none"),
            ("Black Friday deals", "none"),
            ("every Friday", "none"),
            ("chaque lundi", "none"),
            ("lundi prochain", "none"),
            ("na segunda vez", "none"),
            ("quinta do lago", "none"),
            ("who did Marco marry?", "none"),
            ("毎週月曜", "none"),
        ] {
            assert_eq!(read_in(cue, "UTC"), want, "{cue}");
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
