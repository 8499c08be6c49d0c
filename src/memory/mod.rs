//! The memory room stands in for itself until it is merged.
#![allow(missing_docs)]
use crate::dispatch::{Dispatch, Pace, Params, Reply};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
pub struct Memory {
    _lock: std::fs::File,
}
impl Memory {
    pub fn open(folder: &Path) -> std::io::Result<Memory> {
        std::fs::create_dir_all(folder)?;
        Ok(Memory { _lock: std::fs::File::create(folder.join(".lock"))? })
    }
    pub fn records(&self) -> Arc<AtomicU64> {
        Arc::default()
    }
}
impl Dispatch for Memory {
    type Worker = ();
    fn worker(&self) {}
    fn method(&self, name: &str) -> Option<Pace> {
        matches!(name, "profile_get" | "rpc.discover").then_some(Pace::Ordered)
    }
    fn call(&self, _: &mut (), _: &str, params: Params<'_>, reply: Reply) {
        reply.send(params.string("knob"))
    }
}
