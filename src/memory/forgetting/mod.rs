//! Forgetting: the deletion of records with everything that was made of them, for good.
//!
//! A selection of records is proposed and gets a token (`selection.rs`, `pending.rs`). Once it is confirmed, the work is
//! done in chunks on the writer (`job.rs`, `run.rs`), and is resumed after a kill or an error (`resume.rs`). Its order: rows
//! of the database (`removal.rs`, `event_log.rs`), the full-text index, files beside the database (`set_aside.rs`,
//! `names.rs`), and last all bytes of the database that are left of deleted rows (`rewrite.rs`).

mod event_log;
pub(crate) mod handle;
pub(crate) mod job;
mod names;
pub(crate) mod pending;
pub(crate) mod phase;
pub(crate) mod progress;
pub(crate) mod removal;
pub(crate) mod result;
mod resume;
mod rewrite;
pub(crate) mod run;
pub(crate) mod selection;
pub(crate) mod set_aside;
