//! The size of a terminal: ioctl(2) TIOCGWINSZ, tty_ioctl(4).

use std::os::fd::{AsFd, AsRawFd};

use super::syscall::checked;

/// A terminal's size in characters; neither is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Characters of a line.
    pub(crate) columns: u16,
    /// Lines of the screen.
    pub(crate) rows: u16,
}

/// Returns the size, or `None` if this is not a terminal or its size is unknown.
pub(crate) fn size(terminal: &impl AsFd) -> Option<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: this request fills this struct, which lives over the call.
    checked(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Size { columns: size.ws_col, rows: size.ws_row })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_no_size() {
        assert_eq!(size(&std::io::pipe().unwrap().0), None);
    }
}
