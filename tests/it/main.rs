//! The program through its front door: the built binary, its socket, its files.

mod harness;
mod layers;
mod wire;
