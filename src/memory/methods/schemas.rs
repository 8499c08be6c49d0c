//! `schema_list`: the patterns that consolidation has found.

use serde::Serialize;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::patterns::{Schema, newest};
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::store::projects;
use crate::memory::store::reader::Reader;

/// Most patterns that are read, the newest ones. Picked: more than many years of use are expected
/// to show.
const MAX_PATTERNS: usize = 1000;

/// The result of `schema_list`.
#[derive(Serialize)]
pub(crate) struct Schemas {
    schemas: Vec<Schema>,
    total: usize,
}

/// Answers `schema_list`.
///
/// # Errors
/// -32602 if a param is invalid, -32001 if the store cannot be read.
pub(crate) fn schema_list(reader: &Reader, profile: &Profile, params: &Params<'_>) -> Result<Schemas, CallError> {
    let domain = params.string_opt("domain")?;
    let least = confidence_min(params)?;
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let of = domain.map(|name| projects::numbers(connection, &name)).transpose()?;
    let mut schemas = newest(connection, of.as_deref(), &caller.filter(connection)?, MAX_PATTERNS)?;
    schemas.retain(|schema| schema.confidence >= least);
    Ok(Schemas { total: schemas.len(), schemas })
}

fn confidence_min(params: &Params<'_>) -> Result<f64, CallError> {
    let Some(raw) = params.raw("confidence_min").filter(|raw| *raw != "null") else { return Ok(0.0) };
    let number = raw.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| CallError::invalid("confidence_min", "a number from 0 to 1"))
}
