//! How long a hook waits: one time, from which its limits follow.

use std::ffi::OsStr;
use std::time::Duration;

use crate::client::Policy;

/// The environment variable with the time, in seconds.
pub(super) const VARIABLE: &str = "IAID_HOOK_TIMEOUT";

/// How long a hook waits for a reply of the daemon, for which the assistant waits. A running daemon accepts at once and
/// answers within milliseconds; one that is started by the connection takes up to a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HookPatience(Duration);

impl HookPatience {
    const DEFAULT: HookPatience = HookPatience(Duration::from_secs(1));

    /// Returns the time of [`VARIABLE`], 0.1 to 60 seconds, fractions allowed; 1 second if it is unset or empty.
    ///
    /// # Errors
    /// The default time, and what is wrong with the variable's value.
    pub(super) fn of(value: Option<&OsStr>) -> Result<HookPatience, (HookPatience, String)> {
        let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok(HookPatience::DEFAULT) };
        let text = text.to_string_lossy();
        match text.parse::<f64>() {
            Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(HookPatience(Duration::from_secs_f64(seconds))),
            _ => Err((HookPatience::DEFAULT, format!("{VARIABLE}={text} must be 0.1 to 60 seconds, such as 1"))),
        }
    }

    /// Returns the time after which a hook exits in any case: twice the sum of the socket's timeouts, and more.
    pub(super) fn run_time(self) -> Duration {
        self.0 * 5
    }

    /// Returns the policy for the records of a prompt, for which the user waits: together less than the 200 ms that are
    /// noticed.
    pub(super) fn prompt_policy(self) -> Policy {
        let time = self.0 * 3 / 20;
        Policy { connect_timeout: time / 5, reply_timeout: time * 4 / 5, ..self.policy() }
    }

    pub(super) fn policy(self) -> Policy {
        Policy {
            connect_timeout: self.0 / 4,
            wait_for_start: Duration::ZERO,
            wait_for_restart: Duration::ZERO,
            reply_timeout: self.0,
            ..Policy::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_sets_all_limits() {
        for (value, millis) in [(None, 1000), (Some(""), 1000), (Some("0.1"), 100), (Some("60"), 60_000)] {
            let patience = HookPatience::of(value.map(OsStr::new)).unwrap();
            assert_eq!(patience.0, Duration::from_millis(millis), "{value:?}");
            assert_eq!(patience.run_time(), Duration::from_millis(5 * millis), "{value:?}");
            let policy = patience.policy();
            let prompt = patience.prompt_policy();
            assert!(prompt.connect_timeout + prompt.reply_timeout <= patience.0 * 3 / 20, "{value:?}");
            assert!((policy.connect_timeout + policy.reply_timeout) * 2 <= patience.run_time(), "{value:?}");
        }
        for value in ["0", "61", "-1", "NaN", "soon"] {
            let (patience, why) = HookPatience::of(Some(OsStr::new(value))).unwrap_err();
            assert_eq!(patience, HookPatience::DEFAULT, "{value}");
            assert!(why.starts_with("IAID_HOOK_TIMEOUT=") && why.contains("0.1 to 60 seconds"), "{why}");
        }
    }
}
