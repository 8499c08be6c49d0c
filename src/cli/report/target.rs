//! The file of a report: written without a name, copied to a temporary name beside its own when it is complete, and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::page::MARK;
use crate::cli::support::files;

/// A report that is being written. It has no name until it is complete, so a process that is killed leaves nothing.
pub(crate) struct ReportFile {
    pub(crate) out: BufWriter<File>,
    path: PathBuf,
}

impl ReportFile {
    /// Creates the file. An existing file is replaced only if it is a report, or with `force`.
    ///
    /// # Errors
    /// `Other` with a sentence if the path is no regular file or no report; otherwise any error of creating the file.
    pub(crate) fn create(path: &Path, force: bool) -> io::Result<ReportFile> {
        let refused = |what: &str| Err(io::Error::other(what.to_owned()));
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                return refused("it is a symbolic link; give the name of the file itself");
            }
            Ok(found) if found.is_dir() => return refused("it is a folder; give the name of a file in it"),
            Ok(found) if !found.is_file() => return refused("it is no regular file; give another name"),
            Ok(_) if !force && !is_report(path)? => {
                return refused("it exists and is no report of iaid; give another name, or replace it with --force");
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let partial = files::partial_path(path)?;
        let file = new_file(&partial)?;
        fs::remove_file(&partial)?;
        Ok(ReportFile { out: BufWriter::new(file), path: path.to_owned() })
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// Any error of writing, copying, syncing or renaming; there is no new file then, and an earlier one is unchanged.
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut written = self.out.into_inner()?;
        written.seek(SeekFrom::Start(0))?;
        let partial = files::partial_path(&self.path)?;
        let named = new_file(&partial).and_then(|mut file| {
            io::copy(&mut written, &mut file)?;
            file.sync_all()?;
            fs::rename(&partial, &self.path)
        });
        if named.is_err() {
            drop(fs::remove_file(partial));
        }
        named
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Returns true if a file begins as a report does.
fn is_report(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    file.take(MARK.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning == MARK.as_bytes())
}
