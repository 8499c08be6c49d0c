//! What a session is given when it starts or returns: the briefing, the digest, its first turn.

pub(crate) mod briefing;
pub(crate) mod digest;
