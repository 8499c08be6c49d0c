//! `docs/methods.md` is generated from `rpc.discover`.
//!
//! `UPDATE_DOCS=1 cargo test --test it docs` writes the page.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::setup;

#[test]
fn the_methods_page_matches_rpc_discover() {
    let said = setup().client().call("rpc.discover", json!({}));
    let page = page(&said);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/methods.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/methods.md is stale: UPDATE_DOCS=1 cargo test --test it docs");
}

fn page(said: &Value) -> String {
    let mut page = String::from(
        "# Methods\n\nMade from the daemon's own `rpc.discover`; a test says when it is stale. Params are named; \
         unknown ones are ignored. A result has at least the keys that are listed.\n",
    );
    let methods = said["methods"].as_array().expect("a list of methods");
    assert!(methods.len() > 4, "{said}");
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
