//! The file of a report: written under a temporary name beside its own, and renamed when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::page::MARK;

/// A report that is being written.
pub(crate) struct ReportFile {
    pub(crate) out: BufWriter<File>,
    path: PathBuf,
    /// The temporary name; `None` once the file has its final one.
    partial: Option<PathBuf>,
}

impl ReportFile {
    /// Creates the file under its temporary name. An existing file is replaced only if it is a report, or with `force`.
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
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let partial = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        // A leftover of a process that had this number.
        drop(fs::remove_file(&partial));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        Ok(ReportFile { out: BufWriter::new(file), path: path.to_owned(), partial: Some(partial) })
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// Any error of writing, syncing or renaming; there is no new file then, and an earlier one is unchanged.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        if let Some(partial) = &self.partial {
            fs::rename(partial, &self.path)?;
            self.partial = None;
        }
        Ok(())
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if let Some(partial) = self.partial.take() {
            // The failure has been reported already.
            drop(fs::remove_file(partial));
        }
    }
}

/// Returns true if a file begins as a report does.
fn is_report(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    file.take(MARK.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning == MARK.as_bytes())
}
