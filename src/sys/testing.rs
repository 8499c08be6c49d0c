//! For tests that need a process of their own: the test binary, run again for one test alone.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{checked, socket};

const CHILD: &str = "IAID_TEST_CHILD";
const MARK: &str = "child says: ";

/// Which of the two a test is running as.
pub(super) enum TestProcess {
    /// The test, which starts the child and judges what it says.
    Parent(Child),
    /// The child. The test harness has a thread beside it, see [`alone`].
    Child,
}

/// How to start the child.
pub(super) struct Child {
    test: &'static str,
}

/// The role of the test of this full name.
pub(super) fn role(test: &'static str) -> TestProcess {
    if std::env::var_os(CHILD).is_some() { TestProcess::Child } else { TestProcess::Parent(Child { test }) }
}

/// A line from the child to the parent.
pub(super) fn say(line: &str) {
    println!("\n{MARK}{line}");
}

impl Child {
    /// A command that runs the child.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([self.test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1").stdin(Stdio::null());
        command
    }

    /// Runs it and returns what it said; the child must not fail.
    pub(super) fn said(&self, command: &mut Command) -> Vec<String> {
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {out}\n{err}", self.test);
        said(&out)
    }
}

/// What a child said, of all that it printed.
pub(super) fn said(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.strip_prefix(MARK)).map(String::from).collect()
}

/// Runs `body` in a process that has one thread, as main has at its start: a fork of the child, in
/// which nothing but the harness waits meanwhile.
pub(super) fn alone(body: fn()) {
    // SAFETY: the other thread waits for this one's test and holds no lock.
    let pid = checked(unsafe { libc::fork() }).unwrap();
    if pid == 0 {
        let failed = std::panic::catch_unwind(body).is_err();
        std::io::stdout().flush().unwrap();
        // SAFETY: ends this process at once, without what the harness would run at its exit.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let mut status = 0;
    // SAFETY: the number lives over the call.
    checked(unsafe { libc::waitpid(pid, &raw mut status, 0) }).unwrap();
    assert_eq!(status, 0, "the process alone failed");
}

/// Hands `fds` to the command's process as descriptors 3 on, and nothing else up to 7, whatever else we
/// were started with ourselves.
pub(super) fn hand_over(command: &mut Command, fds: &[OwnedFd]) {
    // Out of the way first, so that none is overwritten by another.
    let moved: Vec<OwnedFd> = fds.iter().map(|fd| socket::duplicate(fd.as_raw_fd(), 64).unwrap()).collect();
    let place = move || {
        for (number, fd) in (3..).zip(&moved) {
            // SAFETY: takes numbers alone.
            checked(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
        }
        for number in (3..8).skip(moved.len()) {
            // SAFETY: whoever owns it is in the parent; this process is about to be another program.
            unsafe { libc::close(number) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls alone.
    unsafe { command.pre_exec(place) };
}

/// Whether descriptor `fd` is `closed`, `goes on` to programs we start, or is `ours` alone.
pub(super) fn state_of(fd: RawFd) -> &'static str {
    // SAFETY: takes numbers alone.
    match checked(unsafe { libc::fcntl(fd, libc::F_GETFD) }) {
        Err(_) => "closed",
        Ok(flags) if flags & libc::FD_CLOEXEC == 0 => "goes on",
        Ok(_) => "ours",
    }
}

/// The same under a number that no test looks for in a child, and going on to programs we start.
pub(super) fn without_close_on_exec(fd: impl AsFd) -> OwnedFd {
    let fd = socket::duplicate(fd.as_fd().as_raw_fd(), 200).unwrap();
    // SAFETY: takes numbers alone.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }).unwrap();
    fd
}
