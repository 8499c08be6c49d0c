//! Processes: the threads, scheduling policy and processors of this one (on macOS also its memory), and whether
//! another one lives.

use super::syscall::checked;

/// Returns true if a process of this id lives, of any user.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: takes numbers alone; signal 0 only checks.
    match checked(unsafe { libc::kill(pid, 0) }) {
        Err(error) => error.raw_os_error() != Some(libc::ESRCH),
        Ok(_) => true,
    }
}

/// Returns the number of threads of this process, or `None` if it is unknown (Linux without /proc).
pub(crate) fn threads() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
    }
    #[cfg(target_os = "macos")]
    {
        task_info().and_then(|info| usize::try_from(info.pti_threadnum).ok())
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        None
    }
}

/// Returns the number of processors that this process may run on; 1 if it is unknown. Ignores CPU quotas of control
/// groups, which [`std::thread::available_parallelism`] reads with 10 KB of code.
pub(crate) fn processors() -> usize {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: cpu_set_t is plain bits, for which all zeroes is a value.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set lives over the call and has the size passed; 0 is the calling thread. A machine with more
        // processors than the set has bits is refused.
        let got = checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) });
        // SAFETY: counts the bits of a set.
        got.ok().and_then(|_| usize::try_from(unsafe { libc::CPU_COUNT(&set) }).ok()).unwrap_or(1)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        // SAFETY: takes a number alone.
        usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1)
    }
}

/// Puts the calling thread under SCHED_BATCH (Linux, sched(7)): when woken, it does not preempt a running thread; its
/// share of the processor stays the same. Does nothing on other systems, if the call fails, or if the thread has a
/// policy other than the default.
pub(crate) fn set_batch_scheduling() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: takes a number alone; 0 is the calling thread.
        if unsafe { libc::sched_getscheduler(0) } != libc::SCHED_OTHER {
            return;
        }
        let param = libc::sched_param { sched_priority: 0 };
        // SAFETY: the struct lives over the call; 0 is the calling thread.
        let set = checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) });
        if let Err(error) = set {
            log::debug!("cannot set SCHED_BATCH for a worker thread: {error}");
        }
    }
}

/// Returns proc_pidinfo(PROC_PIDTASKINFO) of this process (`<libproc.h>`).
#[cfg(target_os = "macos")]
pub(crate) fn task_info() -> Option<libc::proc_taskinfo> {
    // SAFETY: proc_taskinfo is plain numbers, for which all zeroes is a value.
    let mut info: libc::proc_taskinfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
    // SAFETY: the struct lives over the call and has the size passed.
    let filled = unsafe { libc::proc_pidinfo(libc::getpid(), libc::PROC_PIDTASKINFO, 0, (&raw mut info).cast(), size) };
    (filled == size).then_some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_is_waited_for() {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(is_alive(child.id()));
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
        assert!(!is_alive(0) && !is_alive(u32::MAX));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn a_new_thread_is_counted() {
        std::thread::scope(|scope| {
            let threads = scope.spawn(threads).join().unwrap();
            assert!(threads.is_some_and(|threads| threads >= 2), "{threads:?}");
        });
    }
}
