//! A cue has no syntax: on a real store, recall returns stored texts and changes nothing.
#![no_main]

use std::cell::RefCell;

use iaid::memory::properties::CueStore;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static STORE: RefCell<CueStore> = RefCell::new({
        let folder = std::env::temp_dir().join(format!("iaid-fuzz-cue-{}", std::process::id()));
        // A crashed run with the same process id may have left files.
        let _ = std::fs::remove_dir_all(&folder);
        CueStore::new(&folder)
    });
}

fuzz_target!(|data: &[u8]| STORE.with_borrow_mut(|store| store.check_cue_is_plain_text(data)));
