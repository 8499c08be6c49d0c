//! The quiet window: the part of the day in which sessions rarely begin, learned from the times at which sessions began.
//! Pure: the starts, the time and the user's time zone are parameters.
//!
//! A day has 48 buckets of half an hour of local time, so the window follows the user's clock across changes to and from
//! daylight saving time: a bucket that a change skips does not occur, one that it repeats is inside twice.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Half-hours of a day.
const BUCKET_COUNT: usize = 48;

/// Days that are looked back on, including today.
pub const LOOKBACK_DAYS: i64 = 28;

/// Fewest days with a session from which a window is learned.
const MIN_DAYS: usize = 7;

/// Shortest and longest window in half-hours: 3 to 8 hours.
const MIN_BUCKETS: usize = 6;
const MAX_BUCKETS: usize = 16;

/// Clocks change at quarters of an hour of UTC only, since time zones were introduced.
const QUARTER: SignedDuration = SignedDuration::from_mins(15);

/// A part of each day: its first half-hour (0 to 47) and its length in half-hours (6 to 16). It may span midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietWindow {
    start: u8,
    length: u8,
}

impl QuietWindow {
    /// Returns the window of this start and length, or `None` if one of them is out of range.
    pub fn new(start: u8, length: u8) -> Option<QuietWindow> {
        let is_window = usize::from(start) < BUCKET_COUNT && (MIN_BUCKETS..=MAX_BUCKETS).contains(&usize::from(length));
        is_window.then_some(QuietWindow { start, length })
    }

    /// Returns start and length.
    pub fn parts(self) -> (u8, u8) {
        (self.start, self.length)
    }

    /// Learns the window from the times at which sessions began: the longest run of half-hours in each of which fewer
    /// than a fifth as many began as in the busiest one; of equal runs the first of the day. Starts before the last 28
    /// days or after `now` do not count. Returns `None` if fewer than 7 days had a start, or if no run has 3 hours.
    pub fn learn(starts: &[Timestamp], now: Timestamp, zone: &TimeZone) -> Option<QuietWindow> {
        let today = now.to_zoned(zone.clone()).date();
        let first = today.saturating_sub((LOOKBACK_DAYS - 1).days());
        let mut days = BTreeSet::new();
        let mut counts = [0_u32; BUCKET_COUNT];
        for start in starts.iter().filter(|start| **start <= now) {
            let local = start.to_zoned(zone.clone());
            if local.date() >= first {
                days.insert(local.date());
                counts[bucket(local.time())] += 1;
            }
        }
        let busiest = *counts.iter().max()?;
        if days.len() < MIN_DAYS {
            return None;
        }
        longest_run(&counts.map(|count| count * 5 < busiest))
    }

    /// Returns true if `now` is inside the window.
    pub fn is_inside(self, now: Timestamp, zone: &TimeZone) -> bool {
        let at = bucket(now.to_zoned(zone.clone()).time());
        (at + BUCKET_COUNT - usize::from(self.start)) % BUCKET_COUNT < usize::from(self.length)
    }

    /// Returns when the window begins next, after `now`, or `None` beyond the last possible date.
    pub fn next_start(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let quarter = now.as_second().div_euclid(QUARTER.as_secs());
        let mut was_inside = self.is_inside(now, zone);
        // Three days: one may have 25 hours, and a change may skip the beginning on another.
        for ahead in 1..=4 * 24 * 3 {
            let at = Timestamp::from_second((quarter + ahead) * QUARTER.as_secs()).ok()?;
            let is_inside = self.is_inside(at, zone);
            if is_inside && !was_inside {
                return Some(at);
            }
            was_inside = is_inside;
        }
        None
    }
}

fn bucket(time: Time) -> usize {
    usize::from(time.hour().unsigned_abs()) * 2 + usize::from(time.minute() >= 30)
}

fn longest_run(is_quiet: &[bool; BUCKET_COUNT]) -> Option<QuietWindow> {
    // Starting at a busy half-hour, no run wraps around.
    let busy = is_quiet.iter().position(|is_quiet| !is_quiet)?;
    let (mut runs, mut length) = (Vec::new(), 0);
    for at in busy..=busy + BUCKET_COUNT {
        if is_quiet[at % BUCKET_COUNT] {
            length += 1;
        } else if length > 0 {
            runs.push(((at - length) % BUCKET_COUNT, length));
            length = 0;
        }
    }
    let (start, length) = runs.into_iter().min_by_key(|(start, length)| (Reverse(*length), *start))?;
    QuietWindow::new(start as u8, length.min(MAX_BUCKETS) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Date, date};
    use proptest::prelude::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Returns session starts at these times of each of the last days.
    fn starts(last: Date, days: i64, times: &[(i8, i8)], zone: &TimeZone) -> Vec<Timestamp> {
        let day = |ago: i64| last.saturating_sub(ago.days());
        (0..days)
            .flat_map(|ago| times.iter().map(move |(hour, minute)| day(ago).at(*hour, *minute, 0, 0)))
            .map(|civil| zone.to_timestamp(civil).unwrap())
            .collect()
    }

    /// Returns a session start in each half-hour of these hours.
    fn busy(from: i8, until: i8) -> Vec<(i8, i8)> {
        (from..until).flat_map(|hour| [(hour, 5), (hour, 35)]).collect()
    }

    #[test]
    fn the_longest_quiet_run_is_learned() {
        let now = at("2026-06-30T23:59:00Z");
        let window = |start, length| Some(QuietWindow { start, length });
        let and_once_at_night = |times: usize| [busy(7, 23).repeat(times), vec![(3, 0)]].concat();
        let mut twice = busy(6, 10);
        twice.extend(busy(14, 18));
        for (name, times, want) in [
            ("over midnight", busy(7, 23), window(46, 16)),
            ("not over midnight", [busy(6, 24), vec![(0, 10), (0, 40)]].concat(), window(2, 10)),
            ("cut to eight hours", busy(9, 18), window(36, 16)),
            ("under a fifth is quiet", and_once_at_night(6), window(46, 16)),
            ("a fifth is not", and_once_at_night(5), window(46, 8)),
            ("the first of equal ones", twice, window(36, 16)),
            ("three hours are enough", [busy(0, 12), busy(15, 24)].concat(), window(24, 6)),
            ("less is none", [busy(0, 12), vec![(14, 31)], busy(15, 24)].concat(), None),
            ("always", busy(0, 24), None),
        ] {
            let starts = starts(date(2026, 6, 30), 28, &times, &TimeZone::UTC);
            assert_eq!(QuietWindow::learn(&starts, now, &TimeZone::UTC), want, "{name}");
        }
    }

    #[test]
    fn seven_of_the_last_28_days_need_a_session() {
        let now = at("2026-06-30T12:00:00Z");
        let learn = |last: Date, days| {
            QuietWindow::learn(&starts(last, days, &[(9, 0)], &TimeZone::UTC), now, &TimeZone::UTC).is_some()
        };
        for (last, days, want) in [
            (date(2026, 6, 30), 7, true),
            (date(2026, 6, 30), 6, false),
            (date(2026, 6, 9), 7, true),
            (date(2026, 6, 8), 7, false),
            (date(2026, 7, 3), 9, false),
            (date(2026, 7, 3), 10, true),
        ] {
            assert_eq!(learn(last, days), want, "{days} days up to {last}");
        }
        assert_eq!(QuietWindow::learn(&[], now, &TimeZone::UTC), None);
    }

    #[test]
    fn it_is_learned_in_local_time_across_a_change() {
        // Berlin changes on 2026-03-29, so the same local hours are other hours of UTC.
        let berlin = zone("Europe/Berlin");
        let now = at("2026-04-10T20:00:00Z");
        let starts = starts(date(2026, 4, 10), 28, &busy(6, 24), &berlin);
        assert_eq!(QuietWindow::learn(&starts, now, &berlin).map(QuietWindow::parts), Some((0, 12)));
        assert_eq!(QuietWindow::learn(&starts, now, &TimeZone::UTC).map(QuietWindow::parts), Some((46, 10)));
    }

    #[test]
    fn is_inside_uses_local_time() {
        let berlin = zone("Europe/Berlin");
        let window = QuietWindow::new(47, 13).unwrap(); // 23:30 to 06:00
        for (time, want) in [
            ("2026-01-10T22:29:59Z", false),
            ("2026-01-10T22:30:00Z", true),
            ("2026-01-11T04:59:59Z", true),
            ("2026-01-11T05:00:00Z", false),
            ("2026-07-10T21:30:00Z", true),
            ("2026-07-11T04:00:00Z", false),
        ] {
            assert_eq!(window.is_inside(at(time), &berlin), want, "{time}");
        }
    }

    #[test]
    fn next_start_uses_local_time_across_both_changes() {
        let (berlin, new_york, howe) = (zone("Europe/Berlin"), zone("America/New_York"), zone("Australia/Lord_Howe"));
        for (name, zone, window, now, want) in [
            ("winter", &berlin, (47, 13), "2026-01-10T12:00:00Z", "2026-01-10T22:30:00Z"),
            ("inside it is the next one", &berlin, (47, 13), "2026-01-10T22:30:00Z", "2026-01-11T22:30:00Z"),
            ("a moment before", &berlin, (47, 13), "2026-01-10T22:29:59.9Z", "2026-01-10T22:30:00Z"),
            // 2026-03-29: 02:00 to 03:00 is left out.
            ("the night before the change", &berlin, (47, 13), "2026-03-28T12:00:00Z", "2026-03-28T22:30:00Z"),
            ("the night after it", &berlin, (47, 13), "2026-03-29T12:00:00Z", "2026-03-29T21:30:00Z"),
            ("a start that is left out", &berlin, (5, 6), "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            ("the same a day later", &berlin, (5, 6), "2026-03-29T12:00:00Z", "2026-03-30T00:30:00Z"),
            // 2026-10-25: 02:00 to 03:00 comes twice.
            ("the first of two", &berlin, (4, 6), "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z"),
            ("the end comes twice", &berlin, (47, 6), "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z"),
            ("the night after that", &berlin, (47, 13), "2026-10-25T12:00:00Z", "2026-10-25T22:30:00Z"),
            ("elsewhere", &new_york, (5, 6), "2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z"),
            ("half an hour's change", &howe, (4, 6), "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"),
        ] {
            let window = QuietWindow::new(window.0, window.1).unwrap();
            assert_eq!(window.next_start(at(now), zone), Some(at(want)), "{name}");
            assert!(window.is_inside(at(want), zone), "{name}");
            assert!(!window.is_inside(at(want) - SignedDuration::from_nanos(1), zone), "{name}");
        }
        assert_eq!(QuietWindow::new(0, 6).unwrap().next_start(Timestamp::MAX, &berlin), None);
    }

    #[test]
    fn a_start_or_length_out_of_range_is_none() {
        for (start, length, want) in
            [(0, 6, true), (47, 16, true), (48, 6, false), (0, 5, false), (0, 17, false), (255, 255, false)]
        {
            assert_eq!(QuietWindow::new(start, length).map(QuietWindow::parts), want.then_some((start, length)));
        }
    }

    proptest! {
        #[test]
        fn no_other_start_comes_before_the_next(
            start in 0_u8..48, length in 6_u8..=16, minute in 0_i64..366 * 24 * 60, name in 0_usize..4,
        ) {
            let zone = zone(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham"][name]);
            let window = QuietWindow::new(start, length).unwrap();
            let now = at("2026-01-01T00:00:00Z") + SignedDuration::from_mins(minute);
            let next = window.next_start(now, &zone).unwrap();
            prop_assert!(next > now && next.duration_since(now) <= SignedDuration::from_hours(49));
            let mut was_inside = window.is_inside(now, &zone);
            let mut time = now + SignedDuration::from_mins(1);
            while time < next {
                let is_inside = window.is_inside(time, &zone);
                prop_assert!(was_inside || !is_inside, "it begins at {time} already");
                was_inside = is_inside;
                time += SignedDuration::from_mins(7);
            }
        }

        #[test]
        fn a_learned_window_is_quiet(buckets in proptest::collection::vec(0_i64..48, 30..200)) {
            let now = at("2026-06-28T23:59:59Z");
            let starts: Vec<Timestamp> = buckets
                .iter()
                .enumerate()
                .map(|(n, bucket)| at("2026-06-01T00:00:00Z") + SignedDuration::from_mins(n as i64 % 28 * 1440 + bucket * 30))
                .collect();
            if let Some(window) = QuietWindow::learn(&starts, now, &TimeZone::UTC) {
                let inside = starts.iter().filter(|start| window.is_inside(**start, &TimeZone::UTC)).count();
                prop_assert!(inside * 5 < starts.len() * usize::from(window.length));
            }
        }
    }
}
