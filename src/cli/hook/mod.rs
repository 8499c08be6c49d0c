//! `iaid hook`: runs at the start and the end of an assistant's session, at each prompt and after each answer.
//!
//! It captures the prompt or the answer in its input and new text of the transcript, and prints the briefing for a
//! session that starts and the records that bear on a prompt. It must never disturb the session:
//! standard output has nothing but the expected JSON, errors go to a log, the exit code is always 0, and the process
//! ends within [`HookPatience::run_time`], whatever the input is and whatever the daemon does.

mod capture;
mod context;
mod current_session;
mod heard;
pub(crate) mod input;
pub(crate) mod last_capture;
mod log;
pub(crate) mod offset;
mod patience;
mod rollout;
mod spool;

use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::capture::{TranscriptCapture, TranscriptEnd};
use self::heard::HeardTurn;
use self::input::{CHECK_KEY, HookEvent, HookInput};
use self::log::HookLog;
use self::offset::SessionTranscript;
use self::patience::HookPatience;
use crate::cli::support::assistants::AssistantRules;
use crate::cli::support::capture_gate::CaptureGate;
use crate::cli::support::console::Console;
use crate::cli::support::project_finder::ProjectFinder;
use crate::cli::support::{control_message, paths};
use crate::client::{Client, ClientError};
use crate::transcript::{Assistant, TranscriptTurn, injected};

/// Most bytes of a prompt by which records are looked for: of a longer one both ends, which have the question.
const MAX_PROMPT_BYTES: usize = 8 << 10;

/// Most bytes read of standard input. 16 MiB: longer than any prompt.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// Stack size of the timeout thread, which may have to write a deferred capture.
const TIMER_STACK_BYTES: usize = 256 << 10;

/// Longest wait for Copilot CLI to write a turn, which it does ten times a second.
const FLUSH_TIME: Duration = Duration::from_millis(300);

/// The environment variable in which Claude Code passes the project's folder. It stays the same when the session changes
/// its working folder.
const PROJECT_VARIABLE: &str = "CLAUDE_PROJECT_DIR";

/// Run as an assistant's hook, with the hook's JSON on standard input; set up by `iaid install`
///
/// The exit code is always 0. Errors are logged to logs/hooks.log in the store's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Event of the assistant: session-start, user-prompt-submit, stop or session-end
    event: String,
    /// Folder of the store, for captures while no daemon runs [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Assistant that runs the hook, such as gemini [default: known by its input]
    #[arg(long, value_name = "NAME")]
    assistant: Option<String>,
    /// Ignored; for options of later releases
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

/// Runs the hook. Never fails or panics; errors go to the hook log.
pub(crate) fn run(args: &HookArgs, socket: Option<PathBuf>, console: &mut Console) {
    let began = Instant::now();
    let env = |name: &str| env::var_os(name);
    let (socket, store) = match (paths::socket(socket, &env), paths::store(args.store.clone(), &env)) {
        (Ok(socket), Ok(store)) => (socket, store),
        (Err(error), _) | (_, Err(error)) => return console.warn(format_args!("iaid hook: {error}")),
    };
    if console.input_kind.is_terminal() {
        return console.warn("iaid hook: run by an assistant, with a JSON object on standard input");
    }
    let heard = HeardTurn::default();
    let log = HookLog::new(&store, args.event.clone());
    let patience = HookPatience::of(env(patience::VARIABLE).as_deref()).unwrap_or_else(|(patience, why)| {
        log.say(why);
        patience
    });
    start_timer(patience.run_time(), store.clone(), heard.clone());
    let run = HookRun { began, patience, socket: &socket, store: &store, log: &log, heard: &heard };
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run.print_and_capture(args, console)));
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

/// Ends the process after `run_time`. A turn of the input that is not stored by then is deferred.
fn start_timer(run_time: Duration, store: PathBuf, heard: HeardTurn) {
    let timer = thread::Builder::new().stack_size(TIMER_STACK_BYTES);
    // If the thread cannot start, the socket's timeouts and the assistant's own still apply.
    drop(timer.spawn(move || {
        thread::sleep(run_time);
        if let Some(turn) = heard.pending() {
            // There is no time left to report an error.
            drop(spool::write(&store, &[turn], &mut ProjectFinder::new(), Timestamp::now()));
        }
        process::exit(0);
    }));
}

/// What one run of a hook works with.
struct HookRun<'a> {
    began: Instant,
    patience: HookPatience,
    socket: &'a Path,
    store: &'a Path,
    log: &'a HookLog,
    heard: &'a HeardTurn,
}

impl HookRun<'_> {
    fn print_and_capture(&self, args: &HookArgs, console: &mut Console) -> Result<(), String> {
        let event = HookEvent::named(&args.event).ok_or_else(|| format!("unknown event '{}'", args.event))?;
        let unknown = |name: &String| format!("unknown assistant '{name}'");
        let named = args.assistant.as_ref().map(|name| Assistant::named(name).ok_or_else(|| unknown(name)));
        let named = named.transpose()?;
        let mut bytes = Vec::new();
        let mut input = console.input.by_ref().take(MAX_INPUT_BYTES);
        input.read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
        let input = HookInput::read(&bytes, named)?;
        let mut client = Client::new(self.socket, self.patience.policy());
        if input.is_check {
            return check(self.socket, self.store, &mut client, console).map_err(|error| error.to_string());
        }
        if let Err(error) = current_session::note(self.store, event, &input) {
            self.log.say(format_args!("the session of the assistant's process cannot be noted: {error}"));
        }
        let project = project(&input);
        // Before the turn of the input gets its time: a pause that was ended by hand ends now.
        let gate = CaptureGate::load(self.store, Timestamp::now());
        if event == HookEvent::SessionStart {
            gate.problems.iter().for_each(|problem| self.log.say(problem));
        }
        let is_ignored = [&project, &input.cwd].into_iter().flatten().any(|folder| gate.ignores(folder));
        let heard = heard_turn(event, &input, project.as_ref());
        self.heard.set(heard.filter(|turn| !is_ignored && !gate.leaves_out(turn)));
        let folder = project.clone().or_else(|| input.cwd.clone());
        let rules = AssistantRules::of(input.assistant);
        let mut is_down = false;
        if event == HookEvent::UserPromptSubmit && !input.is_subagent {
            let mut text = String::new();
            if rules.may_skip_start && !offset::path(self.store, &input.session).exists() {
                text = briefing(&input, folder.as_deref(), &mut client).unwrap_or_else(|what| {
                    self.log.say(what);
                    String::new()
                });
            }
            is_down = self.add_records(&input, folder.as_deref(), &mut text);
            print_context(&text, rules, event, console)?;
        }
        let mut capture = TranscriptCapture::new(self.store, &mut client, self.log, &gate, self.began);
        capture.is_ignored = is_ignored;
        capture.is_down = is_down;
        let taken = self.take(event, &input, &bytes, project, &mut capture);
        if event != HookEvent::SessionStart {
            return taken;
        }
        if let Err(what) = taken {
            self.log.say(what);
        }
        capture.is_ignored = false;
        // What other sessions ended with belongs into the briefing.
        capture.others(&input.session);
        match capture.is_down {
            true => Ok(()),
            false => print_context(&briefing(&input, folder.as_deref(), &mut client)?, rules, event, console),
        }
    }

    /// Captures what the session's transcript gained, or the messages or the turn of the input.
    ///
    /// # Errors
    /// The message of [`TranscriptCapture::session`], or that deferred captures cannot be written.
    fn take(
        &self,
        event: HookEvent,
        input: &HookInput,
        bytes: &[u8],
        project: Option<String>,
        capture: &mut TranscriptCapture<'_>,
    ) -> Result<(), String> {
        // Lines of Gemini CLI name no folder.
        let folder = project.clone().or_else(|| input.cwd.clone().filter(|_| input.assistant == Assistant::Gemini));
        let of = |path| SessionTranscript { session: input.session.clone(), path, project: folder.clone() };
        let transcript = transcript(input);
        if event == HookEvent::Stop && input.assistant == Assistant::Copilot {
            transcript.iter().for_each(|path| wait_for_growth(path));
        }
        match transcript.map(of) {
            // The messages have the turn of the input.
            _ if input.has_messages => {
                self.heard.set(None);
                capture
                    .messages(bytes, project.as_ref().or(input.cwd.as_ref()).map(String::as_str))
                    .map_err(|error| error.to_string())
            }
            Some(of) if fs::symlink_metadata(&of.path).is_ok() => {
                let end = match event {
                    HookEvent::SessionEnd => TranscriptEnd::Complete,
                    _ => TranscriptEnd::Open,
                };
                capture.session(of, end, input.cwd.as_deref(), self.heard)
            }
            of => {
                if event == HookEvent::Stop && input.assistant != Assistant::Opencode {
                    let session = &input.session;
                    self.log.say(format_args!("session {session} has no transcript: only its last answer is captured"));
                }
                // After a prompt there will be a transcript. Where a start may be missing, a session that had one is noted.
                let is_noted = event == HookEvent::UserPromptSubmit
                    || (event == HookEvent::SessionStart && AssistantRules::of(input.assistant).may_skip_start);
                let of = of.filter(|_| is_noted);
                let noted = of.map_or(Ok(()), |of| capture.expect(of));
                capture.heard(self.heard, None).and(noted).map_err(|error| error.to_string())
            }
        }
    }

    /// Appends the records that bear on the prompt, if there are any. Returns true if no daemon answers in time: the prompt
    /// must not wait for another attempt.
    fn add_records(&self, input: &HookInput, folder: Option<&str>, text: &mut String) -> bool {
        let Some(prompt) = input.prompt.as_deref() else { return false };
        // Gemini CLI adds the output of an earlier hook to it.
        let prompt = injected::without(prompt.to_owned());
        let prompt = prompt.as_str();
        let mut client = Client::new(self.socket, self.patience.prompt_policy());
        let prompt = context::both_ends(prompt, MAX_PROMPT_BYTES);
        let mut params = json!({"prompt": prompt, "session_id": input.session});
        name_project(&mut params, folder);
        match client.call("prompt_recall", &params) {
            Ok(found) => {
                if let Some(records) = context::prompt_text(found.get()) {
                    text.push_str(if text.is_empty() { "" } else { "\n\n" });
                    text.push_str(&records);
                }
                false
            }
            // A daemon of another release, which has other methods.
            Err(ClientError::Refused { .. }) => false,
            Err(error) => {
                self.log.say(format_args!("{error}; the turns are kept in {}", crate::memory::spool::FOLDER));
                true
            }
        }
    }
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

/// Opens the session and returns its briefing, which may be empty.
///
/// # Errors
/// The message of the failed call.
fn briefing(input: &HookInput, project: Option<&str>, client: &mut Client) -> Result<String, String> {
    let source = input.source.as_deref().unwrap_or("startup");
    let open =
        json!({"type": "session_open", "session_id": input.session, "ts": control_message::now(), "source": source});
    client.control(&open).map_err(|error| error.to_string())?;
    let mut params = json!({"session_id": input.session, "wake_depth": "standard"});
    name_project(&mut params, project);
    let payload = capture::call(client, "session_start_payload", &params)?;
    Ok(context::briefing_text(payload.get(), project.is_some()).unwrap_or_default())
}

/// Prints a text for the model, unless it is empty.
fn print_context(text: &str, rules: &AssistantRules, event: HookEvent, console: &mut Console) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let line = context::output(rules, event.name(), text);
    console.say(line).and_then(|()| console.flush()).map_err(|error| error.to_string())
}

/// Waits until a transcript grows: Copilot CLI writes the answer of a turn while the hook of its end runs.
fn wait_for_growth(path: &Path) {
    let length = || fs::metadata(path).map_or(0, |found| found.len());
    let (before, end) = (length(), Instant::now() + FLUSH_TIME);
    while length() == before && Instant::now() < end {
        thread::sleep(FLUSH_TIME / 20);
    }
}

/// Returns the path of the session's transcript: the named one, else that of Copilot CLI's or Codex's session.
fn transcript(input: &HookInput) -> Option<PathBuf> {
    let home = || env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    match &input.transcript {
        Some(path) => match path.strip_prefix("~") {
            Ok(rest) => home().map(|home| home.join(rest)),
            Err(_) => Some(path.clone()),
        },
        None => {
            let folder = AssistantRules::of(input.assistant).folder(&home().unwrap_or_default());
            match input.assistant {
                Assistant::Codex => rollout::find(&folder, &input.session),
                Assistant::Copilot if is_file_name(&input.session) => {
                    Some(folder.join("session-state").join(&input.session).join("events.jsonl"))
                }
                _ => None,
            }
        }
    }
}

/// Returns true if a session's id can be the name of a folder.
fn is_file_name(session: &str) -> bool {
    session.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Adds the project that a folder belongs to.
fn name_project(params: &mut Value, folder: Option<&str>) {
    let mut finder = ProjectFinder::new();
    let project = finder.find(folder.unwrap_or_default());
    params["project"] = project.name.as_str().into();
    if let Some(folder) = &project.folder {
        params["project_folder"] = folder.as_str().into();
    }
}

/// Returns the folder of the session's project if the assistant names it.
fn project(input: &HookInput) -> Option<String> {
    // A Codex that Claude Code started inherits the variable.
    let folder = env::var_os(PROJECT_VARIABLE).filter(|_| input.assistant == Assistant::ClaudeCode)?;
    folder.into_string().ok().filter(|folder| !folder.is_empty())
}

/// Returns the turn that the input itself has. What a model says to its subagents is no turn.
fn heard_turn(event: HookEvent, input: &HookInput, project: Option<&String>) -> Option<TranscriptTurn> {
    let (role, text) = match event {
        HookEvent::UserPromptSubmit => ("user", input.prompt.as_deref()?),
        HookEvent::Stop => ("assistant", input.answer.as_deref()?),
        HookEvent::SessionStart | HookEvent::SessionEnd => return None,
    };
    if input.is_subagent {
        return None;
    }
    let (session, project) = (input.session.clone(), project.or(input.cwd.as_ref()).cloned());
    TranscriptTurn::from_text(input.assistant, role, text, session, project, Timestamp::now().to_string())
}
