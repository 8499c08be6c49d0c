//! Dates in digits, as a question has them: *2026-11-22*, *22.11.*, *11/22/26*, *11月22日*.
//!
//! Pure.

use jiff::civil::Date;

use crate::memory::text::time_number::{CHINESE_MONTHS, day_number, last_number};
use crate::memory::text::time_question::{Days, Question, one_day, whole_year};
use crate::memory::text::time_words::{BEFORE_DAY, BEFORE_NAME, DAY_FIRST, MONTH_FIRST, has};

/// The marks between the numbers of a date.
const DATE_MARKS: [char; 3] = ['-', '/', '.'];

impl Question<'_> {
    fn numbers(&self) -> Vec<i16> {
        // A time of day may follow: 2026-11-22T10:30.
        let digits = |word: &str| word.split('t').next().unwrap_or_default().parse().unwrap_or(-1);
        self.words.iter().map(|word| digits(word)).collect()
    }

    /// *2026-11-22*, *22.11.2026*, *11/22/2026*; behind a preposition or alone, *22.11.26*.
    pub(super) fn full_date(&self) -> Option<Days> {
        let numbers = self.numbers();
        (0..numbers.len().saturating_sub(2)).find_map(|at| {
            let has_mark = |mark: char| self.cue.contains(&self.words[at..at + 3].join(&mark.to_string()));
            let (a, b, c) = (numbers[at], numbers[at + 1], numbers[at + 2]);
            let is_short = a < 100 && self.word(at + 2).len() == 2 && c >= 0 && self.is_opened(at, 3);
            let c = if is_short { c + 2000 } else { c };
            let (year, month, day) = match () {
                () if a > 999 && DATE_MARKS.into_iter().any(has_mark) => (a, b, c),
                () if c > 999 && has_mark('/') && b > 12 => (c, a, b),
                () if c > 999 && DATE_MARKS.into_iter().any(has_mark) => (c, b, a),
                () => return None,
            };
            one_day(Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?)
        })
    }

    /// Returns true if a preposition stands before this word, or the cue has no more words than the date.
    fn is_opened(&self, at: usize, count: usize) -> bool {
        let before = self.before(at);
        self.words.len() == count || has(MONTH_FIRST, before) || has(DAY_FIRST, before)
    }

    /// *22.11.*, *on 11/22*, *2026-11*, *on the 22nd*: no others, since versions and shares have two numbers, too.
    pub(super) fn short_date(&self) -> Option<Days> {
        let numbers = self.numbers();
        let pair = (0..numbers.len().saturating_sub(1)).find_map(|at| {
            let (a, b) = (numbers[at], numbers[at + 1]);
            let has_mark = |mark: &str| self.cue.contains(&self.words[at..at + 2].join(mark));
            let is_dotted =
                [".", ". "].iter().any(|mark| self.cue.contains(&format!("{}.", self.words[at..at + 2].join(mark))));
            let is_whole = self.words.len() == 2;
            let of = |month: i16, day: i16| self.day_of(None, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
            match () {
                () if !self.is_opened(at, 2) && !has(BEFORE_NAME, self.before(at)) => None,
                () if (1900..2200).contains(&a) && (1..=12).contains(&b) && (has_mark("-") || has_mark("/")) => {
                    self.month_of(Some(a), i8::try_from(b).ok()?)
                }
                () if is_dotted => of(b, a),
                () if is_whole || !has_mark("/") => None,
                () if b > 12 || (a <= 12 && has(MONTH_FIRST, self.before(at))) => of(a, b),
                () => of(b, a),
            }
        });
        pair.or_else(|| self.day_at_end())
    }

    /// *on the 22nd*, *am 22.*, *le 22*, at the end.
    fn day_at_end(&self) -> Option<Days> {
        let (last, before) = self.words.split_last()?;
        let day = day_number(last)?;
        let is_plain = last.ends_with(|c: char| c.is_ascii_digit());
        let is_opened = match before {
            [.., on, the] if on == "on" && the == "the" => !is_plain,
            [.., opens] => has(BEFORE_DAY, opens),
            [] => false,
        };
        let mut days = (0..=2).filter_map(|back| {
            let first = self.today.first_of_month().checked_sub(jiff::ToSpan::months(back)).ok()?;
            Date::new(first.year(), first.month(), day).ok()
        });
        days.find(|day| *day <= self.today).filter(|_| is_opened).and_then(one_day)
    }

    /// *11月22日*, *十一月二十二日*, *2026年5月*.
    pub(super) fn spaceless_date(&self) -> Option<Days> {
        let year = self.cue.split_once('年').and_then(|(before, _)| last_number(before)).filter(|year| *year > 999);
        let year = year.and_then(|year| i16::try_from(year).ok());
        let month = self.cue.split_once('月').and_then(|(before, rest)| Some((month_at_end(before)?, rest)));
        let Some((month, rest)) = month else { return whole_year(year?) };
        let is_relative = year.is_none() && self.cue.contains('年');
        let behind = rest.find(['日', '号', '號']).map(|end| rest[..end].trim_start());
        let is_number = |text: &&str| text.chars().all(|c| c.is_ascii_digit() || "一二三四五六七八九十".contains(c));
        match behind.filter(is_number).and_then(last_number).and_then(|day| i8::try_from(day).ok()) {
            _ if is_relative => None,
            Some(day) => self.day_of(year, month, day),
            None => self.month_of(year, month),
        }
    }
}

/// Returns the number of the month that the text before 月 ends in.
pub(super) fn month_at_end(before: &str) -> Option<i8> {
    if before.ends_with(|c: char| c.is_ascii_digit()) {
        return i8::try_from(last_number(before)?).ok();
    }
    CHINESE_MONTHS.iter().find(|(name, _)| before.ends_with(name)).map(|(_, month)| *month)
}
