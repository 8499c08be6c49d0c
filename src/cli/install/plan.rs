//! The plan of an installation: computed first, then shown, confirmed and carried out, each part on its own.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::change::{BackupAction, FileChange};
use super::config_paths::ConfigPaths;
use super::diff;
use super::entries::ConfigEntry;
use super::invocation::Invocation;
use super::opencode_plugin;
use super::options::{InstallOptions, InstallTarget};
use super::service::{self, ServiceManager};
use crate::cli::support::assistants::{AssistantRules, version_in};
use crate::cli::support::console::{self, Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::files;
use crate::cli::support::program;
use crate::client::Client;
use crate::transcript::Assistant;

/// Longest wait for `PROGRAM --version`: those of Node.js take a second.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// The changes to make: of files, and of the service.
#[derive(Default)]
pub(crate) struct InstallPlan {
    changes: Vec<FileChange>,
    service: Option<Service>,
    /// Messages of parts that cannot be done.
    problems: Vec<String>,
    /// Messages that need no action for the plan to succeed.
    notes: Vec<String>,
}

/// What to do with the service, after its files are written.
struct Service {
    manager: ServiceManager,
    action: ServiceAction,
    /// Index of the first change of the service's files; they are the last ones.
    from: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ServiceAction {
    Start(Invocation),
    Stop,
}

impl InstallPlan {
    pub(crate) fn enter(&mut self, paths: &ConfigPaths, target: InstallTarget, call: &Invocation) {
        for (path, entry) in paths.entered(target) {
            let change = FileChange::enter(&path, entry, call);
            if change.is_ok() {
                self.note_foreign(&path, entry);
            }
            self.add(&path, change);
        }
        if let InstallTarget::Assistant(assistant) = target {
            self.note_version(assistant);
        }
        if paths.entries(target).is_empty() {
            self.notes.extend(target.note().map(str::to_owned));
        }
        match target {
            InstallTarget::Service => self.enter_service(paths, call),
            InstallTarget::Assistant(Assistant::Opencode) => {
                let path = paths.opencode_plugin();
                let change = FileChange::put(&path, &opencode_plugin::text(call), opencode_plugin::is_ours);
                self.add(&path, change);
            }
            InstallTarget::Assistant(_) => {}
        }
    }

    /// Plans the removal of what was entered for a target.
    pub(crate) fn remove(&mut self, paths: &ConfigPaths, target: InstallTarget) {
        for (path, entry) in paths.entries(target) {
            let change = FileChange::remove(&path, entry);
            if change.is_ok() {
                self.note_foreign(&path, entry);
            }
            self.add(&path, change);
        }
        match target {
            InstallTarget::Service => self.remove_service(paths),
            InstallTarget::Assistant(Assistant::Opencode) => {
                let path = paths.opencode_plugin();
                let change = FileChange::take_away(&path, opencode_plugin::is_ours);
                self.add(&path, change);
            }
            InstallTarget::Assistant(_) => {}
        }
    }

    /// Notes the entries for this program that we did not write.
    fn note_foreign(&mut self, path: &Path, entry: ConfigEntry) {
        let messages = FileChange::foreign(path, entry).unwrap_or_default();
        self.notes.extend(messages.into_iter().map(|what| format!("{}: {what}; it is kept", path.display())));
    }

    /// Notes what the release of an assistant that is found may not do.
    fn note_version(&mut self, assistant: Assistant) {
        let rules = AssistantRules::of(assistant);
        let Some(program) = service::find(rules.program) else { return };
        // One that does not run is no obstacle: its settings are for another.
        let Ok(said) = program::run(Command::new(program).arg("--version"), b"", VERSION_TIMEOUT) else { return };
        let dotted = |version: [u32; 3]| version.map(|number| number.to_string()).join(".");
        if let Some(found) = version_in(&said.out).filter(|found| *found < rules.hooks_since) {
            let (name, found, since) = (assistant.name(), dotted(found), dotted(rules.hooks_since));
            self.notes.push(format!(
                "{name} {found} is older than {since}, the first release that is known to run the hooks: its sessions may \
                 begin without a briefing and prompts without records, and what is said may come in by `iaid import` alone; \
                 update {name}"
            ));
        }
    }

    /// Notes that no daemon answers, unless the plan starts one.
    pub(crate) fn note_unreachable(&mut self, client: &mut Client) {
        if self.service.is_none() && client.call("ping", &json!({})).is_err() {
            let socket = client.path().display();
            self.notes.push(format!(
                "no daemon answers on {socket}; until one does, the tools fail and hooks keep what they capture in files; \
                 start one with `iaid serve`, or as a service with `iaid install --service`"
            ));
        }
    }

    fn add(&mut self, path: &Path, change: Result<Option<FileChange>, String>) {
        match change {
            Ok(change) => self.changes.extend(change),
            Err(why) => self.problems.push(format!("{}: {why}; the file was left alone", path.display())),
        }
    }

    fn enter_service(&mut self, paths: &ConfigPaths, call: &Invocation) {
        let Some(manager) = ServiceManager::found() else {
            return self.problems.push("the service: neither systemctl nor launchctl was found in PATH".into());
        };
        if let Err(why) = manager.answers() {
            return self.problems.push(format!("the service: {why}"));
        }
        let socket = call.socket.clone().unwrap_or_else(|| paths.home.join(".iai-mcp/.daemon.sock"));
        let is_running = manager.is_active();
        if !is_running && UnixStream::connect(&socket).is_ok() {
            let socket = socket.display();
            return self.problems.push(format!(
                "the service: a daemon started by hand serves {socket}; stop it and run the command again"
            ));
        }
        let from = self.changes.len();
        for file in manager.files(&paths.home, call, &[]) {
            if std::fs::read_to_string(&file.path).is_ok_and(|text| service::is_less_restricted(&text, &file.text)) {
                continue;
            }
            let change = FileChange::put(&file.path, &file.text, service::is_ours);
            self.add(&file.path, change);
        }
        if self.changes.len() > from || !is_running || manager.has_failed() {
            self.service = Some(Service { manager, action: ServiceAction::Start(call.clone()), from });
        }
    }

    /// Plans to stop the service and remove its files.
    fn remove_service(&mut self, paths: &ConfigPaths) {
        let Some(manager) = ServiceManager::found() else { return };
        let from = self.changes.len();
        let call = Invocation { program: PathBuf::new(), socket: None, store: None };
        for file in manager.files(&paths.home, &call, &[]) {
            let change = FileChange::take_away(&file.path, service::is_ours);
            self.add(&file.path, change);
        }
        if self.changes.len() > from {
            self.service = Some(Service { manager, action: ServiceAction::Stop, from });
        }
    }

    /// Shows the plan and asks for confirmation. Returns false if there is nothing to do or the user declines.
    ///
    /// # Errors
    /// [`CliError::Usage`] if standard input is not a terminal and `--yes` is missing; [`CliError::PartialInstall`] if nothing
    /// can be done and a part has failed; [`CliError::Output`] or [`CliError::Input`] if the streams fail.
    pub(crate) fn confirm(&self, choice: &InstallOptions, console: &mut Console) -> Result<bool, CliError> {
        self.show(console)?;
        if self.changes.is_empty() && self.service.is_none() {
            if console.format == OutputFormat::Text && self.problems.is_empty() {
                console.say("nothing to do").map_err(CliError::Output)?;
            }
            self.report(console)?;
            return Ok(false);
        }
        if choice.dry_run {
            self.report(console)?;
            return Ok(false);
        }
        if choice.yes {
            return Ok(true);
        }
        if !console.input_kind.is_terminal() || console.format == OutputFormat::Json {
            return Err(CliError::Usage(
                "nothing was changed: standard input is not a terminal; use --yes to confirm, or --dry-run to see the changes".into(),
            ));
        }
        console.ask("Apply these changes?").map_err(CliError::Input)
    }

    fn show(&self, console: &mut Console) -> Result<(), CliError> {
        for message in self.problems.iter().chain(&self.notes) {
            console.warn(message);
        }
        if console.format == OutputFormat::Json {
            return Ok(());
        }
        for change in &self.changes {
            let what = match (&change.before, &change.after, &change.backup) {
                (before, after, BackupAction::Drop) if before == after => "unchanged; its backup is removed",
                (None, ..) => "new",
                (_, None, _) => "removed",
                (.., BackupAction::Keep(_)) => "changed, with a backup beside it",
                (.., BackupAction::Drop) => "changed; its backup is removed",
                (.., BackupAction::None) => "changed",
            };
            console.say(format_args!("{} ({what})", change.path.display())).map_err(CliError::Output)?;
            let (before, after) = (change.before.as_deref(), change.after.as_deref());
            for line in diff::lines(before.unwrap_or_default(), after.unwrap_or_default()) {
                let line = console::visible(&line, console.out_kind).into_owned();
                console.say(format_args!("    {line}")).map_err(CliError::Output)?;
            }
        }
        let what = match self.service.as_ref().map(|service| (service.manager, &service.action)) {
            Some((ServiceManager::Systemd, ServiceAction::Start(_))) => {
                "systemd: start iaid.socket now and at every login"
            }
            Some((ServiceManager::Systemd, ServiceAction::Stop)) => "systemd: stop iaid.socket and iaid.service",
            Some((ServiceManager::Launchd, ServiceAction::Start(_))) => "launchd: start org.iaid.daemon on first use",
            Some((ServiceManager::Launchd, ServiceAction::Stop)) => "launchd: stop org.iaid.daemon",
            None => return console.flush().map_err(CliError::Output),
        };
        console.say(what).and_then(|()| console.flush()).map_err(CliError::Output)
    }

    /// Applies the changes, each on its own; failures are printed and kept in the plan.
    pub(crate) fn carry_out(&mut self, paths: &ConfigPaths, console: &mut Console) {
        let known = self.problems.len();
        if let Some(Service { manager, action: ServiceAction::Stop, .. }) = self.service
            && let Err(why) = manager.stop()
        {
            self.problems.push(format!("the service: {why}"));
        }
        let mut failed = Vec::new();
        for (at, change) in self.changes.iter().enumerate() {
            if let Err(why) = change.apply() {
                failed.push(at);
                self.problems.push(why);
            }
        }
        match &self.service {
            Some(Service { manager, action: ServiceAction::Stop, from }) => {
                manager.reload();
                let former = self.changes[*from..].iter().filter_map(|change| change.before.as_deref());
                former.filter_map(|text| service::socket_in(text, &paths.home)).for_each(|path| remove_dead(&path));
            }
            Some(Service { manager, action: ServiceAction::Start(call), from })
                if !failed.iter().any(|at| at >= from) =>
            {
                if let Err(why) = start(*manager, paths, call, console) {
                    self.problems.push(format!("the service: {why}"));
                }
            }
            _ => {}
        }
        for at in failed.into_iter().rev() {
            self.changes.remove(at);
        }
        for problem in &self.problems[known..] {
            console.warn(problem);
        }
    }

    /// On a machine without a display: asks whether the service should keep running after logout.
    pub(crate) fn offer_linger(&mut self, choice: &InstallOptions, console: &mut Console) {
        let is_new = self.service.as_ref().is_some_and(|service| service.manager == ServiceManager::Systemd);
        if !is_new || console.format == OutputFormat::Json || !service::ends_at_logout() {
            return;
        }
        let is_wanted = !choice.yes
            && console.input_kind.is_terminal()
            && console
                .ask("Your services end when you log out. Keep them running (loginctl enable-linger)?")
                .map_err(CliError::Input)
                .unwrap_or(false);
        if !is_wanted {
            return console.warn("The service ends when you log out; to keep it running: loginctl enable-linger");
        }
        if let Err(why) = service::enable_linger() {
            console.warn(&why);
            self.problems.push(why);
        }
    }

    /// Prints the result with `--json`, and returns an error if a part failed.
    ///
    /// # Errors
    /// [`CliError::PartialInstall`] if a part failed; [`CliError::Output`] if the result cannot be printed.
    pub(crate) fn report(&self, console: &mut Console) -> Result<(), CliError> {
        if console.format == OutputFormat::Json {
            let changed: Vec<String> = self.changes.iter().map(|change| change.path.display().to_string()).collect();
            console
                .say(json!({"changed": changed, "problems": self.problems, "notes": self.notes}))
                .map_err(CliError::Output)?;
        }
        if self.problems.is_empty() { Ok(()) } else { Err(CliError::PartialInstall(self.problems.len() as u64)) }
    }
}

/// Removes the socket of a service that has ended. Another file, and a socket at which a process listens, are kept.
fn remove_dead(path: &Path) {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        // A daemon that starts later replaces what is left.
        drop(std::fs::remove_file(path));
    }
}

/// Starts the service. If that fails, starts it without the restrictions that do not work here.
fn start(manager: ServiceManager, paths: &ConfigPaths, call: &Invocation, console: &mut Console) -> Result<(), String> {
    let socket = call.socket.clone().unwrap_or_else(|| paths.home.join(".iai-mcp/.daemon.sock"));
    // The sandbox can only give access to a folder that exists, and launchd does not create that of the socket.
    let socket_folder = socket.parent().filter(|_| manager == ServiceManager::Launchd);
    for folder in call.store.as_deref().into_iter().chain(socket_folder) {
        files::make_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    match manager.start(&paths.home) {
        Err(why) if manager == ServiceManager::Systemd => start_restricted(manager, paths, call, &why, console),
        started => started,
    }
}

/// Starts the service, which did not start because of `why`, with as many restrictions as work here: first without those
/// that need namespaces, then with each that does not keep it from starting.
fn start_restricted(
    manager: ServiceManager,
    paths: &ConfigPaths,
    call: &Invocation,
    why: &str,
    console: &mut Console,
) -> Result<(), String> {
    let attempt = |left_out: &[&str]| {
        for file in manager.files(&paths.home, call, left_out) {
            if let Some(change) = FileChange::put(&file.path, &file.text, service::is_ours)? {
                change.apply()?;
            }
        }
        manager.forget_failure();
        manager.start(&paths.home)
    };
    let all = service::namespace_restrictions();
    let mut left_out = all.clone();
    if let Err(again) = attempt(&left_out) {
        return Err(format!("{again}; {} shows more", manager.log()));
    }
    let mut is_running = true;
    for restriction in all {
        left_out.retain(|left| *left != restriction);
        is_running = attempt(&left_out).is_ok();
        if !is_running {
            left_out.push(restriction);
        }
    }
    if !is_running {
        attempt(&left_out)?;
    }
    let settings: Vec<&str> = left_out.iter().filter_map(|restriction| restriction.split('=').next()).collect();
    let settings = settings.join(", ");
    console.warn(format_args!("the service did not start in its full sandbox ({why}); it now runs without {settings}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::StreamKind;
    use crate::cli::support::console::tests::console;

    #[test]
    fn only_yes_confirms() {
        let change = FileChange {
            path: "/f".into(),
            before: Some("a\u{1b}\nb\n".into()),
            after: Some("a\u{1b}\nc\n".into()),
            backup: BackupAction::None,
        };
        let plan = InstallPlan { changes: vec![change], ..InstallPlan::default() };
        let choice = InstallOptions {
            claude_code: false,
            codex: false,
            copilot: false,
            gemini: false,
            qwen: false,
            opencode: false,
            service: false,
            yes: false,
            dry_run: false,
        };
        for (answer, want) in
            [("y\n", true), ("yes\n", true), ("n\n", false), ("\n", false), ("", false), ("yesterday", false)]
        {
            let (mut console, out, _) = console(OutputFormat::Text, answer.as_bytes());
            console.input_kind = StreamKind::Terminal;
            assert_eq!(plan.confirm(&choice, &mut console).unwrap(), want, "{answer:?}");
            assert_eq!(out.text(), "/f (changed)\n    - b\n    + c\nApply these changes? [y/N]\n");
        }
    }
}
