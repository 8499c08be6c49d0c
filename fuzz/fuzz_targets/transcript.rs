//! A reader of transcripts takes each whole record, whatever else a file has.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| iaid::transcript::properties::whole_records_are_taken(data));
