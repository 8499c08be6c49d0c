//! The crate's server with a dispatch of one's own, as a user of the library has it. Built without
//! the feature `daemon` too.

mod bench;
mod ending;
#[path = "../it/os.rs"]
#[allow(dead_code)]
mod os;
mod pool;
mod readers;
