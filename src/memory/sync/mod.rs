//! The exchange of records with other stores: what this store gives (`changes.rs`), and how it takes what others give
//! (`apply.rs`, `merge.rs`).
//!
//! Two stores merge by union. A record is known by its ids, and beside them by its session, role, text and repetition
//! (`store/repetitions.rs`): two records for which these are equal are one. Each of its other fields has a rule by which
//! two values become one, whatever their order: the smaller id is shown, the earlier time counts, a record that has ceased
//! to hold in one store has ceased to hold, and what was forgotten under one id is forgotten under all. So stores that
//! have exchanged everything have the same, in whatever order and however often they did.
//!
//! Learned links, patterns, words, events, caches and keyed hashes are each store's own and are not exchanged.

mod absorb;
pub(crate) mod apply;
pub(crate) mod changes;
mod cursor;
mod entry;
mod forgets;
mod merge;
pub(crate) mod peers;
