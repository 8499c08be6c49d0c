//! Control messages are taken or refused for what their fields are.
#![no_main]

use iaid::wire::properties::control_reads;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| control_reads(data));
