//! Runs a command behind a shell script that changes what the command inherits: descriptors, umask, limits.
//!
//! The shell replaces itself with the command (`exec`), so the process keeps its pid, which `LISTEN_PID` needs.

use std::process::Command;

/// Returns `command`, run by `sh` after `script`, with the same environment.
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
