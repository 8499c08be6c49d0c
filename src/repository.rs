//! The repository that a folder belongs to: what a client names as the project.
//!
//! Reads git's files and never runs git, so the environment (`GIT_DIR`) and the configuration of git are ignored. All
//! worktrees of a repository have one common directory (gitrepository-layout(5)), from which its name follows: the
//! folder that has `.git`, the working tree that a submodule's configuration names, or the directory itself (a bare
//! repository). A folder outside of repositories is its own project.
//!
//! A tree from elsewhere, such as an unpacked archive, must not name another repository as its own. So a
//! path in it is followed only if what it leads to leads back.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest name of a project, in bytes: the daemon's limit.
const MAX_NAME_BYTES: usize = 4096;

/// Folders above one that are looked at, at most. Picked: deeper than any source tree.
const MAX_DEPTH: usize = 128;

/// Most bytes read of a file that has one path: the longest path, and the words around it.
const MAX_PATH_FILE_BYTES: u64 = 8 << 10;

/// Most bytes read of a repository's configuration. Picked: hundreds of branches.
const MAX_CONFIG_BYTES: u64 = 256 << 10;

/// A project, as clients send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    /// The repository's folder, or the folder itself.
    pub(crate) name: String,
    /// The folder, if it is in a repository. It may be the repository's.
    pub(crate) folder: Option<String>,
}

impl Project {
    /// Returns the project of a folder, which need not exist any more. `home` is the user's: a repository that has all of
    /// it, for settings, is not the project of the folders in it.
    pub(crate) fn of(folder: &str, home: Option<&Path>) -> Project {
        match repository(Path::new(folder), home).and_then(|found| found.into_os_string().into_string().ok()) {
            Some(name) if name.len() <= MAX_NAME_BYTES => Project { name, folder: Some(folder.to_owned()) },
            _ => Project { name: folder.to_owned(), folder: None },
        }
    }
}

/// Returns the folder that names the repository of `folder`.
fn repository(folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    if !folder.is_absolute() {
        return None;
    }
    // Of a folder that was removed, its next parent that exists.
    let start = folder.ancestors().take(MAX_DEPTH).find_map(|one| fs::canonicalize(one).ok())?;
    let device = fs::metadata(&start).ok()?.dev();
    let home = home.and_then(|home| fs::canonicalize(home).ok());
    for one in start.ancestors().take(MAX_DEPTH) {
        // As git does, the search ends where another file system begins.
        if fs::metadata(one).ok()?.dev() != device {
            return None;
        }
        let entry = one.join(".git");
        let found = match fs::metadata(&entry) {
            // A file that leads nowhere ends the search, as in git.
            Ok(about) if about.is_file() => Some(of_git_file(one, &target(&entry)?)?),
            Ok(about) if about.is_dir() && is_repository(&entry) => Some(one.to_owned()),
            _ => is_repository(one).then(|| one.to_owned()),
        };
        if let Some(name) = found {
            return Some(name).filter(|name| name.parent().is_some() && Some(name) != home.as_ref());
        }
    }
    None
}

/// Returns the directory that a `.git` file leads to.
fn target(file: &Path) -> Option<PathBuf> {
    let bytes = beginning(file, MAX_PATH_FILE_BYTES)?;
    let path = bytes.strip_prefix(b"gitdir:")?.trim_ascii_start();
    resolved(file.parent()?, path)
}

/// Returns the folder that names the repository of `folder`, whose `.git` file leads to `target`: that of the repository
/// if `target` is its directory of this worktree, otherwise `folder` itself. `None` if `target` is neither a worktree's
/// directory that leads back nor a repository.
fn of_git_file(folder: &Path, target: &Path) -> Option<PathBuf> {
    if let Some(worktrees) = target.parent()
        && worktrees.file_name() == Some(OsStr::new("worktrees"))
        && let Some(common) = worktrees.parent()
        && is_repository(common)
    {
        let back = beginning(&target.join("gitdir"), MAX_PATH_FILE_BYTES)?;
        let back = target.join(OsStr::from_bytes(back.trim_ascii_end()));
        return (fs::canonicalize(back.parent()?).ok()? == folder).then(|| name(common));
    }
    is_repository(target).then(|| folder.to_owned())
}

/// Returns true if the directory is the common directory of a repository.
fn is_repository(directory: &Path) -> bool {
    let head = beginning(&directory.join("HEAD"), MAX_PATH_FILE_BYTES).unwrap_or_default();
    let is_head = head.starts_with(b"ref:") || (head.len() >= 40 && head[..40].iter().all(u8::is_ascii_hexdigit));
    is_head && ["objects", "refs"].iter().all(|part| directory.join(part).is_dir())
}

/// Returns the folder that names the repository with this common directory.
fn name(common: &Path) -> PathBuf {
    if common.file_name() == Some(OsStr::new(".git"))
        && let Some(folder) = common.parent()
    {
        return folder.to_owned();
    }
    let config = beginning(&common.join("config"), MAX_CONFIG_BYTES).unwrap_or_default();
    let tree = worktree(&config).and_then(|path| resolved(common, path));
    let leads_back = |tree: &PathBuf| target(&tree.join(".git")).is_some_and(|target| target == common);
    tree.filter(leads_back).unwrap_or_else(|| common.to_owned())
}

/// Returns the value of `core.worktree` in a configuration.
fn worktree(config: &[u8]) -> Option<&[u8]> {
    let (mut is_core, mut value) = (false, None);
    for line in config.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.starts_with(b"[") {
            is_core = line.eq_ignore_ascii_case(b"[core]");
        } else if is_core
            && let Some(at) = line.iter().position(|byte| *byte == b'=')
            && line[..at].trim_ascii().eq_ignore_ascii_case(b"worktree")
        {
            value = Some(line[at + 1..].trim_ascii().trim_ascii_end());
        }
    }
    let value = value?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// Returns the existing directory at a path relative to `base`, without links.
fn resolved(base: &Path, path: &[u8]) -> Option<PathBuf> {
    let path = path.trim_ascii_end();
    if path.is_empty() || path.contains(&0) {
        return None;
    }
    fs::canonicalize(base.join(OsStr::from_bytes(path))).ok().filter(|found| found.is_dir())
}

/// Returns the first bytes of a regular file, at most `most`. Never blocks on another kind of file.
fn beginning(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes the files of a git directory.
    fn git_directory(path: &Path) {
        fs::create_dir_all(path.join("objects")).unwrap();
        fs::create_dir_all(path.join("refs")).unwrap();
        fs::write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    /// Makes a linked worktree of the repository with this common directory.
    fn linked_worktree(common: &Path, name: &str, tree: &Path) {
        let own = common.join("worktrees").join(name);
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(tree).unwrap();
        fs::write(own.join("HEAD"), "0123456789abcdef0123456789abcdef01234567\n").unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        fs::write(own.join("gitdir"), format!("{}\n", tree.join(".git").display())).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
    }

    #[test]
    fn folders_are_named_by_the_common_directory_of_their_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |path: &str| root.join(path);
        let put = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        git_directory(&at("app/.git"));
        fs::create_dir_all(at("app/web/src")).unwrap();
        linked_worktree(&at("app/.git"), "fix", &at("fix/deep").join(".."));
        fs::create_dir_all(at("fix/deep")).unwrap();
        git_directory(&at("app/.git/modules/lib"));
        put(
            "app/.git/modules/lib/config",
            "[user]\n\tworktree = /x\n[core]\n\tbare = false\n\tworktree = ../../../lib\n",
        );
        put("app/lib/.git", "gitdir: ../.git/modules/lib\n");
        linked_worktree(&at("app/.git/modules/lib"), "two", &at("lib-two"));
        git_directory(&at("bare.git"));
        linked_worktree(&at("bare.git"), "tree", &at("tree"));
        git_directory(&at("apart"));
        put("main/.git", &format!("gitdir: {}", at("apart").display()));
        fs::create_dir_all(at("plain/sub")).unwrap();
        fs::create_dir_all(at("empty/.git")).unwrap();
        put("lost/.git", "gitdir: /nowhere/.git/worktrees/lost\n");
        put("garbage/.git", "\u{0}\u{1}nothing of git");
        put("long/.git", &format!("gitdir: {}", "a/".repeat(100_000)));
        put("app/broken/.git", "gitdir:\n");
        symlink(at("app/web"), at("link")).unwrap();
        symlink(at("app/.git"), at("linked-git")).unwrap();
        fs::create_dir_all(at("view")).unwrap();
        symlink(at("app/.git"), at("view/.git")).unwrap();
        // Trees that name a repository that does not know them.
        git_directory(&at("hostile/bare"));
        put("hostile/bare/config", &format!("[core]\n\tworktree = {}\n", at("app").display()));
        git_directory(&at("hostile/common/.git"));
        put("hostile/common/.git/commondir", &format!("{}\n", at("app/.git").display()));
        put("hostile/file/.git", &format!("gitdir: {}\n", at("app/.git").display()));
        put("hostile/tree/.git", &format!("gitdir: {}\n", at("app/.git/worktrees/fix").display()));
        git_directory(&at("hostile/g"));
        put("hostile/g/config", &format!("[core]\n\tworktree = {}\n", at("app/lib").display()));
        linked_worktree(&at("hostile/g"), "forged", &at("hostile/forged"));
        git_directory(&at("half/.git"));
        fs::remove_dir(at("half/.git/objects")).unwrap();
        for (folder, want) in [
            ("app", Some("app")),
            ("app/web/src", Some("app")),
            ("app/removed/since", Some("app")),
            ("app/.git/objects", Some("app/.git")),
            ("fix", Some("app")),
            ("fix/deep", Some("app")),
            ("app/lib", Some("app/lib")),
            ("lib-two", Some("app/lib")),
            ("bare.git", Some("bare.git")),
            ("bare.git/refs", Some("bare.git")),
            ("tree", Some("bare.git")),
            ("main", Some("main")),
            ("link/src", Some("app")),
            ("view", Some("view")),
            ("hostile/bare", Some("hostile/bare")),
            ("hostile/common", Some("hostile/common")),
            ("hostile/file", Some("hostile/file")),
            ("hostile/tree", None),
            ("hostile/forged", Some("hostile/g")),
            ("plain/sub", None),
            ("empty", None),
            ("lost", None),
            ("garbage", None),
            ("long", None),
            ("app/broken", None),
            ("half", None),
            ("removed/since", None),
        ] {
            let given = at(folder).to_str().unwrap().to_owned();
            let want = match want {
                Some(name) => Project { name: at(name).to_str().unwrap().to_owned(), folder: Some(given.clone()) },
                None => Project { name: given.clone(), folder: None },
            };
            assert_eq!(Project::of(&given, None), want, "{folder}");
        }
        // A repository of the home folder's settings is no project.
        git_directory(&at("home/.git"));
        fs::create_dir_all(at("home/notes")).unwrap();
        let notes = at("home/notes").to_str().unwrap().to_owned();
        assert_eq!(Project::of(&notes, Some(&at("home"))), Project { name: notes.clone(), folder: None });
        assert!(Project::of(&notes, Some(&at("elsewhere"))).folder.is_some());
        assert_eq!(Project::of("a name", None), Project { name: "a name".into(), folder: None });
        assert_eq!(Project::of("", None), Project { name: String::new(), folder: None });
    }

    #[test]
    fn a_pipe_in_place_of_a_file_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(".git")).status();
        assert!(made.unwrap().success());
        let given = folder.path().to_str().unwrap().to_owned();
        assert_eq!(Project::of(&given, None).folder, None);
        fs::create_dir(folder.path().join("a")).unwrap();
        git_directory(&folder.path().join("a/.git"));
        fs::remove_file(folder.path().join("a/.git/HEAD")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("a/.git/HEAD")).status();
        assert!(made.unwrap().success());
        assert_eq!(Project::of(folder.path().join("a").to_str().unwrap(), None).folder, None);
    }
}
