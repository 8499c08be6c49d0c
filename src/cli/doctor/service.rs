//! Check of the service: whether it is set up and listening, enabled for the next login, and kept after logout.

use std::path::Path;

use super::context::DoctorContext;
use super::finding::Findings;
use crate::cli::install::service::{ServiceManager, ends_at_logout, system_socket};

pub(crate) fn service(context: &mut DoctorContext, findings: &mut Findings) {
    let Some(paths) = &context.paths else { return };
    let Some(manager) = ServiceManager::found() else {
        return findings.pass(format_args!("no systemd or launchd: the daemon is started by hand"));
    };
    let Some(program) = manager.program(&paths.home) else {
        if let Some((socket, unit)) = system_socket() {
            let (socket, used) = (socket.display(), context.client.path());
            if used != Path::new(&socket.to_string()) {
                let what = format_args!("{unit} listens at {socket}, but this program uses {}", used.display());
                return findings.warn(what, format_args!("export IAI_DAEMON_SOCKET_PATH={socket}"));
            }
            return findings.pass(format_args!("the administrator's {unit} is listening"));
        }
        let what = "not set up: the daemon is started by hand (to set it up: iaid install --service)";
        return findings.pass(format_args!("{what}"));
    };
    let shown = program.display();
    if !program.is_file() {
        let what = format_args!("the service starts {shown}, which does not exist");
        return findings.fail(what, format_args!("iaid install --service"));
    }
    if let Err(why) = manager.answers() {
        return findings.warn(format_args!("{why}"), format_args!("until then start the daemon by hand: iaid serve"));
    }
    if !manager.is_active() {
        let remedy = match manager {
            ServiceManager::Systemd if !manager.has_failed() => "systemctl --user enable --now iaid.socket",
            _ => "iaid install --service",
        };
        findings.fail(format_args!("the service is set up, but not listening"), format_args!("{remedy}"));
    } else if manager.has_failed() {
        let log = manager.log();
        let remedy = format_args!("iaid install --service leaves out what does not work; {log} shows why");
        findings.fail(format_args!("the service is listening, but its daemon did not start"), remedy);
    } else if !manager.is_enabled() {
        let remedy = format_args!("systemctl --user enable iaid.socket");
        findings.warn(format_args!("the service is listening, but not enabled for the next login"), remedy);
    }
    if ends_at_logout() {
        findings.warn(format_args!("the service ends when you log out"), format_args!("loginctl enable-linger"));
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("the service is listening and starts {shown}"));
    }
}
