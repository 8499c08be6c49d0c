//! What `iaid sync` syncs with, out of its argument.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::cli::support::error::CliError;

/// How an argument begins that is a host whatever else it looks like.
const SSH_SCHEME: &str = "ssh://";

/// The other side of a sync.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SyncTarget {
    /// A destination of ssh(1).
    Host(String),
    /// A folder that something else carries.
    Folder(PathBuf),
}

impl SyncTarget {
    /// Returns what an argument names: a folder if it has a `/` or is one (`is_folder` says), otherwise a host;
    /// `ssh://` forces a host.
    ///
    /// # Errors
    /// [`CliError::Usage`] if it is neither.
    pub(crate) fn of(argument: &OsStr, is_folder: &dyn Fn(&Path) -> bool) -> Result<SyncTarget, CliError> {
        let path = Path::new(argument);
        let wrong = |what: &str| Err(CliError::Usage(format!("'{}' {what}", path.display())));
        let text = argument.to_str();
        if let Some(host) = text.and_then(|text| text.strip_prefix(SSH_SCHEME)) {
            if host.contains('/') {
                return wrong(
                    "names a path; the program of a host is named with --command 'ssh HOST PROGRAM sync --serve'",
                );
            }
            return if is_destination(host) {
                Ok(SyncTarget::Host(format!("{SSH_SCHEME}{host}")))
            } else {
                wrong("names no host")
            };
        }
        if argument.as_encoded_bytes().contains(&b'/') || is_folder(path) {
            return Ok(SyncTarget::Folder(path.to_owned()));
        }
        match text.filter(|text| is_destination(text)) {
            Some(host) => Ok(SyncTarget::Host(host.to_owned())),
            None => wrong("is neither a host, as in user@host, nor a folder"),
        }
    }
}

/// Returns true if this cannot be an option of ssh, or a word that a shell would take apart.
fn is_destination(text: &str) -> bool {
    let host = text.rsplit_once('@').map_or(text, |(user, host)| if user.starts_with('-') { "" } else { host });
    !host.is_empty() && !host.starts_with('-') && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_folder_a_host_or_an_error() {
        let host = |name: &str| Some(SyncTarget::Host(name.into()));
        let folder = |path: &str| Some(SyncTarget::Folder(path.into()));
        for (argument, want) in [
            ("desk", host("desk")),
            ("me@desk", host("me@desk")),
            ("me@10.0.0.2", host("me@10.0.0.2")),
            ("ssh://desk", host("ssh://desk")),
            ("ssh://me@desk:2222", host("ssh://me@desk:2222")),
            ("ssh://stick", host("ssh://stick")),
            ("stick", folder("stick")),
            ("./desk", folder("./desk")),
            ("/media/stick", folder("/media/stick")),
            ("Sync/", folder("Sync/")),
            (".", folder(".")),
            ("", None),
            ("me@", None),
            ("-oProxyCommand=x", None),
            ("-l@desk", None),
            ("me@-oProxyCommand=x", None),
            ("ssh://-oProxyCommand=x", None),
            ("ssh://", None),
            ("ssh://desk/path", None),
            ("desk top", None),
        ] {
            let got = SyncTarget::of(OsStr::new(argument), &|path| ["stick", "."].map(Path::new).contains(&path));
            assert_eq!(got.ok(), want, "{argument}");
        }
    }
}
