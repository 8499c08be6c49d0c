//! Memory kept in reserve, for a process whose address space is limited (RLIMIT_AS, or a system without overcommit).
//!
//! The standard library ends the process if an allocation fails. With [`ReservingAllocator`] the first one that fails
//! releases a reserve and is tried again, and `is_short` is true until `restore` could map the reserve again. Callers
//! check it and refuse new work meanwhile. The reserve is never touched, so it takes address space and no memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::thread;
use std::time::Duration;

/// Size of the reserve: 1 MiB for each thread of the smallest daemon, the event loop, two workers and the writer. Picked:
/// a call that is running when memory runs out allocates less before it ends.
const RESERVE_BYTES: usize = 4 << 20;

/// Attempts of an allocation after the reserve is gone, and the pause before each: other threads may end their calls
/// meanwhile.
const MAX_ATTEMPTS: usize = 500;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(2);

/// The reserve; null if it was released, or was never asked for.
static RESERVE: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());

/// This process has asked for a reserve.
static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which releases the reserve when memory has run out.
///
/// Its functions are not inlined: in each of the thousands of places that allocate, that would add the failure's branch.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReservingAllocator;

// SAFETY: each method returns what the system's allocator returned for the same arguments; a failed call has changed
// nothing, so it may be repeated.
unsafe impl GlobalAlloc for ReservingAllocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's arguments.
        let allocated = unsafe { System.alloc(layout) };
        if !allocated.is_null() {
            return allocated;
        }
        // SAFETY: the caller's arguments.
        again(&|| unsafe { System.alloc(layout) })
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's arguments.
        let allocated = unsafe { System.alloc_zeroed(layout) };
        if !allocated.is_null() {
            return allocated;
        }
        // SAFETY: the caller's arguments.
        again(&|| unsafe { System.alloc_zeroed(layout) })
    }

    #[inline(never)]
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's arguments.
        let allocated = unsafe { System.realloc(old, layout, bytes) };
        if !allocated.is_null() {
            return allocated;
        }
        // SAFETY: the caller's arguments; a failed call has left `old` as it was.
        again(&|| unsafe { System.realloc(old, layout, bytes) })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's arguments.
        unsafe { System.dealloc(old, layout) }
    }
}

/// Repeats an allocation that has failed: after the release of the reserve, then while other threads may free memory.
/// Returns null in a process without a reserve. Must not allocate.
#[cold]
fn again(allocate: &dyn Fn() -> *mut u8) -> *mut u8 {
    if !IS_WANTED.load(Ordering::Relaxed) {
        return ptr::null_mut();
    }
    for attempt in 0..MAX_ATTEMPTS {
        // Another thread may have released the reserve just now.
        if !release() && attempt > 0 {
            thread::sleep(ATTEMPT_PAUSE);
        }
        let allocated = allocate();
        if !allocated.is_null() {
            return allocated;
        }
    }
    ptr::null_mut()
}

/// Asks for the reserve. If there is no memory for it, `is_short` is true.
pub(crate) fn hold() {
    IS_WANTED.store(true, Ordering::Relaxed);
    restore();
}

/// Returns true if the reserve was released: new work must be refused until [`restore`] returns true.
pub(crate) fn is_short() -> bool {
    RESERVE.load(Ordering::Relaxed).is_null() && IS_WANTED.load(Ordering::Relaxed)
}

/// Maps the reserve again if it was released. Returns true if it is there.
pub(crate) fn restore() -> bool {
    if !is_short() {
        return true;
    }
    let Some(mapped) = map() else { return false };
    let placed = RESERVE.compare_exchange(ptr::null_mut(), mapped.as_ptr(), Ordering::AcqRel, Ordering::Relaxed);
    if placed.is_err() {
        unmap(mapped);
    }
    true
}

fn release() -> bool {
    let reserve = NonNull::new(RESERVE.swap(ptr::null_mut(), Ordering::AcqRel));
    reserve.map(unmap).is_some()
}

fn map() -> Option<NonNull<libc::c_void>> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: a new mapping at an address that the system chooses.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), RESERVE_BYTES, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED { None } else { NonNull::new(mapped) }
}

fn unmap(mapped: NonNull<libc::c_void>) {
    // SAFETY: a whole mapping of `map`, which the caller has taken out of the only place that held it. Nothing ever
    // refers to its bytes.
    unsafe { libc::munmap(mapped.as_ptr(), RESERVE_BYTES) };
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::sys::testing::{self, TestProcess};

    #[test]
    fn the_reserve_is_released_once_and_restored() {
        // The reserve is the whole process's.
        match testing::role("sys::reserve::tests::the_reserve_is_released_once_and_restored") {
            TestProcess::Parent(child) => assert_eq!(child.run(&mut child.command()), ["checked"]),
            TestProcess::Child => {
                let (mut byte, calls) = (0_u8, Cell::new(0));
                let byte = &raw mut byte;
                let third = || {
                    calls.set(calls.get() + 1);
                    if calls.get() < 3 { ptr::null_mut() } else { byte }
                };
                assert!(again(&third).is_null() && calls.get() == 0 && !is_short(), "no reserve was asked for");
                hold();
                assert!(!is_short() && restore());
                assert_eq!((again(&third), calls.get()), (byte, 3));
                assert!(is_short());
                assert!(restore() && !is_short());
                assert!(again(&ptr::null_mut).is_null() && is_short(), "it gives up");
                testing::report("checked");
            }
        }
    }
}
