//! The program `iaid`: takes the inherited descriptors and environment before any thread starts, then runs the command
//! line.

use std::process::ExitCode;

use iaid::cli;
use iaid::sys::inherited;
use iaid::sys::reserve::ReservingAllocator;

#[global_allocator]
static ALLOCATOR: ReservingAllocator = ReservingAllocator;

fn main() -> ExitCode {
    cli::run(inherited::take())
}
