//! Checks of the assistants: the MCP server entry and its program, the hooks, a run of one hook, the last captures, and
//! the sessions that were missed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::context::DoctorContext;
use super::finding::Findings;
use super::sessions::{self, SessionsOnDisk};
use crate::cli::hook::input::CHECK_KEY;
use crate::cli::hook::last_capture::LastCapture;
use crate::cli::import::walk::OPENCODE_DATABASE;
use crate::cli::install::MAX_SETTINGS_BYTES;
use crate::cli::install::opencode_plugin;
use crate::cli::install::options::InstallTarget;
use crate::cli::install::service;
use crate::cli::install::shell_words::{quoted, words};
use crate::cli::support::assistants::{AssistantRules, opencode_data};
use crate::cli::support::files;
use crate::cli::support::program::{self, ProgramOutput};
use crate::cli::support::values::{counted, micros_in_words, time_in_words};
use crate::transcript::Assistant;
use crate::wire::members::Members;

/// Longest wait for `PROGRAM --version`.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a hook: the timeout that is entered for it.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The setting with which a person switches all hooks off.
const HOOKS_OFF: &str = "disableAllHooks";

/// A transcript that was written this long after the last capture, and not since this long, means that the hooks do not
/// run: a hook would have run in between.
const MISSED_SECONDS: i64 = 3600;

/// Time between the words of the user and the answer from which one of them is missing. Picked: a day of work.
const LONGEST_TURN_SECONDS: i64 = 24 * 3600;

/// The assistant that is checked.
struct Subject<'c> {
    context: &'c mut DoctorContext,
    assistant: Assistant,
}

/// Checks an assistant.
pub(crate) fn assistant(assistant: Assistant, context: &mut DoctorContext, findings: &mut Findings) {
    Subject { context, assistant }.check(findings);
}

impl Subject<'_> {
    fn check(&mut self, findings: &mut Findings) {
        let Some(paths) = &self.context.paths else { return };
        if !paths.has(self.assistant) {
            return findings.pass(format_args!("not installed"));
        }
        let name = self.assistant.name();
        let records = self.context.status.as_ref().and_then(|status| status["assistants"][name].as_u64());
        if let Some(records) = records {
            findings.pass(format_args!("the memory has {} of it", counted(records, "record", "records")));
        }
        let plugin = (self.assistant == Assistant::Opencode).then(|| paths.opencode_plugin());
        for (path, entry) in paths.entered(InstallTarget::Assistant(self.assistant)) {
            match text(&path).and_then(|text| entry.commands(&text)) {
                Err(why) => {
                    let remedy = format_args!("repair the file; the assistant needs it as well");
                    findings.fail(format_args!("{}: {why}", path.display()), remedy);
                }
                Ok(mut commands) => {
                    // A server has no event.
                    let hooks = commands.split_off(commands.iter().take_while(|(event, _)| event.is_empty()).count());
                    if entry.has_server() {
                        self.server(&path, &commands, findings);
                    }
                    if entry.has_hooks() {
                        self.hooks(&path, &hooks, findings);
                    }
                }
            }
        }
        if let Some(path) = plugin {
            self.plugin(&path, findings);
        }
    }

    /// Checks the plugin for opencode, and runs what it runs.
    fn plugin(&mut self, path: &Path, findings: &mut Findings) {
        match text(path).ok().and_then(|text| opencode_plugin::command(&text)) {
            Some(mut words) => {
                words.push("stop".into());
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                self.run(&words.join(" "), findings);
                self.last(path, findings);
            }
            None => {
                let shown = path.display();
                findings.warn(
                    format_args!("{shown} is missing, or not the plugin of iaid"),
                    format_args!("{}", self.install()),
                );
            }
        }
    }

    /// Returns the command that sets up the assistant again.
    fn install(&self) -> String {
        format!("iaid install --{}", self.assistant.name())
    }

    /// Checks the MCP server entry.
    fn server(&self, path: &Path, commands: &[(String, String)], findings: &mut Findings) {
        let (file, install) = (path.display(), self.install());
        let install = format_args!("{install}");
        let Some((_, command)) = commands.first() else {
            return findings.warn(format_args!("{file} has no MCP server entry for iaid"), install);
        };
        let Some(word) = words(command).into_iter().next() else {
            return findings.warn(format_args!("the MCP server entry in {file} has no readable command"), install);
        };
        let Some(program) = program_of(&word) else {
            return findings.fail(format_args!("the MCP server in {file} is {word}, which does not exist"), install);
        };
        let shown = program.display();
        match other_version(&program) {
            Ok(None) => findings.pass(format_args!("the MCP server is {shown}")),
            Ok(Some(version)) => findings.warn(format_args!("the MCP server is {shown}, which is {version}"), install),
            Err(why) => findings.fail(format_args!("the MCP server does not run: {why}"), install),
        }
    }

    /// Checks the hook entries, and runs the last one.
    fn hooks(&mut self, path: &Path, commands: &[(String, String)], findings: &mut Findings) {
        let (file, install) = (path.display(), self.install());
        let install = format_args!("{install}");
        let Some((_, command)) = commands.last() else {
            return findings.warn(format_args!("{file} has no hooks of iaid"), install);
        };
        let settings = text(path).unwrap_or_default();
        let off = Members::read(&settings).ok().and_then(|all| all.value(HOOKS_OFF).map(|value| value.get() == "true"));
        if off == Some(true) {
            let remedy = format_args!("remove {HOOKS_OFF} there if what is said is to be captured");
            findings.warn(format_args!("{file} has {HOOKS_OFF}, so the assistant runs no hook"), remedy);
        }
        for (event, _) in AssistantRules::of(self.assistant).named_events() {
            if !commands.iter().any(|(entered, _)| entered == event) {
                findings.warn(format_args!("{file} has no hook for {event}"), install);
            }
        }
        self.run(command, findings);
        self.last(path, findings);
    }

    /// Runs a hook as the assistant does: in a shell, with JSON on standard input.
    fn run(&self, command: &str, findings: &mut Findings) {
        let install = self.install();
        let install = format_args!("{install}");
        let input = json!({"session_id": "iaid doctor", "hook_event_name": "Stop", CHECK_KEY: true}).to_string();
        let began = Instant::now();
        let limit = HOOK_TIMEOUT;
        let said = program::run(Command::new("sh").args(["-c", command]), input.as_bytes(), limit);
        let took = micros_in_words(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        let ProgramOutput { status, out, err } = match said {
            Ok(said) => said,
            Err(why) => return findings.fail(format_args!("the hook `{command}` does not run: {why}"), install),
        };
        if !status.success() {
            let why = err.lines().next().unwrap_or_default();
            return findings.fail(format_args!("the hook `{command}` ended with {status}: {why}"), install);
        }
        let answer: Value = serde_json::from_str(&out).unwrap_or_default();
        let about = &answer[CHECK_KEY];
        let text = |key: &str| about[key].as_str().unwrap_or_default();
        let (version, own) = (text("version"), env!("CARGO_PKG_VERSION"));
        let (socket, store) = (self.context.client.path().display(), self.context.store.display());
        if !about.is_object() {
            findings.warn(format_args!("a hook runs, but does not report its version"), install);
        } else if version != own {
            findings.warn(format_args!("the hooks have version {version}, this program {own}"), install);
        } else if (text("socket"), text("store")) != (&*socket.to_string(), &*store.to_string()) {
            let what = format_args!("the hooks use {} and {}, not {socket} and {store}", text("socket"), text("store"));
            let remedy = format_args!("if this is not intended: {install} with the same --socket and --store");
            findings.warn(what, remedy);
        } else if let Some(problem) = about["problem"].as_str() {
            if self.context.status.is_some() {
                findings.fail(format_args!("the hook `{command}` does not reach the daemon: {problem}"), install);
            } else {
                let what = format_args!("a hook runs, in {took}; captures are deferred until the daemon runs");
                findings.warn(what, format_args!("start the daemon"));
            }
        } else {
            findings.pass(format_args!("a hook runs and reaches the daemon, in {took}"));
        }
    }

    /// Checks when each side's words were last captured, and whether sessions were missed.
    fn last(&mut self, hooks: &Path, findings: &mut Findings) {
        let folders = sessions::folders(self.assistant, hooks.parent().unwrap_or(hooks));
        let database = (self.assistant == Assistant::Opencode).then(opencode_database).flatten();
        let on_disk = match &database {
            Some(database) => sessions::count_in_database(self.context, database).unwrap_or_else(|error| {
                let remedy = format_args!("opencode needs it as well; if it is whole, a newer iaid may read it");
                findings.warn(format_args!("{} cannot be read: {error}", database.display()), remedy);
                SessionsOnDisk::default()
            }),
            None => sessions::count(self.context, self.assistant, &folders),
        };
        let remedy = match self.assistant {
            Assistant::Codex => {
                "use a session that started after the installation; in Codex trust the hooks once: /hooks"
            }
            _ => "use a session that started after the installation",
        };
        match LastCapture::of(&self.context.store, self.assistant) {
            Some(last) => self.last_captures(last, on_disk.newest, remedy, findings),
            None => findings.warn(format_args!("the hooks have captured nothing yet"), format_args!("{remedy}")),
        }
        let named: Vec<String> =
            folders.iter().filter(|path| path.is_dir()).map(|path| path.display().to_string()).collect();
        let import = match &database {
            Some(database) => format!("iaid import {}", database.display()),
            None => format!("iaid import {}", named.join(" ")),
        };
        self.unknown(&import, findings);
        let Some(newest) = on_disk.newest_missed.and_then(|at| Timestamp::try_from(at).ok()) else { return };
        let (missed, all) = (on_disk.missed, counted(on_disk.count as u64, "session", "sessions"));
        let what = format_args!(
            "no hook has seen {missed} of {all} on disk, the newest from {} ago, and the memory has nothing of them",
            self.ago(newest)
        );
        findings.warn(what, format_args!("{import}"));
    }

    /// Warns of transcripts that hooks did not understand.
    fn unknown(&self, import: &str, findings: &mut Findings) {
        let read = sessions::read_transcripts(&self.context.store, self.assistant);
        let remedy = format_args!("a newer iaid may know the format; then {import}");
        let count = |count: u64| counted(count, "transcript", "transcripts");
        if read.one_sided > 0 {
            let transcripts = count(read.one_sided);
            findings.warn(format_args!("{transcripts} read by hooks with turns of one side only"), remedy);
        }
        if read.unknown.0 > 0 {
            let lines = counted(read.unknown.1, "line of unknown kind", "lines of unknown kinds");
            let transcripts = count(read.unknown.0);
            let what = format_args!("{transcripts} read by hooks with {lines} that have text");
            findings.warn(what, remedy);
        }
    }

    fn last_captures(&self, last: LastCapture, newest: Option<SystemTime>, remedy: &str, findings: &mut Findings) {
        let spooled = if last.is_spooled { ", deferred because no daemon was running" } else { "" };
        let side = |ts: Option<Timestamp>| ts.map_or_else(|| "never".to_owned(), |ts| format!("{} ago", self.ago(ts)));
        let (user, assistant) = (side(last.user), side(last.assistant));
        let what = format_args!("last captured: the user's words {user}, the assistant's {assistant}{spooled}");
        let newest = newest.and_then(|at| Timestamp::try_from(at).ok());
        let quiet = |ts: Timestamp, since: Timestamp| ts.duration_since(since).as_secs() > MISSED_SECONDS;
        let now = self.context.now;
        if let Some(newest) = newest.filter(|newest| quiet(*newest, last.ts) && quiet(now, *newest)) {
            let what = format_args!("{what}, but a session continued until {} ago", self.ago(newest));
            return findings.warn(what, format_args!("{remedy}; see logs/hooks.log"));
        }
        let remedy =
            "see logs/hooks.log; iaid import brings in what a transcript has; a newer iaid may read more of it";
        match (last.user, last.assistant) {
            (None, Some(_)) => findings.fail(what, format_args!("{remedy}")),
            // A session has begun since the update from a release that did not tell the sides apart.
            (None, None) => {
                findings.warn(what, format_args!("none needed after an update: the next prompt settles it"))
            }
            (Some(user), None) if quiet(now, user) => findings.warn(what, format_args!("{remedy}")),
            (Some(user), Some(assistant)) if is_one_sided(user, assistant, now) => {
                findings.warn(what, format_args!("{remedy}"));
            }
            _ => findings.pass(what),
        }
    }

    fn ago(&self, ts: Timestamp) -> String {
        time_in_words(u64::try_from(self.context.now.duration_since(ts).as_secs()).unwrap_or(0))
    }
}

/// Returns the path of opencode's database.
fn opencode_database() -> Option<PathBuf> {
    Some(opencode_data(&env::var_os("HOME").map(PathBuf::from)?).join(OPENCODE_DATABASE))
}

/// Returns true if one side's words are missing: answers go on without prompts, or a prompt got no answer.
fn is_one_sided(user: Timestamp, assistant: Timestamp, now: Timestamp) -> bool {
    let ahead = assistant.duration_since(user).as_secs();
    let is_unanswered = now.duration_since(user).as_secs() > MISSED_SECONDS;
    ahead > LONGEST_TURN_SECONDS || (-ahead > LONGEST_TURN_SECONDS && is_unanswered)
}

/// Reads a settings file; a missing one counts as empty.
fn text(path: &Path) -> Result<String, String> {
    files::text(path, MAX_SETTINGS_BYTES).map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

/// Returns the program that a shell would start.
fn program_of(word: &str) -> Option<PathBuf> {
    match word.contains('/') {
        true => Some(PathBuf::from(word)).filter(|path| path.is_file()),
        false => service::find(word),
    }
}

/// Returns the version of a program if it differs from this one's.
fn other_version(program: &Path) -> Result<Option<String>, String> {
    let own = env::current_exe().and_then(fs::canonicalize).ok();
    if own.is_some() && own == fs::canonicalize(program).ok() {
        return Ok(None);
    }
    let said = program::run(Command::new(program).arg("--version"), b"", VERSION_TIMEOUT)?;
    let version = said.out.trim().to_owned();
    Ok((version != concat!("iaid ", env!("CARGO_PKG_VERSION"))).then_some(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_stays_behind_is_noticed() {
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        for (user, assistant, now, want) in [
            (100, 100, 100, false),
            (100, 100, 900, false),
            (100, 120, 120, false),
            (100, 125, 125, true),
            (100, 125, 900, true),
            (200, 100, 200, false),
            (200, 100, 202, true),
            (200, 190, 900, false),
        ] {
            assert_eq!(is_one_sided(at(user), at(assistant), at(now)), want, "{user} {assistant} {now}");
        }
    }
}
