//! `project_rename`: gives a project another name.

use serde_json::json;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::model::record::PROJECT_BYTES;
use crate::memory::params::check_len;
use crate::memory::store::projects;
use crate::memory::store::records::{self, RecordGroup};
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::task;

/// Answers `project_rename`, after the commit.
pub(crate) fn rename(writer: &Writer, params: &Params<'_>, reply: Reply<'_>) {
    let (old, new) = match name(params, "old").and_then(|old| Ok((old, name(params, "new")?))) {
        Ok(names) => names,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let reply = reply.later();
    let work = task(
        old.len() + new.len(),
        move |transaction| {
            let connection = transaction.connection;
            let project = projects::rename(connection, &old, &new)?;
            let numbers = projects::numbers(connection, &project)?;
            let (count, _) = records::extent_of(connection, RecordGroup::Project, &numbers)?;
            Ok(json!({"project": project, "records": count}))
        },
        |outcome| reply.send(outcome),
    );
    writer.submit(work);
}

/// Returns the name of a project.
fn name(params: &Params<'_>, param: &str) -> Result<String, CallError> {
    let name = params.string(param)?;
    if name.is_empty() {
        return Err(CallError::invalid(param, "the name of a project, which is not empty"));
    }
    check_len(param, &name, PROJECT_BYTES)?;
    Ok(name.into_owned())
}
