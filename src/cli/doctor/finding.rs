//! What a check has found, what is to be done about it, and how both are shown.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::console::{Kind, bold, visible};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// It works, and somebody should look.
    Warn,
    /// It does not work, or not safely.
    Fail,
}

/// A line of the report.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    check: &'static str,
    pub(super) verdict: Verdict,
    what: String,
    remedy: String,
    /// What `--fix` does about it; nothing where it needs judgement.
    pub(super) fixes: Vec<Fix>,
}

/// Something that can be set right without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    Mode(PathBuf, u32),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Finding {
    pub(super) fn pass(check: &'static str, what: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Pass, what: what.into(), remedy: String::new(), fixes: Vec::new() }
    }

    pub(super) fn warn(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Warn, remedy: remedy.into(), ..Finding::pass(check, what) }
    }

    pub(super) fn fail(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, remedy: remedy.into(), ..Finding::pass(check, what) }
    }

    /// The same, which `--fix` sets right.
    pub(super) fn fixed_by(self, fixes: Vec<Fix>) -> Finding {
        Finding { fixes, ..self }
    }

    /// For people: a line, and one with what to do.
    pub(super) fn text(&self, kind: Kind) -> String {
        let verdict = self.verdict.name();
        let verdict = if self.verdict == Verdict::Pass { verdict.into() } else { bold(verdict, kind) };
        let what = visible(&self.what, kind).replace('\n', " ");
        let line = format!("{verdict}  {:<12}  {what}", self.check);
        match (self.remedy.is_empty(), self.fixes.is_empty()) {
            (true, _) => line,
            (_, true) => format!("{line}\n      {:<12}  -> {}", "", visible(&self.remedy, kind)),
            _ => format!("{line}\n      {:<12}  -> {} (or iaid doctor --fix)", "", visible(&self.remedy, kind)),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let remedy = Some(&self.remedy).filter(|remedy| !remedy.is_empty());
        json!({"check": self.check, "verdict": self.verdict.name(), "what": self.what, "remedy": remedy,
            "fixable": !self.fixes.is_empty()})
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        }
    }
}

impl Fix {
    /// Does it, and says what it did, or why it could not.
    pub(super) fn apply(&self) -> Result<String, String> {
        let (done, outcome) = match self {
            Fix::Mode(path, mode) => (format!("{} has mode {mode:04o} now", path.display()), set_mode(path, *mode)),
            Fix::Rename(from, to) => (format!("{} is tried again", to.display()), rename(from, to)),
            Fix::Remove(path) => (format!("{} is removed", path.display()), fs::remove_file(path)),
        };
        match outcome {
            // Somebody else has done it, or taken it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(format!("{} has gone by itself", self.place())),
            outcome => outcome.map(|()| done).map_err(|error| format!("{}: {error}", self.place())),
        }
    }

    fn place(&self) -> std::path::Display<'_> {
        match self {
            Fix::Mode(path, _) | Fix::Rename(path, _) | Fix::Remove(path) => path.display(),
        }
    }
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
        let fix = vec![Fix::Remove("/x".into())];
        for (finding, text) in [
            (Finding::pass("disk", "1 GiB free"), "PASS  disk          1 GiB free"),
            (Finding::warn("disk", "a\u{1b}\nb", "do it"), "WARN  disk          a␛ b\n                    -> do it"),
            (
                Finding::fail("a", "b", "c").fixed_by(fix.clone()),
                "FAIL  a             b\n                    -> c (or iaid doctor --fix)",
            ),
        ] {
            assert_eq!(finding.text(Kind::Terminal), text);
        }
        let json = Finding::fail("a", "b", "c").fixed_by(fix).json();
        assert_eq!(json, json!({"check": "a", "verdict": "FAIL", "what": "b", "remedy": "c", "fixable": true}));
        assert_eq!(Finding::pass("a", "b").json()["remedy"], Value::Null);
    }

    #[test]
    fn a_fix_takes_nothing_away_from_anybody() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "a").unwrap();
        fs::write(at("b"), "b").unwrap();
        assert!(Fix::Rename(at("a"), at("b")).apply().unwrap_err().contains("is there already"));
        assert!(Fix::Rename(at("a"), at("c")).apply().unwrap().ends_with("/c is tried again"));
        assert_eq!(fs::read_to_string(at("b")).unwrap() + &fs::read_to_string(at("c")).unwrap(), "ba");
        std::os::unix::fs::symlink(at("b"), at("link")).unwrap();
        fs::set_permissions(at("b"), Permissions::from_mode(0o644)).unwrap();
        assert!(Fix::Mode(at("link"), 0o600).apply().is_err());
        assert!(Fix::Mode(at("b"), 0o600).apply().unwrap().ends_with("has mode 0600 now"));
        assert_eq!(fs::metadata(at("b")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Fix::Remove(at("none")).apply().unwrap().contains("gone by itself"));
    }
}
