//! placeholder

#[cfg(feature = "daemon")]
pub mod cli;
pub mod client;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod dispatch;
pub mod limits;
#[cfg(feature = "daemon")]
pub mod memory;
pub mod serve;
pub mod sys;
pub mod wire;
