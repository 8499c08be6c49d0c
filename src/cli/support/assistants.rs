//! The assistants that this program knows: one table of what differs between them.
//!
//! Tried with the programs of November 2026; `docs/assistants.md` has their versions.

use std::env;
use std::path::{Path, PathBuf};

use crate::transcript::Assistant;

/// How a hook prints text for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextForm {
    /// `{"hookSpecificOutput": {"hookEventName", "additionalContext"}}`.
    HookSpecific,
    /// `{"additionalContext"}`.
    TopLevel,
}

/// What is particular to an assistant.
#[derive(Debug)]
pub(crate) struct AssistantRules {
    /// The name of its program.
    pub(crate) program: &'static str,
    /// The environment variable with its folder or with a parent of it, the path from there, and that from the home if
    /// the variable is not set.
    pub(crate) folder: (&'static str, &'static str, &'static str),
    /// The folders of its transcripts, relative to its folder.
    pub(crate) transcripts: &'static [&'static str],
    /// Its names of the events of [`HOOK_EVENTS`], in that order; `None` if it has no such event.
    pub(crate) events: [Option<&'static str>; 4],
    /// Timeout of a hook, as entered in its settings: in seconds or milliseconds.
    pub(crate) hook_timeout: u32,
    pub(crate) context: ContextForm,
    /// The first release that is known to run hooks as they are entered: by its changelog or, where that does not say it,
    /// the oldest that was tried.
    pub(crate) hooks_since: [u32; 3],
    /// A session may begin without the event for it.
    pub(crate) may_skip_start: bool,
    /// What install has to say: what it cannot do for this assistant, or what the user has to do.
    pub(crate) note: &'static str,
}

/// The names of the events in `iaid hook`.
pub(crate) const HOOK_EVENTS: [&str; 4] = ["session-start", "user-prompt-submit", "stop", "session-end"];

/// Claude Code's names of the events, which others have taken over.
const CLAUDE_EVENTS: [Option<&str>; 4] =
    [Some("SessionStart"), Some("UserPromptSubmit"), Some("Stop"), Some("SessionEnd")];

/// In the order of [`Assistant::ALL`].
static RULES: [AssistantRules; 7] = [
    AssistantRules {
        program: "claude",
        folder: ("CLAUDE_CONFIG_DIR", "", ".claude"),
        transcripts: &["projects"],
        events: CLAUDE_EVENTS,
        hook_timeout: 10,
        context: ContextForm::HookSpecific,
        hooks_since: [1, 0, 85],
        may_skip_start: false,
        note: "",
    },
    AssistantRules {
        program: "codex",
        folder: ("CODEX_HOME", "", ".codex"),
        transcripts: &["sessions", "archived_sessions"],
        events: CLAUDE_EVENTS,
        hook_timeout: 10,
        context: ContextForm::HookSpecific,
        hooks_since: [0, 125, 0],
        may_skip_start: false,
        note: "Codex runs new hooks only after you trust them: open /hooks in Codex.",
    },
    AssistantRules {
        program: "copilot",
        folder: ("COPILOT_HOME", "", ".copilot"),
        transcripts: &["session-state"],
        events: CLAUDE_EVENTS,
        hook_timeout: 10,
        context: ContextForm::TopLevel,
        hooks_since: [1, 0, 102],
        may_skip_start: false,
        note: "",
    },
    AssistantRules {
        program: "gemini",
        folder: ("GEMINI_CLI_HOME", ".gemini", ".gemini"),
        transcripts: &["tmp"],
        events: [Some("SessionStart"), Some("BeforeAgent"), Some("AfterAgent"), Some("SessionEnd")],
        hook_timeout: 10_000,
        context: ContextForm::HookSpecific,
        hooks_since: [0, 26, 0],
        may_skip_start: false,
        note: "",
    },
    AssistantRules {
        program: "qwen",
        folder: ("QWEN_HOME", "", ".qwen"),
        transcripts: &["projects"],
        events: CLAUDE_EVENTS,
        hook_timeout: 10_000,
        context: ContextForm::HookSpecific,
        hooks_since: [0, 15, 10],
        may_skip_start: true,
        note: "",
    },
    AssistantRules {
        program: "opencode",
        folder: ("XDG_CONFIG_HOME", "opencode", ".config/opencode"),
        transcripts: &[],
        events: [None; 4],
        hook_timeout: 10_000,
        context: ContextForm::TopLevel,
        hooks_since: [1, 18, 33],
        may_skip_start: false,
        note: "",
    },
    AssistantRules {
        program: "pi",
        folder: ("PI_CODING_AGENT_DIR", "", ".pi/agent"),
        transcripts: &["sessions"],
        events: [None; 4],
        hook_timeout: 0,
        context: ContextForm::TopLevel,
        hooks_since: [0, 0, 0],
        may_skip_start: false,
        note: "pi has no MCP servers and no hooks that iaid can use: nothing is set up for it; \
               `iaid import ~/.pi/agent/sessions` brings its sessions in.",
    },
];

impl AssistantRules {
    /// Returns the rules of an assistant.
    pub(crate) fn of(assistant: Assistant) -> &'static AssistantRules {
        &RULES[assistant as usize]
    }

    /// Returns its folder; `home` is the user's.
    pub(crate) fn folder(&self, home: &Path) -> PathBuf {
        let (variable, inside, default) = self.folder;
        match env::var_os(variable).filter(|value| !value.is_empty()) {
            Some(folder) => PathBuf::from(folder).join(inside),
            None => home.join(default),
        }
    }

    /// Returns its events, each with its name in `iaid hook`.
    pub(crate) fn named_events(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.events.into_iter().zip(HOOK_EVENTS).filter_map(|(theirs, ours)| Some((theirs?, ours)))
    }

    /// Returns its name of an event of `iaid hook`.
    pub(crate) fn event(&self, ours: &str) -> &'static str {
        self.named_events().find(|(_, name)| *name == ours).map_or("", |(theirs, _)| theirs)
    }
}

/// Returns the folder of opencode's sessions; `home` is the user's.
pub(crate) fn opencode_data(home: &Path) -> PathBuf {
    let data = env::var_os("XDG_DATA_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    data.unwrap_or_else(|| home.join(".local/share")).join("opencode")
}

/// Returns the version in what a program prints for `--version`: its first three numbers joined by points.
pub(crate) fn version_in(said: &str) -> Option<[u32; 3]> {
    let is_other = |c: char| !(c.is_ascii_digit() || c == '.');
    said.split(is_other).find_map(|word| {
        let mut numbers = word.split('.').map(|number| number.parse().ok());
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    })
}

/// Returns the assistant that a transcript's path is of.
pub(crate) fn assistant_of_path(path: &Path) -> Assistant {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_in_chats = path.parent().is_some_and(|folder| folder.ends_with("chats"));
    match name {
        "events.jsonl" => Assistant::Copilot,
        _ if name.starts_with("rollout-") => Assistant::Codex,
        _ if is_in_chats && name.starts_with("session-") => Assistant::Gemini,
        _ if is_in_chats => Assistant::Qwen,
        _ if path.components().any(|part| part.as_os_str() == ".pi") => Assistant::Pi,
        _ => Assistant::ClaudeCode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_the_assistant() {
        for (path, want) in [
            ("/h/.claude/projects/-p/0199.jsonl", Assistant::ClaudeCode),
            ("/h/.codex/sessions/2026/01/02/rollout-2026-01-02T03-04-05-abc.jsonl.zst", Assistant::Codex),
            ("/h/.copilot/session-state/9ef4/events.jsonl", Assistant::Copilot),
            ("/h/.gemini/tmp/p/chats/session-2026-11-30T05-16-f1b9.jsonl", Assistant::Gemini),
            ("/h/.qwen/projects/-p/chats/1d4b.jsonl", Assistant::Qwen),
            ("/h/.pi/agent/sessions/--p--/2026-11-30T05-17-38-238Z_01a2.jsonl", Assistant::Pi),
        ] {
            assert_eq!(assistant_of_path(Path::new(path)), want, "{path}");
        }
    }

    #[test]
    fn a_version_is_three_numbers() {
        for (said, want) in [
            ("codex-cli 0.171.0\n", Some([0, 171, 0])),
            ("2.1.332 (Claude Code)", Some([2, 1, 332])),
            ("GitHub Copilot CLI 1.0.102. Run 'copilot update' to check for updates.", Some([1, 0, 102])),
            ("v0.24.4-nightly.1", Some([0, 24, 4])),
            ("node 20, gemini 0.61.0", Some([0, 61, 0])),
            ("1.2", None),
            ("no version", None),
        ] {
            assert_eq!(version_in(said), want, "{said}");
        }
    }

    #[test]
    fn the_rules_are_in_the_order_of_the_assistants() {
        for assistant in Assistant::ALL {
            assert!(assistant.name().starts_with(AssistantRules::of(assistant).program), "{}", assistant.name());
        }
    }
}
