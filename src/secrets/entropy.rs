//! The entropy of a token's bytes. Pure.

/// Returns the Shannon entropy of the bytes' distribution, in bits per byte.
pub(super) fn bits(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let total = bytes.len() as f64;
    let of = |count: u32| {
        let share = f64::from(count) / total;
        -share * share.log2()
    };
    counts.into_iter().filter(|count| *count > 0).map(of).sum()
}
