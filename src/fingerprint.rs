//! The hash by which equal text is recognized: 128-bit FNV-1a (Fowler, Noll, Vo; RFC 9923), the same on every platform
//! and in every release. Not collision resistant: two texts may share a hash, by chance or on purpose, so compare the
//! texts, too. Pure.

/// Returns the fingerprint of a session, role and text: the hash of the session, a 0xFF byte (which UTF-8 never contains),
/// the role's number and the text, in big-endian order.
pub(crate) fn of(session: &str, role: u8, text: &str) -> [u8; 16] {
    let hash = fnv_1a(FNV_OFFSET, session.as_bytes());
    let hash = fnv_1a(hash, &[0xFF, role]);
    fnv_1a(hash, text.as_bytes()).to_be_bytes()
}

/// Returns the hash of `bytes`. Not cryptographic.
pub(crate) fn digest(bytes: &[u8]) -> u128 {
    fnv_1a(FNV_OFFSET, bytes)
}

const FNV_OFFSET: u128 = 0x6c62272e07bb014262b821756295c58d;
const FNV_PRIME: u128 = (1 << 88) + 0x13b;

fn fnv_1a(start: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_1a_matches_the_published_values() {
        for (text, want) in [
            ("", 0x6c62272e07bb014262b821756295c58d),
            ("a", 0xd228cb696f1a8caf78912b704e4a8964),
            ("foobar", 0x343e1662793c64bf6f0d3597ba446f18),
        ] {
            assert_eq!(fnv_1a(FNV_OFFSET, text.as_bytes()), want, "{text}");
        }
    }
}
