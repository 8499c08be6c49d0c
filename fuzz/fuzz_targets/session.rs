//! Whatever is read, served, answered and written when: exactly one reply a line, in order, and
//! never over the limits.
#![no_main]

use iaid::wire::properties::session_keeps_order;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| session_keeps_order(data));
