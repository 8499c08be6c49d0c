//! In any order of reading, serving, answering and writing, each line gets exactly one reply, in order,
//! and the limits are kept.
#![no_main]

use iaid::wire::properties::session_keeps_order;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| session_keeps_order(data));
