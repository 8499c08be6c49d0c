//! Conversions from the standard library's times to dates. Pure.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Returns the time as a date, or the epoch if it is outside of what a date can express.
pub(crate) fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns the date that is `ahead` later, or the latest possible one.
pub(crate) fn later(at: Timestamp, ahead: Duration) -> Timestamp {
    at.saturating_add(signed(ahead)).unwrap_or(Timestamp::MAX)
}

/// Returns the duration as one of jiff, or the longest possible one.
pub(crate) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Returns the duration in seconds, cut to whole milliseconds.
pub(crate) fn seconds_to_millis(duration: Duration) -> f64 {
    (duration.as_millis() as f64) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_of_dates_is_the_epoch() {
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60)), Timestamp::UNIX_EPOCH);
        assert_eq!(later(Timestamp::UNIX_EPOCH, Duration::MAX), Timestamp::MAX);
    }
}
