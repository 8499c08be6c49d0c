//! How much memory this process holds, and giving back what its allocator keeps for later.

/// What counts as large for [`keep_little`]: half of glibc's own first threshold.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: libc::c_int = 64 << 10;

/// Reads the resident size again and again, over one open file.
#[derive(Debug)]
pub struct Resident {
    /// `/proc/self/statm` (proc_pid_statm(5)), where there is one.
    #[cfg(not(target_os = "macos"))]
    statm: Option<std::fs::File>,
}

impl Resident {
    /// Opens what is read from. Where the system has no such thing, sizes are 0.
    pub fn open() -> Resident {
        Resident {
            #[cfg(not(target_os = "macos"))]
            statm: std::fs::File::open("/proc/self/statm").ok(),
        }
    }

    /// Resident bytes now, files mapped in included; 0 where that cannot be had. One system call that
    /// touches no disk. Linux counts in batches of pages for each CPU, so it may be some 100 KiB off.
    pub fn bytes(&self) -> u64 {
        #[cfg(target_os = "macos")]
        {
            super::process::task_info().map_or(0, |info| info.pti_resident_size)
        }
        #[cfg(not(target_os = "macos"))]
        {
            use std::os::unix::fs::FileExt;

            // Seven numbers of 20 digits at most.
            let mut text = [0; 160];
            let read = self.statm.as_ref().and_then(|statm| statm.read_at(&mut text, 0).ok());
            read.and_then(|read| resident_pages(&text[..read])).map_or(0, |pages| pages.saturating_mul(page_bytes()))
        }
    }
}

/// Gives the allocator's free memory back to the system: malloc_trim(3) of glibc; other allocators
/// have no such call, or do it by themselves. Takes about a millisecond for each 10 MiB.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: safe from any thread; it frees nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator keep little for later: one arena for all threads, and each large piece mapped and
/// unmapped by itself. For a program with few threads that is idle mostly; it costs each large piece a
/// few system calls. mallopt(3) of glibc; other allocators are as they are.
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE_BYTES), (libc::M_TRIM_THRESHOLD, LARGE_BYTES)]
    {
        // SAFETY: takes numbers alone, and locks what it changes.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Lets go of the pages of code and constants that are mapped in, of this program and its libraries.
/// What runs on is mapped in again from the system's page cache, a few microseconds each; what only
/// the start needed stays away. Nothing to do but on Linux.
pub fn release_code_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: the callback keeps nothing of what it is shown.
    unsafe {
        libc::dl_iterate_phdr(Some(forget_object), std::ptr::null_mut());
    }
}

/// Forgets one loaded object's segments that are not writable.
#[cfg(target_os = "linux")]
unsafe extern "C" fn forget_object(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) shows a valid one, whose headers live as long as the object.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr as usize, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    let page = page_bytes() as usize;
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 || page == 0 {
            continue;
        }
        let start = (base + header.p_vaddr as usize).next_multiple_of(page);
        let end = (base + header.p_vaddr as usize + header.p_filesz as usize) / page * page;
        if start < end {
            // SAFETY: whole pages of a segment that is mapped from its file and never written, since
            // code here is position-independent: the file still holds all of it.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
    0
}

/// Has all threads share one arena of the allocator's, mallopt(3) of glibc: what one thread has freed is the next
/// one's, and little is left between what is in use. Each further arena also reserves 64 MiB of address space,
/// and one that cannot be had is tried for again by every allocation of its thread. Threads wait for each other
/// a little more. Call it while there is one.
pub fn share_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes numbers alone, and locks what it changes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// The second number of statm's text.
#[cfg(any(not(target_os = "macos"), test))]
fn resident_pages(statm: &[u8]) -> Option<u64> {
    std::str::from_utf8(statm).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(not(target_os = "macos"))]
fn page_bytes() -> u64 {
    // SAFETY: takes a number alone.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{self, TestProcess};

    #[test]
    fn the_second_number_is_the_resident_one() {
        for (text, pages) in [
            ("5000 1234 300 40 0 600 0\n", Some(1234)),
            ("5000 1234", Some(1234)),
            ("5000", None),
            ("5000 x", None),
            ("", None),
        ] {
            assert_eq!(resident_pages(text.as_bytes()), pages, "{text:?}");
        }
        assert_eq!(resident_pages(&[0xff, b' ', b'1']), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn code_that_is_forgotten_goes_on_running() {
        match testing::role("sys::memory::tests::code_that_is_forgotten_goes_on_running") {
            // The size is the whole process's, so it is measured in one where nothing else runs.
            TestProcess::Parent(child) => assert_eq!(child.said(&mut child.command()), ["measured"]),
            TestProcess::Child => {
                let resident = Resident::open();
                let (before, text) = (resident.bytes(), format!("{:?}", resident));
                release_code_pages();
                let forgotten = resident.bytes();
                assert!(forgotten + (256 << 10) < before, "{before} before, {forgotten} after");
                assert_eq!(format!("{resident:?}"), text, "what is formatted again is mapped in again");
                testing::say("measured");
            }
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn little_is_kept_of_large_pieces() {
        match testing::role("sys::memory::tests::little_is_kept_of_large_pieces") {
            TestProcess::Parent(child) => assert_eq!(child.said(&mut child.command()), ["measured"]),
            TestProcess::Child => {
                keep_little();
                let resident = Resident::open();
                // The first large piece that is freed would raise the threshold for all later ones.
                let take = |mib: usize| drop(std::hint::black_box(vec![1_u8; mib << 20]));
                take(1);
                let before = resident.bytes();
                std::thread::spawn(move || (0..4).for_each(|_| take(8))).join().unwrap();
                let after = resident.bytes();
                // Less than one piece; what runs for the first time is mapped in, too.
                assert!(after < before + (4 << 20), "{before} before, {after} after");
                testing::say("measured");
            }
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn memory_taken_shows_and_memory_freed_can_be_given_back() {
        const MIB: u64 = 1 << 20;
        match testing::role("sys::memory::tests::memory_taken_shows_and_memory_freed_can_be_given_back") {
            // The size is the whole process's, so it is measured in one where nothing else runs.
            TestProcess::Parent(child) => assert_eq!(child.said(&mut child.command()), ["measured"]),
            TestProcess::Child => {
                let resident = Resident::open();
                let before = resident.bytes();
                assert!(before > 0);
                let mut pieces: Vec<Box<[u8]>> = (0..32 * 1024).map(|_| vec![1; 1024].into_boxed_slice()).collect();
                let taken = resident.bytes();
                assert!(taken > before + 24 * MIB, "{before} {taken}");
                // The last one, at the top of the heap, keeps free() from shrinking it.
                let last = pieces.pop();
                drop(pieces);
                give_back();
                let given = resident.bytes();
                assert!(given < taken - 24 * MIB, "{taken} {given}");
                drop(last);
                testing::say("measured");
            }
        }
    }
}
