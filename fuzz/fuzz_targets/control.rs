//! Control messages are accepted or refused by their fields, as by a reference implementation.
#![no_main]

use iaid::wire::properties::control_reads;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| control_reads(data));
