//! The daemon as a user service: the systemd units or the launchd agent of `deploy/`, with the path of this program, and
//! the calls of systemctl, launchctl and loginctl.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::invocation::Invocation;
use crate::cli::support::{files, program};

const SOCKET_UNIT: &str = include_str!("../../../deploy/iaid.socket");
const SERVICE_UNIT: &str = include_str!("../../../deploy/iaid.service");
const AGENT: &str = include_str!("../../../deploy/org.iaid.daemon.plist");

/// The lines that begin and end the part of a unit's sandbox that needs namespaces.
const NAMESPACES: (&str, &str) = ("# The following needs namespaces", "# End of what needs namespaces.\n");

const AGENT_NAME: &str = "org.iaid.daemon";

/// Largest unit or agent file that is read.
const MAX_UNIT_BYTES: u64 = 64 << 10;

/// Longest wait for a query of a service manager, and for an action: a start waits for the daemon, and a stop for its
/// drain.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
const ACTION_TIMEOUT: Duration = Duration::from_secs(120);

/// The service manager of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceManager {
    Systemd,
    Launchd,
}

/// How much a unit restricts the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// All restrictions, including those that need namespaces.
    Full,
    /// Only restrictions that every kernel grants to user services.
    Plain,
}

/// A unit or agent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl ServiceManager {
    /// Returns the service manager of this machine, if any.
    pub(crate) fn found() -> Option<ServiceManager> {
        let systemd = || find("systemctl").map(|_| ServiceManager::Systemd);
        let launchd = || find("launchctl").map(|_| ServiceManager::Launchd);
        if cfg!(target_os = "macos") { launchd().or_else(systemd) } else { systemd().or_else(launchd) }
    }

    /// Checks that the manager answers for this user.
    ///
    /// # Errors
    /// A message with the reason and the remedy.
    pub(crate) fn answers(self) -> Result<(), String> {
        match self {
            ServiceManager::Systemd => query("systemctl", &["--user", "show-environment"]).map(drop).map_err(|why| {
                format!("systemd does not answer for this user ({why}); log in on a terminal of your own, or run loginctl enable-linger")
            }),
            ServiceManager::Launchd => Ok(()),
        }
    }

    /// Returns true if the service is loaded and listening.
    pub(crate) fn is_active(self) -> bool {
        match self {
            ServiceManager::Systemd => query("systemctl", &["--user", "is-active", "--quiet", "iaid.socket"]).is_ok(),
            ServiceManager::Launchd => query("launchctl", &["print", &agent_target()]).is_ok(),
        }
    }

    /// Returns true if the service is started at the next login.
    pub(crate) fn is_enabled(self) -> bool {
        match self {
            ServiceManager::Systemd => query("systemctl", &["--user", "is-enabled", "--quiet", "iaid.socket"]).is_ok(),
            ServiceManager::Launchd => true,
        }
    }

    /// Returns the program that the unit or agent file starts, if there is one.
    pub(crate) fn program(self, home: &Path) -> Option<PathBuf> {
        let name = match self {
            ServiceManager::Systemd => "iaid.service".to_owned(),
            ServiceManager::Launchd => format!("{AGENT_NAME}.plist"),
        };
        let text = files::text(&self.folder(home).join(name), MAX_UNIT_BYTES).ok()??;
        program_in(&text)
    }

    /// Returns the unit or agent files for this program.
    pub(crate) fn files(self, home: &Path, call: &Invocation, sandbox: Sandbox) -> Vec<ServiceFile> {
        let file = |path: PathBuf, text| ServiceFile { path, text };
        match self {
            ServiceManager::Systemd => {
                let folder = self.folder(home);
                vec![
                    file(folder.join("iaid.socket"), socket_unit(call)),
                    file(folder.join("iaid.service"), service_unit(call, sandbox)),
                ]
            }
            ServiceManager::Launchd => {
                vec![file(self.folder(home).join(format!("{AGENT_NAME}.plist")), agent(home, call))]
            }
        }
    }

    fn folder(self, home: &Path) -> PathBuf {
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        match self {
            ServiceManager::Systemd => config.unwrap_or_else(|| home.join(".config")).join("systemd/user"),
            ServiceManager::Launchd => home.join("Library/LaunchAgents"),
        }
    }

    /// Starts the service from its files and enables it.
    ///
    /// # Errors
    /// The message of the service manager.
    pub(crate) fn start(self, home: &Path) -> Result<(), String> {
        match self {
            ServiceManager::Systemd => {
                run("systemctl", &["--user", "daemon-reload"])?;
                run("systemctl", &["--user", "enable", "--now", "iaid.socket"])?;
                run("systemctl", &["--user", "restart", "iaid.service"])
            }
            ServiceManager::Launchd => {
                // Ends a running agent, which may have other settings; fails if there is none.
                drop(run("launchctl", &["bootout", &agent_target()]));
                let plist = self.folder(home).join(format!("{AGENT_NAME}.plist"));
                let domain = format!("gui/{}", crate::sys::peer::own_uid());
                run("launchctl", &["bootstrap", &domain, &plist.to_string_lossy()])
            }
        }
    }

    /// Resets a failed start, so that the next start is not refused.
    pub(crate) fn forget_failure(self) {
        if self == ServiceManager::Systemd {
            drop(run("systemctl", &["--user", "reset-failed", "iaid.service"]));
        }
    }

    /// Stops and disables the service, before its files are removed.
    ///
    /// # Errors
    /// The message of the service manager.
    pub(crate) fn stop(self) -> Result<(), String> {
        match self {
            ServiceManager::Systemd => run("systemctl", &["--user", "disable", "--now", "iaid.socket", "iaid.service"]),
            ServiceManager::Launchd => run("launchctl", &["bootout", &agent_target()]),
        }
    }

    /// Makes the manager reload its files, after they were removed.
    pub(crate) fn reload(self) {
        if self == ServiceManager::Systemd {
            drop(run("systemctl", &["--user", "daemon-reload"]));
        }
    }
}

/// Returns true if the text is a unit or agent file of this program, of any release.
pub(crate) fn is_ours(text: &str) -> bool {
    [SOCKET_UNIT, SERVICE_UNIT].iter().any(|unit| text.lines().next() == unit.lines().next())
        || text.contains(AGENT_NAME)
}

/// Returns true if this machine has no display and the user's services end at logout.
pub(crate) fn ends_at_logout() -> bool {
    let has = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_headless = !has("DISPLAY") && !has("WAYLAND_DISPLAY") && find("loginctl").is_some();
    let user = crate::sys::peer::own_uid().to_string();
    is_headless && query("loginctl", &["show-user", &user, "--property=Linger"]).is_ok_and(|said| said.contains("=no"))
}

/// Keeps the user's services running after logout.
///
/// # Errors
/// The message of loginctl.
pub(crate) fn enable_linger() -> Result<(), String> {
    run("loginctl", &["enable-linger"])
}

/// Returns the path of an executable in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path: OsString = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

fn socket_unit(call: &Invocation) -> String {
    match &call.socket {
        Some(path) => SOCKET_UNIT.replace("%h/.iai-mcp/.daemon.sock", &path.to_string_lossy().replace('%', "%%")),
        None => SOCKET_UNIT.to_owned(),
    }
}

fn service_unit(call: &Invocation, sandbox: Sandbox) -> String {
    let store = call.store.as_ref().map(|path| unit_word(path));
    let options = store.as_ref().map_or_else(String::new, |store| format!(" --store {store}"));
    let start = format!("{} serve{options}", unit_word(&call.program));
    let mut text = SERVICE_UNIT.replace("%h/.cargo/bin/iaid serve", &start);
    if let Some(store) = store {
        text = text.replace("ReadWritePaths=%h\n", &format!("ReadWritePaths=%h {store}\n"));
    }
    if sandbox == Sandbox::Plain
        && let (Some(start), Some(end)) = (text.find(NAMESPACES.0), text.find(NAMESPACES.1))
    {
        text.replace_range(start..end + NAMESPACES.1.len(), "");
    }
    text
}

/// Quotes a path as a word in a unit, by systemd.syntax(7) and, for `$`, systemd.service(5).
fn unit_word(path: &Path) -> String {
    let mut word = String::from("\"");
    for c in path.to_string_lossy().chars() {
        match c {
            '%' | '$' => word.extend([c, c]),
            '"' | '\\' => word.extend(['\\', c]),
            '\n' => word.push_str("\\n"),
            _ => word.push(c),
        }
    }
    word + "\""
}

fn agent(home: &Path, call: &Invocation) -> String {
    let xml = |path: &Path| {
        path.to_string_lossy()
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace("--", "&#45;&#45;")
    };
    let mut text = AGENT.to_owned();
    if let (Some(start), Some(end)) = (text.find("<!-- "), text.find("-->\n")) {
        text.replace_range(start..end + 4, "");
    }
    if let Some(socket) = &call.socket {
        text = text.replace("/Users/USER/.iai-mcp/.daemon.sock", &xml(socket));
    }
    if let Some(store) = &call.store {
        let serve = "        <string>serve</string>\n";
        let more = format!("        <string>--store</string>\n        <string>{}</string>\n", xml(store));
        text = text.replace(serve, &(serve.to_owned() + &more));
    }
    text.replace("/Users/USER/.cargo/bin/iaid", &xml(&call.program)).replace("/Users/USER", &xml(home))
}

fn agent_target() -> String {
    format!("gui/{}/{AGENT_NAME}", crate::sys::peer::own_uid())
}

/// Returns the program in a unit's `ExecStart=` or an agent's first argument.
fn program_in(text: &str) -> Option<PathBuf> {
    let start = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let plist = || text.split_once("<key>ProgramArguments</key>")?.1.split_once("<string>")?.1.split_once("</string>");
    let word = match (start, plist()) {
        (Some(start), _) => {
            let quoted = start.strip_prefix('"').and_then(|rest| rest.split_once("\" "));
            let word = quoted.map_or_else(|| start.split(' ').next().unwrap_or_default(), |(word, _)| word);
            word.replace("%%", "%").replace("$$", "$").replace("\\\"", "\"").replace("\\\\", "\\")
        }
        (None, Some((word, _))) => word.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
        (None, None) => return None,
    };
    Some(PathBuf::from(word))
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    output(program, args, ACTION_TIMEOUT).map(drop)
}

fn query(program: &str, args: &[&str]) -> Result<String, String> {
    output(program, args, QUERY_TIMEOUT)
}

fn output(program: &str, args: &[&str], limit: Duration) -> Result<String, String> {
    let said = program::run(Command::new(program).args(args), b"", limit)?;
    if said.status.success() {
        return Ok(said.out);
    }
    let why = said.err.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no error message").to_owned();
    Err(format!("{program} {}: {why}", args.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(store: Option<&str>) -> Invocation {
        Invocation { program: "/o p/iaid".into(), socket: None, store: store.map(PathBuf::from) }
    }

    #[test]
    fn units_have_the_programs_path_and_the_chosen_sandbox() {
        let full = service_unit(&call(None), Sandbox::Full);
        assert!(full.contains("\nExecStart=\"/o p/iaid\" serve\n"), "{full}");
        for line in ["PrivateNetwork=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "MemoryMax=128M"] {
            assert!(full.contains(&format!("\n{line}\n")), "{line}");
        }
        let plain = service_unit(&call(None), Sandbox::Plain);
        for line in full.lines().filter(|line| line.starts_with("Private") || line.starts_with("Protect")) {
            assert!(!plain.contains(line), "{line}");
        }
        assert!(
            plain.contains("NoNewPrivileges=yes") && plain.contains("[Install]\n") && !plain.contains("namespaces,")
        );
        let stored = service_unit(&call(Some("/s%\"m")), Sandbox::Full);
        assert!(stored.contains(r#"ExecStart="/o p/iaid" serve --store "/s%%\"m""#), "{stored}");
        assert!(stored.contains(r#"ReadWritePaths=%h "/s%%\"m""#), "{stored}");
        assert_eq!(program_in(&full), Some("/o p/iaid".into()));
        assert_eq!(program_in(SERVICE_UNIT), Some("%h/.cargo/bin/iaid".into()));
        assert!(is_ours(&full) && is_ours(&plain) && is_ours(SOCKET_UNIT) && !is_ours("[Unit]\n"));
    }

    #[test]
    fn the_agent_has_no_placeholders_left() {
        let text = agent("/Users/a & b".as_ref(), &call(Some("/s")));
        assert!(!text.contains("USER") && text.contains("<string>/o p/iaid</string>"), "{text}");
        assert!(text.contains("<string>/Users/a &amp; b/.iai-mcp/.daemon.sock</string>"), "{text}");
        assert!(text.contains("<string>--store</string>\n        <string>/s</string>"), "{text}");
        assert!(is_ours(&text));
        assert_eq!(program_in(&text), Some("/o p/iaid".into()));
    }
}
