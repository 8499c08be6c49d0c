//! The assistants whose transcripts are read. Pure.

/// The assistant that wrote a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assistant {
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex.
    Codex,
    /// GitHub's Copilot CLI.
    Copilot,
    /// Google's Gemini CLI.
    Gemini,
    /// Alibaba's Qwen Code.
    Qwen,
    /// opencode.
    Opencode,
    /// pi.
    Pi,
}

impl Assistant {
    /// All of them.
    pub const ALL: [Assistant; 7] = [
        Assistant::ClaudeCode,
        Assistant::Codex,
        Assistant::Copilot,
        Assistant::Gemini,
        Assistant::Qwen,
        Assistant::Opencode,
        Assistant::Pi,
    ];

    /// Returns the name used in tags, in file names and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Assistant::ClaudeCode => "claude-code",
            Assistant::Codex => "codex",
            Assistant::Copilot => "copilot",
            Assistant::Gemini => "gemini",
            Assistant::Qwen => "qwen",
            Assistant::Opencode => "opencode",
            Assistant::Pi => "pi",
        }
    }

    /// Returns the assistant of this name.
    pub fn named(name: &str) -> Option<Assistant> {
        Assistant::ALL.into_iter().find(|assistant| assistant.name() == name)
    }
}
