//! What is to be done: found first, shown, asked for, and then done, each part by itself.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::change::{BackupAction, FileChange};
use super::config_paths::ConfigPaths;
use super::entries::Invocation;
use super::service::{self, Sandbox, ServiceManager};
use super::{InstallOptions, InstallTarget, diff};
use crate::cli::support::console::{self, Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::files;

/// What is to be done: changes of files, and of the service.
#[derive(Default)]
pub(crate) struct InstallPlan {
    changes: Vec<FileChange>,
    service: Option<Service>,
    /// What cannot be done, and why.
    problems: Vec<String>,
}

/// What is to become of the service, once its files are what they shall be.
struct Service {
    manager: ServiceManager,
    step: Step,
    /// Its own among the changes are the last ones, from here.
    from: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Start(Invocation),
    Stop,
}

impl InstallPlan {
    pub(crate) fn enter(&mut self, place: &ConfigPaths, part: InstallTarget, call: &Invocation) {
        for (path, entry) in place.entries(part) {
            let change = FileChange::enter(&path, entry, call);
            self.add(&path, change);
        }
        if part == InstallTarget::Service {
            self.enter_service(place, call);
        }
    }

    /// Takes out again what was entered for a part.
    pub(crate) fn remove(&mut self, place: &ConfigPaths, part: InstallTarget) {
        for (path, entry) in place.entries(part) {
            let change = FileChange::remove(&path, entry);
            self.add(&path, change);
        }
        if part == InstallTarget::Service {
            self.remove_service(place);
        }
    }

    fn add(&mut self, path: &Path, change: Result<Option<FileChange>, String>) {
        match change {
            Ok(change) => self.changes.extend(change),
            Err(why) => self.problems.push(format!("{}: {why}; it was left alone", path.display())),
        }
    }

    fn enter_service(&mut self, place: &ConfigPaths, call: &Invocation) {
        let Some(manager) = ServiceManager::found() else {
            return self.problems.push("the service: neither systemctl nor launchctl is in PATH".into());
        };
        if let Err(why) = manager.answers() {
            return self.problems.push(format!("the service: {why}"));
        }
        let socket = call.socket.clone().unwrap_or_else(|| place.home.join(".iai-mcp/.daemon.sock"));
        let is_running = manager.is_active();
        if !is_running && UnixStream::connect(&socket).is_ok() {
            let socket = socket.display();
            return self.problems.push(format!(
                "the service: a daemon that was started by hand serves {socket}; stop it, and run this again"
            ));
        }
        let from = self.changes.len();
        let plain = manager.files(&place.home, call, Sandbox::Plain);
        for (full, plain) in manager.files(&place.home, call, Sandbox::Full).iter().zip(&plain) {
            // What an earlier trial has shown holds.
            if std::fs::read_to_string(&plain.path).is_ok_and(|text| text == plain.text) {
                continue;
            }
            let change = FileChange::put(&full.path, &full.text, service::is_ours);
            self.add(&full.path, change);
        }
        if self.changes.len() > from || !is_running {
            self.service = Some(Service { manager, step: Step::Start(call.clone()), from });
        }
    }

    /// Ends the service and takes its files away.
    fn remove_service(&mut self, place: &ConfigPaths) {
        let Some(manager) = ServiceManager::found() else { return };
        let from = self.changes.len();
        let call = Invocation { program: PathBuf::new(), socket: None, store: None };
        for file in manager.files(&place.home, &call, Sandbox::Full) {
            let change = FileChange::take_away(&file.path, service::is_ours);
            self.add(&file.path, change);
        }
        if self.changes.len() > from {
            self.service = Some(Service { manager, step: Step::Stop, from });
        }
    }

    /// Shows what is to be done and asks. False where there is nothing to do, or it is not to be done.
    ///
    /// # Errors
    /// There is nobody to ask; or something cannot be done, and there is nothing else to do.
    pub(crate) fn agreed(&self, choice: &InstallOptions, console: &mut Console) -> Result<bool, CliError> {
        self.show(console)?;
        if self.changes.is_empty() && self.service.is_none() {
            if console.format == OutputFormat::Text && self.problems.is_empty() {
                console.say("nothing to do: it is all as it should be").map_err(CliError::Output)?;
            }
            self.told(console)?;
            return Ok(false);
        }
        if choice.dry_run {
            self.told(console)?;
            return Ok(false);
        }
        if choice.yes {
            return Ok(true);
        }
        if !console.input_kind.is_terminal() || console.format == OutputFormat::Json {
            return Err(CliError::Usage(
                "nothing was changed: there is nobody to ask; say --yes to do it, or --dry-run to see it".into(),
            ));
        }
        ask("Do it?", console)
    }

    fn show(&self, console: &mut Console) -> Result<(), CliError> {
        for problem in &self.problems {
            console.warn(problem);
        }
        if console.format == OutputFormat::Json {
            return Ok(());
        }
        for change in &self.changes {
            let what = match (&change.before, &change.after, &change.backup) {
                (None, ..) => "new",
                (_, None, _) => "removed",
                (.., BackupAction::Keep(_)) => "changed, with a backup beside it",
                (.., BackupAction::Drop) => "as it was before iaid install",
                (.., BackupAction::None) => "changed",
            };
            console.say(format_args!("{} ({what})", change.path.display())).map_err(CliError::Output)?;
            let (before, after) = (change.before.as_deref(), change.after.as_deref());
            for line in diff::lines(before.unwrap_or_default(), after.unwrap_or_default()) {
                let line = console::visible(&line, console.out_kind).into_owned();
                console.say(format_args!("    {line}")).map_err(CliError::Output)?;
            }
        }
        let what = match self.service.as_ref().map(|service| (service.manager, &service.step)) {
            Some((ServiceManager::Systemd, Step::Start(_))) => "systemd starts iaid.socket now and at every login",
            Some((ServiceManager::Systemd, Step::Stop)) => "systemd stops iaid.socket and iaid.service",
            Some((ServiceManager::Launchd, Step::Start(_))) => "launchd starts org.iaid.daemon at its first use",
            Some((ServiceManager::Launchd, Step::Stop)) => "launchd stops org.iaid.daemon",
            None => return console.flush().map_err(CliError::Output),
        };
        console.say(what).and_then(|()| console.flush()).map_err(CliError::Output)
    }

    /// Does it, each part by itself.
    pub(crate) fn carry_out(&mut self, place: &ConfigPaths, console: &mut Console) {
        let known = self.problems.len();
        if let Some(Service { manager, step: Step::Stop, .. }) = self.service
            && let Err(why) = manager.stop()
        {
            self.problems.push(format!("the service: {why}"));
        }
        let mut undone = Vec::new();
        for (at, change) in self.changes.iter().enumerate() {
            if let Err(why) = change.apply() {
                undone.push(at);
                self.problems.push(why);
            }
        }
        match &self.service {
            Some(Service { manager, step: Step::Stop, .. }) => manager.reload(),
            Some(Service { manager, step: Step::Start(call), from }) if !undone.iter().any(|at| at >= from) => {
                if let Err(why) = start(*manager, place, call, console) {
                    self.problems.push(format!("the service: {why}"));
                }
            }
            _ => {}
        }
        for at in undone.into_iter().rev() {
            self.changes.remove(at);
        }
        for problem in &self.problems[known..] {
            console.warn(problem);
        }
    }

    /// On a machine without a screen: shall the service stay when the user leaves?
    pub(crate) fn offer_to_stay(&mut self, choice: &InstallOptions, console: &mut Console) {
        let is_new = self.service.as_ref().is_some_and(|service| service.manager == ServiceManager::Systemd);
        if !is_new || console.format == OutputFormat::Json || !service::ends_with_the_session() {
            return;
        }
        let is_wanted = !choice.yes
            && console.input_kind.is_terminal()
            && ask("Your services end when you log out. Let them stay (loginctl enable-linger)?", console)
                .unwrap_or(false);
        if !is_wanted {
            return console.warn("The service ends when you log out; to let it stay: loginctl enable-linger");
        }
        if let Err(why) = service::stay() {
            console.warn(&why);
            self.problems.push(why);
        }
    }

    /// Says how it went.
    ///
    /// # Errors
    /// Something was not done.
    pub(crate) fn told(&self, console: &mut Console) -> Result<(), CliError> {
        if console.format == OutputFormat::Json {
            let changed: Vec<String> = self.changes.iter().map(|change| change.path.display().to_string()).collect();
            console.say(json!({"changed": changed, "problems": self.problems})).map_err(CliError::Output)?;
        }
        if self.problems.is_empty() { Ok(()) } else { Err(CliError::PartialInstall(self.problems.len() as u64)) }
    }
}

/// Starts the service; where the sandbox is more than this system grants, with less of it.
fn start(manager: ServiceManager, place: &ConfigPaths, call: &Invocation, console: &mut Console) -> Result<(), String> {
    if let Some(store) = &call.store {
        // A sandbox can only open what is there.
        files::make_folder(store).map_err(|error| format!("{}: {error}", store.display()))?;
    }
    let Err(why) = manager.start(&place.home) else { return Ok(()) };
    let mut is_changed = false;
    for file in manager.files(&place.home, call, Sandbox::Plain) {
        if let Some(change) = FileChange::put(&file.path, &file.text, service::is_ours)? {
            change.apply()?;
            is_changed = true;
        }
    }
    if !is_changed {
        return Err(why);
    }
    manager.forget_failure();
    manager.start(&place.home).map_err(|again| format!("{again}; journalctl --user -u iaid says more"))?;
    console.warn(format_args!("it did not start in its full sandbox ({why}); it has a smaller one now"));
    Ok(())
}

fn ask(question: &str, console: &mut Console) -> Result<bool, CliError> {
    console.say(format_args!("{question} [y/N]")).and_then(|()| console.flush()).map_err(CliError::Output)?;
    let mut answer = String::new();
    let mut input = BufReader::with_capacity(1, console.input.by_ref()).take(100);
    input.read_line(&mut answer).map_err(CliError::Input)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::StreamKind;
    use crate::cli::support::console::tests::console;

    #[test]
    fn a_person_is_asked_and_only_a_yes_is_one() {
        let change = FileChange {
            path: "/f".into(),
            before: Some("a\u{1b}\nb\n".into()),
            after: Some("a\u{1b}\nc\n".into()),
            backup: BackupAction::None,
        };
        let plan = InstallPlan { changes: vec![change], ..InstallPlan::default() };
        let choice = InstallOptions { claude_code: false, codex: false, service: false, yes: false, dry_run: false };
        for (answer, want) in
            [("y\n", true), ("yes\n", true), ("n\n", false), ("\n", false), ("", false), ("yesterday", false)]
        {
            let (mut console, out, _) = console(OutputFormat::Text, answer.as_bytes());
            console.input_kind = StreamKind::Terminal;
            assert_eq!(plan.agreed(&choice, &mut console).unwrap(), want, "{answer:?}");
            assert_eq!(out.text(), "/f (changed)\n    - b\n    + c\nDo it? [y/N]\n");
        }
    }
}
