//! The id by which other stores know this one when they exchange records with it.
//!
//! It is apart from the id in the commit mark, which all copies of a file share: two stores that both write need two ids.
//! So the id is bound to the file that it was made for, by its inode, and to the machine, and a copy of the file gets another
//! one when it is opened. A restored store gets another one, too: what it had told others since the backup, it does not know.
//!
//! On a file system that gives files other inodes at each mount (FAT, FUSE, SMB) the path takes the inode's place. There an
//! older copy that is moved over the file keeps the id. Others then find that it is at a state before their cursors, and
//! exchange everything again (`sync/cursor.rs`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::Connection;

use crate::memory::store::commit_mark::{Marker, StoreId};
use crate::memory::store::error::StoreError;
use crate::memory::store::meta;
use crate::memory::store::records::new_id;
use crate::sys::disk;

/// Meta key: the id, 16 bytes.
const STORE: &str = "sync_store";

/// Meta key: the file and the machine that the id was made for.
const FILE: &str = "sync_file";

/// Returns the id; `None` before the store's first opening.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn read(connection: &Connection) -> Result<Option<StoreId>, rusqlite::Error> {
    meta::read(connection, STORE)
}

/// Makes an id unless the store has one that was made for `file`, which is at `path`.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn ensure(connection: &Connection, file: &File, path: &Path) -> Result<(), StoreError> {
    let device = |error: io::Error| StoreError::Device(error.to_string());
    let place = match disk::has_stable_inode(file) {
        true => file.metadata().map_err(device)?.ino().to_string(),
        false => fs::canonicalize(path).map_err(device)?.display().to_string(),
    };
    // Systems without systemd may have none; there only the place shows that a file is a copy.
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let present = format!("{}:{place}", machine.trim());
    if meta::read::<String>(connection, FILE)?.as_ref() == Some(&present) && read(connection)?.is_some() {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    meta::write(&transaction, FILE, present)?;
    renew(&transaction)?;
    Marker::new().mark_commit(&transaction)?;
    Ok(transaction.commit()?)
}

/// Makes another id. Knobs whose change is not known count as this store's first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn renew(connection: &Connection) -> Result<(), rusqlite::Error> {
    let id = new_id().into_bytes();
    meta::write(connection, STORE, id)?;
    let sql = "INSERT INTO knob_change (knob, store, number, at, value)
               SELECT knob, ?1, 0, 0, value FROM profile WHERE knob NOT IN (SELECT knob FROM knob_change)";
    connection.execute(sql, [id]).map(drop)
}
