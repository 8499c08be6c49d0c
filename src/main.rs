//! The program `iaid`: takes what the process inherited while it is still alone, and hands over.

use std::process::ExitCode;

use iaid::cli;
use iaid::sys::inherited;
use iaid::sys::notify::Notifier;

fn main() -> ExitCode {
    let inherited = inherited::take();
    let notifier = Notifier::from_env();
    cli::run(inherited, notifier)
}
