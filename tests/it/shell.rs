//! A command behind a few words of shell, which change what it inherits: descriptors, umask, limits.
//!
//! The shell becomes the command (`exec`), so the process keeps its pid, which `LISTEN_PID` needs.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// `command`, run by `sh` after `script`, with the same environment.
pub fn behind(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{script}\nexec \"$@\"")).arg("sh").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Is this program there? Says so where it is not, since its test is skipped then.
pub fn has(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", "command -v \"$1\" >/dev/null", "sh", program]).status();
    let there = there.expect("a shell is there").success();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// May this process act as other users? Says so where it may not, since its test is skipped then.
pub fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0);
    if !root {
        eprintln!("skipped: only root can act as another user");
    }
    root
}
