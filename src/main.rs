//! The program `iaid`: takes the inherited descriptors and environment before any thread starts, then runs the command
//! line.

use std::process::ExitCode;

use iaid::cli;
use iaid::sys::inherited;
use iaid::sys::reserve::ReservingAllocator;
use iaid::sys::sqlite_memory;

#[global_allocator]
static ALLOCATOR: ReservingAllocator = ReservingAllocator;

fn main() -> ExitCode {
    let inherited = inherited::take();
    sqlite_memory::configure();
    cli::run(inherited)
}
