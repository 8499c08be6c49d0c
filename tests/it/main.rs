//! The program through its front door: the built binary, its socket, its files.

// Nobody imports a test.
#![allow(unreachable_pub)]

mod ending;
mod harness;
mod layers;
mod os;
mod serve;
mod wire;
