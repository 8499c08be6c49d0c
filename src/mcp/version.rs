//! The supported versions of MCP, and the features of each.
//!
//! Up to 2025-11-25, client and server negotiate a version with `initialize`. Since 2026-07-28 every
//! request names its version, and there is no handshake.

/// A protocol version, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// The versions that `initialize` negotiates, with their names, oldest first.
const WITH_HANDSHAKE: [(&str, Version); 4] = [
    ("2024-11-05", Version::V2024_11_05),
    ("2025-03-26", Version::V2025_03_26),
    ("2025-06-18", Version::V2025_06_18),
    ("2025-11-25", Version::V2025_11_25),
];

/// The names of the versions that are given with each request.
pub(crate) const PER_REQUEST: [&str; 1] = ["2026-07-28"];

impl Version {
    /// Returns the version for a client that requests this one in `initialize`: the same if it is
    /// supported, else the newest version with a handshake.
    pub(crate) fn negotiate(requested: &str) -> Version {
        WITH_HANDSHAKE.iter().find(|(name, _)| *name == requested).map_or(Version::V2025_11_25, |(_, version)| *version)
    }

    /// Returns the version that a request names, or `None` if it is not supported.
    pub(crate) fn of_request(named: &str) -> Option<Version> {
        (named == PER_REQUEST[0]).then_some(Version::V2026_07_28)
    }

    /// Returns the version's name, a date.
    pub(crate) fn name(self) -> &'static str {
        WITH_HANDSHAKE.iter().find(|(_, version)| *version == self).map_or(PER_REQUEST[0], |(name, _)| name)
    }

    /// Returns true if several messages may be sent in one array. Only 2025-03-26 has this.
    pub(crate) fn has_batches(self) -> bool {
        self == Version::V2025_03_26
    }

    /// Returns true if tools have annotations, hints about their effects.
    pub(crate) fn has_annotations(self) -> bool {
        self >= Version::V2025_03_26
    }

    /// Returns true if tools have titles and output schemas, and results have structured content.
    pub(crate) fn has_structure(self) -> bool {
        self >= Version::V2025_06_18
    }

    /// Returns true if `serverInfo` has a description.
    pub(crate) fn has_description(self) -> bool {
        self >= Version::V2025_11_25
    }

    /// Returns true if there is no handshake: each request names its version, and each result has its type,
    /// the server, and how long it may be cached.
    pub(crate) fn is_stateless(self) -> bool {
        self >= Version::V2026_07_28
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_versions_are_negotiated_and_others_get_the_newest() {
        for (requested, negotiated) in [
            ("2024-11-05", "2024-11-05"),
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            // It has no handshake, so it cannot be negotiated.
            ("2026-07-28", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
            ("2024-10-07", "2025-11-25"),
            ("", "2025-11-25"),
        ] {
            assert_eq!(Version::negotiate(requested).name(), negotiated, "{requested}");
        }
        assert_eq!(Version::of_request("2026-07-28").map(Version::name), Some("2026-07-28"));
        assert_eq!(Version::of_request("2025-11-25"), None);
    }

    #[test]
    fn each_version_has_its_features() {
        let features = |version: Version| {
            [
                version.has_batches(),
                version.has_annotations(),
                version.has_structure(),
                version.has_description(),
                version.is_stateless(),
            ]
        };
        assert_eq!(features(Version::V2024_11_05), [false, false, false, false, false]);
        assert_eq!(features(Version::V2025_03_26), [true, true, false, false, false]);
        assert_eq!(features(Version::V2025_06_18), [false, true, true, false, false]);
        assert_eq!(features(Version::V2025_11_25), [false, true, true, true, false]);
        assert_eq!(features(Version::V2026_07_28), [false, true, true, true, true]);
    }
}
