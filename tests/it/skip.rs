//! Reports tests that cannot run on this machine.
//!
//! A skipped test prints `skipped: TEST: REASON` to standard error, past the harness's capture, and passes.
//! `.ci/run` sets `SKIPPED_TESTS` to the path of a file: the line is appended to it as well, and a test that lacks a
//! program fails, because `.ci/run` installs every program that the tests need.

use std::fs::File;
use std::io::Write;
use std::panic::Location;
use std::process::{Command, Stdio};

/// The environment variable that `.ci/run` sets.
const REPORT: &str = "SKIPPED_TESTS";

/// Reports that the calling test is skipped because of a right or a kernel feature that the machine lacks.
#[track_caller]
pub fn skipped(reason: &str) {
    let line = format!("skipped: {}: {reason}\n", test_name());
    // One write, so that lines of parallel tests do not mix.
    std::io::stderr().write_all(line.as_bytes()).expect("standard error accepts the line");
    if let Some(path) = std::env::var_os(REPORT) {
        let file = File::options().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the report of skipped tests can be written");
    }
}

/// Returns true if `program` is installed. Otherwise the calling test is reported as skipped.
///
/// # Panics
///
/// Panics under `.ci/run` if `program` is not installed.
#[track_caller]
pub fn has(program: &str) -> bool {
    let mut find = Command::new("sh");
    find.args(["-c", "command -v \"$1\"", "sh", program]).stdout(Stdio::null());
    let is_installed = find.status().expect("sh runs").success();
    if !is_installed {
        assert!(std::env::var_os(REPORT).is_none(), "{program} is not installed: .ci/run has to install it");
        skipped(&format!("{program} is not installed"));
    }
    is_installed
}

/// Returns true if this process is root. Otherwise the calling test is reported as skipped.
#[track_caller]
pub fn has_root() -> bool {
    if !is_root() {
        skipped("this process is not root");
    }
    is_root()
}

/// Returns true if this process is root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The calling test's path, or the caller's line where the harness runs tests on its main thread.
#[track_caller]
fn test_name() -> String {
    let thread = std::thread::current();
    match thread.name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => Location::caller().to_string(),
    }
}
