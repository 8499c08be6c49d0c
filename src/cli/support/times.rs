//! Times on the command line: an age (`2h`), a local date or date and time, or a time with its offset. One grammar for
//! all commands, in the time zone in which they print times.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::cli::support::error::CliError;

/// The help text of an option that takes a time.
pub(crate) const ALLOWED: &str = "a date, a date and time, or an age, such as 2026-05-14, 2026-05-14T22:00 or 2h";

/// Which end of its day a date without a time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DayEnd {
    First,
    Last,
}

/// Parses the value of `option`.
///
/// # Errors
/// [`CliError::Usage`] if it is no time.
pub(crate) fn parse(
    option: &str,
    text: &str,
    end: DayEnd,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Timestamp, CliError> {
    read(text.trim(), end, now, zone)
        .ok_or_else(|| CliError::Usage(format!("{option} '{text}' is not a time: give {ALLOWED}")))
}

fn read(text: &str, end: DayEnd, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(age) = age(text) {
        return now.checked_sub(age).ok();
    }
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let date = text.parse::<Date>().ok().filter(|_| !text.contains(['T', 't', ' ', ':']));
    let Some(date) = date else { return zone.to_timestamp(text.parse::<DateTime>().ok()?).ok() };
    let start = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp());
    match end {
        DayEnd::First => start(date),
        DayEnd::Last => start(date.tomorrow().ok()?)?.checked_sub(1.microsecond()).ok(),
    }
}

fn age(text: &str) -> Option<SignedDuration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let count = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(SignedDuration::from_secs(i64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_age_or_local_unless_it_has_an_offset() {
        let now: Timestamp = "2026-05-14T12:00:00Z".parse().unwrap();
        let east = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (text, want) in [
            ("90s", Some("2026-05-14T11:58:30Z")),
            ("15m", Some("2026-05-14T11:45:00Z")),
            ("2h", Some("2026-05-14T10:00:00Z")),
            ("3d", Some("2026-05-11T12:00:00Z")),
            ("1w", Some("2026-05-07T12:00:00Z")),
            ("2026-05-14", Some("2026-05-13T22:00:00Z")),
            (" 2026-05-14 ", Some("2026-05-13T22:00:00Z")),
            ("2026-01-14", Some("2026-01-13T23:00:00Z")),
            ("2026-05-14T01:30", Some("2026-05-13T23:30:00Z")),
            ("2026-05-14 01:30", Some("2026-05-13T23:30:00Z")),
            ("2026-05-14 01:30:05", Some("2026-05-13T23:30:05Z")),
            ("2026-05-14T01:30:00Z", Some("2026-05-14T01:30:00Z")),
            ("2026-05-14T01:30:00+05:00", Some("2026-05-13T20:30:00Z")),
            ("", None),
            ("h", None),
            ("+1h", None),
            ("é", None),
            ("1é", None),
            ("yesterday", None),
            ("4294967295d", None),
        ] {
            let got = parse("--since", text, DayEnd::First, now, &east).ok();
            assert_eq!(got, want.map(|want| want.parse().unwrap()), "{text}");
        }
        let last = |day: &str| parse("--until", day, DayEnd::Last, now, &east).unwrap().to_string();
        assert_eq!(last("2026-05-14"), "2026-05-14T21:59:59.999999Z");
        // Summer time begins: the day has 23 hours.
        assert_eq!(last("2026-03-29"), "2026-03-29T21:59:59.999999Z");
        let error = parse("--since", "soon", DayEnd::First, now, &east).unwrap_err();
        assert!(error.to_string().contains("--since 'soon' is not a time"), "{error}");
    }
}
