//! `iaid hook`: runs at the start of an assistant's session, at each prompt and after each answer.
//!
//! It prints the briefing for the session and captures new text of the transcript. It must never disturb the session:
//! standard output has nothing but the expected JSON, errors go to a log, the exit code is always 0, and the process
//! ends within [`MAX_RUN_TIME`], whatever the input is and whatever the daemon does.

mod capture;
mod context;
pub(crate) mod input;
pub(crate) mod last_capture;
mod log;
mod offset;
mod rollout;
mod spool;

use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use jiff::Timestamp;
use serde_json::json;

use self::capture::TranscriptCapture;
use self::input::{CHECK_KEY, HookInput};
use self::log::HookLog;
use crate::cli::support::console::Console;
use crate::cli::support::{control_message, paths};
use crate::client::{Client, Policy};
use crate::transcript::{Assistant, TranscriptTurn};

/// Time after which a hook exits in any case, because the assistant waits for it. Twice the sum of the socket's timeouts.
const MAX_RUN_TIME: Duration = Duration::from_secs(5);

/// Most bytes read of standard input. 16 MiB: longer than any prompt.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// Stack size of the timeout thread.
const TIMER_STACK_BYTES: usize = 64 << 10;

/// Run as an assistant's hook, with the hook's JSON on standard input; set up by `iaid install`
///
/// The exit code is always 0. Errors are logged to logs/hooks.log in the store's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Event of the assistant: session-start, user-prompt-submit or stop
    event: String,
    /// Folder of the store, for captures while no daemon runs [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Ignored; for options of later releases
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

/// An event of an assistant's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HookEvent {
    SessionStart,
    UserPromptSubmit,
    Stop,
}

impl HookEvent {
    fn named(name: &str) -> Option<HookEvent> {
        match name {
            "session-start" => Some(HookEvent::SessionStart),
            "user-prompt-submit" => Some(HookEvent::UserPromptSubmit),
            "stop" => Some(HookEvent::Stop),
            _ => None,
        }
    }
}

/// Runs the hook. Never fails or panics; errors go to the hook log.
pub(crate) fn run(args: &HookArgs, socket: Option<PathBuf>, console: &mut Console) {
    let timer = thread::Builder::new().stack_size(TIMER_STACK_BYTES);
    // If the thread cannot start, the socket's timeouts and the assistant's own still apply.
    drop(timer.spawn(|| {
        thread::sleep(MAX_RUN_TIME);
        process::exit(0);
    }));
    let env = |name: &str| env::var_os(name);
    let (socket, store) = match (paths::socket(socket, &env), paths::store(args.store.clone(), &env)) {
        (Ok(socket), Ok(store)) => (socket, store),
        (Err(error), _) | (_, Err(error)) => return console.warn(format_args!("iaid hook: {error}")),
    };
    if console.input_kind.is_terminal() {
        return console.warn("iaid hook: run by an assistant, with a JSON object on standard input");
    }
    let log = HookLog::new(&store, args.event.clone());
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| print_and_capture(args, &socket, &store, &log, console)));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(what)) => log.say(what),
        Err(payload) => {
            let what = payload.downcast_ref::<&str>().copied().unwrap_or_default();
            let what = payload.downcast_ref::<String>().map_or(what, String::as_str);
            log.say(format_args!("panicked: {what}"));
        }
    }
}

fn print_and_capture(
    args: &HookArgs,
    socket: &Path,
    store: &Path,
    log: &HookLog,
    console: &mut Console,
) -> Result<(), String> {
    let began = Instant::now();
    let event = HookEvent::named(&args.event).ok_or_else(|| format!("unknown event '{}'", args.event))?;
    let mut bytes = Vec::new();
    console.input.by_ref().take(MAX_INPUT_BYTES).read_to_end(&mut bytes).map_err(|e| format!("standard input: {e}"))?;
    let input = HookInput::read(&bytes)?;
    let mut client = Client::new(socket, policy());
    if input.is_check {
        return check(socket, store, &mut client, console).map_err(|error| error.to_string());
    }
    if event == HookEvent::SessionStart
        && let Err(what) = print_briefing(&input, &mut client, console)
    {
        log.say(what);
    }
    let mut capture = TranscriptCapture::new(store, &mut client, log, began);
    let transcript = transcript(&input);
    let taken = transcript
        .as_deref()
        .ok_or_else(|| "the input names no transcript".to_owned())
        .and_then(|path| {
            let cwd = input.cwd.as_deref();
            capture.session(&input.session, path, cwd).map_err(|error| format!("{}: {error}", path.display()))
        })
        .or_else(|what| match turn_of(event, &input) {
            Some(turn) => capture.single_turn(turn).map_err(|error| format!("{what}; and {error}")),
            // A new session has no transcript yet.
            None if event == HookEvent::SessionStart => Ok(()),
            None => Err(what),
        });
    if event == HookEvent::SessionStart {
        capture.others(&input.session);
    }
    taken
}

/// Answers `iaid doctor`: prints the version, socket and store of this hook, and the error of a `ping`. Changes nothing.
fn check(socket: &Path, store: &Path, client: &mut Client, console: &mut Console) -> io::Result<()> {
    let problem = client.call("ping", &json!({})).err().map(|error| error.to_string());
    let version = env!("CARGO_PKG_VERSION");
    let about = json!({"version": version, "socket": socket.display().to_string(), "store": store.display().to_string(),
        "problem": problem});
    console.say(json!({ CHECK_KEY: about }))?;
    console.flush()
}

/// Opens the session and prints its briefing, if there is one.
///
/// # Errors
/// The message of the failed call or write.
fn print_briefing(input: &HookInput, client: &mut Client, console: &mut Console) -> Result<(), String> {
    let HookInput { session, cwd, .. } = input;
    let open = json!({"type": "session_open", "session_id": session, "ts": control_message::now()});
    client.control(&open).map_err(|error| error.to_string())?;
    let project = cwd.as_deref().unwrap_or_default();
    let params = json!({"session_id": session, "project": project, "wake_depth": "standard"});
    let payload = capture::call(client, "session_start_payload", &params)?;
    match context::output(payload.get()) {
        Some(line) => console.say(line).and_then(|()| console.flush()).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Returns the policy for a hook, for which an assistant waits. A running daemon accepts at once and answers within
/// milliseconds; one that is started by the connection takes up to a second.
fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_millis(250),
        wait_for_start: Duration::ZERO,
        wait_for_restart: Duration::ZERO,
        reply_timeout: Duration::from_secs(1),
        ..Policy::default()
    }
}

/// Returns the path of the session's transcript: the named one, else Codex's rollout file of the session.
fn transcript(input: &HookInput) -> Option<PathBuf> {
    let home = || env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    match &input.transcript {
        Some(path) => match path.strip_prefix("~") {
            Ok(rest) => home().map(|home| home.join(rest)),
            Err(_) => Some(path.clone()),
        },
        None => {
            let codex = env::var_os("CODEX_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
            rollout::find(&codex.or_else(|| Some(home()?.join(".codex")))?, &input.session)
        }
    }
}

/// Returns the turn that the input itself has, for a session without a transcript. Slash commands are not captured.
fn turn_of(event: HookEvent, input: &HookInput) -> Option<TranscriptTurn> {
    let (role, text) = match event {
        HookEvent::UserPromptSubmit => ("user", input.prompt.as_ref().filter(|prompt| !prompt.starts_with('/'))?),
        HookEvent::Stop => ("assistant", input.answer.as_ref()?),
        HookEvent::SessionStart => return None,
    };
    let assistant = match &input.transcript {
        Some(_) => Assistant::ClaudeCode,
        None => Assistant::Codex,
    };
    TranscriptTurn::from_text(
        assistant,
        role,
        text,
        input.session.clone(),
        input.cwd.clone(),
        Timestamp::now().to_string(),
    )
}
