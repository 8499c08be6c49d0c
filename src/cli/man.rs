//! `iaid man`: prints the manual pages of the program and of each command, one after the other.

use clap::Command;
use clap_mangen::Man;

use crate::cli::support::console::Console;
use crate::cli::support::error::CliError;

/// Print the manual pages, such as: iaid man | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {}

pub(crate) fn run(_: &ManArgs, mut command: Command, console: &mut Console) -> Result<(), CliError> {
    command.build();
    let mut pages = Vec::new();
    render(command, &mut pages).map_err(CliError::Output)?;
    console.out.write_all(&pages).map_err(CliError::Output)
}

/// Renders the page of the command, then those of its subcommands.
fn render(command: Command, pages: &mut Vec<u8>) -> std::io::Result<()> {
    let below: Vec<Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned().collect();
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    Man::new(command).title(name).manual("iaid manual").render(pages)?;
    below.into_iter().try_for_each(|sub| render(sub, pages))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::cli::support::console;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_a_page() {
        let (mut console, out, _) = console::tests::console(console::OutputFormat::Text, b"");
        run(&ManArgs {}, Cli::command(), &mut console).unwrap();
        let pages = out.text();
        for sub in Cli::command().get_subcommands() {
            let title = format!(".TH iaid-{} 1", sub.get_name());
            assert!(pages.contains(&title), "{title} in {}", &pages[..400]);
        }
        assert!(pages.contains(".TH iaid 1"));
        assert!(!pages.contains("iaid-help"));
    }
}
