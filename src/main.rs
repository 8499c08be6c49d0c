//! The program `iaid`: takes what the process inherited while it is still alone, and hands over.

use std::process::ExitCode;

use iaid::cli;
use iaid::sys::inherited;

fn main() -> ExitCode {
    cli::run(inherited::take())
}
