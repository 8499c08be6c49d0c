//! Listeners passed by the service manager: systemd's LISTEN_FDS (sd_listen_fds(3)), and
//! launchd's sockets named `Listeners` (launchd.plist(5)).
//!
//! The environment variables are used only if all of them fit: this process's pid, a count, descriptors that
//! are open, and as many names as descriptors. Otherwise they were meant for another process, which is not an
//! error. This module chooses one of several listeners and accepts no connections.
//!
//! Caller's contract: call [`take`] first in main, before any thread exists and before anything else
//! opens a descriptor.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::environment::{self, Cleared};
use super::fd_check::{self, InvalidFd};
use super::listener::Listener;
use super::socket;

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST_FD: RawFd = 3;

/// The name by which a unit marks one of several sockets (`FileDescriptorName=iaid`).
const NAME: &str = "iaid";

/// The descriptors that the service manager passed, owned and close-on-exec. Unused ones are closed.
#[derive(Debug, Default)]
pub struct Inherited {
    passed: Vec<PassedFd>,
    /// The errno with which launch_activate_socket(3) failed.
    refused: Option<i32>,
}

#[derive(Debug)]
struct PassedFd {
    fd: OwnedFd,
    name: Option<String>,
}

/// Takes the descriptors that were passed to this process, and removes LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES and
/// LISTEN_PIDFDID from the environment.
///
/// Call it first in main. If other threads run it takes nothing and logs a warning: descriptors from 3 on may have
/// other owners by then. A second call returns nothing.
pub fn take() -> Inherited {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Inherited::default();
    }
    let taken = environment::take(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]);
    if taken.cleared == Cleared::OtherThreads {
        return Inherited::default();
    }
    let [pid, fds, names, _] = &taken.values;
    match claim(pid.as_deref(), fds.as_deref(), names.as_deref(), std::process::id()).and_then(Claim::take_fds) {
        Some(passed) => Inherited { passed, refused: None },
        None => launchd(),
    }
}

impl Inherited {
    /// Returns the listener, if any descriptor was passed: of several the one named `iaid`,
    /// else the only listening Unix stream socket.
    ///
    /// # Errors
    /// [`InheritError`] if descriptors were passed and not exactly one of them qualifies, or if launchd failed.
    pub fn listener(self) -> Result<Option<Listener>, InheritError> {
        if let Some(errno) = self.refused {
            return Err(InheritError::Launchd { errno });
        }
        let count = self.passed.len();
        if count == 0 {
            return Ok(None);
        }
        let (named, others): (Vec<_>, Vec<_>) =
            self.passed.into_iter().partition(|passed| passed.name.as_deref() == Some(NAME));
        let candidates = match (named.len(), count) {
            (2.., _) => return Err(InheritError::NamedTwice { count: named.len() }),
            (1, _) => named,
            (_, 1) => others,
            _ => others.into_iter().filter(PassedFd::qualifies).collect(),
        };
        match <[PassedFd; 1]>::try_from(candidates) {
            Ok([only]) => {
                let number = only.fd.as_raw_fd();
                Listener::adopt(only.fd, number).map(Some).map_err(InheritError::InvalidFd)
            }
            Err(candidates) => Err(InheritError::Several { count, listening: candidates.len() }),
        }
    }
}

impl PassedFd {
    fn qualifies(&self) -> bool {
        fd_check::check(&self.fd, self.fd.as_raw_fd()).is_ok()
    }
}

/// Why the passed descriptors cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InheritError {
    /// The only or the named descriptor is not a listening Unix stream socket.
    InvalidFd(InvalidFd),
    /// Several were passed, none is named `iaid`, and not exactly one is a listening Unix stream socket.
    Several {
        /// Number of descriptors.
        count: usize,
        /// Number of listening Unix stream sockets among them.
        listening: usize,
    },
    /// More than one is named `iaid`.
    NamedTwice {
        /// Number of descriptors of that name.
        count: usize,
    },
    /// launch_activate_socket(3) failed.
    Launchd {
        /// Its error number.
        errno: i32,
    },
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InheritError::InvalidFd(invalid) => write!(f, "the inherited {invalid}"),
            InheritError::Several { count, listening } => write!(
                f,
                "{count} descriptors were inherited, {listening} of them listening Unix stream sockets; name the right one \
                 with FileDescriptorName={NAME} in its socket unit, or pass only one"
            ),
            InheritError::NamedTwice { count } => write!(
                f,
                "{count} of the inherited descriptors are named {NAME}; give that name to only one \
                 (FileDescriptorName= in the socket unit)"
            ),
            InheritError::Launchd { errno } => {
                write!(f, "launchd did not pass the sockets named Listeners: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for InheritError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InheritError::InvalidFd(invalid) => Some(invalid),
            _ => None,
        }
    }
}

/// What the environment variables claim.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    /// At least 1, and no descriptor number overflows.
    count: RawFd,
    /// One for each descriptor, or none.
    names: Vec<String>,
}

/// Parses the three variables. Returns `None` if they are not meant for the process of pid `own`.
fn claim(pid: Option<&str>, fds: Option<&str>, names: Option<&str>, own: u32) -> Option<Claim> {
    if number(pid?)? != own {
        return None;
    }
    let count = RawFd::try_from(number(fds?)?).ok().filter(|count| (1..=RawFd::MAX - FIRST_FD).contains(count))?;
    let names: Vec<String> = names.map_or_else(Vec::new, |names| names.split(':').map(String::from).collect());
    (names.is_empty() || RawFd::try_from(names.len()) == Ok(count)).then_some(Claim { count, names })
}

/// Parses a number as service managers write it: digits only.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Claim {
    /// Returns the claimed descriptors, or `None` unless all of them are open.
    fn take_fds(self) -> Option<Vec<PassedFd>> {
        let numbers = FIRST_FD..FIRST_FD + self.count;
        if !numbers.clone().all(socket::is_open) {
            return None;
        }
        for fd in numbers.clone() {
            // They are open, so this should not fail; a leaked descriptor is not fatal.
            if let Err(e) = socket::set_close_on_exec(fd) {
                log::warn!("cannot set close-on-exec on inherited descriptor {fd}: {e}");
            }
        }
        let mut names = self.names.into_iter();
        // SAFETY: the service manager opened them for this process, as its pid in LISTEN_PID says, and this runs
        // before any other code of this process could use them.
        Some(numbers.map(|fd| PassedFd { fd: unsafe { OwnedFd::from_raw_fd(fd) }, name: names.next() }).collect())
    }
}

#[cfg(target_os = "macos")]
fn launchd() -> Inherited {
    unsafe extern "C" {
        /// `<launch.h>`: 0, or an errno; the array is the caller's to free(3).
        fn launch_activate_socket(
            name: *const libc::c_char,
            fds: *mut *mut libc::c_int,
            count: *mut libc::size_t,
        ) -> libc::c_int;
    }
    let mut fds: *mut libc::c_int = std::ptr::null_mut();
    let mut count: libc::size_t = 0;
    // SAFETY: the name ends in NUL, and both variables live over the call.
    match unsafe { launch_activate_socket(c"Listeners".as_ptr(), &raw mut fds, &raw mut count) } {
        0 => {}
        // The plist has no socket of that name, or launchd did not start this process.
        libc::ENOENT | libc::ESRCH => return Inherited::default(),
        errno => return Inherited { passed: Vec::new(), refused: Some(errno) },
    }
    if fds.is_null() {
        return Inherited::default();
    }
    let mut passed = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: the array has `count` elements.
        let fd = unsafe { *fds.add(index) };
        // SAFETY: launchd passes each descriptor once, so this process owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if let Err(e) = socket::set_close_on_exec(fd.as_raw_fd()) {
            log::warn!("cannot set close-on-exec on inherited descriptor {}: {e}", fd.as_raw_fd());
        }
        passed.push(PassedFd { fd, name: None });
    }
    // SAFETY: the array is ours to free, and nothing points into it any more.
    unsafe { libc::free(fds.cast()) };
    Inherited { passed, refused: None }
}

#[cfg(not(target_os = "macos"))]
fn launchd() -> Inherited {
    Inherited::default()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::sys::fd_check::FdFault;
    use crate::sys::testing::{self, TestProcess};

    #[test]
    fn variables_are_used_only_if_all_of_them_fit() {
        let claimed = |count, names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            Some(Claim { count, names })
        };
        for (pid, fds, names, want) in [
            (Some("42"), Some("1"), None, claimed(1, &[])),
            (Some("42"), Some("2"), Some("iaid:other"), claimed(2, &["iaid", "other"])),
            (Some("42"), Some("1"), Some(""), claimed(1, &[""])),
            (Some("042"), Some("01"), None, claimed(1, &[])),
            (Some("42"), Some("2147483644"), None, claimed(i32::MAX - 3, &[])),
            (None, None, None, None),
            (Some("42"), None, None, None),
            (None, Some("1"), None, None),
            (Some("43"), Some("1"), None, None),
            (Some("0"), Some("1"), None, None),
            (Some("-42"), Some("1"), None, None),
            (Some("+42"), Some("1"), None, None),
            (Some(" 42"), Some("1"), None, None),
            (Some(""), Some("1"), None, None),
            (Some("x"), Some("1"), None, None),
            (Some("4294967338"), Some("1"), None, None),
            (Some("\u{fffd}"), Some("1"), None, None),
            (Some("42"), Some("0"), None, None),
            (Some("42"), Some("-1"), None, None),
            (Some("42"), Some("1x"), None, None),
            (Some("42"), Some(""), None, None),
            (Some("42"), Some("2147483645"), None, None),
            (Some("42"), Some("99999999999999999999"), None, None),
            (Some("42"), Some("2"), Some("iaid"), None),
            (Some("42"), Some("1"), Some("iaid:"), None),
        ] {
            assert_eq!(claim(pid, fds, names, 42), want, "{pid:?} {fds:?} {names:?}");
        }
    }

    #[test]
    fn a_count_of_descriptors_that_are_not_open_is_ignored() {
        assert!(Claim { count: i32::MAX - 3, names: Vec::new() }.take_fds().is_none());
    }

    #[test]
    fn taking_while_other_threads_run_takes_nothing() {
        std::thread::scope(|scope| {
            let taken = scope.spawn(take).join().unwrap();
            assert!(taken.listener().unwrap().is_none());
        });
    }

    fn passed(fds: Vec<(OwnedFd, Option<&str>)>) -> Inherited {
        let passed = fds.into_iter().map(|(fd, name)| PassedFd { fd, name: name.map(String::from) }).collect();
        Inherited { passed, refused: None }
    }

    #[test]
    fn of_several_the_named_or_the_only_qualifying_one_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let unix = |name: &str| -> OwnedFd {
            let path = dir.path().join(name);
            let _ = std::fs::remove_file(&path);
            UnixListener::bind(path).unwrap().into()
        };
        let file = || -> OwnedFd { File::open("/dev/null").unwrap().into() };
        let tcp = || -> OwnedFd { TcpListener::bind("127.0.0.1:0").unwrap().into() };
        let cases = vec![
            (passed(vec![]), Ok(None)),
            (passed(vec![(unix("a"), None)]), Ok(Some("a"))),
            (passed(vec![(unix("a"), Some("iaid.socket"))]), Ok(Some("a"))),
            (passed(vec![(unix("a"), Some("x")), (unix("b"), Some("iaid"))]), Ok(Some("b"))),
            (passed(vec![(file(), None), (unix("b"), None), (tcp(), None)]), Ok(Some("b"))),
            (passed(vec![(unix("a"), None), (unix("b"), None)]), Err(InheritError::Several { count: 2, listening: 2 })),
            (passed(vec![(file(), None), (tcp(), None)]), Err(InheritError::Several { count: 2, listening: 0 })),
            (
                passed(vec![(unix("a"), Some("iaid")), (unix("b"), Some("iaid"))]),
                Err(InheritError::NamedTwice { count: 2 }),
            ),
            (Inherited { passed: vec![], refused: Some(37) }, Err(InheritError::Launchd { errno: 37 })),
        ];
        for (inherited, want) in cases {
            let got = inherited.listener().map(|listener| listener.map(|listener| file_name(listener).unwrap()));
            assert_eq!(got, want.map(|name| name.map(String::from)));
        }
        // The only or the named one, which does not qualify.
        for (inherited, why) in [
            (passed(vec![(tcp(), None)]), FdFault::NotUnix),
            (passed(vec![(unix("a"), None), (file(), Some("iaid"))]), FdFault::NotSocket),
        ] {
            let error = inherited.listener().unwrap_err();
            assert!(matches!(&error, InheritError::InvalidFd(invalid) if invalid.why == why), "{error}");
        }
    }

    fn file_name(listener: Listener) -> Option<String> {
        assert!(listener.is_inherited());
        let address = listener.into_parts().0.local_addr().unwrap();
        Some(address.as_pathname()?.file_name()?.to_str()?.to_owned())
    }

    #[test]
    fn a_process_takes_what_its_manager_passed() {
        let child = match testing::role("sys::inherited::tests::a_process_takes_what_its_manager_passed") {
            TestProcess::Parent(child) => child,
            TestProcess::Child => return testing::alone(report_what_was_taken),
        };
        let dir = tempfile::tempdir().unwrap();
        let listener = |name: &str| OwnedFd::from(UnixListener::bind(dir.path().join(name)).unwrap());
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        for (pid, fds, count, names, state, took) in [
            (SELF, vec![listener("a")], "1", None, "close-on-exec closed", "a"),
            (SELF, vec![null(), listener("b")], "2", None, "close-on-exec close-on-exec", "b"),
            (SELF, vec![listener("c"), listener("d")], "2", Some("x:iaid"), "close-on-exec close-on-exec", "d"),
            (SELF, vec![listener("e"), listener("f")], "2", Some("iaid"), "inheritable inheritable", "none"),
            (SELF, vec![], "1", None, "closed closed", "none"),
            (SELF, vec![null()], "2", None, "inheritable closed", "none"),
            (SELF, vec![null()], "2000000000", None, "inheritable closed", "none"),
            ("1", vec![listener("g")], "1", None, "inheritable closed", "none"),
        ] {
            let mut command = child.command();
            command.env("LISTEN_PID", pid).env("LISTEN_FDS", count).env("LISTEN_PIDFDID", "1");
            match names {
                Some(names) => command.env("LISTEN_FDNAMES", names),
                None => command.env_remove("LISTEN_FDNAMES"),
            };
            testing::hand_over(&mut command, &fds);
            let said = child.run(&mut command);
            assert_eq!(said, [state, "no variables", "second: none", took], "{pid} {count} {names:?}");
        }
    }

    /// Replaced by the child's own pid, which is not known before it runs.
    const SELF: &str = "self";

    fn report_what_was_taken() {
        if std::env::var("LISTEN_PID").as_deref() == Ok(SELF) {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("LISTEN_PID", std::process::id().to_string()) };
        }
        let inherited = take();
        testing::report(&format!("{} {}", testing::state_of(3), testing::state_of(4)));
        let left = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("LISTEN_"));
        testing::report(if left { "variables left" } else { "no variables" });
        let tell = |inherited: Inherited| match inherited.listener() {
            Ok(None) => "none".to_owned(),
            Ok(Some(listener)) => file_name(listener).unwrap(),
            Err(error) => error.to_string(),
        };
        testing::report(&format!("second: {}", tell(take())));
        testing::report(&tell(inherited));
    }
}
