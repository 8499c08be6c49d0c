//! Timestamps: microseconds since 1970, parsed from ISO 8601 and displayed as RFC 3339 in UTC.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;

/// A point in time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixMicros(pub(crate) i64);

/// A calendar day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CalendarDay {
    /// Of the common era.
    pub(crate) year: i16,
    /// 1 is January.
    pub(crate) month: i8,
    /// 1 is Monday.
    pub(crate) weekday: i8,
}

/// The end of the day that a date without a time of day means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateBound {
    /// The day's first microsecond.
    Start,
    /// The day's last microsecond.
    End,
}

impl UnixMicros {
    /// Returns the present time of the system's clock, and a microsecond more if it is a whole millisecond: that tells it
    /// from the times of transcripts, which have no microseconds.
    pub(crate) fn now() -> UnixMicros {
        // A clock may show a year that jiff does not know.
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX).as_microsecond();
        UnixMicros(now + i64::from(now % 1000 == 0))
    }

    /// Returns the point in time `seconds` after 1970-01-01T00:00:00Z.
    pub(crate) fn from_seconds(seconds: i64) -> UnixMicros {
        UnixMicros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded toward it.
    pub(crate) fn as_seconds(self) -> i64 {
        self.0 / MICROS_PER_SECOND
    }

    /// Returns the time from `earlier` to this point; zero if `earlier` is the later one, as after a clock was set
    /// back.
    pub(crate) fn since(self, earlier: UnixMicros) -> Duration {
        if self <= earlier { Duration::ZERO } else { Duration::from_micros(self.0.abs_diff(earlier.0)) }
    }

    /// Parses an ISO 8601 date or date and time; without an offset it is in UTC. Returns `None` if `text` is neither, or
    /// lies outside of the years -9999 to 9999.
    pub(crate) fn parse(text: &str, end: DateBound) -> Option<UnixMicros> {
        let text = text.trim();
        let moment = if let Ok(timestamp) = text.parse::<Timestamp>() {
            timestamp
        } else if is_offsetless(text) {
            let at = match text.parse::<Date>() {
                Ok(date) if text.len() <= "-009999-12-31".len() && !text.contains(['T', 't', ' ']) => match end {
                    DateBound::Start => date.at(0, 0, 0, 0),
                    DateBound::End => date.at(23, 59, 59, 999_999_000),
                },
                _ => text.parse::<DateTime>().ok()?,
            };
            at.to_zoned(TimeZone::UTC).ok()?.timestamp()
        } else {
            return None;
        };
        Some(UnixMicros(moment.as_microsecond()))
    }

    /// Returns the day that contains this time.
    pub(crate) fn day(self) -> CalendarDay {
        let timestamp = Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = timestamp.to_zoned(TimeZone::UTC).date();
        CalendarDay { year: date.year(), month: date.month(), weekday: date.weekday().to_monday_one_offset() }
    }

    /// Returns true if the year is 1900 to 2199. Other times are refused as those of a record.
    pub(crate) fn is_plausible(self) -> bool {
        (-2_208_988_800_000_000..7_258_118_400_000_000).contains(&self.0)
    }
}

/// Saturates.
impl Add<Duration> for UnixMicros {
    type Output = UnixMicros;

    fn add(self, duration: Duration) -> UnixMicros {
        UnixMicros(self.0.saturating_add(micros(duration)))
    }
}

/// Saturates.
impl Sub<Duration> for UnixMicros {
    type Output = UnixMicros;

    fn sub(self, duration: Duration) -> UnixMicros {
        UnixMicros(self.0.saturating_sub(micros(duration)))
    }
}

/// The time zone of the user, whose days a question means.
#[derive(Clone, Debug)]
pub(crate) struct UserZone(TimeZone);

impl UserZone {
    pub(crate) fn new(zone: TimeZone) -> UserZone {
        UserZone(zone)
    }

    /// Returns the date in the zone at this time.
    pub(crate) fn date(&self, at: UnixMicros) -> Date {
        Timestamp::from_microsecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.0.clone()).date()
    }

    /// Returns the first microsecond of a day in the zone; `None` if it is out of range.
    pub(crate) fn start_of(&self, day: Date) -> Option<UnixMicros> {
        Some(UnixMicros(day.to_zoned(self.0.clone()).ok()?.timestamp().as_microsecond()))
    }
}

/// The time of a call: the present time, the user's time zone, and when a recall has to answer with what it has read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTime<'z> {
    pub(crate) now: UnixMicros,
    pub(crate) zone: &'z UserZone,
    pub(crate) deadline: Instant,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns true if `text` has no UTC offset. An offset that could not be parsed must not be read as none.
fn is_offsetless(text: &str) -> bool {
    let time = text.find(['T', 't', ' ']).map_or("", |at| &text[at..]);
    !time.contains(['+', '-', 'Z', 'z', '['])
}

impl fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) if self.0 < 0 => Timestamp::MIN.fmt(f),
            Err(_) => (Timestamp::MAX - 1.second()).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        UnixMicros::parse(text, DateBound::Start).map(|m| m.to_string())
    }

    #[test]
    fn iso_8601_in_rfc_3339_utc_out() {
        for (text, want) in [
            ("2024-05-07T14:30:00Z", "2024-05-07T14:30:00Z"),
            ("2024-05-07T14:30:00+02:00", "2024-05-07T12:30:00Z"),
            ("2024-05-07T14:30:00.123456+00:00", "2024-05-07T14:30:00.123456Z"),
            ("2024-05-07T14:30:00.123456789", "2024-05-07T14:30:00.123456Z"),
            ("2024-05-07 14:30:00", "2024-05-07T14:30:00Z"),
            ("2024-05-07T14:30", "2024-05-07T14:30:00Z"),
            (" 2024-05-07 ", "2024-05-07T00:00:00Z"),
            ("20240507T143000Z", "2024-05-07T14:30:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
        let last = UnixMicros::parse("2024-05-07", DateBound::End).unwrap();
        assert_eq!(last.to_string(), "2024-05-07T23:59:59.999999Z");
    }

    #[test]
    fn texts_that_are_no_dates_are_refused() {
        for text in [
            "",
            "now",
            "2024",
            "2024-13-01",
            "2023-02-29",
            "2024-05-07T25:00:00Z",
            "2024-05-07T14:30:00+99:00",
            "2024-05-07T14:30:00Zulu",
            "99999-01-01",
            "14:30",
            "1715092200",
            "2024-05-07T14:30:00\0",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn plausible_years_are_1900_to_2199() {
        for (text, want) in [
            ("1899-12-31T23:59:59Z", false),
            ("1900-01-01T00:00:00Z", true),
            ("2199-12-31T23:59:59Z", true),
            ("2200-01-01T00:00:00Z", false),
        ] {
            assert_eq!(UnixMicros::parse(text, DateBound::Start).unwrap().is_plausible(), want, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let (second, at) = (Duration::from_secs(1), UnixMicros::from_seconds(5));
        assert_eq!((at + second, at - second), (UnixMicros(6_000_000), UnixMicros(4_000_000)));
        assert_eq!(
            (at.since(UnixMicros(4_000_001)), UnixMicros(4_000_001).since(at)),
            (second.mul_f64(0.999_999), Duration::ZERO)
        );
        assert_eq!(UnixMicros(i64::MAX).since(UnixMicros(i64::MIN)), Duration::from_micros(u64::MAX));
        assert_eq!(UnixMicros(i64::MAX) + second, UnixMicros(i64::MAX));
        assert_eq!(UnixMicros(i64::MIN) - Duration::MAX, UnixMicros(i64::MIN));
        assert_eq!([-1_500_000, 1_500_000].map(|micros| UnixMicros(micros).as_seconds()), [-1, 1]);
    }

    #[test]
    fn every_timestamp_can_be_displayed() {
        for n in [i64::MIN, -1, 0, i64::MAX] {
            assert!(UnixMicros(n).to_string().ends_with('Z'), "{n}");
        }
    }
}
