//! Ranges of times in a question: *between Monday and Wednesday*, *vom 3. bis 5. November*, *May–July*, *5月から7月まで*.
//!
//! Pure. The end is read first, as its last occurrence; the beginning is its last occurrence before that.

use jiff::ToSpan;
use jiff::civil::Date;

use crate::memory::text::time_number::day_number;
use crate::memory::text::time_question::{Days, Question, day_until, month_until, one_day, weekday_before, whole_year};
use crate::memory::text::time_words::{
    ARTICLES, FROM, TO, UNTIL, compound_weekday, has, month, phrases, weekday, year,
};

/// Most words of one end of a range.
const MAX_END_WORD_COUNT: usize = 7;

/// The marks between the ends of a range, and between a number that ends in a point and the next.
const DASHES: &str = "|-|–| - | – |.-|.–|. - |. – |";

/// What stands between the ends of a range in languages without spaces, and what stands behind the end of some.
const SPACELESS_TO: &str = "|から|到|至|〜|～|부터|에서|";
const SPACELESS_AND: &str = "|と|和|";
const SPACELESS_BETWEEN: [char; 3] = ['間', '间', '閒'];

/// One end of a range, as far as its words name it.
#[derive(Clone, Copy, Default)]
struct RangeEnd {
    day: Option<i8>,
    month: Option<i8>,
    year: Option<i16>,
    weekday: Option<i8>,
}

impl RangeEnd {
    /// Reads the words that name an end, in order, up to any other. Returns the end and the number of words.
    fn read(words: &[String]) -> (RangeEnd, usize) {
        let mut end = RangeEnd::default();
        for (at, word) in words.iter().take(MAX_END_WORD_COUNT).enumerate() {
            let number = day_number(word);
            let named = weekday(word).or_else(|| compound_weekday(word));
            match () {
                () if end.month.is_none() && month(word).is_some() => end.month = month(word),
                () if end.year.is_none() && year(word).is_some() => end.year = year(word),
                () if end.weekday.is_none() && named.is_some() => end.weekday = named,
                // 2026-11-03, 3.11.
                () if end.month.is_none() && (end.year.or(end.day.map(i16::from)).is_some()) && number.is_some() => {
                    end.month = number.filter(|month| *month <= 12)
                }
                () if end.day.is_none() && number.is_some() => end.day = number,
                () if has(ARTICLES, word) => {}
                () => return (end, at),
            }
        }
        (end, words.len().min(MAX_END_WORD_COUNT))
    }

    /// Returns true if it is a day of a month whose month is not named, as in *3 to 5 November*.
    fn lacks_month(self) -> bool {
        self.day.is_some() && self.month.is_none()
    }

    /// Returns the days of its last occurrence up to `today`.
    fn days(self, today: Date) -> Option<Days> {
        match (self.day, self.month, self.weekday, self.year) {
            (Some(day), Some(month), _, year) => day_until(today, year, month, day),
            (None, Some(month), _, year) => month_until(today, year, month),
            (None, None, Some(weekday), None) => weekday_before(today, weekday),
            (None, None, None, Some(year)) => whole_year(year).filter(|(first, _)| *first <= today),
            _ => None,
        }
    }
}

impl Question<'_> {
    /// *between Monday and Wednesday*, *from May to July*, *3–5 November*.
    pub(super) fn range(&self) -> Option<Days> {
        let days = (1..self.words.len()).find_map(|at| self.range_at(at)).or_else(|| self.spaceless_range())?;
        (days.0 <= days.1).then_some(days)
    }

    /// Reads a range whose ends this word separates, or the mark before it.
    fn range_at(&self, at: usize) -> Option<Days> {
        let word = self.word(at);
        if !has(TO, word) {
            return self.is_dashed(at).then(|| self.of_ends(self.begun(at)?, RangeEnd::read(&self.words[at..]).0))?;
        }
        let mut from = (at.saturating_sub(MAX_END_WORD_COUNT + 1)..at).filter(|from| has(FROM, self.word(*from)));
        // *between May and July*, *du 3 novembre au 5 décembre*: the words from the first of these on are an end.
        let whole = |from: usize| {
            let words = &self.words[from + 1..at];
            let (end, count) = RangeEnd::read(words);
            (count == words.len()).then_some(end)
        };
        let second = RangeEnd::read(&self.words[at + 1..]).0;
        let is_month_first = |from: usize| matches!(self.word(from), "between" | "from");
        for from in from.clone() {
            let Some(first) = whole(from) else { continue };
            let swaps = self.cue.contains('/') && is_month_first(from);
            let swapped = |end: RangeEnd| match (end.day, end.month) {
                (Some(day), Some(_)) if swaps && day <= 12 => RangeEnd { day: end.month, month: end.day, ..end },
                _ => end,
            };
            if let Some(days) = self.of_ends(swapped(first), swapped(second)) {
                return Some(days);
            }
        }
        if has(UNTIL, word)
            && let Some(days) = self.begun(at).and_then(|first| self.of_ends(first, second))
        {
            return Some(days);
        }
        // *from yesterday to today*.
        from.next_back().and_then(|from| {
            let behind = &self.words[at + 1..self.words.len().min(at + 1 + MAX_END_WORD_COUNT)];
            let relative = |words: &[String]| {
                let part = self.part(words, "");
                part.relative().map(|(_, days)| days).or_else(|| part.ago())
            };
            let last = relative(behind).or_else(|| second.days(self.today))?.1;
            let first = relative(&self.words[from + 1..at]).or_else(|| whole(from)?.days(last));
            Some((first?.0, last))
        })
    }

    /// Returns the end of a range that the words just before this one name.
    fn begun(&self, at: usize) -> Option<RangeEnd> {
        (at.saturating_sub(MAX_END_WORD_COUNT)..at).find_map(|from| {
            let (end, count) = RangeEnd::read(&self.words[from..at]);
            (from + count == at && !has(ARTICLES, self.word(from))).then_some(end)
        })
    }

    /// Returns true if a dash stands before this word, and neither word is a part of a date in digits.
    fn is_dashed(&self, at: usize) -> bool {
        if !self.cue.contains(['-', '–']) {
            return false;
        }
        let is_name = |word: &str| day_number(word).or(month(word)).or(weekday(word)).is_some();
        let has_dash =
            |at: usize, dash: &str| self.cue.contains(&format!("{}{dash}{}", self.before(at), self.word(at)));
        is_name(self.before(at))
            && is_name(self.word(at))
            && phrases(DASHES).any(|dash| has_dash(at, dash))
            && !(at > 1 && has_dash(at - 1, "-"))
            && !(at + 1 < self.words.len() && has_dash(at + 1, "-"))
    }

    /// Returns the days from one end to the other. A day without a month is of the other's.
    fn of_ends(&self, mut first: RangeEnd, mut second: RangeEnd) -> Option<Days> {
        if first.lacks_month() {
            (first.month, first.year) = (second.month, first.year.or(second.year));
        } else if second.lacks_month() && first.day.is_some() {
            (second.month, second.year) = (first.month, second.year.or(first.year));
        }
        if first.year.is_some() && second.year.is_none() && second.month.is_some() {
            let begun = first.days(self.today)?.0;
            let until = begun.checked_add(1.year()).ok()?.min(self.today);
            return Some((begun, second.days(until)?.1));
        }
        let last = second.days(self.today)?;
        Some((first.days(last.0)?.0, last.1))
    }

    /// *月曜から水曜まで*, *11月3日到5日*, *五月和七月之间*.
    fn spaceless_range(&self) -> Option<Days> {
        if self.cue.is_ascii() {
            return None;
        }
        let and = if self.cue.contains(SPACELESS_BETWEEN) { SPACELESS_AND } else { "" };
        let mut parts = phrases(SPACELESS_TO).chain(phrases(and)).filter_map(|mark| self.cue.split_once(mark));
        parts.find_map(|(before, behind)| {
            let read = |today: Date, text: &str| {
                let part = Question { today, ..self.part(&[], text) };
                let weekday = || weekday_before(today, part.spaceless_weekday()?);
                part.spaceless_date().or_else(weekday).or_else(|| self.part(&[], text).relative().map(|(_, days)| days))
            };
            let day = || {
                let (day, _) = behind.split_once(['日', '号', '號'])?;
                let (first, last) = read(self.today, before)?;
                one_day(
                    Date::new(first.year(), first.month(), day.trim().parse().ok()?).ok().filter(|day| *day >= last)?,
                )
            };
            let last = read(self.today, behind).or_else(day)?;
            Some((read(last.0, before)?.0, last.1))
        })
    }
}
