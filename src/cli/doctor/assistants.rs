//! The assistants: is the MCP server entered and there, are the hooks, does one run, when was something taken
//! last.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::files;
use super::super::hook::input::CHECK as ANSWER;
use super::super::hook::last::Last;
use super::super::install::entries::{EVENTS, Entry, HOOK_SECONDS, words};
use super::super::install::{Part, Place, service};
use super::super::program::{self, Said};
use super::super::values::{micros_in_words, time_in_words};
use super::Patient;
use super::files::listed;
use super::finding::Finding;
use crate::transcript::Assistant;

/// Longest wait for a program that is asked for its version.
const VERSION: Duration = Duration::from_secs(5);

/// Largest settings file that is read.
const SETTINGS_BYTES: u64 = 64 << 20;

/// Folders above a transcript, below that of all of them.
const DEPTH: usize = 3;

/// A transcript that was written to for so long after the last capture, and is quiet for so long, has had a hook
/// in between if there is one.
const MISSED_SECONDS: i64 = 3600;

/// An assistant as it is checked.
struct Subject {
    check: &'static str,
    option: &'static str,
    assistant: Assistant,
    part: Part,
    /// Where its transcripts are, beside its hooks.
    transcripts: &'static str,
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        check: "claude-code",
        option: "--claude-code",
        assistant: Assistant::ClaudeCode,
        part: Part::ClaudeCode,
        transcripts: "projects",
    },
    Subject {
        check: "codex",
        option: "--codex",
        assistant: Assistant::Codex,
        part: Part::Codex,
        transcripts: "sessions",
    },
];

/// Those that are on this machine.
pub(super) fn all(patient: &mut Patient) -> Vec<Finding> {
    let Some(place) = &patient.place else { return Vec::new() };
    let found = place.assistants_found();
    let findings: Vec<Finding> = SUBJECTS
        .iter()
        .filter(|subject| found.contains(&subject.part))
        .flat_map(|subject| subject.findings(place, patient))
        .collect();
    if !findings.is_empty() {
        return findings;
    }
    vec![Finding::pass("assistants", "neither Claude Code nor Codex is on this machine")]
}

impl Subject {
    fn findings(&self, place: &Place, patient: &Patient) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (path, entry) in place.entries(self.part) {
            let commands = text(&path).and_then(|text| entry.commands(&text));
            match (commands, entry) {
                (Err(why), _) => {
                    let what = format!("{}: {why}", path.display());
                    findings.push(Finding::fail(self.check, what, "repair that file; the assistant needs it, too"));
                }
                (Ok(commands), Entry::Hooks) => findings.extend(self.hooks(&path, &commands, patient)),
                (Ok(commands), _) => findings.push(self.server(&path, &commands)),
            }
        }
        findings
    }

    fn install(&self) -> String {
        format!("iaid install {}", self.option)
    }

    /// The MCP server.
    fn server(&self, path: &Path, commands: &[(String, String)]) -> Finding {
        let Some((_, command)) = commands.first() else {
            let what = format!("the MCP server is not entered in {}", path.display());
            return Finding::warn(self.check, what, self.install());
        };
        let Some(word) = words(command).into_iter().next() else {
            let what = format!("the MCP server in {} has no command that can be read", path.display());
            return Finding::warn(self.check, what, self.install());
        };
        let Some(program) = found(&word) else {
            let what = format!("the MCP server in {} is {word}, and there is no such program", path.display());
            return Finding::fail(self.check, what, self.install());
        };
        match other_version(&program) {
            Ok(None) => Finding::pass(self.check, format!("the MCP server is {}", program.display())),
            Ok(Some(version)) => {
                let what = format!("the MCP server is {}, which is {version}", program.display());
                Finding::warn(self.check, what, self.install())
            }
            Err(why) => Finding::fail(self.check, format!("the MCP server does not run: {why}"), self.install()),
        }
    }

    /// The hooks, of which the last one is run.
    fn hooks(&self, path: &Path, commands: &[(String, String)], patient: &Patient) -> Vec<Finding> {
        let missing: Vec<&str> = EVENTS
            .iter()
            .map(|(event, _)| *event)
            .filter(|event| !commands.iter().any(|(found, _)| found == event))
            .collect();
        let Some((_, command)) = commands.last() else {
            let what = format!("the hooks are not entered in {}", path.display());
            return vec![Finding::warn(self.check, what, self.install())];
        };
        let mut findings = Vec::new();
        if !missing.is_empty() {
            let what = format!("{} has no hook for {}", path.display(), missing.join(", "));
            findings.push(Finding::warn(self.check, what, self.install()));
        }
        findings.push(self.run(command, patient));
        findings.push(self.last(path, patient));
        findings
    }

    /// Runs a hook as the assistant does: by a shell, with JSON on standard input.
    fn run(&self, command: &str, patient: &Patient) -> Finding {
        let input = json!({"session_id": "iaid doctor", "hook_event_name": "Stop", ANSWER: true}).to_string();
        let began = Instant::now();
        let limit = Duration::from_secs(HOOK_SECONDS.into());
        let said = program::run(Command::new("sh").args(["-c", command]), input.as_bytes(), limit);
        let took = micros_in_words(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        let fail = |why: String| Finding::fail(self.check, format!("the hook `{command}` {why}"), self.install());
        let Said { status, out, err } = match said {
            Ok(said) => said,
            Err(why) => return fail(format!("does not run: {why}")),
        };
        if !status.success() {
            return fail(format!("ended with {status}: {}", err.lines().next().unwrap_or_default()));
        }
        let answer: Value = serde_json::from_str(&out).unwrap_or_default();
        let about = &answer[ANSWER];
        let text = |key: &str| about[key].as_str().unwrap_or_default();
        if !about.is_object() {
            let what = "a hook runs, and does not say of which version it is";
            return Finding::warn(self.check, what, self.install());
        }
        if text("version") != env!("CARGO_PKG_VERSION") {
            let what = format!("the hooks are {}, this program {}", text("version"), env!("CARGO_PKG_VERSION"));
            return Finding::warn(self.check, what, self.install());
        }
        let here = (patient.client.path().display().to_string(), patient.store.display().to_string());
        if (text("socket"), text("store")) != (here.0.as_str(), here.1.as_str()) {
            let what = format!("the hooks use {} and {}, not {} and {}", text("socket"), text("store"), here.0, here.1);
            let remedy = format!("if that is not meant: {} with the same --socket and --store", self.install());
            return Finding::warn(self.check, what, remedy);
        }
        match (about["problem"].as_str(), &patient.status) {
            (Some(problem), Some(_)) => fail(format!("does not reach the daemon: {problem}")),
            (Some(_), None) => Finding::warn(
                self.check,
                format!("a hook runs, in {took}; what it takes waits for the daemon"),
                "start the daemon",
            ),
            (None, _) => Finding::pass(self.check, format!("a hook runs and reaches the daemon, in {took}")),
        }
    }

    /// When something was taken last, and whether a session since then has gone by.
    fn last(&self, hooks: &Path, patient: &Patient) -> Finding {
        let transcripts = hooks.parent().map(|folder| folder.join(self.transcripts));
        let newest = transcripts.and_then(|folder| newest(&folder, DEPTH)).and_then(|at| Timestamp::try_from(at).ok());
        let ago = |ts: Timestamp| {
            let seconds = patient.now.duration_since(ts).as_secs();
            format!("{} ago", time_in_words(u64::try_from(seconds).unwrap_or(0)))
        };
        let trust = match self.assistant {
            Assistant::Codex => "; in Codex trust the hooks once: /hooks",
            Assistant::ClaudeCode => "",
        };
        let remedy = format!("say something in a session that began after the installation{trust}");
        let Some(last) = Last::of(&patient.store, self.assistant) else {
            return Finding::warn(self.check, "the hooks have taken nothing yet", remedy);
        };
        let spooled = if last.is_spooled { ", for a daemon that was not there" } else { "" };
        let what = format!("the hooks took something {}{spooled}", ago(last.ts));
        match newest {
            Some(newest)
                if newest.duration_since(last.ts).as_secs() > MISSED_SECONDS
                    && patient.now.duration_since(newest).as_secs() > MISSED_SECONDS =>
            {
                let what = format!("{what}, but a session went on until {}", ago(newest));
                Finding::warn(self.check, what, format!("{remedy}; logs/hooks.log says what went wrong"))
            }
            _ => Finding::pass(self.check, what),
        }
    }
}

/// When the newest transcript was written to.
fn newest(folder: &Path, depth: usize) -> Option<SystemTime> {
    listed(folder)
        .filter_map(|(path, about)| match about.is_dir() {
            true if depth > 0 => newest(&path, depth - 1),
            false if path.extension().is_some_and(|ext| ext == "jsonl") => about.modified().ok(),
            _ => None,
        })
        .max()
}

/// A settings file; one that is not there is empty.
fn text(path: &Path) -> Result<String, String> {
    files::text(path, SETTINGS_BYTES).map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

/// The program that a shell would start.
fn found(word: &str) -> Option<PathBuf> {
    match word.contains('/') {
        true => Some(PathBuf::from(word)).filter(|path| path.is_file()),
        false => service::find(word),
    }
}

/// The version of a program that is not this one, where it is another.
fn other_version(program: &Path) -> Result<Option<String>, String> {
    let own = env::current_exe().and_then(fs::canonicalize).ok();
    if own.is_some() && own == fs::canonicalize(program).ok() {
        return Ok(None);
    }
    let said = program::run(Command::new(program).arg("--version"), b"", VERSION)?;
    let version = said.out.trim().to_owned();
    Ok((version != concat!("iaid ", env!("CARGO_PKG_VERSION"))).then_some(version))
}
