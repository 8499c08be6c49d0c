//! Injects failures of system calls into a running daemon: the controlling side of `shim.c`.
//!
//! The shim is built once with the C compiler and loaded before the C library, so this needs Linux and `cc`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::Setup;
use crate::skip::has;

/// A kind of system call that can fail, in the order of the shim's page.
#[derive(Clone, Copy)]
pub enum Fault {
    /// Accepting a connection.
    Accept,
    /// Any call on a socket or a regular file, and waiting for events.
    Interrupt,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
}

/// Numbers for each fault: error, every, calls, failed.
const NUMBERS_PER_FAULT: u64 = 4;
const SYNCS_HELD: u64 = 4 * NUMBERS_PER_FAULT;
const SYNC_MS: u64 = SYNCS_HELD + 1;
const CLOCK_AHEAD_S: u64 = SYNC_MS + 1;
const KILL_AT_WRITE: u64 = CLOCK_AHEAD_S + 1;
const NUMBERS: u64 = KILL_AT_WRITE + 1;

/// The path of the shim's library, which is built at the first use.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(build);

/// The page shared with one daemon, over its restarts.
pub struct Faults {
    page: File,
}

/// Returns a setup whose daemon runs with the shim; nothing fails yet. Returns `None`, and reports the calling test as
/// skipped, if no C compiler is installed.
pub fn faulty(setup: Setup) -> Option<(Setup, Faults)> {
    if !has("cc") {
        return None;
    }
    let path = setup.home().join("faults");
    let page = File::options().read(true).write(true).create_new(true).open(&path).expect("a file can be created");
    page.set_len(NUMBERS * 8).expect("it can be made so long");
    let setup = setup.env("LD_PRELOAD", text(&LIBRARY)).env("IAID_FAULTS", text(&path));
    Some((setup, Faults { page }))
}

impl Faults {
    /// From now on each `every`th call fails with this error number (errno(3)).
    pub fn fail(&self, fault: Fault, error: i32, every: i64) {
        self.set(fault as u64 * NUMBERS_PER_FAULT, error.into());
        self.set(fault as u64 * NUMBERS_PER_FAULT + 1, every);
    }

    /// Lets the calls succeed again.
    pub fn heal(&self, fault: Fault) {
        self.set(fault as u64 * NUMBERS_PER_FAULT + 1, 0);
    }

    /// Returns how many calls have failed so far.
    pub fn failed(&self, fault: Fault) -> u64 {
        let mut number = [0; 8];
        self.page.read_exact_at(&mut number, (fault as u64 * NUMBERS_PER_FAULT + 3) * 8).expect("the page can be read");
        u64::from_ne_bytes(number)
    }

    /// Blocks each sync until [`Faults::release_syncs`].
    pub fn hold_syncs(&self) {
        self.set(SYNCS_HELD, 1);
    }

    pub fn release_syncs(&self) {
        self.set(SYNCS_HELD, 0);
    }

    /// Makes each sync take from a tenth of this time to all of it.
    pub fn slow_syncs(&self, milliseconds: i64) {
        self.set(SYNC_MS, milliseconds);
    }

    /// Sets the wall clock this far ahead of the machine's, or behind if negative.
    pub fn jump_to(&self, seconds_ahead: i64) {
        self.set(CLOCK_AHEAD_S, seconds_ahead);
    }

    /// Kills the daemon before its `write`th write to the database file from now on: in a checkpoint. Never if 0.
    pub fn kill_at_database_write(&self, write: i64) {
        self.set(KILL_AT_WRITE, write);
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
    // Another test run may be loading the present one.
    fs::rename(&made, &library).expect("it can be renamed");
    library
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test is text")
}
