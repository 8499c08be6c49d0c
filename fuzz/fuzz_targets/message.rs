//! No line makes the parser panic, and the id of an accepted call is echoed byte for byte.
#![no_main]

use iaid::wire::properties::message_reads;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message_reads(data));
