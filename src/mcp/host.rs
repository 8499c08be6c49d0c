//! The host that started the bridge: its session and its project. Pure: the environment is a parameter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::lifecycle::heartbeats::new_uuid;

/// The environment variable in which the user sets the session's id. It has precedence over the id of a call.
const OWN_SESSION_VARIABLE: &str = "IAI_MCP_SESSION_ID";

/// Claude Code's and Codex's environment variables with the session's id.
const CLAUDE_SESSION_VARIABLE: &str = "CLAUDE_CODE_SESSION_ID";
const CODEX_SESSION_VARIABLE: &str = "CODEX_THREAD_ID";

/// The environment variable in which Claude Code passes the project's folder.
const PROJECT_VARIABLE: &str = "CLAUDE_PROJECT_DIR";

/// Longest session id, in ASCII characters. 128: the daemon's limit.
const MAX_SESSION_BYTES: usize = 128;

/// The source of a session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// The user has set it: an id that a call has in its `_meta` is not used.
    User,
    /// Claude Code, which may begin or resume another session while the bridge runs.
    ClaudeCode,
    /// Another assistant, or a new id.
    Other,
}

/// The values of session and project for tool calls that leave them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The session's id.
    pub session: String,
    /// Where the session's id comes from.
    pub session_source: SessionSource,
    /// The project's folder, if the host has a project.
    pub project: Option<String>,
    /// The folder that the host works in, if the project is a repository.
    pub project_folder: Option<String>,
}

impl Host {
    /// Reads session and project from the environment. Without a valid session id a new one is generated;
    /// without a project the working folder is used. The home folder and `/` are not projects: desktop
    /// programs start there.
    pub fn from_env(env: &dyn Fn(&str) -> Option<OsString>, cwd: Option<PathBuf>) -> Host {
        let named = |name: &str| env(name).and_then(|id| id.into_string().ok()).filter(|id| is_session(id));
        let sources = [
            (OWN_SESSION_VARIABLE, SessionSource::User),
            (CLAUDE_SESSION_VARIABLE, SessionSource::ClaudeCode),
            (CODEX_SESSION_VARIABLE, SessionSource::Other),
        ];
        let (session, session_source) = sources
            .into_iter()
            .find_map(|(variable, source)| Some((named(variable)?, source)))
            .unwrap_or_else(|| (new_uuid().to_string(), SessionSource::Other));
        let folder = env(PROJECT_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from).or(cwd);
        let home = env("HOME").map(PathBuf::from);
        let is_project = |folder: &PathBuf| folder != Path::new("/") && Some(folder) != home.as_ref();
        let project = folder.filter(is_project).and_then(|folder| folder.into_os_string().into_string().ok());
        Host { session, session_source, project, project_folder: None }
    }
}

/// Returns true if `id` has 1 to 128 graphic ASCII characters.
pub(crate) fn is_session(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_SESSION_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pairs: &[(&str, &str)], cwd: &str) -> Host {
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        Host::from_env(&env, Some(cwd.into()))
    }

    #[test]
    fn the_session_is_the_first_valid_variable() {
        let long = "x".repeat(129);
        for (pairs, session) in [
            (&[("CLAUDE_CODE_SESSION_ID", "c-1")][..], Some("c-1")),
            (&[("CODEX_THREAD_ID", "t-1")], Some("t-1")),
            (&[("IAI_MCP_SESSION_ID", "own"), ("CLAUDE_CODE_SESSION_ID", "c-1")], Some("own")),
            (&[("IAI_MCP_SESSION_ID", ""), ("CODEX_THREAD_ID", "t-1")], Some("t-1")),
            (&[("IAI_MCP_SESSION_ID", "two words")], None),
            (&[("IAI_MCP_SESSION_ID", &long)], None),
            (&[], None),
        ] {
            let Host { session: got, session_source, .. } = host(pairs, "/p");
            let source = match &*got {
                "own" => SessionSource::User,
                "c-1" => SessionSource::ClaudeCode,
                _ => SessionSource::Other,
            };
            assert_eq!(session_source, source, "{pairs:?}");
            match session {
                Some(session) => assert_eq!(got, session),
                None => assert!(uuid::Uuid::parse_str(&got).is_ok(), "{got}"),
            }
        }
        assert_ne!(host(&[], "/p").session, host(&[], "/p").session);
    }

    #[test]
    fn the_project_is_the_folder_unless_it_is_home_or_root() {
        for (pairs, cwd, project) in [
            (&[("HOME", "/h")][..], "/h/p", Some("/h/p")),
            (&[("HOME", "/h"), ("CLAUDE_PROJECT_DIR", "/h/q")], "/h/p", Some("/h/q")),
            (&[("HOME", "/h"), ("CLAUDE_PROJECT_DIR", "")], "/h/p", Some("/h/p")),
            (&[("HOME", "/h")], "/h", None),
            (&[("HOME", "/h")], "/", None),
            (&[], "/p", Some("/p")),
        ] {
            assert_eq!(host(pairs, cwd).project.as_deref(), project, "{pairs:?} {cwd}");
        }
    }
}
