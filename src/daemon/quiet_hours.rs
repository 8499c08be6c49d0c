//! Caches the quiet-window state between ticks, so the time zone is not evaluated at each tick.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::lifecycle::quiet_window::QuietWindow;
use crate::serve::control_plane::Now;

/// A window begins and ends only at quarters of an hour of UTC, so a state holds until the next one.
const QUARTER_SECS: u64 = 900;

/// The quiet window is learned at the first tick, and at the entry to DROWSY if it was not within this time.
const LEARN_INTERVAL: Duration = Duration::from_secs(3600);

/// The learned quiet window and its state.
pub(crate) struct QuietHours {
    window: Option<QuietWindow>,
    zone: TimeZone,
    cached: Option<CachedState>,
    /// When learning was last started.
    learning_started: Option<Instant>,
}

/// A state, and the wall times between which it holds.
struct CachedState {
    is_quiet: bool,
    starts: Option<SystemTime>,
    from: SystemTime,
    until: SystemTime,
}

impl QuietHours {
    pub(crate) fn new(window: Option<(u8, u8)>, zone: TimeZone) -> QuietHours {
        QuietHours {
            window: window.and_then(|(start, length)| QuietWindow::new(start, length)),
            zone,
            cached: None,
            learning_started: None,
        }
    }

    /// Returns the user's time zone.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Returns true if learning was started in this process.
    pub(crate) fn has_learned(&self) -> bool {
        self.learning_started.is_some()
    }

    /// Returns true if learning was not started within the last hour.
    pub(crate) fn is_learning_due(&self, now: Instant) -> bool {
        self.learning_started.is_none_or(|started| now.saturating_duration_since(started) >= LEARN_INTERVAL)
    }

    /// Notes that learning was started.
    pub(crate) fn learning(&mut self, now: Instant) {
        self.learning_started = Some(now);
    }

    /// Replaces the window, given as (first half-hour, count of half-hours).
    pub(crate) fn set_window(&mut self, window: Option<(u8, u8)>) {
        self.window = window.and_then(|(start, length)| QuietWindow::new(start, length));
        self.cached = None;
    }

    /// Returns whether `now` is inside the window, and when the window begins next.
    pub(crate) fn state(&mut self, now: Now) -> (bool, Option<Instant>) {
        let Some(window) = self.window else { return (false, None) };
        let zone = &self.zone;
        // The lower bound evaluates it again after the clock was set back.
        let valid = self.cached.take().filter(|cached| (cached.from..cached.until).contains(&now.wall));
        let cached = self.cached.insert(valid.unwrap_or_else(|| evaluate(window, zone, now.wall)));
        let starts = cached.starts.and_then(|at| at.duration_since(now.wall).ok());
        (cached.is_quiet, starts.and_then(|ahead| now.instant.checked_add(ahead)))
    }
}

fn evaluate(window: QuietWindow, zone: &TimeZone, wall: SystemTime) -> CachedState {
    let now = Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH);
    let seconds = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    CachedState {
        is_quiet: window.is_inside(now, zone),
        starts: window.next_start(now, zone).map(SystemTime::from),
        from: wall,
        until: SystemTime::UNIX_EPOCH + Duration::from_secs((seconds / QUARTER_SECS + 1) * QUARTER_SECS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_holds_for_a_quarter_of_an_hour() {
        let start = Instant::now();
        let at = |text: &str, seconds| Now {
            instant: start + Duration::from_secs(seconds),
            wall: SystemTime::from(text.parse::<Timestamp>().unwrap()),
        };
        assert_eq!(QuietHours::new(None, TimeZone::UTC).state(at("2026-05-14T01:00:00Z", 0)), (false, None));
        // From 22:00 to 04:00.
        let mut quiet_hours = QuietHours::new(Some((44, 12)), TimeZone::UTC);
        let minutes = |minutes: u64| Some(start + Duration::from_secs(minutes * 60));
        assert_eq!(quiet_hours.state(at("2026-05-14T21:01:00Z", 0)), (false, minutes(59)));
        assert_eq!(quiet_hours.state(at("2026-05-14T21:14:00Z", 780)), (false, minutes(59)));
        // The machine was suspended for half an hour.
        assert_eq!(quiet_hours.state(at("2026-05-14T21:50:00Z", 840)), (false, minutes(24)));
        assert!(quiet_hours.state(at("2026-05-14T22:00:00Z", 1440)).0);
        assert!(!quiet_hours.state(at("2026-05-14T20:00:00Z", 1500)).0, "the clock was set back");
        quiet_hours.set_window(Some((36, 12)));
        assert!(quiet_hours.state(at("2026-05-14T20:00:00Z", 1500)).0);
    }
}
