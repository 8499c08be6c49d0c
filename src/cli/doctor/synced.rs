//! Tells when each machine and folder was last synced with.

use std::fmt::Display;

use jiff::Timestamp;

use super::context::DoctorContext;
use super::finding::Findings;
use crate::cli::support::values::time_in_words;
use crate::cli::sync::met;

/// Lists the peers of `iaid sync`, that with the latest run first. How often a run is due is up to the user, so none is
/// late.
pub(crate) fn synced(context: &mut DoctorContext, findings: &mut Findings) {
    if context.status.is_none() || context.is_stuck {
        return;
    }
    let peers = match met::peers(&mut context.client) {
        Ok(peers) => peers,
        Err(error) => {
            let remedy = format_args!("restart the daemon with the present release; see its log");
            return findings.warn(format_args!("{error}"), remedy);
        }
    };
    if peers.is_empty() {
        findings.pass(format_args!("with no other machine yet"));
    }
    for peer in peers {
        let what = if peer.is_folder { "folder" } else { "machine" };
        let now = context.now;
        let met: &dyn Display = match peer.met.parse::<Timestamp>() {
            Ok(met) => {
                let seconds = u64::try_from(now.duration_since(met).as_secs()).unwrap_or(0);
                &format!("{} ago", time_in_words(seconds))
            }
            Err(_) => &"at an unknown time",
        };
        findings.pass(format_args!("{what} {}: last met {met}", peer.name));
    }
}
