//! Forgetting: the deletion of records with everything that was made of them, for good.
//!
//! A selection of records is proposed and gets a token (`selection.rs`, `pending.rs`). Once it is confirmed, the work is
//! done in chunks on the writer (`job.rs`), and is taken up again after a kill. It comes in this order: rows of the
//! database (`removal.rs`), the full-text index, files beside the database (`set_aside.rs`), and last all bytes of the
//! database that are left of deleted rows (`rewrite.rs`).

pub(crate) mod job;
pub(crate) mod pending;
mod removal;
mod rewrite;
pub(crate) mod selection;
pub(crate) mod set_aside;
