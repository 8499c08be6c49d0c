//! The memory functions of SQLite: without statistics, which nothing reads, and with room in each block. A list to which
//! SQLite adds some entries at a time, as it does with the rows of each page of the full-text index, then mostly stays
//! where it is.

use std::ffi::{c_int, c_void};
use std::ptr;

/// SQLite's options (sqlite3_config).
const CONFIG_MALLOC: c_int = 4;
const CONFIG_MEMSTATUS: c_int = 9;

/// The bytes before each block, which hold its size. SQLite aligns to 8 bytes.
const HEADER_BYTES: usize = 8;

/// A block has room for less than this share of its size.
const ROOM_SHARE: usize = 32;

/// `sqlite3_mem_methods`
#[repr(C)]
struct MemoryMethods {
    allocate: unsafe extern "C" fn(c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    reallocate: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
    round_up: unsafe extern "C" fn(c_int) -> c_int,
    start: unsafe extern "C" fn(*mut c_void) -> c_int,
    stop: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
}

unsafe extern "C" {
    fn sqlite3_config(option: c_int, ...) -> c_int;
}

/// Sets the functions. Has no effect if SQLite has been used in this process.
///
/// Caller's contract: no other thread uses SQLite yet.
pub fn configure() {
    let methods = MemoryMethods { allocate, free, reallocate, size, round_up, start, stop, data: ptr::null_mut() };
    // SAFETY: the arguments are those of the options; the methods are copied.
    unsafe {
        sqlite3_config(CONFIG_MEMSTATUS, 0 as c_int);
        sqlite3_config(CONFIG_MALLOC, &raw const methods);
    }
}

/// Returns the size of a block for so many bytes: as SQLite's own, a multiple of 8.
fn rounded(bytes: c_int) -> usize {
    let bytes = usize::try_from(bytes).unwrap_or(0).max(1);
    bytes.next_multiple_of((bytes.next_power_of_two() / 2 / ROOM_SHARE).max(8))
}

unsafe extern "C" fn allocate(bytes: c_int) -> *mut c_void {
    // SAFETY: the block begins with a header, written here.
    unsafe { with_header(libc::malloc(HEADER_BYTES + rounded(bytes)), rounded(bytes)) }
}

unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: SQLite passes null or a block of these functions, which begins with a header.
    unsafe { libc::free(if block.is_null() { block } else { block.byte_sub(HEADER_BYTES) }) }
}

/// SQLite passes a block and a size from [`round_up`].
unsafe extern "C" fn reallocate(block: *mut c_void, bytes: c_int) -> *mut c_void {
    // SAFETY: as for `free`; a block that moves keeps its header.
    unsafe { with_header(libc::realloc(block.byte_sub(HEADER_BYTES), HEADER_BYTES + rounded(bytes)), rounded(bytes)) }
}

unsafe fn with_header(allocated: *mut c_void, bytes: usize) -> *mut c_void {
    if allocated.is_null() {
        return allocated;
    }
    // SAFETY: the allocation has room for the header, and malloc(3) aligns it for any type.
    unsafe {
        allocated.cast::<u64>().write(bytes as u64);
        allocated.byte_add(HEADER_BYTES)
    }
}

unsafe extern "C" fn size(block: *mut c_void) -> c_int {
    if block.is_null() {
        return 0;
    }
    // SAFETY: as for `free`.
    let bytes = unsafe { block.byte_sub(HEADER_BYTES).cast::<u64>().read() };
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn round_up(bytes: c_int) -> c_int {
    c_int::try_from(rounded(bytes)).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn start(_data: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn stop(_data: *mut c_void) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_room_for_a_share_of_its_size() {
        for (bytes, want) in
            [(0, 8), (1, 8), (8, 8), (9, 16), (512, 512), (513, 528), (1000, 1008), (4361, 4480), (65_537, 67_584)]
        {
            assert_eq!(rounded(bytes), want, "{bytes}");
        }
        for bytes in (0..100_000).step_by(37).chain([c_int::MAX - 7, c_int::MAX]) {
            let (rounded, asked) = (rounded(bytes), bytes as usize);
            assert!(rounded >= asked && rounded % 8 == 0 && rounded <= asked + asked / ROOM_SHARE + 8, "{bytes}");
            assert_eq!(super::rounded(round_up_of(rounded)), rounded, "{bytes}: rounding is idempotent");
        }
    }

    fn round_up_of(bytes: usize) -> c_int {
        c_int::try_from(bytes).unwrap_or(c_int::MAX)
    }

    #[test]
    fn a_block_keeps_its_bytes_when_it_grows() {
        // SAFETY: as SQLite calls the functions: sizes are within the block.
        unsafe {
            let mut block = allocate(100);
            assert_eq!((size(block), size(ptr::null_mut()), block.addr() % 8), (104, 0, 0));
            block.cast::<u8>().write_bytes(7, 100);
            for bytes in [104, 2000, 100_000] {
                block = reallocate(block, round_up(bytes));
                assert_eq!(size(block), round_up(bytes));
                assert!((0..100).all(|at| block.cast::<u8>().add(at).read() == 7));
            }
            free(block);
            free(ptr::null_mut());
        }
    }
}
