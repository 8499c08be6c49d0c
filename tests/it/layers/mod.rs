//! The structure of `src`: which module may import which, and what may be named where.
//!
//! The table is the one of `docs/architecture.md`; a test compares the two. Each rule is a function from sources to
//! complaints, so a test also shows that each rule finds a violation that is planted.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use self::source::Source;

/// Each module with the modules it may import. The longest prefix of a file's path decides.
const MODULES: &[(&str, &[&str])] = &[
    ("limits.rs", &[]),
    ("oneshot.rs", &[]),
    ("sort.rs", &[]),
    ("repository.rs", &[]),
    ("tokens/", &[]),
    ("fingerprint.rs", &[]),
    ("secrets/", &["secrets"]),
    ("wire/", &["limits", "wire"]),
    ("dispatch/", &["wire", "dispatch"]),
    ("lifecycle/", &["sort", "lifecycle"]),
    ("transcript/", &["fingerprint", "secrets", "wire", "transcript"]),
    ("memory/model/", &["fingerprint", "memory::model"]),
    ("memory/params.rs", &["dispatch", "memory::model"]),
    ("memory/text/", &["sort", "memory::model", "memory::text"]),
    ("memory/store/", &["oneshot", "secrets", "dispatch", "sys", "memory::model", "memory::text", "memory::store"]),
    ("memory/graph/", &["sort", "memory::model", "memory::text", "memory::store", "memory::graph"]),
    ("memory/profile.rs", &["sort", "memory::store"]),
    (
        "memory/ingest/",
        &[
            "sort",
            "secrets",
            "dispatch",
            "transcript",
            "memory::params",
            "memory::model",
            "memory::store",
            "memory::ingest",
        ],
    ),
    (
        "memory/session/",
        &["sort", "memory::model", "memory::text", "memory::store", "memory::graph", "memory::session"],
    ),
    (
        "memory/transfer/",
        &[
            "dispatch",
            "memory::params",
            "memory::model",
            "memory::text",
            "memory::store",
            "memory::graph",
            "memory::profile",
            "memory::ingest",
            "memory::transfer",
        ],
    ),
    (
        "memory/recall/",
        &[
            "sort",
            "tokens",
            "dispatch",
            "memory::params",
            "memory::model",
            "memory::text",
            "memory::store",
            "memory::graph",
            "memory::profile",
            "memory::session",
            "memory::recall",
        ],
    ),
    (
        "memory/consolidation/",
        &[
            "oneshot",
            "sort",
            "dispatch",
            "memory::model",
            "memory::text",
            "memory::store",
            "memory::graph",
            "memory::ingest",
            "memory::session",
            "memory::consolidation",
        ],
    ),
    (
        "memory/forgetting/",
        &[
            "sort",
            "dispatch",
            "sys",
            "memory::params",
            "memory::model",
            "memory::text",
            "memory::store",
            "memory::graph",
            "memory::ingest",
            "memory::transfer::maintenance_lock",
            "memory::consolidation",
            "memory::forgetting",
        ],
    ),
    (
        "memory/sync/",
        &[
            "sort",
            "dispatch",
            "memory::params",
            "memory::model",
            "memory::store",
            "memory::graph",
            "memory::profile",
            "memory::transfer::maintenance_lock",
            "memory::consolidation::chunks",
            "memory::forgetting",
            "memory::sync",
        ],
    ),
    (
        "memory/service.rs",
        &[
            "dispatch",
            "sys",
            "memory::model",
            "memory::store",
            "memory::profile",
            "memory::session",
            "memory::transfer::maintenance_lock",
            "memory::consolidation::maintenance",
            "memory::forgetting",
        ],
    ),
    ("memory/", &["sort", "secrets", "tokens", "dispatch", "memory"]),
    ("sys/", &["sys"]),
    ("serve/control_plane.rs", &["wire", "dispatch", "sys::listener"]),
    ("serve/route.rs", &["dispatch", "wire"]),
    ("serve/pool/", &["limits", "oneshot", "dispatch", "wire", "sys::process", "serve::control_plane", "serve::pool"]),
    ("serve/stdio.rs", &["limits", "oneshot", "dispatch", "wire", "serve::control_plane", "serve::route"]),
    ("serve/", &["limits", "wire", "dispatch", "sys", "serve"]),
    ("client/", &["oneshot", "wire", "sys", "client"]),
    ("mcp/", &["limits", "tokens", "wire", "dispatch", "lifecycle", "sys", "client", "mcp"]),
    ("daemon/", &["limits", "wire", "dispatch", "lifecycle", "memory", "sys", "serve", "daemon"]),
    (
        "cli/",
        &[
            "limits",
            "sort",
            "fingerprint",
            "secrets",
            "wire",
            "lifecycle",
            "transcript",
            "memory",
            "sys",
            "client",
            "mcp",
            "daemon",
            "repository",
            "cli",
        ],
    ),
    ("lib.rs", &[]),
    ("main.rs", &["cli", "sys"]),
];

/// Names that only files under these prefixes may use; none if there is no prefix.
const OWNED: &[(&str, &[&str])] = &[
    (
        "rusqlite::",
        &[
            "memory/store/",
            "memory/graph/",
            "memory/profile.rs",
            "memory/ingest/",
            "memory/session/",
            "memory/transfer/",
            "memory/recall/",
            "memory/consolidation/",
            "memory/forgetting/",
            "memory/sync/",
            "memory/methods/",
            "memory/test_support.rs",
        ],
    ),
    ("mio::", &["serve/"]),
    ("unsafe", &["sys/"]),
    // It panics if the clock is before 1970: `records::new_id` and `heartbeats::new_uuid` do not.
    ("now_v7", &[]),
];

/// What a file must not name if its header says that it is pure.
const IMPURE: &[&str] = &[
    "std::fs",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "rusqlite::",
    "mio::",
    "libc::",
];

/// A rule: its complaints about the sources, one a line.
type Rule = fn(&[Source]) -> Vec<String>;

/// A planted violation: the rule, its complaint, and the files by name and text.
type Planted<'a> = (Rule, &'a str, &'a [(&'a str, &'a str)]);

#[test]
fn a_module_imports_only_what_the_table_allows() {
    check(imports_outside_the_table);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    check(circles);
}

#[test]
fn a_pure_file_names_no_system() {
    let pure = sources().iter().filter(|source| is_pure(source)).count();
    assert!(pure >= 10, "{pure} pure files: the header was not understood");
    check(impure_names);
}

#[test]
fn a_name_that_one_module_owns_stands_nowhere_else() {
    let all = sources();
    for (name, owners) in OWNED {
        let is_banned = owners.is_empty();
        assert!(is_banned || all.iter().any(|source| source.names(name)), "no file names {name}");
    }
    check(names_outside_their_module);
}

#[test]
fn a_type_that_leaves_its_file_has_a_name_of_its_own() {
    check(repeated_types);
}

#[test]
fn a_folder_is_a_module_and_nothing_else_has_children() {
    check(files_beside_their_folder);
}

#[test]
fn every_module_of_the_table_is_there() {
    let sources = sources();
    for (prefix, _) in MODULES {
        assert!(sources.iter().any(|source| row(source).0 == *prefix), "no file belongs to {prefix}");
    }
}

/// Else the table would allow what was once needed.
#[test]
fn every_import_that_the_table_allows_is_used() {
    let sources = sources();
    let mut unused = Vec::new();
    for (prefix, allowed) in MODULES {
        let files: Vec<&Source> = sources.iter().filter(|source| row(source).0 == *prefix).collect();
        for module in *allowed {
            let is_own = format!("{}/", module.replace("::", "/")).starts_with(prefix.trim_end_matches(".rs"));
            let mut imports = files.iter().flat_map(|source| source.references()).map(|import| import.join("::"));
            if !is_own && !imports.any(|import| import == *module || import.starts_with(&format!("{module}::"))) {
                unused.push(format!("{prefix} does not import {module}"));
            }
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}

#[test]
fn each_rule_finds_a_planted_violation() {
    let wire = "use crate::limits::Limits;\n";
    let cases: &[Planted<'_>] = &[
        (
            imports_outside_the_table,
            "wire/line.rs imports crate::serve::Server",
            &[("wire/line.rs", "use crate::serve::Server;")],
        ),
        (
            imports_outside_the_table,
            "wire/line.rs imports crate::client",
            &[("wire/line.rs", "use super::super::client;"), ("client/mod.rs", "")],
        ),
        (
            imports_outside_the_table,
            "memory/text/stemmer.rs imports crate::memory::store::open",
            &[
                ("memory/text/stemmer.rs", "use crate::{memory::{model, store::open as o}};"),
                ("memory/store/open.rs", ""),
            ],
        ),
        (
            circles,
            "wire/a.rs → wire/b.rs → wire/a.rs",
            &[("wire/a.rs", "use crate::wire::b::B;"), ("wire/b.rs", "fn f() { super::a::g() }")],
        ),
        (
            circles,
            "wire/mod.rs → wire/b.rs → wire/mod.rs",
            &[("wire/mod.rs", "mod b;\npub use b::B;"), ("wire/b.rs", "use crate::wire::{self, C};")],
        ),
        (
            circles,
            "wire/mod.rs → wire/b.rs → wire/mod.rs",
            &[("wire/mod.rs", "mod b;\nuse self::b::B;"), ("wire/b.rs", "use super::C;")],
        ),
        (
            impure_names,
            "wire/a.rs is pure and names std::fs",
            &[("wire/a.rs", "//! Pure: lines.\nuse std::{fs, mem};")],
        ),
        (
            impure_names,
            "wire/a.rs is pure and names Instant::now",
            &[("wire/a.rs", "//! Lines. Pure.\nfn f() { Instant::now(); }")],
        ),
        (names_outside_their_module, "wire/a.rs names mio::", &[("wire/a.rs", "use mio::Poll;")]),
        (names_outside_their_module, "wire/a.rs names unsafe", &[("wire/a.rs", "fn f() { unsafe { g() } }")]),
        (
            repeated_types,
            "Line: wire/a.rs, wire/b.rs",
            &[("wire/a.rs", "pub(crate) struct Line;"), ("wire/b.rs", "pub enum Line {}")],
        ),
        (
            files_beside_their_folder,
            "wire.rs stands beside the folder wire/",
            &[("wire.rs", "mod a;"), ("wire/a.rs", wire)],
        ),
        (files_beside_their_folder, "wire/ has no mod.rs", &[("wire/a.rs", wire)]),
    ];
    for (rule, wanted, files) in cases {
        let sources: Vec<Source> = files.iter().map(|(name, text)| Source::new(name, text)).collect();
        assert_eq!(rule(&sources), [*wanted], "{files:?}");
    }
    let innocent = "//! Pure.\n// use std::fs;\nfn f() -> &'static str { \"use crate::serve\" }\n\
                    #[cfg(test)]\nmod tests { use crate::serve::Server; use std::fs; }\npub struct Line;";
    let sources = [Source::new("wire/mod.rs", innocent), Source::new("limits.rs", "struct Line;")];
    for (rule, ..) in cases {
        assert_eq!(rule(&sources), [""; 0]);
    }
}

#[test]
fn the_document_has_the_same_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = fs::read_to_string(path).expect("it can be read");
    let rows = text.lines().skip_while(|line| !line.starts_with("| module |")).skip(2);
    let rows: Vec<(String, String)> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].trim_matches('`').to_owned(), cells[cells.len() - 1].to_owned())
        })
        .collect();
    let wanted: Vec<(String, String)> = MODULES
        .iter()
        .map(|(module, may)| ((*module).to_owned(), if may.is_empty() { "–".to_owned() } else { may.join(", ") }))
        .collect();
    assert_eq!(rows, wanted);
}

/// No network: what `deny.toml` bans speaks HTTP, TLS or DNS, or runs futures. A crate that builds on one of them
/// brings it into the lock file.
#[test]
fn no_crate_opens_a_network_connection() {
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

fn check(rule: Rule) {
    let complaints = rule(&sources());
    assert!(complaints.is_empty(), "not allowed:\n{}", complaints.join("\n"));
}

fn imports_outside_the_table(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let (_, allowed) = row(source);
        for import in source.references() {
            let import = import.join("::");
            let is_allowed =
                allowed.iter().any(|module| import == *module || import.starts_with(&format!("{module}::")));
            // A `super::` that leads to a module's own parent names no module by itself.
            if !is_allowed && !import.is_empty() && source.module.join("::") != import {
                complaints.push(format!("{} imports crate::{import}", source.name));
            }
        }
    }
    complaints
}

fn circles(sources: &[Source]) -> Vec<String> {
    let files: BTreeMap<&[String], usize> = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.name != "main.rs")
        .map(|(at, source)| (&source.module[..], at))
        .collect();
    let file_of = |path: &[String]| (0..=path.len()).rev().find_map(|length| files.get(&path[..length])).copied();
    let imports: Vec<BTreeSet<usize>> = sources
        .iter()
        .enumerate()
        .map(|(at, source)| {
            let found = source.references();
            found.iter().filter_map(|path| file_of(path)).filter(|other| *other != at).collect()
        })
        .collect();
    // What is left when files that import no file of the rest, or that no file of the rest imports, are taken away.
    let mut rest: BTreeSet<usize> = (0..sources.len()).collect();
    loop {
        let imported: BTreeSet<usize> = rest.iter().flat_map(|at| &imports[*at]).copied().collect();
        let kept: BTreeSet<usize> =
            rest.iter().copied().filter(|at| imported.contains(at) && !imports[*at].is_disjoint(&rest)).collect();
        if kept.len() == rest.len() {
            break;
        }
        rest = kept;
    }
    let Some(&start) = rest.first() else { return Vec::new() };
    let mut way = vec![start];
    loop {
        let next =
            *imports[way[way.len() - 1]].iter().find(|at| rest.contains(at)).expect("it imports one of the rest");
        let before = way.iter().position(|at| *at == next);
        way.push(next);
        if let Some(before) = before {
            let names: Vec<&str> = way[before..].iter().map(|at| sources[*at].name.as_str()).collect();
            return vec![names.join(" → ")];
        }
    }
}

fn is_pure(source: &Source) -> bool {
    source.header.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Pure")
}

fn impure_names(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| is_pure(source)) {
        for name in IMPURE {
            // In a group: `use std::{fs, mem}`.
            let (first, last) = name.split_once("::").expect("a path");
            let is_grouped = first == "std" && source.names_in_group(first, last);
            if source.names(name) || is_grouped {
                complaints.push(format!("{} is pure and names {name}", source.name));
            }
        }
    }
    complaints
}

fn names_outside_their_module(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (name, owners) in OWNED {
            if source.names(name) && !owners.iter().any(|owner| source.name.starts_with(owner)) {
                complaints.push(format!("{} names {name}", source.name));
            }
        }
    }
    complaints
}

fn repeated_types(sources: &[Source]) -> Vec<String> {
    let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in sources {
        for name in source.exported_types() {
            files.entry(name).or_default().push(&source.name);
        }
    }
    files.retain(|_, names| names.len() > 1);
    files.iter().map(|(name, files)| format!("{name}: {}", files.join(", "))).collect()
}

fn files_beside_their_folder(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut folders = BTreeSet::new();
    for source in sources {
        folders.extend(source.name.match_indices('/').map(|(at, _)| &source.name[..at]));
    }
    for folder in folders {
        let has = |name: String| sources.iter().any(|source| source.name == name);
        if has(format!("{folder}.rs")) {
            complaints.push(format!("{folder}.rs stands beside the folder {folder}/"));
        } else if !has(format!("{folder}/mod.rs")) {
            complaints.push(format!("{folder}/ has no mod.rs"));
        }
    }
    complaints
}

fn row(source: &Source) -> (&'static str, &'static [&'static str]) {
    let of =
        MODULES.iter().filter(|(prefix, _)| source.name.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
    *of.unwrap_or_else(|| panic!("{} belongs to no module of the table", source.name))
}

fn sources() -> Vec<Source> {
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
                files.push(Source::new(&name, &fs::read_to_string(&path).expect("a source is text")));
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}
