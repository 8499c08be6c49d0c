//! Faults of the system under a running daemon, as a test wants them: the other side of `shim.c`.
//!
//! The shim is built once with the C compiler and loaded before the C library, so this is for Linux with `cc`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::Setup;
use crate::skip::has;

/// What can be made to fail. In the order of the shim's page.
#[derive(Clone, Copy)]
pub enum Fault {
    /// Taking in a connection.
    Accept,
    /// Any call on a socket or a file, and waiting for events.
    Interrupt,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
}

/// Numbers of each fault: error, every, calls, failed.
const EACH: u64 = 4;
const SYNCS_HELD: u64 = 4 * EACH;
const SYNC_MS: u64 = SYNCS_HELD + 1;
const CLOCK_AHEAD_S: u64 = SYNC_MS + 1;
const NUMBERS: u64 = CLOCK_AHEAD_S + 1;

/// The shim's library. Builds it at the first use.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(build);

/// The page of one daemon. Over its restarts it stays.
pub struct Faults {
    page: File,
}

/// Returns a setup whose daemon fails as told; nothing does yet. Returns `None`, and reports the calling test as
/// skipped, where no C compiler is installed.
pub fn faulty(setup: Setup) -> Option<(Setup, Faults)> {
    if !has("cc") {
        return None;
    }
    let path = setup.home().join("faults");
    let page = File::options().read(true).write(true).create_new(true).open(&path).expect("a file can be made");
    page.set_len(NUMBERS * 8).expect("it can be made so long");
    let setup = setup.env("LD_PRELOAD", text(&LIBRARY)).env("IAID_FAULTS", text(&path));
    Some((setup, Faults { page }))
}

impl Faults {
    /// From now on each `every`th fails with this error number (errno(3)).
    pub fn fail(&self, fault: Fault, error: i32, every: i64) {
        self.set(fault as u64 * EACH, error.into());
        self.set(fault as u64 * EACH + 1, every);
    }

    pub fn heal(&self, fault: Fault) {
        self.set(fault as u64 * EACH + 1, 0);
    }

    /// How many have failed so far.
    pub fn failed(&self, fault: Fault) -> u64 {
        let mut number = [0; 8];
        self.page.read_exact_at(&mut number, (fault as u64 * EACH + 3) * 8).expect("the page can be read");
        u64::from_ne_bytes(number)
    }

    /// No sync ends from now on.
    pub fn hold_syncs(&self) {
        self.set(SYNCS_HELD, 1);
    }

    pub fn release_syncs(&self) {
        self.set(SYNCS_HELD, 0);
    }

    /// Each sync takes a tenth of this to all of it.
    pub fn slow_syncs(&self, milliseconds: i64) {
        self.set(SYNC_MS, milliseconds);
    }

    /// The clock on the wall jumps to this far ahead of the machine's, or behind.
    pub fn jump_to(&self, seconds_ahead: i64) {
        self.set(CLOCK_AHEAD_S, seconds_ahead);
    }

    fn set(&self, number: u64, to: i64) {
        self.page.write_all_at(&to.to_ne_bytes(), number * 8).expect("the page can be written");
    }
}

fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (made, library) = (folder.join(format!("shim-{}.so", std::process::id())), folder.join("shim.so"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shim.c");
    let mut cc = Command::new("cc");
    let output = cc.args(["-O1", "-Wall", "-shared", "-fPIC", "-o"]).arg(&made).args([source, "-ldl"]).output();
    let output = output.expect("cc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Another run may be loading the one that is there.
    fs::rename(&made, &library).expect("it can be renamed");
    library
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test is text")
}
