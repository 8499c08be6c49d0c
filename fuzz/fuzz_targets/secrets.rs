//! Masking a text is exact, and masking it again keeps the masks.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| iaid::secrets::properties::masking_is_exact_and_keeps_masks(data));
