//! placeholder: the daemon itself comes with its own branch.
#![allow(missing_docs)]

use std::fmt;
use std::path::PathBuf;

#[derive(Debug)]
pub enum Listen {
    Fd(i32),
    Path(PathBuf),
}

#[derive(Debug)]
pub struct Options {
    pub listen: Listen,
    pub store: PathBuf,
    pub limits: crate::limits::Limits,
    pub max_connections: Option<usize>,
}

#[derive(Debug)]
pub struct StartError;

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this build holds no daemon")
    }
}

impl std::error::Error for StartError {}

pub fn serve(
    _: Options,
    _: crate::sys::inherited::Inherited,
    _: crate::sys::notify::Notifier,
) -> Result<(), StartError> {
    Err(StartError)
}

pub fn serve_stdio(_: Options) -> Result<(), StartError> {
    Err(StartError)
}
