//! The types of a record's fields, and the fingerprint that identifies equal text of one role in one session.
//!
//! Pure.

use crate::fingerprint;
pub(crate) use crate::fingerprint::digest;

/// Longest text and longest cue, in bytes of UTF-8. A longer turn is captured in parts.
pub(crate) const TEXT_BYTES: usize = 64 << 10;

/// Longest session id, in bytes of UTF-8. Picked: ten UUIDs.
pub(crate) const SESSION_BYTES: usize = 512;

/// Longest project, in bytes of UTF-8: Linux' longest path.
pub(crate) const PROJECT_BYTES: usize = 4096;

/// Names under which clients that have no session capture and recall.
pub(crate) const NO_SESSION: [&str; 3] = ["", "-", "unknown"];

/// The session of all patterns. A pattern has no neighbors in a conversation.
pub(crate) const PATTERN_SESSION: &str = "-patterns-";

/// Returns true if the records of a session of this name have nothing in common. They may be of any project.
pub(crate) fn is_shared_session(name: &str) -> bool {
    NO_SESSION.contains(&name) || name == PATTERN_SESSION
}

/// The kind of memory that a record is. The store keeps the numbers, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Working = 0,
    Episodic = 1,
    Semantic = 2,
    Procedural = 3,
    Parametric = 4,
}

// SQL has this number as a literal in `tier > 1`: SQLite uses the partial index `record_facts` only for a literal.
const _: () = assert!(Tier::Episodic as i64 == 1);

impl Tier {
    /// Returns the tier with this name.
    pub(crate) fn named(name: &str) -> Option<Tier> {
        [Tier::Working, Tier::Episodic, Tier::Semantic, Tier::Procedural, Tier::Parametric]
            .into_iter()
            .find(|tier| tier.name() == name)
    }

    /// Returns the tier with this number in the store; `Episodic` for a number that no release has written.
    pub(crate) fn numbered(number: i64) -> Tier {
        match number {
            0 => Tier::Working,
            2 => Tier::Semantic,
            3 => Tier::Procedural,
            4 => Tier::Parametric,
            _ => Tier::Episodic,
        }
    }

    /// Returns its name in calls and results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tier::Working => "working",
            Tier::Episodic => "episodic",
            Tier::Semantic => "semantic",
            Tier::Procedural => "procedural",
            Tier::Parametric => "parametric",
        }
    }
}

/// The author of a record's text. The store keeps the numbers, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User = 0,
    Assistant = 1,
    System = 2,
}

impl Role {
    /// Returns the role with this name.
    pub(crate) fn named(name: &str) -> Option<Role> {
        [Role::User, Role::Assistant, Role::System].into_iter().find(|role| role.name() == name)
    }

    /// Returns the role with this number in the store; `User` for a number that no release has written.
    pub(crate) fn numbered(number: i64) -> Role {
        match number {
            1 => Role::Assistant,
            2 => Role::System,
            _ => Role::User,
        }
    }

    /// Returns its name in calls and results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        }
    }
}

/// Returns the fingerprint of a session, role and text ([`fingerprint::of`]).
pub(crate) fn fingerprint(session: &str, role: Role, text: &str) -> [u8; 16] {
    fingerprint::of(session, role as u8, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_differ_by_session_role_and_text() {
        let all = [
            fingerprint("s", Role::User, "text"),
            fingerprint("s", Role::Assistant, "text"),
            fingerprint("st", Role::User, "ext"),
            fingerprint("s", Role::User, "text "),
            fingerprint("", Role::User, "stext"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one));
        }
        assert_eq!(all[0], fingerprint("s", Role::User, "text"));
    }

    #[test]
    fn names_and_numbers_go_both_ways() {
        for name in ["working", "episodic", "semantic", "procedural", "parametric"] {
            let tier = Tier::named(name).unwrap();
            assert_eq!((tier.name(), Tier::numbered(tier as i64)), (name, tier));
        }
        for role in [Role::User, Role::Assistant, Role::System] {
            assert_eq!((Role::named(role.name()), Role::numbered(role as i64)), (Some(role), role));
        }
        assert_eq!((Tier::named("Episodic"), Role::named("tool")), (None, None));
    }
}
