//! The SQLite database: how it is opened and migrated, its one writer, its readers, and the tables that several
//! modules use.

pub(crate) mod changes;
pub(crate) mod commit_mark;
pub(crate) mod copies;
pub(crate) mod copy;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod forgotten;
pub(crate) mod fulltext;
pub(crate) mod masked;
pub(crate) mod meta;
pub(crate) mod new_record;
pub(crate) mod open;
pub(crate) mod open_error;
pub(crate) mod project_filter;
pub(crate) mod projects;
pub(crate) mod reader;
pub(crate) mod record_list;
pub(crate) mod records;
pub(crate) mod rescue;
pub(crate) mod stale_wal;
pub(crate) mod store_file;
pub(crate) mod tags;
pub(crate) mod writer;
