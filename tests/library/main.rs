//! The crate's server with a dispatch of one's own, as a user of the library has it. Built without
//! the feature `daemon` too.

// Nobody imports a test.
#![allow(unreachable_pub)]

mod bench;
mod ending;
mod order;
#[path = "../it/os.rs"]
#[allow(dead_code)]
mod os;
mod pool;
mod readers;
#[path = "../it/skip.rs"]
#[allow(dead_code)]
mod skip;
