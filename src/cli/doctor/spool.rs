//! What hooks could not hand over: does it come in?

use std::fs::Metadata;
use std::time::Duration;

use super::DoctorContext;
use super::files::listed;
use super::finding::{Findings, Fix};
use crate::cli::support::values::{counted, size_in_words, time_in_words};
use crate::memory::spool::{self, Kind};

/// A daemon that is there takes a file in within a minute or two, and a large heap of them in some more.
const SOON: Duration = Duration::from_secs(600);

/// Files that are named. Whoever has more reads them in the folder.
const MOST: usize = 20;

/// A file that has been written to for so long is nobody's any more.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Is anything stuck?
pub(crate) fn spool(context: &mut DoctorContext, findings: &mut Findings) {
    let folder = context.store.join(spool::FOLDER);
    let (shown, live) = (folder.display(), spool::LIVE);
    let (mut waiting, mut oldest, mut bytes) = (0, Duration::ZERO, 0);
    for (path, about) in listed(&folder).filter(|(_, about)| about.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match spool::kind(&name) {
            Some(Kind::Waiting) => {
                waiting += 1;
                bytes += about.len();
                oldest = oldest.max(age(&about));
            }
            Some(Kind::Failed(again)) => {
                let remedy = format_args!("wait: it is tried again by itself; iaid log says why it failed");
                findings.warn(format_args!("{name} could not be taken in"), remedy);
                findings.fixed_by(vec![Fix::Rename(path.clone(), folder.join(again))]);
            }
            Some(Kind::GivenUp) => {
                let what =
                    format_args!("{name} is given up on: it has lines that are no captures, or failed too often");
                findings.warn(what, format_args!("mend what is in it, and name it NAME.jsonl again, in {shown}"));
            }
            Some(Kind::Live) if age(&about) > FOREVER => {
                let remedy = format_args!("if nothing writes it any more, name it NAME.jsonl, in {shown}");
                findings.warn(format_args!("{name} ({live}) was not written to for a day"), remedy);
            }
            Some(Kind::Live) | None => {}
        }
        if findings.all.len() >= MOST {
            break;
        }
    }
    if waiting > 0 {
        let (files, size) = (counted(waiting, "file", "files"), size_in_words(bytes));
        let since = time_in_words(oldest.as_secs());
        let what = format_args!("{files} ({size}) to be taken in, the oldest since {since}");
        match &context.status {
            Some(_) if oldest > SOON => {
                findings.warn(what, format_args!("the daemon's log says why it takes nothing in"))
            }
            Some(_) => findings.pass(what),
            None => findings.warn(what, format_args!("start the daemon: it takes them in by itself")),
        }
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("nothing waits"));
    }
}

/// None for what is from the future.
fn age(about: &Metadata) -> Duration {
    about.modified().ok().and_then(|written| written.elapsed().ok()).unwrap_or_default()
}
