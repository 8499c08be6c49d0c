//! The service: is it there, will it be at the next login, and does it outlive this one?

use super::DoctorContext;
use super::finding::Findings;
use crate::cli::install::service::{ServiceManager, ends_with_the_session};

pub(crate) fn service(context: &mut DoctorContext, findings: &mut Findings) {
    let Some(place) = &context.place else { return };
    let Some(manager) = ServiceManager::found() else {
        return findings.pass(format_args!("neither systemd nor launchd is here: the daemon is started by hand"));
    };
    let Some(program) = manager.program(&place.home) else {
        let what = "not set up (iaid install --service does it): the daemon is started by hand";
        return findings.pass(format_args!("{what}"));
    };
    let shown = program.display();
    if !program.is_file() {
        let what = format_args!("it starts {shown}, and there is no such program");
        return findings.fail(what, format_args!("iaid install --service"));
    }
    if let Err(why) = manager.answers() {
        return findings.warn(format_args!("{why}"), format_args!("until then start the daemon by hand: iaid serve"));
    }
    if !manager.has_it() {
        let remedy = match manager {
            ServiceManager::Systemd => "systemctl --user enable --now iaid.socket",
            ServiceManager::Launchd => "iaid install --service",
        };
        findings.fail(format_args!("it is set up, and does not listen"), format_args!("{remedy}"));
    } else if !manager.keeps_it() {
        let remedy = format_args!("systemctl --user enable iaid.socket");
        findings.warn(format_args!("it listens, and will not at the next login"), remedy);
    }
    if ends_with_the_session() {
        findings.warn(format_args!("it ends when you log out"), format_args!("loginctl enable-linger"));
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("it listens, and starts {shown}"));
    }
}
