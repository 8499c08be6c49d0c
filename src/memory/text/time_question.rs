//! A question in which a time is read, and the days that a part of it names.
//!
//! Pure.

use jiff::ToSpan;
use jiff::civil::{Date, date};

use crate::memory::model::time::{UnixMicros, UserZone};

/// Days from the first to the last one.
pub(super) type Days = (Date, Date);

/// A question, split into words.
pub(super) struct Question<'q> {
    pub(super) today: Date,
    pub(super) now: UnixMicros,
    pub(super) zone: &'q UserZone,
    /// In lower case, with ASCII digits.
    pub(super) cue: &'q str,
    /// The folded words, each between spaces.
    pub(super) line: String,
    pub(super) words: Vec<String>,
}

impl Question<'_> {
    /// Returns the word at this place; an empty one if there is none.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// Returns the word before this place; an empty one if there is none.
    pub(super) fn before(&self, at: usize) -> &str {
        if at == 0 { "" } else { self.word(at - 1) }
    }

    /// Returns a day of a year; without one, the last such day.
    pub(super) fn day_of(&self, year: Option<i16>, month: i8, day: i8) -> Option<Days> {
        day_until(self.today, year, month, day)
    }

    /// Returns a month of a year; without one, the last such month that has begun.
    pub(super) fn month_of(&self, year: Option<i16>, month: i8) -> Option<Days> {
        month_until(self.today, year, month)
    }

    /// Returns a question of some of the words, or of another text without spaces.
    pub(super) fn part<'p>(&'p self, words: &[String], cue: &'p str) -> Question<'p> {
        Question { cue, line: format!(" {} ", words.join(" ")), words: words.to_vec(), ..*self }
    }
}

/// Returns a day of a year; without one, the last such day up to `today`.
pub(super) fn day_until(today: Date, year: Option<i16>, month: i8, day: i8) -> Option<Days> {
    if let Some(year) = year {
        return one_day(Date::new(year, month, day).ok()?);
    }
    // The 29th of February is every four years, but for one in a hundred.
    let years = (0..=8).map(|back| today.year() - back);
    years.filter_map(|year| Date::new(year, month, day).ok()).find(|day| *day <= today).and_then(one_day)
}

/// Returns a month of a year; without one, the last such month that has begun by `today`.
pub(super) fn month_until(today: Date, year: Option<i16>, month: i8) -> Option<Days> {
    let year = year.unwrap_or(if month > today.month() { today.year() - 1 } else { today.year() });
    let first = Date::new(year, month, 1).ok()?;
    Some((first, first.last_of_month()))
}

/// Returns the last day of this weekday before `today`.
pub(super) fn weekday_before(today: Date, weekday: i8) -> Option<Days> {
    let back = (i64::from(today.weekday().to_monday_one_offset()) - i64::from(weekday) + 6) % 7 + 1;
    one_day(today.checked_sub(back.days()).ok()?)
}

/// Returns this day as a span.
pub(super) fn one_day(day: Date) -> Option<Days> {
    Some((day, day))
}

/// Returns the days of a year.
pub(super) fn whole_year(year: i16) -> Option<Days> {
    let first = Date::new(year, 1, 1).ok()?;
    Some((first, date(year, 12, 31)))
}
