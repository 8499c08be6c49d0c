//! placeholder

mod fold;
mod stem;
mod terms;
