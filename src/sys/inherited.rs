//! Listeners handed down by the service manager: systemd's LISTEN_FDS (sd_listen_fds(3)), and
//! launchd's sockets of the name `Listeners` (launchd.plist(5)).
//!
//! What the environment says is believed only if all of it fits: our pid, a count, descriptors that
//! are open, as many names as descriptors. Anything else was meant for another process, and is no
//! error. Which of several is served from is decided here; nothing is accepted.
//!
//! The caller calls [`take`] first thing in main, before any thread exists and before anything else
//! opens a descriptor.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::environment::{self, Cleared};
use super::fd_check::{self, InvalidFd};
use super::listener::Listener;
use super::socket;

/// The first descriptor that is handed down (SD_LISTEN_FDS_START).
const FIRST_FD: RawFd = 3;

/// The name by which a unit says which of several sockets is ours (`FileDescriptorName=iaid`).
const NAME: &str = "iaid";

/// What the service manager handed down; owned, close-on-exec. Closes what is not used.
#[derive(Debug, Default)]
pub struct Inherited {
    handed: Vec<Handed>,
    /// The errno with which launchd refused.
    refused: Option<i32>,
}

#[derive(Debug)]
struct Handed {
    fd: OwnedFd,
    name: Option<String>,
}

/// Takes what was handed down to this process, and LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES and
/// LISTEN_PIDFDID out of the environment.
///
/// Call it first thing in main. Called while other threads run it takes nothing and says so in the
/// log: descriptors 3 on may be anybody's by then. A second call finds nothing.
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
    match claim(pid.as_deref(), fds.as_deref(), names.as_deref(), std::process::id()).and_then(Claim::redeem) {
        Some(handed) => Inherited { handed, refused: None },
        None => launchd(),
    }
}

impl Inherited {
    /// The listener that is ours, if anything was handed down: of several the one of the name `iaid`,
    /// else the only listening Unix stream socket.
    ///
    /// # Errors
    /// Where something was handed down and none, or more than one, can be it.
    pub fn listener(self) -> Result<Option<Listener>, InheritError> {
        if let Some(errno) = self.refused {
            return Err(InheritError::Launchd { errno });
        }
        let count = self.handed.len();
        if count == 0 {
            return Ok(None);
        }
        let (named, others): (Vec<_>, Vec<_>) =
            self.handed.into_iter().partition(|handed| handed.name.as_deref() == Some(NAME));
        let candidates = match (named.len(), count) {
            (2.., _) => return Err(InheritError::NamedTwice { count: named.len() }),
            (1, _) => named,
            (_, 1) => others,
            _ => others.into_iter().filter(Handed::is_fit).collect(),
        };
        match <[Handed; 1]>::try_from(candidates) {
            Ok([only]) => {
                let number = only.fd.as_raw_fd();
                Listener::adopt(only.fd, number).map(Some).map_err(InheritError::InvalidFd)
            }
            Err(candidates) => Err(InheritError::Several { count, fit: candidates.len() }),
        }
    }
}

impl Handed {
    fn is_fit(&self) -> bool {
        fd_check::check(&self.fd, self.fd.as_raw_fd()).is_ok()
    }
}

/// Why what was handed down cannot be served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InheritError {
    /// The one that must be it is no listening Unix stream socket.
    InvalidFd(InvalidFd),
    /// Several were handed down, none of the name `iaid`, and not exactly one can be it.
    Several {
        /// How many were handed down.
        count: usize,
        /// How many of them are listening Unix stream sockets.
        fit: usize,
    },
    /// More than one has the name `iaid`.
    NamedTwice {
        /// How many have.
        count: usize,
    },
    /// launch_activate_socket(3) failed.
    Launchd {
        /// With this.
        errno: i32,
    },
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InheritError::InvalidFd(unfit) => write!(f, "the inherited {unfit}"),
            InheritError::Several { count, fit } => write!(
                f,
                "{count} descriptors were inherited, {fit} of them listening Unix stream sockets; name the right one \
                 with FileDescriptorName={NAME} in its socket unit, or hand over one alone"
            ),
            InheritError::NamedTwice { count } => write!(
                f,
                "{count} of the inherited descriptors are called {NAME}; give that name to one alone \
                 (FileDescriptorName= in the socket unit)"
            ),
            InheritError::Launchd { errno } => write!(
                f,
                "launchd did not hand over its sockets called Listeners: {}",
                io::Error::from_raw_os_error(*errno)
            ),
        }
    }
}

impl std::error::Error for InheritError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InheritError::InvalidFd(unfit) => Some(unfit),
            _ => None,
        }
    }
}

/// What the environment claims to have handed down.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    /// At least 1, and no descriptor's number overflows.
    count: RawFd,
    /// As many as descriptors, or none at all.
    names: Vec<String>,
}

/// Reads the three variables for the process of pid `own`; `None` where they are not for it.
fn claim(pid: Option<&str>, fds: Option<&str>, names: Option<&str>, own: u32) -> Option<Claim> {
    if number(pid?)? != own {
        return None;
    }
    let count = RawFd::try_from(number(fds?)?).ok().filter(|count| (1..=RawFd::MAX - FIRST_FD).contains(count))?;
    let names: Vec<String> = names.map_or_else(Vec::new, |names| names.split(':').map(String::from).collect());
    (names.is_empty() || RawFd::try_from(names.len()) == Ok(count)).then_some(Claim { count, names })
}

/// A number as service managers write it: digits alone.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Claim {
    /// The descriptors claimed, if every one of them is open.
    fn redeem(self) -> Option<Vec<Handed>> {
        let numbers = FIRST_FD..FIRST_FD + self.count;
        if !numbers.clone().all(socket::is_open) {
            return None;
        }
        for fd in numbers.clone() {
            // They are open, so this cannot fail; and a descriptor that leaks is no reason to stop.
            if let Err(e) = socket::set_close_on_exec(fd) {
                log::warn!("inherited descriptor {fd} goes on to programs we start: {e}");
            }
        }
        let mut names = self.names.into_iter();
        // SAFETY: whoever started this process opened them for it, said so by our pid, and nobody
        // here has been told of them before.
        Some(numbers.map(|fd| Handed { fd: unsafe { OwnedFd::from_raw_fd(fd) }, name: names.next() }).collect())
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
    // SAFETY: the name ends in NUL, and both places live over the call.
    match unsafe { launch_activate_socket(c"Listeners".as_ptr(), &raw mut fds, &raw mut count) } {
        0 => {}
        // The plist has no socket of the name, or launchd did not start us.
        libc::ENOENT | libc::ESRCH => return Inherited::default(),
        errno => return Inherited { handed: Vec::new(), refused: Some(errno) },
    }
    if fds.is_null() {
        return Inherited::default();
    }
    let mut handed = Vec::with_capacity(count);
    for place in 0..count {
        // SAFETY: launchd says that so many descriptors stand there.
        let fd = unsafe { *fds.add(place) };
        // SAFETY: launchd gives each descriptor to the one caller of its name.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if let Err(e) = socket::set_close_on_exec(fd.as_raw_fd()) {
            log::warn!("inherited descriptor {} goes on to programs we start: {e}", fd.as_raw_fd());
        }
        handed.push(Handed { fd, name: None });
    }
    // SAFETY: the array is ours to free, and nothing points into it any more.
    unsafe { libc::free(fds.cast()) };
    Inherited { handed, refused: None }
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
    fn only_what_fits_in_every_part_is_for_us() {
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
    fn a_count_of_descriptors_that_are_not_there_is_not_for_us() {
        assert!(Claim { count: i32::MAX - 3, names: Vec::new() }.redeem().is_none());
    }

    #[test]
    fn taking_while_other_threads_run_takes_nothing() {
        std::thread::scope(|scope| {
            let taken = scope.spawn(take).join().unwrap();
            assert!(taken.listener().unwrap().is_none());
        });
    }

    fn handed(fds: Vec<(OwnedFd, Option<&str>)>) -> Inherited {
        let handed = fds.into_iter().map(|(fd, name)| Handed { fd, name: name.map(String::from) }).collect();
        Inherited { handed, refused: None }
    }

    #[test]
    fn of_several_the_one_of_our_name_or_the_only_one_that_can_be_it() {
        let dir = tempfile::tempdir().unwrap();
        let unix = |name: &str| -> OwnedFd {
            let path = dir.path().join(name);
            let _ = std::fs::remove_file(&path);
            UnixListener::bind(path).unwrap().into()
        };
        let file = || -> OwnedFd { File::open("/dev/null").unwrap().into() };
        let tcp = || -> OwnedFd { TcpListener::bind("127.0.0.1:0").unwrap().into() };
        let cases = vec![
            (handed(vec![]), Ok(None)),
            (handed(vec![(unix("a"), None)]), Ok(Some("a"))),
            (handed(vec![(unix("a"), Some("iaid.socket"))]), Ok(Some("a"))),
            (handed(vec![(unix("a"), Some("x")), (unix("b"), Some("iaid"))]), Ok(Some("b"))),
            (handed(vec![(file(), None), (unix("b"), None), (tcp(), None)]), Ok(Some("b"))),
            (handed(vec![(unix("a"), None), (unix("b"), None)]), Err(InheritError::Several { count: 2, fit: 2 })),
            (handed(vec![(file(), None), (tcp(), None)]), Err(InheritError::Several { count: 2, fit: 0 })),
            (
                handed(vec![(unix("a"), Some("iaid")), (unix("b"), Some("iaid"))]),
                Err(InheritError::NamedTwice { count: 2 }),
            ),
            (Inherited { handed: vec![], refused: Some(37) }, Err(InheritError::Launchd { errno: 37 })),
        ];
        for (inherited, want) in cases {
            let got = inherited.listener().map(|listener| listener.map(|listener| file_name(listener).unwrap()));
            assert_eq!(got, want.map(|name| name.map(String::from)));
        }
        // The one that must be it, and cannot.
        for (inherited, why) in [
            (handed(vec![(tcp(), None)]), FdFault::NotUnix),
            (handed(vec![(unix("a"), None), (file(), Some("iaid"))]), FdFault::NotSocket),
        ] {
            let error = inherited.listener().unwrap_err();
            assert!(matches!(&error, InheritError::InvalidFd(unfit) if unfit.why == why), "{error}");
        }
    }

    fn file_name(listener: Listener) -> Option<String> {
        assert!(listener.is_inherited());
        let address = listener.into_parts().0.local_addr().unwrap();
        Some(address.as_pathname()?.file_name()?.to_str()?.to_owned())
    }

    #[test]
    fn a_process_takes_what_its_manager_handed_down() {
        let child = match testing::role("sys::inherited::tests::a_process_takes_what_its_manager_handed_down") {
            TestProcess::Parent(child) => child,
            TestProcess::Child => return testing::alone(tell_what_was_taken),
        };
        let dir = tempfile::tempdir().unwrap();
        let listener = |name: &str| OwnedFd::from(UnixListener::bind(dir.path().join(name)).unwrap());
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        for (pid, fds, count, names, state, took) in [
            (SELF, vec![listener("a")], "1", None, "ours closed", "a"),
            (SELF, vec![null(), listener("b")], "2", None, "ours ours", "b"),
            (SELF, vec![listener("c"), listener("d")], "2", Some("x:iaid"), "ours ours", "d"),
            (SELF, vec![listener("e"), listener("f")], "2", Some("iaid"), "goes on goes on", "none"),
            (SELF, vec![], "1", None, "closed closed", "none"),
            (SELF, vec![null()], "2", None, "goes on closed", "none"),
            (SELF, vec![null()], "2000000000", None, "goes on closed", "none"),
            ("1", vec![listener("g")], "1", None, "goes on closed", "none"),
        ] {
            let mut command = child.command();
            command.env("LISTEN_PID", pid).env("LISTEN_FDS", count).env("LISTEN_PIDFDID", "1");
            match names {
                Some(names) => command.env("LISTEN_FDNAMES", names),
                None => command.env_remove("LISTEN_FDNAMES"),
            };
            testing::hand_over(&mut command, &fds);
            let said = child.said(&mut command);
            assert_eq!(said, [state, "no variables", "second: none", took], "{pid} {count} {names:?}");
        }
    }

    /// Stands for the child's own pid, which is not known before it runs.
    const SELF: &str = "self";

    fn tell_what_was_taken() {
        if std::env::var("LISTEN_PID").as_deref() == Ok(SELF) {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("LISTEN_PID", std::process::id().to_string()) };
        }
        let inherited = take();
        testing::say(&format!("{} {}", testing::state_of(3), testing::state_of(4)));
        let left = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("LISTEN_"));
        testing::say(if left { "variables left" } else { "no variables" });
        let tell = |inherited: Inherited| match inherited.listener() {
            Ok(None) => "none".to_owned(),
            Ok(Some(listener)) => file_name(listener).unwrap(),
            Err(error) => error.to_string(),
        };
        testing::say(&format!("second: {}", tell(take())));
        testing::say(&tell(inherited));
    }
}
