//! The protocol versions that are spoken, and what each of them knows.
//!
//! Up to 2025-11-25 a client and a server agree on one with `initialize`; since 2026-07-28 every
//! request names its own, and there is no handshake.

/// A version, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// Those that `initialize` can agree on, each with its name; oldest first.
const WITH_HANDSHAKE: [(&str, Version); 4] = [
    ("2024-11-05", Version::V2024_11_05),
    ("2025-03-26", Version::V2025_03_26),
    ("2025-06-18", Version::V2025_06_18),
    ("2025-11-25", Version::V2025_11_25),
];

/// Those that a request names for itself.
pub(crate) const PER_REQUEST: [&str; 1] = ["2026-07-28"];

impl Version {
    /// What `initialize` answers to a client that asks for this one: the same where it is spoken, else
    /// the newest with a handshake.
    pub(crate) fn agreed(asked: &str) -> Version {
        WITH_HANDSHAKE.iter().find(|(name, _)| *name == asked).map_or(Version::V2025_11_25, |(_, version)| *version)
    }

    /// The version that a request names for itself, where it is spoken.
    pub(crate) fn of_request(named: &str) -> Option<Version> {
        (named == PER_REQUEST[0]).then_some(Version::V2026_07_28)
    }

    pub(crate) fn name(self) -> &'static str {
        WITH_HANDSHAKE.iter().find(|(_, version)| *version == self).map_or(PER_REQUEST[0], |(name, _)| name)
    }

    /// Many messages in one array; one version alone had it.
    pub(crate) fn has_batches(self) -> bool {
        self == Version::V2025_03_26
    }

    /// Hints at what a tool does.
    pub(crate) fn has_annotations(self) -> bool {
        self >= Version::V2025_03_26
    }

    /// Titles, schemas of results, and results as values.
    pub(crate) fn has_structure(self) -> bool {
        self >= Version::V2025_06_18
    }

    /// A server's own description.
    pub(crate) fn has_description(self) -> bool {
        self >= Version::V2025_11_25
    }

    /// Every request stands alone: results say their type, who answers, and how long they keep.
    pub(crate) fn is_stateless(self) -> bool {
        self >= Version::V2026_07_28
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_spoken_is_agreed_on_and_any_other_is_answered_with_the_newest() {
        for (asked, agreed) in [
            ("2024-11-05", "2024-11-05"),
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            // It has no handshake, so none can end in it.
            ("2026-07-28", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
            ("2024-10-07", "2025-11-25"),
            ("", "2025-11-25"),
        ] {
            assert_eq!(Version::agreed(asked).name(), agreed, "{asked}");
        }
        assert_eq!(Version::of_request("2026-07-28").map(Version::name), Some("2026-07-28"));
        assert_eq!(Version::of_request("2025-11-25"), None);
    }

    #[test]
    fn each_version_knows_its_own() {
        let known = |version: Version| {
            [
                version.has_batches(),
                version.has_annotations(),
                version.has_structure(),
                version.has_description(),
                version.is_stateless(),
            ]
        };
        assert_eq!(known(Version::V2024_11_05), [false, false, false, false, false]);
        assert_eq!(known(Version::V2025_03_26), [true, true, false, false, false]);
        assert_eq!(known(Version::V2025_06_18), [false, true, true, false, false]);
        assert_eq!(known(Version::V2025_11_25), [false, true, true, true, false]);
        assert_eq!(known(Version::V2026_07_28), [false, true, true, true, true]);
    }
}
