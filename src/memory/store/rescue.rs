//! Saves the content of a store whose files were removed, replaced or overwritten while they were open.
//!
//! The writer's connection still has the files. Their content is copied to `memory.db.rescued-TIME` in the store's
//! folder, which is created if it is gone. The write-ahead log is renamed if it is still at its path, so that it is not
//! replayed over the file that is there now, and nothing is ever checkpointed into that file.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::memory::store::copy::{self, PartialFile};
use crate::memory::store::error::StoreError;
use crate::memory::store::files;
use crate::memory::store::open;
use crate::memory::store::store_file::{Loss, StoreFile};

/// Saves the content that `connection` has open, unless that is done or has just failed. Does nothing if the files are
/// not lost.
pub(crate) fn save(file: &StoreFile, connection: &Connection) {
    let Some(loss) = file.loss().filter(|loss| loss.is_saving_due()) else { return };
    // The last connection to close would write the log's pages into the file that is there now.
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        log::error!("cannot turn off the checkpoint at the end: {error}");
    }
    loss.saved(write(loss, file, connection));
    if file.has_its_wal() {
        match files::set_aside(file.wal(), "bad") {
            Ok(name) => log::warn!("{} is kept as {}", file.wal().display(), name.display()),
            Err(error) => log::error!("{} cannot be renamed: {error}", file.wal().display()),
        }
    }
    if let Some(words) = file.loss_in_words() {
        log::error!("{words}");
    }
}

/// Writes the content. Returns true if it is damaged.
fn write(loss: &Loss, file: &StoreFile, connection: &Connection) -> Result<bool, String> {
    if let Some(folder) = file.path().parent() {
        open::make_folder(folder).map_err(|error| error.to_string())?;
    }
    let partial = PartialFile::create_for(&loss.rescued).map_err(|error| error.to_string())?;
    copy::database(connection, partial.path()).map_err(|error| match error {
        StoreError::Full => "its disk is full".to_owned(),
        StoreError::Device(detail) => detail,
        other => other.to_string(),
    })?;
    let is_damaged = loss.is_overwritten && !is_intact(&partial);
    partial.publish(&loss.rescued).map_err(|error| error.to_string())?;
    Ok(is_damaged)
}

fn is_intact(partial: &PartialFile) -> bool {
    let checked = Connection::open(partial.path())
        .and_then(|copy| copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)));
    checked.is_ok_and(|found| found == "ok")
}
