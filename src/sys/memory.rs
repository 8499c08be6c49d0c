//! Releases memory: what the allocator caches, and resident pages of code.

#[cfg(target_os = "linux")]
use super::resident::page_bytes;

/// Size from which [`keep_little`] maps an allocation by itself: half of glibc's initial threshold.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: libc::c_int = 64 << 10;

/// Returns the allocator's free memory to the system, by malloc_trim(3) of glibc; does nothing with other allocators.
/// Takes about a millisecond for each 10 MiB.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: safe from any thread; it frees nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes the allocator cache little: one arena for all threads, and each large allocation mapped and unmapped by
/// itself, which costs it a few system calls. For a program with few threads that is mostly idle. mallopt(3) of glibc;
/// does nothing with other allocators.
pub(crate) fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE_BYTES), (libc::M_TRIM_THRESHOLD, LARGE_BYTES)]
    {
        // SAFETY: takes numbers alone, and locks what it changes.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Releases the resident pages of code and constants of this program and its libraries. Pages that are used again are
/// mapped from the system's page cache, a few microseconds each; those that only the start needed stay released.
/// Linux only; does nothing elsewhere.
pub(crate) fn release_code_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: the callback keeps no reference to its arguments.
    unsafe {
        libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut());
    }
}

/// Releases one loaded object's segments that are not writable.
#[cfg(target_os = "linux")]
unsafe extern "C" fn release_object(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes a valid object, whose headers live as long as it.
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
            // the code is position-independent: the file has the same contents.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
    0
}

/// Makes all threads share one arena of the allocator, by mallopt(3) of glibc: memory that one thread has freed is
/// reused by others, and fragmentation is low. Each further arena would reserve 64 MiB of address space, and if
/// that fails, every allocation of its thread would try again. Threads contend for the arena a little more. Call it
/// while the process has one thread.
pub(crate) fn share_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes numbers alone, and locks what it changes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sys::resident::Resident;
    use crate::sys::testing::{self, TestProcess};

    #[test]
    fn released_code_still_runs() {
        match testing::role("sys::memory::tests::released_code_still_runs") {
            // The size is the whole process's, so it is measured in a process where nothing else runs.
            TestProcess::Parent(child) => assert_eq!(child.run(&mut child.command()), ["measured"]),
            TestProcess::Child => {
                let resident = Resident::open();
                let (before, text) = (resident.bytes(), format!("{:?}", resident));
                release_code_pages();
                let after = resident.bytes();
                assert!(after + (256 << 10) < before, "{before} before, {after} after");
                assert_eq!(format!("{resident:?}"), text, "released pages are mapped again");
                testing::report("measured");
            }
        }
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn freed_large_allocations_are_unmapped() {
        match testing::role("sys::memory::tests::freed_large_allocations_are_unmapped") {
            TestProcess::Parent(child) => assert_eq!(child.run(&mut child.command()), ["measured"]),
            TestProcess::Child => {
                keep_little();
                let resident = Resident::open();
                // Without a fixed threshold, the first large allocation that is freed would raise it for later ones.
                let take = |mib: usize| drop(std::hint::black_box(vec![1_u8; mib << 20]));
                take(1);
                let before = resident.bytes();
                std::thread::spawn(move || (0..4).for_each(|_| take(8))).join().unwrap();
                let after = resident.bytes();
                // Less than one allocation; code that runs for the first time is mapped, too.
                assert!(after < before + (4 << 20), "{before} before, {after} after");
                testing::report("measured");
            }
        }
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn allocated_memory_is_counted_and_freed_memory_can_be_returned() {
        const MIB: u64 = 1 << 20;
        match testing::role("sys::memory::tests::allocated_memory_is_counted_and_freed_memory_can_be_returned") {
            // The size is the whole process's, so it is measured in a process where nothing else runs.
            TestProcess::Parent(child) => assert_eq!(child.run(&mut child.command()), ["measured"]),
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
                testing::report("measured");
            }
        }
    }
}
