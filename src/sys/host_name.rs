//! The name of this machine: gethostname(2).

/// Longest name that is read, in bytes, with its NUL: `HOST_NAME_MAX` is 64 on Linux, and 255 is the most of POSIX.
const MAX_BYTES: usize = 256;

/// Returns the machine's name; an empty one if it has none or cannot be asked.
pub(crate) fn host_name() -> String {
    let mut name = [0_u8; MAX_BYTES];
    // SAFETY: the buffer lives over the call, and one byte more than the length passed stays 0.
    let got = unsafe { libc::gethostname(name.as_mut_ptr().cast(), MAX_BYTES - 1) };
    let name = name.split(|byte| *byte == 0).next().filter(|_| got == 0);
    name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_that_of_the_system() {
        let output = std::process::Command::new("uname").arg("-n").output().unwrap();
        assert_eq!(super::host_name(), String::from_utf8(output.stdout).unwrap().trim());
    }
}
