//! The user's time zone: the one that an older daemon has written to `config.json`, else the system's.
//!
//! A zone's own file is read where it is known which one that is. jiff's way to it is a list of all zones
//! that there are, made by a walk through their folders: milliseconds of every start, and 100 KiB that stay.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::tz::TimeZone;
use serde_json::Value;

/// The file's name in the store's folder.
const NAME: &str = "config.json";

/// Largest file that is read. Picked: many times what was ever in it.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Where zones' files are, and which one is the system's: tzfile(5), localtime(5).
const ZONES: &str = "/usr/share/zoneinfo/";
const LOCAL: &str = "/etc/localtime";

/// The time zone of whoever uses the store in `folder`. A file that says none, or one that is not known
/// here, is passed over with a warning.
pub fn of(folder: &Path) -> TimeZone {
    match read(&folder.join(NAME)) {
        Ok(None) => system(),
        Ok(Some(name)) => named(&name).map_or_else(|| TimeZone::get(&name), Ok).unwrap_or_else(|error| {
            log::warn!("{NAME} names the time zone '{name}' ({error}): the system's is used");
            system()
        }),
        Err(error) => {
            log::warn!("{NAME} cannot be read ({error}): the system's time zone is used");
            system()
        }
    }
}

/// The system's time zone, or that of the variable `TZ`.
pub fn system() -> TimeZone {
    let local = || named(fs::read_link(LOCAL).ok()?.to_str()?.rsplit_once("zoneinfo/")?.1);
    let is_told = ["TZ", "TZDIR"].iter().any(|name| env::var_os(name).is_some());
    if is_told { None } else { local() }.unwrap_or_else(TimeZone::system)
}

/// The zone of this name, from its file alone.
fn named(name: &str) -> Option<TimeZone> {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte))
    };
    let mut file = name.split('/').all(is_plain).then(|| fs::File::open(Path::new(ZONES).join(name)).ok())??;
    let mut data = Vec::new();
    (&mut file).take(MAX_FILE_BYTES).read_to_end(&mut data).ok()?;
    TimeZone::tzif(name, &data).ok()
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
    fn a_zone_of_its_own_file_is_the_one_that_jiff_finds() {
        assert_eq!(system(), TimeZone::system());
        for name in ["Europe/Berlin", "Asia/Kathmandu", "Etc/GMT+12", "America/Argentina/Ushuaia"] {
            // Where no zones are installed jiff has none either.
            assert_eq!(named(name), TimeZone::get(name).ok(), "{name}");
        }
        for name in ["", "/etc/localtime", "../zoneinfo/Europe/Berlin", "Europe//Berlin", "Europe", "Europe/", "x\0"] {
            assert_eq!(named(name), None, "{name:?}");
        }
    }

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
