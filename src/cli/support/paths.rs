//! The default paths of the socket and the store. Pure: the environment is a parameter; the disk is not accessed.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Environment variable that names the socket.
const SOCKET: &str = "IAI_DAEMON_SOCKET_PATH";

/// Environment variable that names the store's folder.
pub(crate) const STORE: &str = "IAI_MCP_STORE";

/// Neither the option nor the variable is set, and HOME is not set either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHome {
    option: &'static str,
    variable: &'static str,
}

impl fmt::Display for NoHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoHome { option, variable } = self;
        write!(f, "HOME is not set, so there is no default under ~/.iai-mcp; give {option} or set {variable}")
    }
}

impl std::error::Error for NoHome {}

/// Returns the path of the socket: the option, else `IAI_DAEMON_SOCKET_PATH`, else `~/.iai-mcp/.daemon.sock`. An
/// empty variable counts as unset.
///
/// # Errors
/// [`NoHome`] if none of the three is set.
pub(crate) fn socket(option: Option<PathBuf>, env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, NoHome> {
    match option.or_else(|| set(SOCKET, env)) {
        Some(path) => Ok(path),
        None => Ok(home(env, NoHome { option: "--socket", variable: SOCKET })?.join(".daemon.sock")),
    }
}

/// Returns the folder of the store: the option, else `IAI_MCP_STORE`, else `~/.iai-mcp`. An empty variable counts as
/// unset.
///
/// # Errors
/// [`NoHome`] if none of the three is set.
pub(crate) fn store(option: Option<PathBuf>, env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, NoHome> {
    match option.or_else(|| set(STORE, env)) {
        Some(path) => Ok(path),
        None => home(env, NoHome { option: "--store", variable: STORE }),
    }
}

fn home(env: &dyn Fn(&str) -> Option<OsString>, missing: NoHome) -> Result<PathBuf, NoHome> {
    set("HOME", env).map(|home| home.join(".iai-mcp")).ok_or(missing)
}

fn set(name: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    env(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn option_precedes_variable_precedes_home() {
        type Env = &'static [(&'static str, &'static str)];
        let all: Env = &[("HOME", "/h"), (SOCKET, "/v/sock"), (STORE, "/v/store")];
        let empty: Env = &[("HOME", "/h"), (SOCKET, ""), (STORE, "")];
        for (option, pairs, want_socket, want_store) in [
            (Some("/o"), all, Some("/o"), Some("/o")),
            (Some("rel/o"), &[] as Env, Some("rel/o"), Some("rel/o")),
            (None, all, Some("/v/sock"), Some("/v/store")),
            (None, empty, Some("/h/.iai-mcp/.daemon.sock"), Some("/h/.iai-mcp")),
            (None, &[("HOME", "/h")], Some("/h/.iai-mcp/.daemon.sock"), Some("/h/.iai-mcp")),
            (None, &[("HOME", "/h"), (STORE, "/v")], Some("/h/.iai-mcp/.daemon.sock"), Some("/v")),
            (None, &[("HOME", "/h"), (SOCKET, "/v")], Some("/v"), Some("/h/.iai-mcp")),
            (None, &[(SOCKET, "/v")], Some("/v"), None),
            (None, &[(STORE, "/v")], None, Some("/v")),
            (None, &[("HOME", "")], None, None),
            (None, &[], None, None),
        ] {
            let option = option.map(PathBuf::from);
            let case = format!("{option:?} {pairs:?}");
            assert_eq!(socket(option.clone(), &env(pairs)).ok(), want_socket.map(PathBuf::from), "socket {case}");
            assert_eq!(store(option, &env(pairs)).ok(), want_store.map(PathBuf::from), "store {case}");
        }
    }

    #[test]
    fn a_missing_home_names_the_option_and_the_variable() {
        let said = socket(None, &|_| None).unwrap_err().to_string();
        assert!(said.contains("HOME") && said.contains("--socket") && said.contains(SOCKET), "{said}");
        let said = store(None, &|_| None).unwrap_err().to_string();
        assert!(said.contains("--store") && said.contains(STORE), "{said}");
    }
}
