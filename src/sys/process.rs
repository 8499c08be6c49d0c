//! What the kernel knows of this process: its threads, and on macOS its memory.

/// Threads of this process, or `None` where nothing says it (Linux without /proc).
pub(super) fn threads() -> Option<usize> {
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

/// proc_pidinfo(PROC_PIDTASKINFO) of this process (`<libproc.h>`).
#[cfg(target_os = "macos")]
pub(super) fn task_info() -> Option<libc::proc_taskinfo> {
    // SAFETY: proc_taskinfo is plain numbers, for which all zeroes is a value.
    let mut info: libc::proc_taskinfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
    // SAFETY: the struct lives over the call and has the size said.
    let filled = unsafe { libc::proc_pidinfo(libc::getpid(), libc::PROC_PIDTASKINFO, 0, (&raw mut info).cast(), size) };
    (filled == size).then_some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn a_new_thread_is_counted() {
        std::thread::scope(|scope| {
            let threads = scope.spawn(threads).join().unwrap();
            assert!(threads.is_some_and(|threads| threads >= 2), "{threads:?}");
        });
    }
}
