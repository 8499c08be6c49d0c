//! Parses sizes and durations of the command line, with the allowed range in each error message, and formats such
//! values for people.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest `--drain-timeout` and `--timeout`.
const MAX_TIMEOUT_SECONDS: f64 = 3600.0;

/// Parses `--max-line`: at least 1 KiB, so that every control message fits; at most 64 MiB, picked.
pub(crate) fn line_size(text: &str) -> Result<usize, String> {
    size_within(text, 1 << 10..=64 << 20)
}

/// Parses `--max-memory`: at least 1 MiB; at most 1 GiB, twice which still fits a 32-bit `usize`.
pub(crate) fn memory_size(text: &str) -> Result<usize, String> {
    size_within(text, 1 << 20..=1 << 30)
}

/// Parses `--drain-timeout` and `--timeout`: 0 to 3600 seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| (0.0..=MAX_TIMEOUT_SECONDS).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be 0 to 3600 seconds, such as 5 or 0.5".into())
}

/// Parses `--interval`: 0.1 to 3600 seconds, fractions allowed.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let wanted = seconds(text).ok().filter(|interval| *interval >= Duration::from_millis(100));
    wanted.ok_or_else(|| "must be 0.1 to 3600 seconds, such as 1 or 0.5".into())
}

/// Longest idle time: a year.
const MAX_IDLE_SECONDS: f64 = 31_536_000.0;

/// Parses `--drowsy-after`, `--sleep-after` and `--hibernate-after`: 0 to 31 536 000 seconds, fractions allowed.
pub(crate) fn idle_time(text: &str) -> Result<Duration, String> {
    idle(text, 1.0).ok_or_else(|| "must be 0 to 31536000 seconds, such as 300 or 0.5".into())
}

/// Parses `--look-every` and `--rest-after`: 0.01 to 3600 seconds, fractions allowed. At least 10 ms, because each
/// poll reads the disk.
pub(crate) fn poll_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=MAX_POLL_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "must be 0.01 to 3600 seconds, such as 60 or 0.5".into())
}

/// Longest `--look-every` and `--rest-after`.
const MAX_POLL_SECONDS: f64 = 3600.0;

/// Parses `--recall-limit`: 0.01 to 60 seconds, fractions allowed.
pub(crate) fn recall_limit(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "must be 0.01 to 60 seconds, such as 0.25".into())
}

/// Parses 0 to 8760 hours, fractions allowed.
pub(crate) fn hours(text: &str) -> Result<Duration, String> {
    idle(text, 3600.0).ok_or_else(|| "must be 0 to 8760 hours, such as 24 or 0.5".into())
}

fn idle(text: &str, unit_seconds: f64) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok()? * unit_seconds;
    (0.0..=MAX_IDLE_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

fn size_within(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    size(text).filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        let (least, most) = (short_size(*range.start()), short_size(*range.end()));
        format!("must be {least} to {most}: a number of bytes, or one with K, M or G, such as 1048576, 64K or 1M")
    })
}

/// Parses `1048576`, `64K`, `1M` or `1G`: bytes, in powers of 1024, with the unit in either case.
fn size(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    // `parse` alone would accept a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

/// Formats a size as the command line accepts it: `64K`, `1M`, `1000`.
pub(crate) fn short_size(bytes: usize) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Formats a size for people: `512 bytes`, `4.8 MiB`.
pub(crate) fn size_in_words(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift {
            return format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64);
        }
    }
    counted(bytes, "byte", "bytes")
}

/// Formats a duration in its two largest units: `3 d 4 h`, `2 min 5 s`, `12 s`.
pub(crate) fn time_in_words(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let Some(at) = units.iter().position(|(length, _)| seconds >= *length) else { return "0 s".into() };
    let (length, unit) = units[at];
    let first = format!("{} {unit}", seconds / length);
    match units.get(at + 1) {
        Some((next, unit)) if seconds % length >= *next => format!("{first} {} {unit}", seconds % length / next),
        _ => first,
    }
}

/// Formats microseconds: `340 µs`, `1.2 ms`, `3.0 s`.
pub(crate) fn micros_in_words(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// Formats a count with its digits in groups of three: `12 345`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// Formats a count with its noun: `1 line`, `2 lines`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_with_and_without_a_unit() {
        for (text, bytes) in [
            ("1048576", Some(1 << 20)),
            ("64K", Some(64 << 10)),
            ("64k", Some(64 << 10)),
            ("1M", Some(1 << 20)),
            ("1G", Some(1 << 30)),
            ("0", Some(0)),
            ("", None),
            ("K", None),
            ("1KB", None),
            ("1.5M", None),
            ("-1", None),
            ("+1", None),
            ("1 M", None),
            ("99999999999999999999", None),
            ("99999999999999999G", None),
            ("1é", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn ranges_are_enforced_and_named() {
        for (text, bytes) in [("1K", Some(1 << 10)), ("64M", Some(64 << 20)), ("1023", None), ("65M", None)] {
            assert_eq!(line_size(text).ok(), bytes, "{text}");
        }
        assert!(line_size("1").unwrap_err().starts_with("must be 1K to 64M"));
        assert!(memory_size("1").unwrap_err().starts_with("must be 1M to 1G"));
        for (text, millis) in [("5", Some(5000)), ("0.5", Some(500)), ("0", Some(0)), ("3600", Some(3_600_000))] {
            assert_eq!(seconds(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
        for text in ["-1", "3600.1", "nan", "inf", "", "5s"] {
            assert!(seconds(text).unwrap_err().contains("0 to 3600 seconds"), "{text}");
            assert!(interval(text).unwrap_err().contains("0.1 to 3600 seconds"), "{text}");
        }
    }

    #[test]
    fn values_are_formatted_for_people() {
        for (bytes, short, words) in [
            (0, "0", "0 bytes"),
            (1, "1", "1 byte"),
            (1023, "1023", "1 023 bytes"),
            (1024, "1K", "1.0 KiB"),
            (1536, "1536", "1.5 KiB"),
            (5_033_165, "5033165", "4.8 MiB"),
            (3 << 30, "3G", "3.0 GiB"),
        ] {
            assert_eq!(short_size(bytes), short);
            assert_eq!(size_in_words(bytes as u64), words);
        }
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3600, "1 h"),
            (3659, "1 h"),
            (7380, "2 h 3 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(time_in_words(seconds), words);
        }
        for (micros, words) in [(0, "0 µs"), (999, "999 µs"), (1200, "1.2 ms"), (3_000_000, "3.0 s")] {
            assert_eq!(micros_in_words(micros), words);
        }
        for (count, words) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(count), words);
        }
    }
}
