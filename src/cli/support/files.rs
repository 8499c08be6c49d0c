//! Small files written whole: under another name, and renamed, so that a reader finds all or nothing. And read
//! whole, without waiting for anybody.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::lifecycle::private_dir;

/// What a file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of this process.
    Cached,
    /// A power cut.
    Synced,
}

/// The mode of what is its owner's alone.
pub(crate) const PRIVATE_MODE: u32 = 0o600;

/// Writes a file of this mode in the place of the one that is there, if any.
///
/// # Errors
/// The system's; then the old file is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = folder.join(name);
    let written = write(&temporary, bytes, mode, durability).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    } else if durability == Durability::Synced {
        File::open(folder)?.sync_all()?;
    }
    written
}

/// A file's text; `None` where there is no file. What lies there may be anything: a pipe is not waited for.
///
/// # Errors
/// It is no plain file of at most so many bytes, or no UTF-8; else the system's.
pub(crate) fn text(path: &Path, most_bytes: u64) -> io::Result<Option<String>> {
    read(path, libc::O_NONBLOCK, most_bytes)
}

/// The text of a file in a folder of ours within the store's: as [`text`], and through no link.
///
/// # Errors
/// As [`text`]; or the file or its folder is a link.
pub(crate) fn own_text(path: &Path, most_bytes: u64) -> io::Result<Option<String>> {
    match path.parent().map_or(Ok(true), private_dir::exists)? {
        true => read(path, libc::O_NONBLOCK | libc::O_NOFOLLOW, most_bytes),
        false => Ok(None),
    }
}

fn read(path: &Path, flags: libc::c_int, most_bytes: u64) -> io::Result<Option<String>> {
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut text = String::new();
    file.take(most_bytes + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most_bytes {
        return Err(io::Error::other(format!("it has more than {most_bytes} bytes")));
    }
    Ok(Some(text))
}

/// Makes a folder that is its owner's alone, and those above it.
///
/// # Errors
/// The system's.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder of ours within the store's, and that one where it is missing.
///
/// # Errors
/// The system's, or that something else is there: a link is not followed.
pub(crate) fn make_own_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_folder)?;
    private_dir::create(path)
}

fn write(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    // What a killed process of the same id left behind is in the way of `create_new`.
    drop(fs::remove_file(path));
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    // What the umask took away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    if durability == Durability::Synced { file.sync_all() } else { Ok(()) }
}
