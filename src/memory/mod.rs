//! placeholder

mod fault;
mod fold;
mod lock;
mod moment;
mod record;
mod stem;
mod store;
mod terms;
mod writer;
pub use store::OpenError;
