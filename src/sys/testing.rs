//! Runs a test in its own process: the test binary is started again for one test only.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::socket;
use super::syscall::checked;

const CHILD: &str = "IAID_TEST_CHILD";
const MARK: &str = "child says: ";

/// The process that a test is running in.
pub(crate) enum TestProcess {
    /// The test process, which starts the child and checks its output.
    Parent(Child),
    /// The child. The test harness has another thread in it, see [`alone`].
    Child,
}

/// Starts the child.
pub(crate) struct Child {
    test: &'static str,
}

/// Returns the process in which the test of this full name runs.
pub(crate) fn role(test: &'static str) -> TestProcess {
    if std::env::var_os(CHILD).is_some() { TestProcess::Child } else { TestProcess::Parent(Child { test }) }
}

/// Prints a line from the child for the parent.
pub(crate) fn report(line: &str) {
    println!("\n{MARK}{line}");
}

impl Child {
    /// Returns a command that runs the child.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([self.test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1").stdin(Stdio::null());
        command
    }

    /// Runs the command and returns the lines for the parent. Panics if the child fails.
    pub(crate) fn run(&self, command: &mut Command) -> Vec<String> {
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {out}\n{err}", self.test);
        reported(&out)
    }
}

/// Returns the lines for the parent out of a child's output.
pub(crate) fn reported(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.strip_prefix(MARK)).map(String::from).collect()
}

/// Runs `body` in a process with one thread, as main has at its start: a fork of the child, in
/// which only the harness waits meanwhile.
pub(crate) fn alone(body: fn()) {
    // SAFETY: the other thread waits for this test and holds no lock.
    let pid = checked(unsafe { libc::fork() }).unwrap();
    if pid == 0 {
        let failed = std::panic::catch_unwind(body).is_err();
        std::io::stdout().flush().unwrap();
        // SAFETY: exits this process at once, without the harness's exit handlers.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let mut status = 0;
    // SAFETY: the number lives over the call.
    checked(unsafe { libc::waitpid(pid, &raw mut status, 0) }).unwrap();
    assert_eq!(status, 0, "the single-threaded process failed");
}

/// Passes `fds` to the command's process as descriptors 3 and up, and closes the others up to 7.
pub(crate) fn hand_over(command: &mut Command, fds: &[OwnedFd]) {
    // Moved to high numbers first, so that none is overwritten by another.
    let moved: Vec<OwnedFd> = fds.iter().map(|fd| socket::duplicate(fd.as_raw_fd(), 64).unwrap()).collect();
    let install = move || {
        for (number, fd) in (3..).zip(&moved) {
            // SAFETY: takes numbers alone.
            checked(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
        }
        for number in (3..8).skip(moved.len()) {
            // SAFETY: its owner is in the parent; this process is about to execute another program.
            unsafe { libc::close(number) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes only system calls.
    unsafe { command.pre_exec(install) };
}

/// Returns whether descriptor `fd` is `closed`, `inheritable` or `close-on-exec`.
pub(crate) fn state_of(fd: RawFd) -> &'static str {
    // SAFETY: takes numbers alone.
    match checked(unsafe { libc::fcntl(fd, libc::F_GETFD) }) {
        Err(_) => "closed",
        Ok(flags) if flags & libc::FD_CLOEXEC == 0 => "inheritable",
        Ok(_) => "close-on-exec",
    }
}

/// Returns a duplicate under a number that no test checks in a child, without close-on-exec.
pub(crate) fn without_close_on_exec(fd: impl AsFd) -> OwnedFd {
    let fd = socket::duplicate(fd.as_fd().as_raw_fd(), 200).unwrap();
    // SAFETY: takes numbers alone.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }).unwrap();
    fd
}
