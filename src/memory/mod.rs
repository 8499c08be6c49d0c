//! placeholder

mod fault;
mod fold;
mod lock;
mod moment;
mod record;
mod stem;
mod store;
mod terms;
pub use store::OpenError;
