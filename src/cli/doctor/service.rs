//! The service: is it there, will it be at the next login, and does it outlive this one?

use super::super::install::service::{Manager, ends_with_the_session};
use super::Patient;
use super::finding::Finding;

const CHECK: &str = "service";

pub(super) fn service(patient: &mut Patient) -> Vec<Finding> {
    let Some(place) = &patient.place else { return Vec::new() };
    let by_hand = |why: &str| vec![Finding::pass(CHECK, format!("{why}: the daemon is started by hand"))];
    let Some(manager) = Manager::found() else { return by_hand("neither systemd nor launchd is here") };
    let Some(program) = manager.program(&place.home) else {
        return by_hand("not set up (iaid install --service does it)");
    };
    if !program.is_file() {
        let what = format!("it starts {}, and there is no such program", program.display());
        return vec![Finding::fail(CHECK, what, "iaid install --service")];
    }
    if let Err(why) = manager.answers() {
        return vec![Finding::warn(CHECK, why, "until then start the daemon by hand: iaid serve")];
    }
    let mut findings = Vec::new();
    if !manager.has_it() {
        let remedy = match manager {
            Manager::Systemd => "systemctl --user enable --now iaid.socket",
            Manager::Launchd => "iaid install --service",
        };
        findings.push(Finding::fail(CHECK, "it is set up, and does not listen", remedy));
    } else if !manager.keeps_it() {
        let remedy = "systemctl --user enable iaid.socket";
        findings.push(Finding::warn(CHECK, "it listens, and will not at the next login", remedy));
    }
    if ends_with_the_session() {
        findings.push(Finding::warn(CHECK, "it ends when you log out", "loginctl enable-linger"));
    }
    if findings.is_empty() {
        findings.push(Finding::pass(CHECK, format!("it listens, and starts {}", program.display())));
    }
    findings
}
