//! The user's time zone: the one that the Python daemon wrote to `config.json`, else the system's.
//!
//! The zone's own file is read if its name is known. jiff would list all zones by walking their folders, which costs
//! milliseconds at every start and 100 KiB of memory.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::tz::TimeZone;
use serde_json::Value;

/// The file's name in the store's folder.
const NAME: &str = "config.json";

/// Largest file that is read. Picked: many times the usual size.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The folder of the zones' files, and the link to the system's: tzfile(5), localtime(5).
const ZONES: &str = "/usr/share/zoneinfo/";
const LOCAL: &str = "/etc/localtime";

/// Returns the time zone of the user of the store in `folder`. A file that cannot be read or names an unknown zone is
/// ignored with a warning.
pub fn of(folder: &Path) -> TimeZone {
    match read(&folder.join(NAME)) {
        Ok(None) => system(),
        Ok(Some(name)) => named(&name).map_or_else(|| TimeZone::get(&name), Ok).unwrap_or_else(|error| {
            log::warn!("{NAME}: unknown time zone '{name}' ({error}): using the system's");
            system()
        }),
        Err(error) => {
            log::warn!("{NAME} cannot be read ({error}): using the system's time zone");
            system()
        }
    }
}

/// Returns the time zone of the variable `TZ`, else the system's.
pub fn system() -> TimeZone {
    let local = || named(fs::read_link(LOCAL).ok()?.to_str()?.rsplit_once("zoneinfo/")?.1);
    let is_set = ["TZ", "TZDIR"].iter().any(|name| env::var_os(name).is_some());
    if is_set { None } else { local() }.unwrap_or_else(TimeZone::system)
}

/// Returns the zone of this name, read from its file alone.
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
    fn a_zone_read_from_its_file_is_the_one_that_jiff_finds() {
        assert_eq!(system(), TimeZone::system());
        for name in ["Europe/Berlin", "Asia/Kathmandu", "Etc/GMT+12", "America/Argentina/Ushuaia"] {
            // If no zones are installed jiff has none either.
            assert_eq!(named(name), TimeZone::get(name).ok(), "{name}");
        }
        for name in ["", "/etc/localtime", "../zoneinfo/Europe/Berlin", "Europe//Berlin", "Europe", "Europe/", "x\0"] {
            assert_eq!(named(name), None, "{name:?}");
        }
    }

    #[test]
    fn config_json_takes_precedence_if_it_names_a_known_zone() {
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
