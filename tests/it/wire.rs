//! WIRE.md's tables as transcripts: `-->` is sent, `<--` must come back, byte for byte. In a reply
//! `…` stands for anything.

use crate::harness::setup;
