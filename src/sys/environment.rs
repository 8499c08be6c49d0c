//! Environment variables that are meant for this process alone: read, and taken out, so that the
//! programs we start do not believe them meant for themselves.

use super::process;

/// What [`take`] found.
#[derive(Debug)]
pub(super) struct TakenVars<const N: usize> {
    /// The values in the order of the names, `None` where unset. What is not UTF-8 is replaced by
    /// U+FFFD, which no number and no check accepts.
    pub(super) values: [Option<String>; N],
    /// Whether the variables are out of the environment.
    pub(super) cleared: Cleared,
}

/// Whether variables were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cleared {
    /// None of them is left.
    Yes,
    /// Other threads run, any of which may be reading the environment, so they were left in it.
    OtherThreads,
}

/// Reads variables and removes them from the environment. Changes nothing while other threads run.
pub(super) fn take<const N: usize>(names: [&str; N]) -> TakenVars<N> {
    let values = names.map(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()));
    if values.iter().all(Option::is_none) {
        return TakenVars { values, cleared: Cleared::Yes };
    }
    if process::threads().is_some_and(|threads| threads > 1) {
        log::warn!("{} stay in the environment: they are taken out before the first thread only", names.join(", "));
        return TakenVars { values, cleared: Cleared::OtherThreads };
    }
    for name in names {
        // SAFETY: no other thread runs that could read the environment meanwhile (where the count
        // cannot be had, the callers' contract says so).
        unsafe { std::env::remove_var(name) };
    }
    TakenVars { values, cleared: Cleared::Yes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_other_threads_the_environment_is_read_and_left() {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let taken = take(["PATH", "IAID_TEST_SURELY_UNSET"]);
                    assert!(taken.values[0].is_some() && taken.values[1].is_none());
                    assert_eq!(taken.cleared, Cleared::OtherThreads);
                    assert!(std::env::var_os("PATH").is_some());
                    assert_eq!(take(["IAID_TEST_SURELY_UNSET"]).cleared, Cleared::Yes);
                })
                .join()
                .unwrap();
        });
    }
}
