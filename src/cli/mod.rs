//! The command line: one module per command, from its parsed arguments to its output.
//!
//! Nothing here opens the database, but `restore` if no daemon runs. Every command but `serve`, `log`, `install`, `uninstall`, `completions` and `man`
//! is a client of the socket; `doctor` reads files as well. The caller takes the inherited descriptors before the first
//! thread starts, and exits with the code that [`run`] returns.
//!
//! Exit codes: 0, 1 failed, 2 wrong usage, 3 daemon unreachable.

mod backup;
mod call;
mod capture;
mod completions;
mod control;
mod doctor;
mod export;
mod forget;
mod hook;
mod import;
mod inspect;
mod install;
mod log;
mod man;
mod mcp;
mod project;
mod recall;
mod rem;
mod report;
mod restore;
mod serve;
mod status;
mod support;
mod sync;
mod uninstall;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::client::{Client, Policy};
use crate::lifecycle::user_zone;
use crate::sys::inherited::Inherited;
use crate::sys::notify::Notifier;

use self::support::console::{Console, OutputFormat};
use self::support::error::{self, CliError};
use self::support::logging::{self, OnFullPipe};
use self::support::{control_message, paths};

/// Display order of the global options in `--help`: after those of the command.
const GLOBAL_OPTION_ORDER: usize = 100;

/// A memory for AI assistants: one daemon, one socket, one database file.
#[derive(Debug, Parser)]
#[command(name = "iaid", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// Socket of the daemon [default: $IAI_DAEMON_SOCKET_PATH, else ~/.iai-mcp/.daemon.sock]
    #[arg(long, global = true, value_name = "PATH", display_order = GLOBAL_OPTION_ORDER)]
    socket: Option<PathBuf>,
    /// Print compact JSON on standard output, and errors as JSON on standard error
    #[arg(long, global = true, display_order = GLOBAL_OPTION_ORDER)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0, 1 failed, 2 wrong usage, 3 daemon unreachable.
IAID_LOG sets the log filter for standard error, such as debug or info,iaid::serve=trace.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Mcp(mcp::McpArgs),
    Call(call::CallArgs),
    Status(status::StatusArgs),
    Pause(control::PauseArgs),
    Resume(control::ResumeArgs),
    Sleep(control::SleepArgs),
    Wake(control::WakeArgs),
    Rem(rem::RemArgs),
    Capture(capture::CaptureArgs),
    Recall(recall::RecallArgs),
    List(inspect::ListArgs),
    Show(inspect::ShowArgs),
    /// List the sessions, that with the newest record first
    Sessions(inspect::PageArgs),
    /// List the projects, that with the newest record first
    Projects(inspect::PageArgs),
    Forget(forget::ForgetArgs),
    Project(project::ProjectArgs),
    Report(report::ReportArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Sync(sync::SyncArgs),
    Log(log::LogArgs),
    Doctor(doctor::DoctorArgs),
    Install(install::InstallArgs),
    Uninstall(uninstall::UninstallArgs),
    Hook(hook::HookArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Parses the command line, runs the command and returns the exit code.
pub fn run(inherited: Inherited) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::usage(&error, invoker()),
    };
    let (level, unread) = match &cli.command {
        Command::Serve(_) => (::log::LevelFilter::Info, OnFullPipe::Drop),
        Command::Mcp(_) => (::log::LevelFilter::Warn, OnFullPipe::Drop),
        Command::Hook(_) => (::log::LevelFilter::Off, OnFullPipe::Wait),
        _ => (::log::LevelFilter::Warn, OnFullPipe::Wait),
    };
    logging::start(level, unread);
    // Before the first thread starts, and after logging does, since it may log.
    let notifier = Notifier::from_env();
    let mut console = Console::standard(if cli.json { OutputFormat::Json } else { OutputFormat::Text });
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args, cli.socket, inherited, notifier),
        Command::Mcp(args) => mcp::run(args, cli.socket),
        Command::Hook(args) => {
            hook::run(&args, cli.socket, &mut console);
            return ExitCode::SUCCESS;
        }
        // The user names the method.
        Command::Call(_) => run_client(cli.command, cli.socket, &mut console),
        command => run_client(command, cli.socket, &mut console).map_err(CliError::of_older_daemon),
    };
    let outcome = outcome.and_then(|()| console.flush().map_err(CliError::Output));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report(&mut console);
            error.exit_code()
        }
    }
}

/// Returns who started the process. A hook must exit with 0; 2 would make an assistant block the prompt.
fn invoker() -> error::Invoker {
    let mut args = env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("hook") => return error::Invoker::Hook,
            Some("--socket") => drop(args.next()),
            Some(option) if option.starts_with('-') => {}
            _ => break,
        }
    }
    error::Invoker::Person
}

fn run_client(command: Command, socket: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let option = socket.clone();
    let client = |policy| Ok::<_, CliError>(Client::new(paths::socket(socket, &|name| env::var_os(name))?, policy));
    match command {
        Command::Serve(_) | Command::Mcp(_) | Command::Hook(_) => Ok(()),
        Command::Doctor(args) => doctor::run(&args, option, console),
        Command::Install(args) => install::run(&args, option, console),
        Command::Uninstall(args) => uninstall::run(&args, console),
        Command::Completions(args) => completions::run(&args, Cli::command(), console),
        Command::Man(args) => man::run(&args, Cli::command(), console),
        Command::Log(args) => log::run(args, console),
        Command::Call(args) => call::run(&args, &mut client(args.policy())?, console),
        Command::Capture(args) => capture::run(&args, &mut client(Policy::default())?, console),
        Command::Recall(args) => recall::run(&args, &mut client(Policy::default())?, console),
        Command::List(args) => inspect::list(&args, &mut client(Policy::default())?, console),
        Command::Show(args) => inspect::show(&args, &mut client(Policy::default())?, console),
        Command::Sessions(args) => inspect::sessions(&args, &mut client(Policy::default())?, console),
        Command::Projects(args) => inspect::projects(&args, &mut client(Policy::default())?, console),
        Command::Forget(args) => forget::run(&args, &mut client(forget::policy())?, console),
        Command::Project(args) => project::run(&args, &mut client(Policy::default())?, console),
        Command::Report(args) => report::run(&args, &mut client(Policy::default())?, console),
        Command::Export(args) => export::run(&args, &mut client(Policy::default())?, console),
        Command::Import(args) => import::run(&args, &mut client(Policy::default())?, console),
        Command::Backup(args) => backup::run(&args, &mut client(backup::policy())?, console),
        Command::Restore(args) => restore::run(&args, &mut client(restore::policy())?, &user_zone::system(), console),
        Command::Sync(args) => sync::run(&args, &mut client(sync::policy())?, console),
        Command::Status(args) => status::run(&args, &mut client(args.policy())?, console),
        Command::Pause(args) => control::pause(&args, &mut client(control_message::policy())?, console),
        Command::Resume(args) => control::resume(&args, &mut client(control_message::policy())?, console),
        Command::Sleep(args) => control::sleep(&args, &mut client(control_message::policy())?, console),
        Command::Wake(args) => control::wake(&args, &mut client(control_message::policy())?, console),
        Command::Rem(args) => rem::run(&args, &mut client(control_message::policy())?, console),
    }
}
