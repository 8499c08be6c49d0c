//! Reads and removes environment variables that are meant for this process only, so that programs it starts do not
//! use them.

use super::process;

/// The result of [`take`].
#[derive(Debug)]
pub(crate) struct TakenVars<const N: usize> {
    /// The values in the order of the names, `None` if unset. Invalid UTF-8 is replaced by
    /// U+FFFD, which no parser here accepts.
    pub(crate) values: [Option<String>; N],
    /// Whether the variables were removed from the environment.
    pub(crate) cleared: Cleared,
}

/// Whether variables were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleared {
    /// None of them is left in the environment.
    Yes,
    /// Other threads run, which may be reading the environment, so the variables were left in it.
    OtherThreads,
}

/// Reads variables and removes them from the environment, unless other threads run.
pub(crate) fn take<const N: usize>(names: [&str; N]) -> TakenVars<N> {
    let values = names.map(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()));
    if values.iter().all(Option::is_none) {
        return TakenVars { values, cleared: Cleared::Yes };
    }
    if process::threads().is_some_and(|threads| threads > 1) {
        log::warn!("cannot unset {}: other threads are running", names.join(", "));
        return TakenVars { values, cleared: Cleared::OtherThreads };
    }
    for name in names {
        // SAFETY: no other thread runs that could read the environment meanwhile (if the number of threads
        // is unknown, the callers' contract says so).
        unsafe { std::env::remove_var(name) };
    }
    TakenVars { values, cleared: Cleared::Yes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_other_threads_the_environment_is_read_and_not_changed() {
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
