//! Check of the deferred captures: whether the daemon drains them.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::context::DoctorContext;
use super::files::listed;
use super::finding::{Findings, Fix};
use crate::cli::support::values::{counted, size_in_words, time_in_words};
use crate::memory::spool::{self, SpoolFileKind};

/// Age of a file from which a running daemon is late. It drains a file within two minutes, and many files in a few more.
const DRAIN_TIME: Duration = Duration::from_secs(600);

/// Bytes of a file in which encrypted lines are searched for. Picked: thousands of turns.
const MAX_READ_BYTES: u64 = 4 << 20;

/// Files that are listed at most.
const MAX_LISTED: usize = 20;

/// Age from which a live file counts as abandoned by its writer.
const ABANDONED_AGE: Duration = Duration::from_secs(24 * 3600);

/// Checks for files that failed, were abandoned, or wait too long.
pub(crate) fn spool(context: &mut DoctorContext, findings: &mut Findings) {
    let folder = context.store.join(spool::FOLDER);
    let (shown, live) = (folder.display(), spool::LIVE);
    let (mut waiting, mut oldest, mut bytes) = (0, Duration::ZERO, 0);
    for (path, about) in listed(&folder).filter(|(_, about)| about.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = spool::kind(&name);
        if kind.is_some() && has_sealed_line(&path) {
            let what =
                format_args!("{name} has lines that iai-mcp encrypted ({}); iaid leaves the file alone", spool::SEALED);
            let remedy = "iai-mcp can read it: let its daemon store it (iai-mcp daemon start), then iaid import --from \
                          SOCKET; for new turns: iai-mcp capture-hooks uninstall, then iaid install";
            findings.warn(what, format_args!("{remedy}"));
            continue;
        }
        match kind {
            Some(SpoolFileKind::Waiting) => {
                waiting += 1;
                bytes += about.len();
                oldest = oldest.max(age(&about));
            }
            Some(SpoolFileKind::Failed(again)) => {
                let remedy = format_args!("none needed: it is retried automatically; iaid log shows why it failed");
                findings.warn(format_args!("{name} could not be stored"), remedy);
                findings.fixed_by(vec![Fix::Rename(path.clone(), folder.join(again))]);
            }
            Some(SpoolFileKind::GivenUp) => {
                let what = format_args!("{name} was abandoned: it has invalid lines, or failed too often");
                findings.warn(what, format_args!("repair its content and rename it to NAME.jsonl in {shown}"));
            }
            Some(SpoolFileKind::Live) if age(&about) > ABANDONED_AGE => {
                let remedy = format_args!("if nothing writes it any more, rename it to NAME.jsonl in {shown}");
                findings.warn(format_args!("{name} ({live}) has not been written for a day"), remedy);
            }
            Some(SpoolFileKind::Live) | None => {}
        }
        if findings.all.len() >= MAX_LISTED {
            break;
        }
    }
    if waiting > 0 {
        let (files, size) = (counted(waiting, "file", "files"), size_in_words(bytes));
        let since = time_in_words(oldest.as_secs());
        let what = format_args!("{files} ({size}) waiting to be stored, the oldest for {since}");
        match &context.status {
            Some(_) if oldest > DRAIN_TIME => findings.warn(what, format_args!("see the daemon's log for the reason")),
            Some(_) => findings.pass(what),
            None => findings.warn(what, format_args!("start the daemon: it stores them automatically")),
        }
    }
    if findings.all.is_empty() {
        findings.pass(format_args!("empty"));
    }
}

/// Returns true if a line of the file is encrypted. Of a large file, the beginning is read.
fn has_sealed_line(path: &Path) -> bool {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_READ_BYTES).read_to_end(&mut text));
    let is_line = |at: usize| at == 0 || text[at - 1] == b'\n';
    read.is_ok() && memchr::memmem::find_iter(&text, spool::SEALED).any(is_line)
}

/// Returns the age of a file; zero if its modification time is in the future.
fn age(about: &Metadata) -> Duration {
    about.modified().ok().and_then(|written| written.elapsed().ok()).unwrap_or_default()
}
