//! What hooks could not hand over: does it come in?

use std::fs::Metadata;
use std::time::Duration;

use super::super::values::{counted, size_in_words, time_in_words};
use super::Patient;
use super::files::listed;
use super::finding::{Finding, Fix};
use crate::memory::spool::{self, Kind};

/// A daemon that is there takes a file in within a minute or two, and a large heap of them in some more.
const SOON: Duration = Duration::from_secs(600);

/// A file that has been written to for so long is nobody's any more.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Is anything stuck?
pub(super) fn spool(patient: &mut Patient) -> Vec<Finding> {
    const CHECK: &str = "spool";
    let folder = patient.store.join(spool::FOLDER);
    let (mut waiting, mut oldest, mut bytes) = (0, Duration::ZERO, 0);
    let (mut given_up, mut forgotten, mut failed) = (0, 0, Vec::new());
    for (path, about) in listed(&folder).filter(|(_, about)| about.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match spool::kind(&name) {
            Some(Kind::Waiting) => {
                waiting += 1;
                bytes += about.len();
                oldest = oldest.max(age(&about));
            }
            Some(Kind::Failed(again)) => failed.push(Fix::Rename(path, folder.join(again))),
            Some(Kind::GivenUp) => given_up += 1,
            Some(Kind::Live) if age(&about) > FOREVER => forgotten += 1,
            Some(Kind::Live) | None => {}
        }
    }
    let files = |count: u64| counted(count, "file", "files");
    let mut findings = Vec::new();
    if !failed.is_empty() {
        let what = format!("{} could not be taken in", files(failed.len() as u64));
        let remedy = "wait: each is tried again by itself, three times; iaid log says why it failed";
        findings.push(Finding::warn(CHECK, what, remedy).fixed_by(failed));
    }
    if given_up > 0 {
        let what = format!("{} given up on: with lines that are no captures, or failed too often", files(given_up));
        let remedy = format!("mend what is in {}/*.permanent-failed-*, and name it NAME.jsonl again", folder.display());
        findings.push(Finding::warn(CHECK, what, remedy));
    }
    if forgotten > 0 {
        let what = format!("{} ({}) not written to for a day", files(forgotten), spool::LIVE);
        let remedy = format!("if nothing writes it any more, name it NAME.jsonl in {}", folder.display());
        findings.push(Finding::warn(CHECK, what, remedy));
    }
    if waiting > 0 {
        let since = time_in_words(oldest.as_secs());
        let what = format!("{} ({}) to be taken in, the oldest since {since}", files(waiting), size_in_words(bytes));
        findings.push(match &patient.status {
            Some(_) if oldest > SOON => Finding::warn(CHECK, what, "the daemon's log says why it takes nothing in"),
            Some(_) => Finding::pass(CHECK, what),
            None => Finding::warn(CHECK, what, "start the daemon: it takes them in by itself"),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::pass(CHECK, "nothing waits"));
    }
    findings
}

/// None for what is from the future.
fn age(about: &Metadata) -> Duration {
    about.modified().ok().and_then(|written| written.elapsed().ok()).unwrap_or_default()
}
