//! Any split of the input gives the same lines. The first bytes are the lengths of the pieces.
#![no_main]

use iaid::wire::properties::line_any_split;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else { return };
    let (cuts, input) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut)).collect();
    line_any_split(input, &cuts);
});
