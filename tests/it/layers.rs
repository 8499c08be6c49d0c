//! Data goes one way: a room imports only rooms that stand above it.
//!
//! The table is the one of `docs/architecture.md`. What it does not allow, and what may be named in
//! one room alone, is found by reading `src/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may import. The longest prefix of a file's path decides.
const ROOMS: &[(&str, &[&str])] = &[
    ("limits.rs", &[]),
    ("wire/", &["limits", "wire"]),
    ("dispatch", &["wire", "dispatch"]),
    ("lifecycle/", &["limits", "lifecycle"]),
    ("transcript/", &["wire", "transcript"]),
    ("memory/", &["limits", "dispatch", "memory", "sys", "transcript"]),
    ("sys/", &["limits", "sys"]),
    ("serve/control_plane.rs", &["wire", "dispatch", "sys::listener"]),
    ("serve/route.rs", &["dispatch", "wire"]),
    ("serve/pool", &["limits", "dispatch", "wire", "sys::process", "serve::control_plane"]),
    ("serve/stdio.rs", &["limits", "dispatch", "wire", "serve::control_plane", "serve::route"]),
    ("serve/", &["limits", "wire", "dispatch", "sys", "serve"]),
    ("client", &["wire", "client"]),
    ("mcp/", &["limits", "wire", "dispatch", "lifecycle", "sys", "client", "mcp"]),
    ("daemon", &["limits", "wire", "dispatch", "lifecycle", "memory", "sys", "serve", "daemon"]),
    (
        "cli/",
        &[
            "limits",
            "wire",
            "dispatch",
            "lifecycle",
            "memory",
            "sys",
            "serve",
            "client",
            "mcp",
            "daemon",
            "transcript",
            "cli",
        ],
    ),
    ("lib.rs", &[]),
    ("main.rs", &["cli", "sys"]),
];

/// Words that one room alone may use.
const OWNED: &[(&str, &str)] = &[("rusqlite", "memory/"), ("mio::", "serve/"), ("unsafe ", "sys/")];

#[test]
fn rooms_import_only_what_stands_above_them() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let (_, allowed) = room(&name);
        for import in imports(&text) {
            let may = allowed.iter().any(|room| import == *room || import.starts_with(&format!("{room}::")));
            if !may {
                wrong.push(format!("{name} imports crate::{import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not allowed:\n{}", wrong.join("\n"));
}

#[test]
fn what_one_room_owns_no_other_names() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, text) in sources() {
        for (word, owner) in OWNED {
            if code_lines(&text).any(|line| line.contains(word)) {
                match name.starts_with(owner) {
                    true => drop(seen.insert(*word)),
                    false => wrong.push(format!("{name} names {word}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not allowed:\n{}", wrong.join("\n"));
    assert_eq!(seen.len(), OWNED.len(), "a word of the table stands nowhere: {seen:?}");
}

#[test]
fn the_document_has_the_same_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = fs::read_to_string(path).expect("it can be read");
    let rows = text.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
    let rows: Vec<(String, String)> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].trim_matches('`').to_owned(), cells[cells.len() - 1].to_owned())
        })
        .collect();
    let wanted: Vec<(String, String)> = ROOMS
        .iter()
        .map(|(room, may)| ((*room).to_owned(), if may.is_empty() { "–".to_owned() } else { may.join(", ") }))
        .collect();
    assert_eq!(rows, wanted);
}

#[test]
fn every_room_of_the_table_is_there() {
    let names: Vec<String> = sources().into_iter().map(|(name, _)| name).collect();
    for (prefix, _) in ROOMS {
        assert!(names.iter().any(|name| room(name).0 == *prefix), "no file belongs to {prefix}");
    }
}

/// No network: what `deny.toml` bans speaks HTTP, TLS or DNS, or runs futures. Whatever builds on one of them
/// brings it along into the lock file.
#[test]
fn no_crate_speaks_to_a_network() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("Cargo.lock")).expect("Cargo.lock is committed");
    let names: BTreeSet<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains("mio"), "the lock file was not understood");
    let deny = fs::read_to_string(root.join("deny.toml")).expect("it is there");
    let banned: Vec<&str> =
        deny.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next()).collect();
    assert!(banned.contains(&"hyper") && banned.contains(&"tokio"), "deny.toml was not understood");
    let found: Vec<&&str> = banned.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "banned: {found:?}");
}

fn room(name: &str) -> (&'static str, &'static [&'static str]) {
    let of = ROOMS.iter().filter(|(prefix, _)| name.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
    *of.unwrap_or_else(|| panic!("{name} belongs to no room of the table"))
}

/// What stands behind `crate::` in each line of code, groups included.
fn imports(text: &str) -> impl Iterator<Item = String> {
    let code: String = code_lines(text).map(|line| format!("{line}\n")).collect();
    let found: Vec<String> = code
        .match_indices("crate::")
        .flat_map(|(at, path)| {
            let rest = &code[at + path.len()..];
            let first: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            match rest.strip_prefix('{') {
                Some(group) => group[..group.find('}').unwrap_or(0)]
                    .split(',')
                    .map(|path| path.trim().to_owned())
                    .filter(|path| !path.is_empty())
                    .collect(),
                None => vec![first.trim_end_matches(':').to_owned()],
            }
        })
        .collect();
    found.into_iter()
}

/// The lines of a file that are code and no test.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(&root).expect("under src").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("a source is text")));
            }
        }
    }
    files
}
