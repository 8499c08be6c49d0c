//! A question in which a time is read, and the days that a part of it names.
//!
//! Pure.

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
        if let Some(year) = year {
            return one_day(Date::new(year, month, day).ok()?);
        }
        // The 29th of February is every four years, but for one in a hundred.
        let years = (0..=8).map(|back| self.today.year() - back);
        years.filter_map(|year| Date::new(year, month, day).ok()).find(|day| *day <= self.today).and_then(one_day)
    }

    /// Returns a month of a year; without one, the last such month that has begun.
    pub(super) fn month_of(&self, year: Option<i16>, month: i8) -> Option<Days> {
        let this = self.today.year();
        let year = year.unwrap_or(if month > self.today.month() { this - 1 } else { this });
        let first = Date::new(year, month, 1).ok()?;
        Some((first, first.last_of_month()))
    }
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
