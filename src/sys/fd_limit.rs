//! The limit of open descriptors of this process (RLIMIT_NOFILE, setrlimit(2)).

use std::io;

use super::syscall::checked;

/// Raises the soft limit to the hard one and returns the new soft limit, in descriptors;
/// `u64::MAX` if there is none. Never lowers it. On macOS it is raised to the most that setrlimit(2) accepts there:
/// kern.maxfilesperproc, or OPEN_MAX.
///
/// # Errors
/// Those of getrlimit(2), and of setrlimit(2) if the limit could not be raised at all.
pub fn raise() -> io::Result<u64> {
    let mut limit = current()?;
    let wanted = target(limit.rlim_cur, limit.rlim_max, ceiling());
    if wanted == limit.rlim_cur {
        return Ok(in_descriptors(wanted));
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = wanted;
    if let Err(e) = set(&limit) {
        let fallback = target(before, limit.rlim_max, OPEN_MAX);
        if e.raw_os_error() != Some(libc::EINVAL) || fallback == before || fallback == wanted {
            return Err(e);
        }
        limit.rlim_cur = fallback;
        set(&limit)?;
    }
    Ok(in_descriptors(current()?.rlim_cur))
}

/// Returns true if this process, or the system, has no descriptor left at this moment.
#[cfg(feature = "daemon")]
pub(crate) fn is_reached() -> bool {
    let opened = std::fs::File::open("/dev/null");
    opened.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)))
}

/// The limit that macOS always accepts (`<sys/syslimits.h>`).
const OPEN_MAX: libc::rlim_t = 10_240;

/// Returns the soft limit to set: the hard one, at most `ceiling`, at least the present one.
fn target(soft: libc::rlim_t, hard: libc::rlim_t, ceiling: libc::rlim_t) -> libc::rlim_t {
    // RLIM_INFINITY is the largest value on Linux and larger than any ceiling on macOS.
    hard.min(ceiling).max(soft)
}

fn in_descriptors(limit: libc::rlim_t) -> u64 {
    // The type has 32 bits on some 32-bit systems.
    #[allow(clippy::unnecessary_cast)]
    if limit == libc::RLIM_INFINITY { u64::MAX } else { limit as u64 }
}

/// Returns the most descriptors that a process may open regardless of its limits.
#[cfg(target_os = "macos")]
fn ceiling() -> libc::rlim_t {
    let mut most: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>();
    // SAFETY: the name ends in NUL, the number lives over the call and has the size passed.
    let asked = checked(unsafe {
        libc::sysctlbyname(
            c"kern.maxfilesperproc".as_ptr(),
            (&raw mut most).cast(),
            &raw mut size,
            std::ptr::null_mut(),
            0,
        )
    });
    match (asked, libc::rlim_t::try_from(most)) {
        (Ok(_), Ok(most)) if most > 0 => most,
        _ => OPEN_MAX,
    }
}

/// Returns the most descriptors that a process may open regardless of its limits: the hard limit is never above it.
#[cfg(not(target_os = "macos"))]
fn ceiling() -> libc::rlim_t {
    libc::RLIM_INFINITY
}

fn current() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct lives over the call.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit)
}

fn set(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the struct lives over the call.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{self, TestProcess};

    const ENDLESS: libc::rlim_t = libc::RLIM_INFINITY;

    #[test]
    fn the_target_is_the_hard_limit_up_to_the_ceiling() {
        for (soft, hard, ceiling, want) in [
            (256, 1024, ENDLESS, 1024),
            (1024, 1024, ENDLESS, 1024),
            (256, ENDLESS, 10_240, 10_240),
            (256, ENDLESS, ENDLESS, ENDLESS),
            (20_000, ENDLESS, 10_240, 20_000),
            (ENDLESS, ENDLESS, 10_240, ENDLESS),
            (256, 512, 10_240, 512),
        ] {
            assert_eq!(target(soft, hard, ceiling), want, "{soft} of {hard} under {ceiling}");
        }
        assert_eq!(in_descriptors(ENDLESS), u64::MAX);
        assert_eq!(in_descriptors(1024), 1024);
    }

    #[test]
    fn a_low_limit_is_raised_and_returned() {
        match testing::role("sys::fd_limit::tests::a_low_limit_is_raised_and_returned") {
            // The limit is the whole process's, so a separate child lowers it.
            TestProcess::Parent(child) => assert_eq!(child.run(&mut child.command()), ["raised"]),
            TestProcess::Child => {
                let before = current().unwrap();
                set(&libc::rlimit { rlim_cur: 64, rlim_max: before.rlim_max }).unwrap();
                let raised = raise().unwrap();
                assert_eq!(in_descriptors(current().unwrap().rlim_cur), raised);
                assert_eq!(raised, in_descriptors(target(64, before.rlim_max, ceiling())));
                assert_eq!(raise().unwrap(), raised);
                testing::report("raised");
            }
        }
    }
}
