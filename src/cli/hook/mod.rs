//! `iaid hook`: what an assistant calls at the start of a session, at each prompt and after each answer.
//!
//! It tells the session what the memory holds and takes over what was said. A session must never suffer from
//! it: nothing but the JSON that is asked for goes to standard output, what goes wrong goes to a log, the
//! exit code is 0, and it ends by itself in time, whatever comes in and whatever the daemon does.

mod capture;
mod context;
pub(crate) mod input;
pub(crate) mod last_capture;
mod log;
mod offset;
mod rollout;
mod spool;

use std::env;
use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::cli::support::console::Console;
use crate::cli::support::control_message;
use crate::cli::support::paths;
use crate::client::{Client, Policy};
use crate::transcript::{Assistant, TranscriptTurn};

use self::capture::TranscriptCapture;
use self::input::{CHECK, HookInput};
use self::log::HookLog;

/// A hook ends by now, whatever it waits for: assistants wait for a hook. Twice what the socket's own
/// limits add up to.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Most bytes of standard input. 16 MiB: more than any prompt.
const INPUT_BYTES: u64 = 16 << 20;

/// The folder of places under the store's.
pub(crate) const CAPTURE_STATE_DIR: &str = ".capture-state";

/// Stack of the thread that keeps the time.
const CLOCK_STACK: usize = 64 << 10;

/// What an assistant's hooks call, with its JSON on standard input; `iaid install` enters it there
///
/// It always exits 0. What went wrong is in logs/hooks.log in the store's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// What has happened: session-start, user-prompt-submit or stop
    event: String,
    /// The store's folder, for what waits while no daemon is there [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// What a later release may add
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

/// What has happened.
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

/// Does what can be done, and returns in any case.
pub(crate) fn run(args: &HookArgs, socket: Option<PathBuf>, console: &mut Console) {
    let clock = thread::Builder::new().stack_size(CLOCK_STACK);
    // Without the thread the sockets' own limits and the assistant's remain.
    drop(clock.spawn(|| {
        thread::sleep(LAST_MOMENT);
        process::exit(0);
    }));
    let env = |name: &str| env::var_os(name);
    let (socket, store) = match (paths::socket(socket, &env), paths::store(args.store.clone(), &env)) {
        (Ok(socket), Ok(store)) => (socket, store),
        (Err(error), _) | (_, Err(error)) => return console.warn(format_args!("iaid hook: {error}")),
    };
    if console.input_kind.is_terminal() {
        return console.warn("iaid hook: an assistant calls this, with a JSON object on standard input");
    }
    let log = HookLog::new(&store, args.event.clone());
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| tell_and_take(args, &socket, &store, &log, console)));
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

fn tell_and_take(
    args: &HookArgs,
    socket: &Path,
    store: &Path,
    log: &HookLog,
    console: &mut Console,
) -> Result<(), String> {
    let began = Instant::now();
    let event = HookEvent::named(&args.event).ok_or_else(|| format!("no such event: '{}'", args.event))?;
    let mut bytes = Vec::new();
    console.input.by_ref().take(INPUT_BYTES).read_to_end(&mut bytes).map_err(|e| format!("standard input: {e}"))?;
    let input = HookInput::read(&bytes)?;
    let mut client = Client::new(socket, policy());
    if input.is_check {
        return check(socket, store, &mut client, console).map_err(|error| error.to_string());
    }
    if event == HookEvent::SessionStart
        && let Err(what) = tell(&input, &mut client, console)
    {
        log.say(what);
    }
    let mut capture = TranscriptCapture::new(store, &mut client, log, began);
    let transcript = transcript(&input);
    let taken = transcript
        .as_deref()
        .ok_or_else(|| "no transcript is named".to_owned())
        .and_then(|path| {
            let cwd = input.cwd.as_deref();
            capture.session(&input.session, path, cwd).map_err(|error| format!("{}: {error}", path.display()))
        })
        .or_else(|what| match spoken(event, &input) {
            Some(turn) => capture.spoken(turn).map_err(|error| format!("{what}; and {error}")),
            // A session that begins has none yet.
            None if event == HookEvent::SessionStart => Ok(()),
            None => Err(what),
        });
    if event == HookEvent::SessionStart {
        capture.others(&input.session);
    }
    taken
}

/// Says which hook this is, where it would take what is said, and whether anybody is there; changes nothing.
fn check(socket: &Path, store: &Path, client: &mut Client, console: &mut Console) -> io::Result<()> {
    let problem = client.call("ping", &json!({})).err().map(|error| error.to_string());
    let version = env!("CARGO_PKG_VERSION");
    let about = json!({"version": version, "socket": socket.display().to_string(), "store": store.display().to_string(),
        "problem": problem});
    console.say(json!({ CHECK: about }))?;
    console.flush()
}

/// Opens the session and prints what the memory holds for it.
///
/// # Errors
/// What went wrong; then nothing is printed.
fn tell(input: &HookInput, client: &mut Client, console: &mut Console) -> Result<(), String> {
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

/// An assistant waits: a daemon that is there accepts at once and answers in milliseconds, and one that is
/// being started by the connection does so in a second.
fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_millis(250),
        wait_for_start: Duration::ZERO,
        wait_for_restart: Duration::ZERO,
        reply_timeout: Duration::from_secs(1),
        ..Policy::default()
    }
}

/// The session's transcript, where it is named or Codex has one.
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

/// What the hook was told itself, for a session without a transcript. A slash command is the program's.
fn spoken(event: HookEvent, input: &HookInput) -> Option<TranscriptTurn> {
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
