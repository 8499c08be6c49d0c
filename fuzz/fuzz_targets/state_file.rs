//! With any contents of the state files, the daemon starts and nothing is lost.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use iaid::lifecycle::properties::state_files_survive;
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("iaid-fuzz-state-{}", std::process::id()));
    // A crashed run with the same process id may have left files.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("cannot create a temporary folder");
    folder
});

fuzz_target!(|data: &[u8]| state_files_survive(&FOLDER, data));
