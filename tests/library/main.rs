//! The server with a dispatch of the test, as a user of the library has it. Also built without the feature
//! `daemon`.

// Nothing imports a test crate.
#![allow(unreachable_pub)]

mod ending;
mod harness;
mod memory;
mod order;
#[path = "../it/os.rs"]
#[allow(dead_code)]
mod os;
mod pool;
mod readers;
#[path = "../it/skip.rs"]
#[allow(dead_code)]
mod skip;
