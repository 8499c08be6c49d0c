//! What the checks of `iaid doctor` share.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::install::ConfigPaths;
use crate::cli::install::service::ServiceManager;
use crate::client::Client;

/// What the checks share.
pub(crate) struct DoctorContext {
    pub(crate) client: Client,
    pub(crate) store: PathBuf,
    /// Paths of the settings, if HOME is set.
    pub(crate) paths: Option<ConfigPaths>,
    /// The daemon's reply to `status`, if it answers.
    pub(crate) status: Option<Value>,
    /// The daemon answers `status`, but no calls.
    pub(crate) is_stuck: bool,
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl DoctorContext {
    /// Returns the service manager if it has a unit or agent of this program.
    pub(crate) fn service(&self) -> Option<ServiceManager> {
        let home = &self.paths.as_ref()?.home;
        ServiceManager::found().filter(|manager| manager.program(home).is_some())
    }
}
