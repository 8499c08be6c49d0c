//! Pure values: what a record is made of, its limits, and points in time.

pub(crate) mod record;
pub(crate) mod time;
