//! What `backup` and `export` cannot write to and `import` cannot read: each is refused with a sentence, and nothing is
//! changed. `restore` has its own table in `restore.rs`; full disks are in `disk.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::setup;

/// Makes a target in this folder, in which `backup.db` is a backup of the store; returns its path.
type Make = fn(&Path);

/// A name, how it is made, and what the three commands say of it; an empty text: the command accepts it.
struct Target {
    name: &'static str,
    make: Make,
    backup: &'static str,
    export: &'static str,
    import: &'static str,
}

const EXISTS: &str = "exists and was not changed";
const DATABASE: &str = "it is a database, perhaps a store";
const NO_EXPORT: &str = "a database, neither an export nor opencode's; iaid restore puts a backup of the store back";

const TARGETS: [Target; 15] = [
    Target { name: "store/memory.db", make: |_| (), backup: EXISTS, export: DATABASE, import: NO_EXPORT },
    Target { name: "store/memory.db-wal", make: |_| (), backup: EXISTS, export: DATABASE, import: "unknown format" },
    Target {
        name: "store/memory.db-journal",
        make: |_| (),
        backup: "a file whose name does not begin with that of the store's database",
        export: DATABASE,
        import: "No such file",
    },
    Target { name: "backup.db", make: |_| (), backup: EXISTS, export: DATABASE, import: NO_EXPORT },
    Target {
        name: "damaged.db",
        make: |path| {
            let bytes = fs::read(path.with_file_name("backup.db")).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        backup: EXISTS,
        export: DATABASE,
        import: NO_EXPORT,
    },
    Target {
        name: "newer.db",
        make: |path| {
            fs::copy(path.with_file_name("backup.db"), path).unwrap();
            rusqlite::Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        },
        backup: EXISTS,
        export: DATABASE,
        import: NO_EXPORT,
    },
    Target {
        name: "a link to the store",
        make: |path| symlink("store/memory.db", path).unwrap(),
        backup: EXISTS,
        export: DATABASE,
        import: NO_EXPORT,
    },
    Target {
        name: "a hard link to the store",
        make: |path| fs::hard_link(path.with_file_name("store").join("memory.db"), path).unwrap(),
        backup: EXISTS,
        export: DATABASE,
        import: NO_EXPORT,
    },
    Target {
        name: "a link to nothing",
        make: |path| symlink("nowhere", path).unwrap(),
        backup: EXISTS,
        export: "a symbolic link to nothing",
        import: "No such file",
    },
    Target {
        name: "a pipe",
        make: |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        backup: EXISTS,
        export: "no process reads this pipe",
        import: "no process writes to this pipe",
    },
    Target {
        name: "a directory",
        make: |path| fs::create_dir(path).unwrap(),
        backup: EXISTS,
        export: "Is a directory",
        import: "",
    },
    Target {
        name: "missing/file",
        make: |_| (),
        backup: "a file in an existing folder",
        export: "No such file",
        import: "No such file",
    },
    Target {
        name: "backup.db/file",
        make: |_| (),
        backup: "a file in an existing folder",
        export: "Not a directory",
        import: "Not a directory",
    },
    Target {
        name: "garbage",
        make: |path| fs::write(path, [0xFF, 0, b'\n'].repeat(50)).unwrap(),
        backup: EXISTS,
        export: "",
        import: "unknown format",
    },
    Target {
        name: "rows of a newer release",
        make: |path| fs::write(path, "{\"kind\":\"record\",\"tier\":\"of later\",\"text\":\"x\"}\n").unwrap(),
        backup: EXISTS,
        export: "",
        import: "line 1: ",
    },
];

/// Returns the names of all files below a folder, and a hash of the bytes of those that are not the store's.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && name != "store" {
            all.extend(files(&path).into_iter().map(|(below, hash)| (format!("{name}/{below}"), hash)));
        }
        // The daemon changes its own files by itself.
        let hash = if kind.is_file() && name != "log" && !name.contains("hard link") {
            let mut hasher = DefaultHasher::new();
            hasher.write(&fs::read(&path).unwrap());
            hasher.finish()
        } else {
            0
        };
        all.insert(name, hash);
    }
    all
}

#[test]
fn bad_targets_are_refused_with_a_sentence_and_nothing_is_changed() {
    let daemon = setup();
    let home = daemon.setup().home().to_owned();
    daemon.client().call("memory_capture", json!({"text": "a record about the lighthouse"}));
    daemon.client().call("store_backup", json!({"path": home.join("backup.db")}));
    TARGETS.iter().for_each(|target| (target.make)(&home.join(target.name)));
    let exported = daemon.run(&["export"]).stdout;
    let before = files(&home);
    for Target { name, backup, export, import, .. } in &TARGETS {
        for (command, part) in [("backup", backup), ("export", export), ("import", import)] {
            if part.is_empty() {
                continue;
            }
            let output = daemon.run(&[command, home.join(name).to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command} {name}: {said}");
            assert!(said.contains(part), "{command} {name}: {said}");
            assert!(said.contains(name), "{command} {name}: {said}");
            assert_eq!(files(&home), before, "{command} {name}");
        }
    }
    assert_eq!(daemon.run(&["export"]).stdout, exported);
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
    let capture = daemon.client().request("memory_capture", json!({"text": "a record about the pier"}));
    assert_eq!(capture["result"]["status"], "inserted", "{capture}");
}

#[test]
fn a_pipe_is_imported_while_a_process_writes_to_it() {
    let daemon = setup();
    let script = "printf '{\"kind\":\"record\",\"text\":\"said in a pipe\"}\\n' >\"$P\" & exec \"$@\"";
    let pipe = daemon.setup().home().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut import = daemon.setup().program();
    import.arg("--socket").arg(daemon.setup().socket()).arg("import").arg(&pipe);
    // The writer opens the pipe at its own pace.
    crate::harness::until("the pipe has a writer", || {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(import.get_program()).args(import.get_args());
        command.env("P", &pipe).env("HOME", daemon.setup().home());
        crate::harness::output(&mut command).status.success()
    });
    assert_eq!(daemon.status()["records"], 1);
}
