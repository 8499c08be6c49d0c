//! The quiet window as the control plane asks for it: at each tick, without a look at the time zone each
//! time.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::lifecycle::quiet_window::QuietWindow;
use crate::serve::control_plane::Now;

/// A window begins and ends at quarters of an hour of UTC alone: what was found holds until the next one.
const QUARTER_SECONDS: u64 = 900;

/// When nobody usually begins a session.
pub(crate) struct QuietHours {
    window: Option<QuietWindow>,
    zone: TimeZone,
    found: Option<Found>,
}

/// What was found, and the wall times between which it holds.
struct Found {
    is_quiet: bool,
    starts: Option<SystemTime>,
    from: SystemTime,
    until: SystemTime,
}

impl QuietHours {
    pub(crate) fn new(window: Option<(u8, u8)>, zone: TimeZone) -> QuietHours {
        QuietHours { window: window.and_then(|(start, length)| QuietWindow::new(start, length)), zone, found: None }
    }

    /// The user's clock.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Another one was learned.
    pub(crate) fn learned(&mut self, window: Option<(u8, u8)>) {
        self.window = window.and_then(|(start, length)| QuietWindow::new(start, length));
        self.found = None;
    }

    /// Is it quiet now, and when does it begin to be next?
    pub(crate) fn look(&mut self, now: Now) -> (bool, Option<Instant>) {
        let Some(window) = self.window else { return (false, None) };
        let zone = &self.zone;
        // Found anew also where the clock was set back.
        let kept = self.found.take().filter(|found| (found.from..found.until).contains(&now.wall));
        let found = self.found.insert(kept.unwrap_or_else(|| find(window, zone, now.wall)));
        let starts = found.starts.and_then(|at| at.duration_since(now.wall).ok());
        (found.is_quiet, starts.and_then(|ahead| now.instant.checked_add(ahead)))
    }
}

fn find(window: QuietWindow, zone: &TimeZone, wall: SystemTime) -> Found {
    let now = Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH);
    let seconds = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Found {
        is_quiet: window.is_inside(now, zone),
        starts: window.next_start(now, zone).map(SystemTime::from),
        from: wall,
        until: SystemTime::UNIX_EPOCH + Duration::from_secs((seconds / QUARTER_SECONDS + 1) * QUARTER_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_holds_for_a_quarter_of_an_hour() {
        let start = Instant::now();
        let at = |text: &str, seconds| Now {
            instant: start + Duration::from_secs(seconds),
            wall: SystemTime::from(text.parse::<Timestamp>().unwrap()),
        };
        assert_eq!(QuietHours::new(None, TimeZone::UTC).look(at("2026-05-14T01:00:00Z", 0)), (false, None));
        // 22:00 to 04:00
        let mut quiet_hours = QuietHours::new(Some((44, 12)), TimeZone::UTC);
        let minutes = |minutes: u64| Some(start + Duration::from_secs(minutes * 60));
        assert_eq!(quiet_hours.look(at("2026-05-14T21:01:00Z", 0)), (false, minutes(59)));
        assert_eq!(quiet_hours.look(at("2026-05-14T21:14:00Z", 780)), (false, minutes(59)));
        // The machine was suspended for half an hour.
        assert_eq!(quiet_hours.look(at("2026-05-14T21:50:00Z", 840)), (false, minutes(24)));
        assert!(quiet_hours.look(at("2026-05-14T22:00:00Z", 1440)).0);
        assert!(!quiet_hours.look(at("2026-05-14T20:00:00Z", 1500)).0, "the clock was set back");
        quiet_hours.learned(Some((36, 12)));
        assert!(quiet_hours.look(at("2026-05-14T20:00:00Z", 1500)).0);
    }
}
