//! The daemon as a user service: the systemd units or the launchd agent of `deploy/`, with the path of this program, and
//! the calls of systemctl, launchctl and loginctl.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::invocation::Invocation;
use crate::cli::support::{files, program};

const SOCKET_UNIT: &str = include_str!("../../../deploy/iaid.socket");
const SERVICE_UNIT: &str = include_str!("../../../deploy/iaid.service");
const AGENT: &str = include_str!("../../../deploy/org.iaid.daemon.plist");

/// The lines that begin and end the part of a unit's sandbox that needs namespaces.
const NAMESPACES: (&str, &str) = ("# The following needs namespaces", "# End of what needs namespaces.\n");

/// A setting that does something only together with the one before it.
const DEPENDENT_SETTING: &str = "ReadWritePaths=";

const AGENT_NAME: &str = "org.iaid.daemon";

/// Largest unit or agent file that is read.
const MAX_UNIT_BYTES: u64 = 64 << 10;

/// Longest wait for a query of a service manager, and for an action: a start waits for the daemon, and a stop for its
/// drain.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
const ACTION_TIMEOUT: Duration = Duration::from_secs(120);

/// How often launchd is asked whether an agent has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The service manager of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceManager {
    Systemd,
    Launchd,
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
            ServiceManager::Launchd => loaded_agents().next().is_some(),
        }
    }

    /// Returns true if the daemon could not be started the last time.
    pub(crate) fn has_failed(self) -> bool {
        self == ServiceManager::Systemd
            && query("systemctl", &["--user", "is-failed", "--quiet", "iaid.service"]).is_ok()
    }

    /// Returns the command that makes the service listen, or start the daemon, again.
    pub(crate) fn start_command(self) -> String {
        match self {
            ServiceManager::Systemd => "systemctl --user start iaid.socket".into(),
            ServiceManager::Launchd => format!("launchctl kickstart {}", agent_target()),
        }
    }

    /// Returns the command that restarts the daemon.
    pub(crate) fn restart_command(self) -> String {
        match self {
            ServiceManager::Systemd => "systemctl --user restart iaid.service".into(),
            ServiceManager::Launchd => format!("launchctl kickstart -k {}", agent_target()),
        }
    }

    /// Returns where the log of the service is.
    pub(crate) fn log(self) -> &'static str {
        match self {
            ServiceManager::Systemd => "journalctl --user -u iaid",
            ServiceManager::Launchd => "~/Library/Logs/iaid.log",
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

    /// Returns the unit or agent files for this program, a unit without the restrictions `left_out`.
    pub(crate) fn files(self, home: &Path, call: &Invocation, left_out: &[&str]) -> Vec<ServiceFile> {
        let file = |path: PathBuf, text| ServiceFile { path, text };
        match self {
            ServiceManager::Systemd => {
                let folder = self.folder(home);
                vec![
                    file(folder.join("iaid.socket"), socket_unit(call)),
                    file(folder.join("iaid.service"), service_unit(call, left_out)),
                ]
            }
            ServiceManager::Launchd => {
                vec![file(self.folder(home).join(format!("{AGENT_NAME}.plist")), agent(home, call, &agent_domain()))]
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
                // A loaded agent may have other settings.
                self.stop()?;
                let plist = self.folder(home).join(format!("{AGENT_NAME}.plist"));
                run("launchctl", &["bootstrap", &agent_domain(), &plist.to_string_lossy()])
            }
        }
    }

    /// Resets a failed start, so that the next start is not refused.
    pub(crate) fn forget_failure(self) {
        if self == ServiceManager::Systemd {
            drop(run("systemctl", &["--user", "reset-failed", "iaid.service", "iaid.socket"]));
        }
    }

    /// Stops and disables the service, before its files are removed. Waits for the end of the daemon.
    ///
    /// # Errors
    /// The message of the service manager.
    pub(crate) fn stop(self) -> Result<(), String> {
        match self {
            ServiceManager::Systemd => run("systemctl", &["--user", "disable", "--now", "iaid.socket", "iaid.service"]),
            ServiceManager::Launchd => loaded_agents().try_for_each(|agent| end_agent(&agent)),
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

/// Returns true if a unit is this one, but for restrictions that need namespaces and that it lacks: an earlier install
/// found that they do not work here.
pub(crate) fn is_less_restricted(text: &str, full: &str) -> bool {
    let is_known = |line| full.lines().any(|known| known == line);
    text != full && without_namespaces(text) == without_namespaces(full) && text.lines().all(is_known)
}

/// Returns the restrictions that need namespaces, in an order in which each can be added to those before it. A
/// restriction is a line, or several of which the later ones depend on the first.
pub(crate) fn namespace_restrictions() -> Vec<&'static str> {
    let (Some(start), Some(end)) = (SERVICE_UNIT.find(NAMESPACES.0), SERVICE_UNIT.find(NAMESPACES.1)) else {
        return Vec::new();
    };
    let text = &SERVICE_UNIT[start..end];
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if !line.starts_with('#') && !line.starts_with(DEPENDENT_SETTING) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &text[start..end]).collect()
}

fn without_namespaces(text: &str) -> String {
    match (text.find(NAMESPACES.0), text.find(NAMESPACES.1)) {
        (Some(start), Some(end)) => text[..start].to_owned() + &text[end + NAMESPACES.1.len()..],
        _ => text.to_owned(),
    }
}

/// Returns the socket at which an active socket unit of the administrator listens for this user, and the unit's name.
pub(crate) fn system_socket() -> Option<(PathBuf, String)> {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok().filter(|user| !user.is_empty()))?;
    let unit = format!("iaid@{user}.socket");
    let shown = query("systemctl", &["show", "--property=ActiveState,Listen", &unit]).ok()?;
    let value = |key: &str| shown.lines().find_map(|line| line.strip_prefix(key));
    let path = value("Listen=")?.strip_suffix(" (Stream)")?;
    (value("ActiveState=") == Some("active")).then(|| (path.into(), unit))
}

/// Returns the socket that a socket unit or agent listens at.
pub(crate) fn socket_in(text: &str, home: &Path) -> Option<PathBuf> {
    let unit = text.lines().find_map(|line| line.strip_prefix("ListenStream="));
    let agent = || text.split_once("<key>SockPathName</key>")?.1.split_once("<string>")?.1.split_once("</string>");
    Some(match (unit, agent()) {
        (Some(path), _) => match path.strip_prefix("%h/") {
            Some(path) => home.join(path),
            None => path.replace("%%", "%").into(),
        },
        (None, Some((path, _))) => from_xml(path).into(),
        (None, None) => return None,
    })
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

fn service_unit(call: &Invocation, left_out: &[&str]) -> String {
    let store = call.store.as_ref().map(|path| unit_word(path));
    let options = store.as_ref().map_or_else(String::new, |store| format!(" --store {store}"));
    let start = format!("{} serve{options}", unit_word(&call.program));
    let mut text = SERVICE_UNIT.to_owned();
    if left_out.len() == namespace_restrictions().len() {
        text = without_namespaces(&text);
    }
    for restriction in left_out {
        text = text.replace(restriction, "");
    }
    text = text.replace("%h/.cargo/bin/iaid serve", &start);
    if let Some(store) = store {
        text = text.replace("ReadWritePaths=%h\n", &format!("ReadWritePaths=%h {store}\n"));
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

fn agent(home: &Path, call: &Invocation, domain: &str) -> String {
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
    if !domain.starts_with(GRAPHICAL_DOMAIN) {
        let key = "    <key>Sockets</key>\n";
        let more = "    <key>LimitLoadToSessionType</key>\n    <string>Background</string>\n";
        text = text.replacen(key, &(more.to_owned() + key), 1);
    }
    text.replace("/Users/USER/.cargo/bin/iaid", &xml(&call.program)).replace("/Users/USER", &xml(home))
}

/// The launchd domain of a user's graphical session.
const GRAPHICAL_DOMAIN: &str = "gui/";

/// Returns the launchd domains of this user: that of the graphical session, and the one that exists without it, as over
/// ssh.
fn agent_domains() -> [String; 2] {
    [GRAPHICAL_DOMAIN, "user/"].map(|domain| format!("{domain}{}", crate::sys::peer::own_uid()))
}

/// Returns the domain for the agent: the first of [`agent_domains`] that exists.
fn agent_domain() -> String {
    let [graphical, other] = agent_domains();
    if query("launchctl", &["print", &graphical]).is_ok() { graphical } else { other }
}

/// Returns the loaded agents: one, unless somebody has loaded it by hand as well.
fn loaded_agents() -> impl Iterator<Item = String> {
    agent_domains().into_iter().map(|domain| format!("{domain}/{AGENT_NAME}")).filter(|agent| is_loaded(agent))
}

fn is_loaded(agent: &str) -> bool {
    query("launchctl", &["print", agent]).is_ok()
}

fn agent_target() -> String {
    loaded_agents().next().unwrap_or_else(|| format!("{}/{AGENT_NAME}", agent_domain()))
}

/// Unloads an agent and waits until it is gone: `launchctl bootout` returns before that, and `bootstrap` then fails.
fn end_agent(agent: &str) -> Result<(), String> {
    run("launchctl", &["bootout", agent])?;
    let deadline = Instant::now() + ACTION_TIMEOUT;
    while is_loaded(agent) {
        if Instant::now() >= deadline {
            return Err(format!("launchctl bootout {agent}: it did not end within {ACTION_TIMEOUT:?}"));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

fn from_xml(text: &str) -> String {
    text.replace("&#45;", "-").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
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
        (None, Some((word, _))) => from_xml(word),
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
        let full = service_unit(&call(None), &[]);
        assert!(full.contains("\nExecStart=\"/o p/iaid\" serve\n"), "{full}");
        for line in ["PrivateNetwork=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "MemoryMax=128M"] {
            assert!(full.contains(&format!("\n{line}\n")), "{line}");
        }
        let plain = service_unit(&call(None), &namespace_restrictions());
        for line in full.lines().filter(|line| line.starts_with("Private") || line.starts_with("Protect")) {
            assert!(!plain.contains(line), "{line}");
        }
        assert!(
            plain.contains("NoNewPrivileges=yes") && plain.contains("[Install]\n") && !plain.contains("namespaces,")
        );
        let stored = service_unit(&call(Some("/s%\"m")), &[]);
        assert!(stored.contains(r#"ExecStart="/o p/iaid" serve --store "/s%%\"m""#), "{stored}");
        assert!(stored.contains(r#"ReadWritePaths=%h "/s%%\"m""#), "{stored}");
        assert_eq!(program_in(&full), Some("/o p/iaid".into()));
        assert_eq!(program_in(SERVICE_UNIT), Some("%h/.cargo/bin/iaid".into()));
        assert!(is_ours(&full) && is_ours(&plain) && is_ours(SOCKET_UNIT) && !is_ours("[Unit]\n"));
    }

    #[test]
    fn each_restriction_can_be_left_out_and_an_install_keeps_what_works() {
        let restrictions = namespace_restrictions();
        assert_eq!(restrictions.first(), Some(&"PrivateUsers=yes\n"));
        let full = service_unit(&call(Some("/s")), &[]);
        assert!(!is_less_restricted(&full, &full));
        for restriction in &restrictions {
            assert!(restriction.contains("=yes\n") || restriction.contains("ReadWritePaths=%h\n"), "{restriction}");
            let less = service_unit(&call(Some("/s")), &[restriction]);
            let setting = restriction.lines().next().unwrap();
            assert!(!less.contains(setting) && less.len() < full.len(), "{less}");
            assert!(is_less_restricted(&less, &full) && !is_less_restricted(&full, &less), "{less}");
        }
        let plain = service_unit(&call(Some("/s")), &restrictions);
        assert!(is_less_restricted(&plain, &full) && !plain.contains("ReadWritePaths"), "{plain}");
        assert!(!is_less_restricted(&plain, &service_unit(&call(None), &[])), "another store");
        assert!(!is_less_restricted(&full.replace("PrivateUsers=yes", "PrivateUsers=no"), &full));
    }

    #[test]
    fn the_socket_of_a_unit_and_of_an_agent_is_found() {
        let home = Path::new("/h");
        let mut call = call(None);
        let socket = |text: &str| socket_in(text, home).unwrap();
        for file in ["/h/.iai-mcp/.daemon.sock", "/r & s/100%h.sock", "/a--b"] {
            call.socket = Some(file.into());
            assert_eq!(socket(&socket_unit(&call)), Path::new(file));
            assert_eq!(socket(&agent(home, &call, "gui/1")), Path::new(file));
        }
        call.socket = None;
        assert_eq!(socket(&socket_unit(&call)), Path::new("/h/.iai-mcp/.daemon.sock"));
        assert_eq!(socket_in(SERVICE_UNIT, home), None);
    }

    #[test]
    fn the_agent_has_no_placeholders_left() {
        let text = agent("/Users/a & b".as_ref(), &call(Some("/s")), "gui/501");
        assert!(!text.contains("LimitLoadToSessionType"), "{text}");
        let other = agent("/Users/a".as_ref(), &call(None), "user/501");
        assert!(other.contains("<key>LimitLoadToSessionType</key>\n    <string>Background</string>"), "{other}");
        assert!(!text.contains("USER") && text.contains("<string>/o p/iaid</string>"), "{text}");
        assert!(text.contains("<string>/Users/a &amp; b/.iai-mcp/.daemon.sock</string>"), "{text}");
        assert!(text.contains("<string>--store</string>\n        <string>/s</string>"), "{text}");
        assert!(is_ours(&text));
        assert_eq!(program_in(&text), Some("/o p/iaid".into()));
    }
}
