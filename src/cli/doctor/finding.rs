//! What checks find, what is to be done about it, and how both are shown.

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

/// Longest wait for an index that is made anew: that of ten million records.
const REINDEX: Duration = Duration::from_secs(3600);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CheckVerdict {
    Pass,
    /// It works, and somebody should look.
    Warn,
    /// It does not work, or not safely.
    Fail,
}

/// A line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    check: &'static str,
    pub(crate) verdict: CheckVerdict,
    what: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
    /// What `--fix` does about it; nothing where it needs judgement.
    #[serde(rename = "fixable", serialize_with = "are_some")]
    pub(crate) fixes: Vec<Fix>,
}

/// Something that can be set right without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    Mode(PathBuf, u32),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// The daemon on this socket makes its index anew.
    Reindex(PathBuf),
}

/// What one check finds, in its order.
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

    /// What has just been found is set right so.
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
    /// For people: a line, and one with what to do.
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
    /// What it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fix::Mode(path, _) | Fix::Rename(path, _) | Fix::Remove(path) => path.display().fmt(f),
            Fix::Reindex(_) => f.write_str("the full-text index"),
        }
    }
}

impl Fix {
    /// Does it, and says what it did, or why it could not.
    pub(crate) fn apply(&self) -> Result<String, String> {
        let outcome = match self {
            Fix::Mode(path, mode) => set_mode(path, *mode),
            Fix::Rename(from, to) => rename(from, to),
            Fix::Remove(path) => fs::remove_file(path),
            Fix::Reindex(socket) => reindex(socket),
        };
        match (outcome, self) {
            // Somebody else has done it, or taken it.
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(format!("{self} has gone by itself")),
            (Err(error), _) => Err(format!("{self}: {error}")),
            (Ok(()), Fix::Mode(_, mode)) => Ok(format!("{self} has mode {mode:04o} now")),
            (Ok(()), Fix::Rename(..)) => Ok(format!("{self} is tried again")),
            (Ok(()), Fix::Remove(_)) => Ok(format!("{self} is removed")),
            (Ok(()), Fix::Reindex(_)) => Ok(format!("{self} is made anew")),
        }
    }
}

fn reindex(socket: &Path) -> io::Result<()> {
    let policy = Policy { reply_timeout: REINDEX, wait_for_restart: Duration::ZERO, ..Policy::default() };
    Client::new(socket, policy).call("store_reindex", &json!({})).map(drop).map_err(io::Error::other)
}

fn are_some<S: serde::Serializer>(fixes: &[Fix], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(!fixes.is_empty())
}

/// Of a file itself, never of what a link leads to.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::other("it has become a link"));
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::Error::other(format!("{} is there already", to.display()))),
        Err(_) => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_what_to_do() {
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
    fn a_fix_takes_nothing_away_from_anybody() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "a").unwrap();
        fs::write(at("b"), "b").unwrap();
        assert!(Fix::Rename(at("a"), at("b")).apply().unwrap_err().contains("is there already"));
        assert!(Fix::Rename(at("a"), at("c")).apply().unwrap().ends_with("/a is tried again"));
        assert_eq!(fs::read_to_string(at("b")).unwrap() + &fs::read_to_string(at("c")).unwrap(), "ba");
        std::os::unix::fs::symlink(at("b"), at("link")).unwrap();
        fs::set_permissions(at("b"), Permissions::from_mode(0o644)).unwrap();
        assert!(Fix::Mode(at("link"), 0o600).apply().is_err());
        assert!(Fix::Mode(at("b"), 0o600).apply().unwrap().ends_with("has mode 0600 now"));
        assert_eq!(fs::metadata(at("b")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Fix::Remove(at("none")).apply().unwrap().contains("gone by itself"));
    }
}
