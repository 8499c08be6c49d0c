//! What the bridge knows of the assistant that started it: which session this is, and in which
//! project. Pure: the environment is a parameter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Variables that name the session, the first that is set: ours, Claude Code's and Codex's.
const SESSION_VARIABLES: [&str; 3] = ["IAI_MCP_SESSION_ID", "CLAUDE_CODE_SESSION_ID", "CODEX_THREAD_ID"];

/// Where Claude Code says in which project it is.
const PROJECT_VARIABLE: &str = "CLAUDE_PROJECT_DIR";

/// Longest session id, in characters: what the daemon keeps of one.
const SESSION_CHARS: usize = 128;

/// What stands in for arguments that a call leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The session's id.
    pub session: String,
    /// The project's folder, where it is one.
    pub project: Option<String>,
}

impl Host {
    /// The session that the environment names, else a new one; the project that it names, else the
    /// working folder. A home or a root folder is no project: that is where a desktop program starts.
    pub fn from_env(env: &dyn Fn(&str) -> Option<OsString>, cwd: Option<PathBuf>) -> Host {
        let named = |name: &&str| env(name).and_then(|id| id.into_string().ok()).filter(|id| is_session(id));
        let session = SESSION_VARIABLES.iter().find_map(named).unwrap_or_else(|| Uuid::now_v7().to_string());
        let folder = env(PROJECT_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from).or(cwd);
        let home = env("HOME").map(PathBuf::from);
        let is_project = |folder: &PathBuf| folder != Path::new("/") && Some(folder) != home.as_ref();
        let project = folder.filter(is_project).and_then(|folder| folder.into_os_string().into_string().ok());
        Host { session, project }
    }
}

fn is_session(id: &str) -> bool {
    !id.is_empty() && id.len() <= SESSION_CHARS && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pairs: &[(&str, &str)], cwd: &str) -> Host {
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        Host::from_env(&env, Some(cwd.into()))
    }

    #[test]
    fn the_session_is_the_first_that_is_named() {
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
            let got = host(pairs, "/p").session;
            match session {
                Some(session) => assert_eq!(got, session),
                None => assert!(Uuid::parse_str(&got).is_ok(), "{got}"),
            }
        }
        assert_ne!(host(&[], "/p").session, host(&[], "/p").session);
    }

    #[test]
    fn the_project_is_the_folder_unless_that_is_nobodys() {
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
