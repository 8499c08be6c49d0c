//! Notifies the service manager of the daemon's state: sd_notify(3), and the watchdog of
//! sd_watchdog_enabled(3).
//!
//! Nothing here waits, so a slow service manager does not delay the server. The caller decides when to notify.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::environment;

/// The service manager's notification socket, if there is one, and its watchdog interval.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the environment, so
    /// that programs started by this process do not notify in its name.
    ///
    /// Call it in main before the first thread: if others run, the variables are read and stay in the environment,
    /// with a warning in the log. Invalid values disable notifications or the watchdog, also with a warning, so
    /// set up the logger before.
    pub fn from_env() -> Notifier {
        let taken = environment::take(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]);
        let [address, period, pid] = &taken.values;
        let Some(address) = address else { return Notifier::default() };
        let opened = parse_address(address).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        let manager = match opened {
            Ok(manager) => manager,
            Err(e) => {
                log::warn!("NOTIFY_SOCKET={address:?} is invalid, service notifications are disabled: {e}");
                return Notifier::default();
            }
        };
        let watchdog = match parse_watchdog(period.as_deref(), pid.as_deref(), std::process::id()) {
            Ok(watchdog) => watchdog,
            Err(InvalidWatchdog) => {
                log::warn!("WATCHDOG_USEC={period:?} or WATCHDOG_PID={pid:?} is invalid, the watchdog is disabled");
                None
            }
        };
        Notifier { manager: Some(manager), watchdog }
    }

    /// Sends `READY=1`: start-up is complete.
    ///
    /// # Errors
    /// See [`Notifier::stopping`]. The manager kills a service of `Type=notify` that does not send this before its start
    /// times out, so retry after [`io::ErrorKind::WouldBlock`].
    pub fn ready(&self) -> io::Result<()> {
        self.send(b"READY=1")
    }

    /// Sends `STOPPING=1`: the service is shutting down.
    ///
    /// # Errors
    /// Those of sendto(2), such as [`io::ErrorKind::WouldBlock`] if the manager's queue is full. Without a service
    /// manager, nothing is sent and `Ok` is returned.
    pub fn stopping(&self) -> io::Result<()> {
        self.send(b"STOPPING=1")
    }

    /// Sends `WATCHDOG=1`: the service is alive. Call it at least once every [`Notifier::watchdog_interval`].
    ///
    /// # Errors
    /// See [`Notifier::stopping`].
    pub fn watchdog(&self) -> io::Result<()> {
        self.send(b"WATCHDOG=1")
    }

    /// Returns how often [`Notifier::watchdog`] must be called: half of the manager's timeout. `None` if
    /// there is no watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let Some((socket, manager)) = &self.manager else { return Ok(()) };
        loop {
            // Non-blocking, and std sends with MSG_NOSIGNAL.
            match socket.send_to_addr(message, manager) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Parses an absolute path, or `@` and the name of an abstract socket (Linux only).
fn parse_address(text: &str) -> io::Result<SocketAddr> {
    match text.as_bytes() {
        [b'/', _, ..] => SocketAddr::from_pathname(text),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] if !name.is_empty() => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it must be an absolute path, or @ and the name of an abstract socket on Linux",
        )),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct InvalidWatchdog;

/// Returns half of the watchdog's period (microseconds), if it watches the process of pid `own`.
fn parse_watchdog(period: Option<&str>, pid: Option<&str>, own: u32) -> Result<Option<Duration>, InvalidWatchdog> {
    let Some(period) = period else { return Ok(None) };
    if let Some(pid) = pid
        && number(pid).ok_or(InvalidWatchdog)? != u64::from(own)
    {
        return Ok(None);
    }
    let period = number(period).filter(|period| *period > 0).ok_or(InvalidWatchdog)?;
    Ok(Some(Duration::from_micros(period) / 2))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sys::testing::{self, TestProcess};

    #[test]
    fn an_address_is_an_absolute_path_or_an_abstract_name() {
        let long = format!("/{}", "x".repeat(200));
        for (text, good) in [
            ("/run/user/1000/systemd/notify", true),
            ("@/org/freedesktop/systemd1/notify/1", cfg!(target_os = "linux")),
            ("", false),
            ("/", false),
            ("@", false),
            ("run/notify", false),
            ("vsock:2:1234", false),
            ("/a\0b", false),
            ("\u{fffd}", false),
            (long.as_str(), false),
        ] {
            assert_eq!(parse_address(text).is_ok(), good, "{text:?}");
        }
        assert_eq!(parse_address("/run/x").unwrap().as_pathname(), Some(Path::new("/run/x")));
    }

    #[test]
    fn the_watchdog_is_for_this_process_or_disabled() {
        let half = |micros| Ok(Some(Duration::from_micros(micros)));
        for (period, pid, want) in [
            (Some("30000000"), None, half(15_000_000)),
            (Some("30000000"), Some("42"), half(15_000_000)),
            (Some("30000000"), Some("43"), Ok(None)),
            (None, Some("42"), Ok(None)),
            (None, None, Ok(None)),
            (Some("0"), None, Err(InvalidWatchdog)),
            (Some("-5"), None, Err(InvalidWatchdog)),
            (Some("+5"), None, Err(InvalidWatchdog)),
            (Some(""), None, Err(InvalidWatchdog)),
            (Some("99999999999999999999999"), None, Err(InvalidWatchdog)),
            (Some("30000000"), Some("x"), Err(InvalidWatchdog)),
            (Some("30000000"), Some(""), Err(InvalidWatchdog)),
        ] {
            assert_eq!(parse_watchdog(period, pid, 42), want, "{period:?} {pid:?}");
        }
    }

    #[test]
    fn the_manager_receives_each_message_and_the_variables_are_removed() {
        match testing::role("sys::notify::tests::the_manager_receives_each_message_and_the_variables_are_removed") {
            TestProcess::Parent(child) => {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("notify");
                let manager = UnixDatagram::bind(&path).unwrap();
                manager.set_nonblocking(true).unwrap();
                let mut command = child.command();
                command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000").env_remove("WATCHDOG_PID");
                assert_eq!(child.run(&mut command), ["Some(1s)", "no variables", "sent"]);
                let received = || {
                    let mut room = [0; 64];
                    manager.recv(&mut room).map(|length| String::from_utf8_lossy(&room[..length]).into_owned())
                };
                for word in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
                    assert_eq!(received().unwrap(), word);
                }
                assert!(received().is_err());
            }
            TestProcess::Child => testing::alone(|| {
                let notifier = Notifier::from_env();
                testing::report(&format!("{:?}", notifier.watchdog_interval()));
                let left = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].map(std::env::var_os);
                testing::report(if left.iter().all(Option::is_none) { "no variables" } else { "variables left" });
                notifier.ready().unwrap();
                notifier.watchdog().unwrap();
                notifier.stopping().unwrap();
                testing::report("sent");
            }),
        }
    }

    #[test]
    fn a_manager_that_reads_nothing_does_not_block_and_no_manager_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = SocketAddr::from_pathname(&path).unwrap();
        let notifier = Notifier { manager: Some((socket, address)), watchdog: None };
        let full = (0..1_000_000).find_map(|_| notifier.watchdog().err()).unwrap();
        assert!(matches!(full.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)), "{full}");
        drop(manager);
        assert_eq!(notifier.stopping().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);

        let none = Notifier::default();
        assert!(none.ready().is_ok() && none.watchdog().is_ok() && none.stopping().is_ok());
        assert_eq!(none.watchdog_interval(), None);
    }
}
