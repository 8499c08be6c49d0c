//! The resident memory of this process.

/// Reads the resident size repeatedly from one open file.
#[derive(Debug)]
pub(crate) struct Resident {
    /// `/proc/self/statm` (proc_pid_statm(5)), if it exists.
    #[cfg(not(target_os = "macos"))]
    statm: Option<std::fs::File>,
}

impl Resident {
    /// Opens the file. If there is none, sizes are 0.
    pub(crate) fn open() -> Resident {
        Resident {
            #[cfg(not(target_os = "macos"))]
            statm: std::fs::File::open("/proc/self/statm").ok(),
        }
    }

    /// Returns the resident bytes, mapped files included; 0 if unknown. One system call that
    /// reads no disk. Linux counts in batches of pages for each CPU, so the value may be off by some 100 KiB.
    pub(crate) fn bytes(&self) -> u64 {
        #[cfg(target_os = "macos")]
        {
            super::process::task_info().map_or(0, |info| info.pti_resident_size)
        }
        #[cfg(not(target_os = "macos"))]
        {
            use std::os::unix::fs::FileExt;

            // Seven numbers of 20 digits at most.
            let mut text = [0; 160];
            let read = self.statm.as_ref().and_then(|statm| statm.read_at(&mut text, 0).ok());
            read.and_then(|read| resident_pages(&text[..read])).map_or(0, |pages| pages.saturating_mul(page_bytes()))
        }
    }
}

/// Returns the second number of statm's text.
#[cfg(any(not(target_os = "macos"), test))]
fn resident_pages(statm: &[u8]) -> Option<u64> {
    std::str::from_utf8(statm).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the size of a page, or 0 if it is unknown.
#[cfg(not(target_os = "macos"))]
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: takes a number alone.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_is_the_resident_size() {
        for (text, pages) in [
            ("5000 1234 300 40 0 600 0\n", Some(1234)),
            ("5000 1234", Some(1234)),
            ("5000", None),
            ("5000 x", None),
            ("", None),
        ] {
            assert_eq!(resident_pages(text.as_bytes()), pages, "{text:?}");
        }
        assert_eq!(resident_pages(&[0xff, b' ', b'1']), None);
    }
}
