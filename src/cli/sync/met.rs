//! When this store was last synced, and with what: for `iaid doctor`, and for `iaid forget`, which names where copies of
//! a record may still be.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::recall::local_time;
use crate::cli::support::error::CliError;
use crate::cli::sync::local_store::{self, FOLDER};
use crate::client::Client;
use crate::sort;

/// A host or folder, and when it was last met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MetPeer {
    /// As the user has named it.
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    /// The time in ISO 8601.
    pub(crate) met: String,
}

/// Returns each host and folder that the store was synced with, that with the latest run first.
///
/// # Errors
/// [`CliError::Client`] if the daemon does not answer or knows no sync.
pub(crate) fn peers(client: &mut Client) -> Result<Vec<MetPeer>, CliError> {
    Ok(newest(&local_store::peers(client)?["peers"]))
}

/// Returns the newest row of each host and folder: a folder has one for each store whose file is there.
fn newest(rows: &Value) -> Vec<MetPeer> {
    let mut all: Vec<MetPeer> = Vec::new();
    for row in rows.as_array().into_iter().flatten() {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let (name, is_folder, met) = (text("name"), row["kind"] == FOLDER, text("met"));
        match all.iter_mut().find(|one| one.name == name && one.is_folder == is_folder) {
            Some(one) if one.met < met => one.met = met,
            Some(_) => {}
            None => all.push(MetPeer { name, is_folder, met }),
        }
    }
    sort::sort_by(&mut all, |a, b| b.met.cmp(&a.met));
    all
}

/// Returns where copies of a forgotten record may be that syncs have made, as `memory_forget` lists such places.
pub(crate) fn copies(client: &mut Client, zone: &TimeZone) -> Vec<Value> {
    // A daemon of an earlier release has synced nothing.
    let peers = peers(client).unwrap_or_default();
    let copy = |peer: MetPeer| {
        let met = local_time(&peer.met, zone);
        let what = match peer.is_folder {
            true => format!(
                "folder of iaid sync, last met {met}; the file there is made anew at the next sync, each other store's at \
                 its own next one, and what carries the folder may keep versions"
            ),
            false => format!("machine synced with, last met {met}; it forgets at the next sync"),
        };
        json!({"where": peer.name, "line": null, "what": what})
    };
    peers.into_iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_and_folder_is_named_once_with_its_latest_time() {
        let row = |peer: &str, name: &str, kind: &str, met: &str| json!({"peer": peer, "name": name, "kind": kind, "met": met});
        let rows = json!([
            row("a", "desk", "host", "2026-05-14T10:00:00Z"),
            row("b", "/stick", "folder", "2026-05-14T12:00:00Z"),
            row("c", "/stick", "folder", "2026-05-14T11:00:00Z"),
            row("a", "/stick", "folder", "2026-05-14T13:00:00Z"),
        ]);
        let got: Vec<(String, bool, String)> =
            newest(&rows).into_iter().map(|peer| (peer.name, peer.is_folder, peer.met)).collect();
        let want = [("/stick", true, "2026-05-14T13:00:00Z"), ("desk", false, "2026-05-14T10:00:00Z")];
        assert_eq!(got, want.map(|(name, is_folder, met)| (name.to_owned(), is_folder, met.to_owned())));
        assert_eq!(newest(&Value::Null), []);
    }
}
