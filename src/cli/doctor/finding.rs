//! The findings of checks, their remedies and fixes, and their output.

use std::fmt::{self, Arguments, Write};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::cli::support::console::{StreamKind, bold, visible};
use crate::client::{Client, Policy};

/// Longest wait for a rebuild of the full-text index: that of ten million records.
const REINDEX_TIMEOUT: Duration = Duration::from_secs(3600);

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CheckVerdict {
    Pass,
    /// It works, but needs attention.
    Warn,
    /// It does not work, or not safely.
    Fail,
}

/// An entry of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    check: &'static str,
    pub(crate) verdict: CheckVerdict,
    what: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
    /// What `--fix` does about it; empty if a person has to decide.
    #[serde(rename = "fixable", serialize_with = "is_fixable")]
    pub(crate) fixes: Vec<Fix>,
}

/// A repair that needs no decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    Mode(PathBuf, u32),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// Rebuild of the full-text index by the daemon on this socket.
    Reindex(PathBuf),
}

/// The findings of one check, in order.
#[derive(Debug)]
pub(crate) struct Findings {
    check: &'static str,
    pub(crate) all: Vec<Finding>,
}

impl Findings {
    pub(crate) fn of(check: &'static str) -> Findings {
        Findings { check, all: Vec::new() }
    }

    pub(crate) fn pass(&mut self, what: Arguments<'_>) {
        self.add(CheckVerdict::Pass, what, format_args!(""));
    }

    pub(crate) fn warn(&mut self, what: Arguments<'_>, remedy: Arguments<'_>) {
        self.add(CheckVerdict::Warn, what, remedy);
    }

    pub(crate) fn fail(&mut self, what: Arguments<'_>, remedy: Arguments<'_>) {
        self.add(CheckVerdict::Fail, what, remedy);
    }

    /// Sets the fixes of the last finding.
    pub(crate) fn fixed_by(&mut self, fixes: Vec<Fix>) {
        if let Some(finding) = self.all.last_mut() {
            finding.fixes = fixes;
        }
    }

    #[inline(never)]
    fn add(&mut self, verdict: CheckVerdict, what: Arguments<'_>, remedy: Arguments<'_>) {
        let (what, remedy) = (what.to_string(), remedy.to_string());
        self.all.push(Finding { check: self.check, verdict, what, remedy, fixes: Vec::new() });
    }
}

impl Finding {
    /// Formats the finding for people: a line, and one with the remedy.
    pub(crate) fn text(&self, kind: StreamKind) -> String {
        let verdict = self.verdict.name();
        let verdict = if self.verdict == CheckVerdict::Pass { verdict.into() } else { bold(verdict, kind) };
        let mut text = format!("{verdict}  {:<12}  {}", self.check, visible(&self.what, kind).replace('\n', " "));
        if !self.remedy.is_empty() {
            let fix = if self.fixes.is_empty() { "" } else { " (or iaid doctor --fix)" };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{:20}-> {}{fix}", "", visible(&self.remedy, kind));
        }
        text
    }
}

impl CheckVerdict {
    fn name(self) -> &'static str {
        match self {
            CheckVerdict::Pass => "PASS",
            CheckVerdict::Warn => "WARN",
            CheckVerdict::Fail => "FAIL",
        }
    }
}

impl fmt::Display for Fix {
    /// Writes the file or index that is fixed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fix::Mode(path, _) | Fix::Rename(path, _) | Fix::Remove(path) => path.display().fmt(f),
            Fix::Reindex(_) => f.write_str("the full-text index"),
        }
    }
}

impl Fix {
    /// Applies the fix. Returns what was done, or why it failed.
    pub(crate) fn apply(&self) -> Result<String, String> {
        let outcome = match self {
            Fix::Mode(path, mode) => set_mode(path, *mode),
            Fix::Rename(from, to) => rename(from, to),
            Fix::Remove(path) => fs::remove_file(path),
            Fix::Reindex(socket) => reindex(socket),
        };
        match (outcome, self) {
            // Another process has fixed or removed it.
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(format!("{self} no longer exists")),
            (Err(error), _) => Err(format!("{self}: {error}")),
            (Ok(()), Fix::Mode(_, mode)) => Ok(format!("{self} has mode {mode:04o} now")),
            (Ok(()), Fix::Rename(..)) => Ok(format!("{self} will be retried")),
            (Ok(()), Fix::Remove(_)) => Ok(format!("{self} was removed")),
            (Ok(()), Fix::Reindex(_)) => Ok(format!("{self} was rebuilt")),
        }
    }
}

fn reindex(socket: &Path) -> io::Result<()> {
    let policy = Policy { reply_timeout: REINDEX_TIMEOUT, wait_for_restart: Duration::ZERO, ..Policy::default() };
    Client::new(socket, policy).call("store_reindex", &json!({})).map(drop).map_err(io::Error::other)
}

fn is_fixable<S: serde::Serializer>(fixes: &[Fix], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(!fixes.is_empty())
}

/// Changes the mode of a file, never of the target of a symbolic link.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::other("it is now a symbolic link"));
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::Error::other(format!("{} exists already", to.display()))),
        Err(_) => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_a_remedy() {
        let mut found = Findings::of("disk");
        found.pass(format_args!("1 GiB free"));
        found.warn(format_args!("a\u{1b}\nb"), format_args!("do it"));
        found.fail(format_args!("b"), format_args!("c"));
        found.fixed_by(vec![Fix::Remove("/x".into())]);
        let texts: Vec<String> = found.all.iter().map(|one| one.text(StreamKind::Terminal)).collect();
        let want = [
            "PASS  disk          1 GiB free",
            "WARN  disk          a␛ b\n                    -> do it",
            "FAIL  disk          b\n                    -> c (or iaid doctor --fix)",
        ];
        assert_eq!(texts, want);
        let json = serde_json::to_value(&found.all[2]).unwrap();
        assert_eq!(json, json!({"check": "disk", "verdict": "FAIL", "what": "b", "remedy": "c", "fixable": true}));
        assert!(serde_json::to_value(&found.all[0]).unwrap().get("remedy").is_none());
    }

    #[test]
    fn a_fix_overwrites_nothing_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "a").unwrap();
        fs::write(at("b"), "b").unwrap();
        assert!(Fix::Rename(at("a"), at("b")).apply().unwrap_err().contains("exists already"));
        assert!(Fix::Rename(at("a"), at("c")).apply().unwrap().ends_with("/a will be retried"));
        assert_eq!(fs::read_to_string(at("b")).unwrap() + &fs::read_to_string(at("c")).unwrap(), "ba");
        std::os::unix::fs::symlink(at("b"), at("link")).unwrap();
        fs::set_permissions(at("b"), Permissions::from_mode(0o644)).unwrap();
        assert!(Fix::Mode(at("link"), 0o600).apply().is_err());
        assert!(Fix::Mode(at("b"), 0o600).apply().unwrap().ends_with("has mode 0600 now"));
        assert_eq!(fs::metadata(at("b")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Fix::Remove(at("none")).apply().unwrap().contains("no longer exists"));
    }
}
