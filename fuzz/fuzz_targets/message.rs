//! No line makes the parser panic, and an accepted call's id comes back byte for byte.
#![no_main]

use iaid::wire::properties::message_reads;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message_reads(data));
