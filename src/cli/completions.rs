//! `iaid completions`: prints the completion script of a shell.

use clap::Command;
use clap_complete::Shell;

use crate::cli::support::console::Console;
use crate::cli::support::error::CliError;

/// Print a completion script, such as: iaid completions bash > ~/.local/share/bash-completion/completions/iaid
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to print it for
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, mut command: Command, console: &mut Console) -> Result<(), CliError> {
    // Via a buffer: the generator panics if its writer fails, as with `| head`.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "iaid", &mut script);
    console.out.write_all(&script).map_err(CliError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::cli::support::console;
    use clap::{CommandFactory, ValueEnum};

    #[test]
    fn every_shell_has_a_script_with_the_commands() {
        for &shell in Shell::value_variants() {
            let (mut console, out, _) = console::tests::console(console::OutputFormat::Text, b"");
            run(&CompletionsArgs { shell }, Cli::command(), &mut console).unwrap();
            assert!(out.text().contains("recall"), "{shell}");
        }
    }
}
