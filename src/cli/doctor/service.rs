//! The service: is it there, will it be at the next login, and does it outlive this one?

use super::Patient;
use super::finding::Findings;
use crate::cli::install::service::{Manager, ends_with_the_session};

pub(crate) fn service(patient: &mut Patient, found: &mut Findings) {
    let Some(place) = &patient.place else { return };
    let Some(manager) = Manager::found() else {
        return found.pass(format_args!("neither systemd nor launchd is here: the daemon is started by hand"));
    };
    let Some(program) = manager.program(&place.home) else {
        let what = "not set up (iaid install --service does it): the daemon is started by hand";
        return found.pass(format_args!("{what}"));
    };
    let shown = program.display();
    if !program.is_file() {
        let what = format_args!("it starts {shown}, and there is no such program");
        return found.fail(what, format_args!("iaid install --service"));
    }
    if let Err(why) = manager.answers() {
        return found.warn(format_args!("{why}"), format_args!("until then start the daemon by hand: iaid serve"));
    }
    if !manager.has_it() {
        let remedy = match manager {
            Manager::Systemd => "systemctl --user enable --now iaid.socket",
            Manager::Launchd => "iaid install --service",
        };
        found.fail(format_args!("it is set up, and does not listen"), format_args!("{remedy}"));
    } else if !manager.keeps_it() {
        let remedy = format_args!("systemctl --user enable iaid.socket");
        found.warn(format_args!("it listens, and will not at the next login"), remedy);
    }
    if ends_with_the_session() {
        found.warn(format_args!("it ends when you log out"), format_args!("loginctl enable-linger"));
    }
    if found.all.is_empty() {
        found.pass(format_args!("it listens, and starts {shown}"));
    }
}
