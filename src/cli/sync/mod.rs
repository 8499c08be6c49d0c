//! `iaid sync`: makes the memories of two machines one, through a pipe (ssh) or a folder that something else carries.
//!
//! Records are written once and have ids, so two stores merge by union, in any order and any number of times; the daemon
//! does that (`memory/sync`). This module carries entries that it does not look into. It opens no network socket.

mod exchange;
mod folder;
mod folder_access;
mod folder_file;
mod frame;
mod inbound;
mod local_store;
pub(crate) mod met;
mod own_file;
mod pipe;
mod remote;
mod tally;
mod target;
#[cfg(test)]
mod testing;

use std::ffi::OsString;
use std::io;
use std::mem;
use std::path::Path;

use serde_json::json;

use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::{CliError, Exit};
use crate::cli::support::lines::LineReader;
use crate::cli::support::values::counted;
use crate::client::Client;
use crate::sys::host_name::host_name;

use self::exchange::{Exchange, ExchangeError, ExchangeTally, SyncSide};
use self::folder::FolderSync;
use self::frame::MAX_FRAME_BYTES;
use self::local_store::LocalStore;
pub(crate) use self::local_store::policy;
use self::pipe::{PeerGreeting, Pipe, PipeEnd};
use self::remote::{RemoteProgram, version_mismatch};
use self::target::SyncTarget;

/// Sync the memory with that of another machine, both ways
///
/// Over ssh with a host that has iaid too, or through a folder that something else carries (a USB stick, Syncthing, a
/// mounted share). Only what is new is carried. An interrupted run loses nothing: run it again.
#[derive(Debug, clap::Args)]
#[command(override_usage = "iaid sync [--yes] <[USER@]HOST|FOLDER>\n       iaid sync [--yes] --command <CMD>")]
pub(crate) struct SyncArgs {
    /// Host, as ssh takes it, or folder: with a / or an existing one; ssh:// forces a host
    #[arg(value_name = "[USER@]HOST|FOLDER", required_unless_present_any = ["command", "serve"])]
    target: Option<OsString>,
    /// Run this instead of ssh; its standard input and output lead to an iaid sync --serve
    #[arg(long, value_name = "CMD", conflicts_with = "target")]
    command: Option<String>,
    /// Serve one run on standard input and output: what ssh runs on the other machine
    #[arg(long, conflicts_with_all = ["target", "command", "yes"])]
    serve: bool,
    /// Forget what the other side has forgotten, however much that is
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &SyncArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    if args.serve {
        return serve(client, console);
    }
    let program = match (&args.command, &args.target) {
        (Some(command), _) => RemoteProgram::Shell(command.clone()),
        (None, Some(target)) => match SyncTarget::of(target, &|path| path.is_dir())? {
            SyncTarget::Host(host) => RemoteProgram::Ssh(host),
            SyncTarget::Folder(folder) => return sync_folder(&folder, args.yes, client, console),
        },
        (None, None) => return Err(CliError::Usage("give a host, a folder or --command".into())),
    };
    sync_pipe(program, args.yes, client, console)
}

/// Syncs with the program at the other end of a pipe.
fn sync_pipe(program: RemoteProgram, yes: bool, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    // Before anybody types a password for nothing.
    let mut store = LocalStore::open(client)?;
    let (remote, mut pipe) = program.clone().start()?;
    let greeted = pipe.greet(&store.id, &host_name(), None);
    // The other side may have said why it reads nothing.
    let peer = match pipe.greeted() {
        Ok(peer) => peer,
        Err(end) => return Err(remote.error(pipe, &end, false)),
    };
    if let Err(end) = greeted {
        return Err(remote.error(pipe, &end, true));
    }
    if peer.skipped > 0 {
        let lines = counted(peer.skipped, "line", "lines");
        let what =
            format!("skipped {lines} that {} wrote before iaid; the first: {}", program.name(), peer.first_skipped);
        console.warn(what);
    }
    if peer.store == store.id {
        return Err(CliError::Peer(
            format!("{} has this very store: there is nothing to sync", program.name()),
            Exit::Failed,
        ));
    }
    let name = match &program {
        RemoteProgram::Ssh(host) => host.clone(),
        RemoteProgram::Shell(_) => name_of(&peer),
    };
    let exchange = Exchange::new(&mut pipe, &mut store, SyncSide::Caller, (peer, name.clone()), yes);
    match exchange.run(console) {
        Ok(tally) => {
            remote.finish(pipe);
            report_pipe(&name, &tally, console)
        }
        Err(ExchangeError::Own(error)) => Err(error),
        Err(ExchangeError::Pipe(end)) => Err(remote.error(pipe, &end, true)),
    }
}

/// Returns the name under which a peer is remembered that no argument names.
fn name_of(peer: &PeerGreeting) -> String {
    if peer.name.is_empty() { "another machine".to_owned() } else { peer.name.clone() }
}

/// Serves the side that a person or a timer has started.
fn serve(client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    if console.input_kind.is_terminal() {
        let what = "--serve is what iaid sync runs at its other end; give a host or a folder";
        return Err(CliError::Usage(what.into()));
    }
    let input = mem::replace(&mut console.input, Box::new(io::empty()));
    let output = mem::replace(&mut console.out, Box::new(io::sink()));
    let mut pipe = Pipe::new(LineReader::new(input, MAX_FRAME_BYTES), output);
    let mut store = match LocalStore::open(client) {
        Ok(store) => store,
        Err(error) => {
            let error = error.of_older_daemon();
            return match pipe.greet("", &host_name(), Some(&error.to_string())) {
                Ok(()) => Err(CliError::Told),
                Err(_) => Err(error),
            };
        }
    };
    let greeted = pipe.greet(&store.id, &host_name(), None).and_then(|()| pipe.greeted());
    let peer = match greeted {
        Ok(peer) if peer.store == store.id => return Err(CliError::Told),
        Ok(peer) => peer,
        Err(end) => return serve_failed(end),
    };
    let name = name_of(&peer);
    match Exchange::new(&mut pipe, &mut store, SyncSide::Server, (peer, name), false).run(console) {
        Ok(_) => Ok(()),
        // The caller has got it over the pipe.
        Err(ExchangeError::Own(_)) => Err(CliError::Told),
        Err(ExchangeError::Pipe(end)) => serve_failed(end),
    }
}

/// Returns the error of the serving side, which the caller's side sees on standard error.
fn serve_failed(end: PipeEnd) -> Result<(), CliError> {
    let what = match end {
        // The caller says it itself, and may be gone.
        PipeEnd::Failed(_) | PipeEnd::Silent | PipeEnd::Closed => return Err(CliError::Told),
        PipeEnd::Version(format, version) => version_mismatch("the other side", format, &version),
        PipeEnd::NoGreeting(_) => "standard input is not that of iaid sync, which runs this by itself".into(),
        PipeEnd::Damaged => "the pipe has damaged a line; run iaid sync again".into(),
        PipeEnd::Io(kind) => format!("the pipe failed ({kind}); run iaid sync again"),
    };
    Err(CliError::Peer(what, Exit::Failed))
}

fn sync_folder(folder: &Path, yes: bool, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let mut store = LocalStore::open(client)?;
    let machine = host_name();
    let (sync, _lock) = FolderSync::open(folder, &mut store, &machine, yes)?;
    let tally = sync.run(console)?;
    match console.format {
        OutputFormat::Json => {
            let (here, written) = (tally.here.as_json(), tally.written);
            console.say(json!({"here": here, "written": written, "writers": tally.writers, "problems": tally.problems}))
        }
        OutputFormat::Text => {
            let others = counted(tally.writers, "other store", "other stores");
            let written = counted(tally.written, "entry", "entries");
            let here = tally.here.in_words();
            let line = format!("{}: {here} came from {others}; {written} written", folder.display());
            console.say(visible(&line, console.out_kind))
        }
    }
    .map_err(CliError::Output)?;
    outcome(tally.here.refused, tally.problems)
}

fn report_pipe(name: &str, tally: &ExchangeTally, console: &mut Console) -> Result<(), CliError> {
    let ExchangeTally { here, there } = tally;
    match console.format {
        OutputFormat::Json => console.say(json!({"peer": name, "here": here.as_json(), "there": there.as_json()})),
        OutputFormat::Text => {
            let line = format!("synced with {name}; new here: {}; new there: {}", here.in_words(), there.in_words());
            console.say(visible(&line, console.out_kind))
        }
    }
    .map_err(CliError::Output)?;
    outcome(here.refused.saturating_add(there.refused), 0)
}

/// Returns an error if something was left out.
fn outcome(refused: u64, problems: u64) -> Result<(), CliError> {
    if refused == 0 && problems == 0 {
        return Ok(());
    }
    let refused = counted(refused, "entry was refused", "entries were refused");
    let files = counted(problems, "file could not be read", "files could not be read");
    Err(CliError::Peer(format!("{refused} and {files}, see above; everything else is synced"), Exit::Failed))
}
