//! Small files, read and replaced as a whole. A replacement is written under a temporary name and renamed, so a
//! reader sees the old or the new content. Reads never block on a pipe or device.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{self as unix, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::lifecycle::private_dir;
use crate::sys::{private_folder, process};

/// The failure that a written file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of this process: the data may still be in the page cache.
    Cached,
    /// A power failure: file and folder are synced.
    Synced,
}

/// File mode: only the owner may read and write.
pub(crate) const PRIVATE_MODE: u32 = 0o600;

/// The user and group that a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileOwner {
    uid: u32,
    gid: u32,
}

impl FileOwner {
    pub(crate) fn of(about: &Metadata) -> FileOwner {
        FileOwner { uid: about.uid(), gid: about.gid() }
    }

    /// Gives a file or folder to this owner.
    ///
    /// # Errors
    /// Any error of chown(2); `PermissionDenied` if this process may not do that.
    pub(crate) fn take(self, path: &Path) -> io::Result<()> {
        if FileOwner::of(&fs::symlink_metadata(path)?) == self {
            return Ok(());
        }
        unix::lchown(path, Some(self.uid), Some(self.gid))
    }
}

/// Writes `bytes` to a file of this mode, replacing an existing one.
///
/// # Errors
/// Any error of creating, writing, syncing or renaming the file. An existing file is then unchanged, unless only the
/// sync of its folder failed.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    replace_as(path, bytes, mode, None, durability)
}

/// Writes `bytes` to a file as [`replace`] does, and gives it to an owner.
///
/// # Errors
/// As [`replace`], and any error of changing the owner; an existing file is then unchanged.
pub(crate) fn replace_as(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<FileOwner>,
    durability: Durability,
) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = folder.join(name);
    let written = write(&temporary, bytes, mode, owner, durability).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    } else if durability == Durability::Synced {
        File::open(folder)?.sync_all()?;
    }
    written
}

/// Returns the temporary name for a file that is written beside its final name, `.NAME.PID.partial`. Removes those of
/// processes that have ended.
///
/// # Errors
/// `IsADirectory` if the path has no file name.
pub(crate) fn partial_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy().into_owned();
    let own = std::process::id();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // An error shows when the file is created.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let pid = found.to_str().and_then(|found| {
            found.strip_prefix('.')?.strip_prefix(&*name)?.strip_prefix('.')?.strip_suffix(".partial")?.parse().ok()
        });
        if pid.is_some_and(|pid: u32| pid == own || !process::is_alive(pid)) {
            drop(fs::remove_file(entry.path()));
        }
    }
    Ok(path.with_file_name(format!(".{name}.{own}.partial")))
}

/// Returns the text of a regular file, or `None` if there is no file. Never blocks, whatever `path` is.
///
/// # Errors
/// `Other` if `path` is not a regular file or has more than `most_bytes` bytes; `InvalidData` if the content is not
/// UTF-8; otherwise the error of opening or reading.
pub(crate) fn text(path: &Path, most_bytes: u64) -> io::Result<Option<String>> {
    read(path, libc::O_NONBLOCK, most_bytes)
}

/// Returns the text of a file in one of our folders in the store, as [`text`] does, without following symbolic
/// links.
///
/// # Errors
/// As [`text`], and if the file or its folder is a symbolic link.
pub(crate) fn own_text(path: &Path, most_bytes: u64) -> io::Result<Option<String>> {
    match path.parent().map_or(Ok(true), private_dir::exists)? {
        true => read(path, libc::O_NONBLOCK | libc::O_NOFOLLOW, most_bytes),
        false => Ok(None),
    }
}

fn read(path: &Path, flags: libc::c_int, most_bytes: u64) -> io::Result<Option<String>> {
    let file = match open_with(path, flags) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(most_bytes + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most_bytes {
        return Err(io::Error::other(format!("longer than {most_bytes} bytes")));
    }
    Ok(Some(text))
}

/// Returns true if the file at `path` begins as a SQLite database does.
///
/// # Errors
/// Those of opening and reading it.
pub(crate) fn is_database(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?.take(16).read_to_end(&mut beginning)?;
    Ok(beginning == b"SQLite format 3\0")
}

/// Opens a regular file for reading, such as an assistant's transcript; symbolic links are followed. Never blocks,
/// whatever `path` is: the open of a pipe without a writer would.
///
/// # Errors
/// `Other` if `path` is not a regular file; otherwise the error of opening.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    open_with(path, libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Opens a regular file for reading as [`open_regular`] does, without following a symbolic link.
///
/// # Errors
/// As [`open_regular`], and `ELOOP` if `path` is a symbolic link.
pub(crate) fn open_unlinked(path: &Path) -> io::Result<File> {
    open_with(path, libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
}

fn open_with(path: &Path, flags: libc::c_int) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Creates a folder with mode 0700 under any umask, and its missing parents.
///
/// # Errors
/// Any error of mkdir(2) or chmod(2).
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    private_folder::create(path)
}

/// Creates one of our folders in the store, and the store's folder if it is missing.
///
/// # Errors
/// Any error of mkdir(2), and if the name is taken by something other than a folder; symbolic links are not followed.
pub(crate) fn make_own_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_folder)?;
    private_dir::create(path)
}

fn write(path: &Path, bytes: &[u8], mode: u32, owner: Option<FileOwner>, durability: Durability) -> io::Result<()> {
    // A leftover of a killed process with the same id would make `create_new` fail.
    drop(fs::remove_file(path));
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    if let Some(owner) = owner {
        owner.take(path)?;
    }
    // Restores the bits that the umask cleared.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    if durability == Durability::Synced { file.sync_all() } else { Ok(()) }
}
