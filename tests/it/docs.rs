//! The documents: `docs/methods.md` equals what `rpc.discover` returns, links lead to headings that exist, and
//! files that are named exist.
//!
//! `UPDATE_DOCS=1 cargo test --test it docs` writes `docs/methods.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::setup;

#[test]
fn methods_page_matches_rpc_discover() {
    let discovered = setup().client().call("rpc.discover", json!({}));
    let page = page(&discovered);
    let path = root().join("docs/methods.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let current = fs::read_to_string(&path).unwrap_or_default();
    assert!(current == page, "docs/methods.md is stale: UPDATE_DOCS=1 cargo test --test it docs");
}

#[test]
fn readme_has_at_most_150_lines() {
    let lines = documents()["README.md"].lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}

#[test]
fn every_link_leads_to_a_file_and_heading() {
    let documents = documents();
    let mut wrong = Vec::new();
    for (name, text) in &documents {
        for link in links(text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => name.clone(),
                path => resolve(name, path),
            };
            let has_heading = heading.is_empty()
                || documents.get(&target).is_some_and(|text| text.lines().any(|line| anchor(line) == heading));
            if !root().join(&target).exists() || !has_heading {
                wrong.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "broken links:\n{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let documents = documents();
    let listed: BTreeSet<String> =
        links(&documents["docs/README.md"]).map(|link| resolve("docs/README.md", link)).collect();
    let is_page = |name: &&String| name.starts_with("docs/") && *name != "docs/README.md";
    let missing: Vec<&String> = documents.keys().filter(is_page).filter(|name| !listed.contains(*name)).collect();
    assert!(missing.is_empty(), "not in docs/README.md: {missing:?}");
}

/// Names in capitals (`src/memory/methods/NAME.rs`) are placeholders.
#[test]
fn every_source_file_that_is_named_exists() {
    let mut files = Vec::new();
    for folder in ["benches", "fuzz/fuzz_targets", "src", "tests/it"] {
        collect(&root().join(folder), &mut files);
    }
    let mut wrong = Vec::new();
    for (name, text) in documents() {
        for file in text.split('`').skip(1).step_by(2) {
            let is_source = [".rs", ".sql", ".c", ".py"].iter().any(|end| file.ends_with(end))
                && file.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./".contains(c));
            if is_source && !root().join(file).exists() && !files.iter().any(|path| path.ends_with(file)) {
                wrong.push(format!("{name}: {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such file:\n{}", wrong.join("\n"));
}

/// Placeholders in the table are `…`, `N`, and what is quoted or in parentheses.
#[test]
fn every_message_of_the_troubleshooting_page_is_in_the_source() {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    let mut source = String::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")) {
        let text = fs::read_to_string(path).expect("a source is text");
        // A string literal goes on behind a backslash at the end of a line.
        text.split("\\\n").for_each(|part| source.push_str(part.trim_start()));
    }
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("a document is text");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 20, "the table has {} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let messages = row.split(" | ").next().expect("a row has a cell");
        for message in messages.split('`').skip(1).step_by(2) {
            let parts = message.split(['…', '(', ')', '\'', ':']).flat_map(|part| part.split(" N "));
            let mut parts = parts.map(|part| part.trim_matches([' ', ',', ';', '.']).trim_start_matches("N "));
            if !parts.all(|part| part.len() < 10 || source.contains(part) || part.ends_with("107")) {
                wrong.push(message);
            }
        }
    }
    assert!(wrong.is_empty(), "not in src: {wrong:#?}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files by their path from the root.
fn documents() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    collect(&root().join("docs"), &mut files);
    let pages = files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "md"));
    let mut documents: BTreeMap<String, String> = pages
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("a document is text"))
        })
        .collect();
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        documents.insert(name.to_owned(), fs::read_to_string(root().join(name)).expect("a document is text"));
    }
    documents
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The targets of a document's links that lead to files of the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://"))
}

/// The path from the root of what `link` in the document `name` leads to.
fn resolve(name: &str, link: &str) -> String {
    let mut path = Path::new(name).parent().expect("a file has a folder").to_owned();
    for part in link.split('/') {
        match part {
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

/// The anchor that GitHub gives a heading. Empty if the line is no heading.
fn anchor(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else { return String::new() };
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn page(discovered: &Value) -> String {
    let mut page = String::from(
        "# Methods\n\nGenerated from `rpc.discover`; a test checks that it is current. Params are passed by name; \
         unknown ones are ignored. A result has at least the keys that are listed.\n",
    );
    let methods = discovered["methods"].as_array().expect("a list of methods");
    assert!(methods.len() > 4, "{discovered}");
    for method in methods {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        write!(page, "\n## `{}`\n\n{}\n", text(&method["name"]), text(&method["description"])).expect("a string");
        let params = method["params"].as_array().expect("a list of params");
        if !params.is_empty() {
            page.push_str("\n| param | type | default | |\n|---|---|---|---|\n");
        }
        for param in params {
            let default = if param["required"] == true { "required".into() } else { format!("`{}`", param["default"]) };
            let (name, kind, about) = (text(&param["name"]), text(&param["type"]), text(&param["description"]));
            writeln!(page, "| `{name}` | {kind} | {default} | {about} |").expect("a string");
        }
        let keys: Vec<String> =
            method["result"].as_array().expect("a list of keys").iter().map(|key| format!("`{}`", text(key))).collect();
        if !keys.is_empty() {
            write!(page, "\nResult: {}.\n", keys.join(", ")).expect("a string");
        }
    }
    page
}
