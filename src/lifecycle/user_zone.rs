//! The user's time zone: the one that an older daemon has written to `config.json`, else the system's.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::tz::TimeZone;
use serde_json::Value;

/// The file's name in the store's folder.
const NAME: &str = "config.json";

/// Largest file that is read. Picked: many times what was ever in it.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The time zone of whoever uses the store in `folder`. A file that says none, or one that is not known
/// here, is passed over with a warning.
pub fn of(folder: &Path) -> TimeZone {
    match read(&folder.join(NAME)) {
        Ok(None) => TimeZone::system(),
        Ok(Some(name)) => TimeZone::get(&name).unwrap_or_else(|error| {
            log::warn!("{NAME} names the time zone '{name}' ({error}): the system's is used");
            TimeZone::system()
        }),
        Err(error) => {
            log::warn!("{NAME} cannot be read ({error}): the system's time zone is used");
            TimeZone::system()
        }
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    let config: Value = serde_json::from_slice(&text)?;
    Ok(config["user"]["timezone"].as_str().filter(|name| !name.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_it_where_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let system = TimeZone::system();
        assert_eq!(of(folder.path()), system);
        for (text, want) in [
            (r#"{"user":{"timezone":"Asia/Kathmandu","x":1},"y":[]}"#, TimeZone::get("Asia/Kathmandu").unwrap()),
            (r#"{"user":{"timezone":"Atlantis/Poseidonis"}}"#, system.clone()),
            (r#"{"user":{"timezone":7}}"#, system.clone()),
            (r#"{"user":null}"#, system.clone()),
            ("[]", system.clone()),
            ("{", system.clone()),
            ("", system.clone()),
        ] {
            std::fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(of(folder.path()), want, "{text}");
        }
    }
}
