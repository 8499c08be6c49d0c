//! Values without I/O: the fields of a record, their limits, and timestamps.

pub(crate) mod annotation;
pub(crate) mod record;
pub(crate) mod time;
