//! Values without I/O: the fields of a record, their limits, timestamps, and maps of the store's numbers.

pub(crate) mod annotation;
pub(crate) mod record;
pub(crate) mod seq_map;
pub(crate) mod time;
