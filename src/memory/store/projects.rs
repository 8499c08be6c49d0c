//! Projects by their names, and aliases.
//!
//! Table `project_alias` has the other names of projects: folders in a repository, which clients send beside it, and
//! names that the user has renamed. Each row leads to the name that is shown, so that a look-up is one step and no chain
//! or circle exists. Records keep the name that they were stored with.

use rusqlite::{Connection, OptionalExtension};

use crate::dispatch::CallError;
use crate::memory::model::record::PROJECT_BYTES;
use crate::memory::store::records;

/// Most rows of table `project_alias`. Picked: more folders than a user works in over years.
pub(crate) const MAX_ALIAS_COUNT: i64 = 10_000;

/// The source of an alias. The store keeps the numbers, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasSource {
    /// A client has sent the folder beside the project.
    Client = 0,
    /// The user has renamed the project.
    User = 1,
}

impl AliasSource {
    /// Returns the source with this number; `Client` for a number that no release has written.
    pub(crate) fn numbered(number: i64) -> AliasSource {
        if number == AliasSource::User as i64 { AliasSource::User } else { AliasSource::Client }
    }

    /// Returns the source with this name.
    pub(crate) fn named(name: &str) -> Option<AliasSource> {
        [AliasSource::Client, AliasSource::User].into_iter().find(|source| source.name() == name)
    }

    /// Returns its name in exports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            AliasSource::Client => "client",
            AliasSource::User => "user",
        }
    }
}

/// Returns the name that a project is shown by: `name` itself if it is no alias.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn canonical(connection: &Connection, name: &str) -> Result<String, rusqlite::Error> {
    Ok(alias(connection, name)?.map_or_else(|| name.to_owned(), |(project, _)| project))
}

/// Returns the numbers of all projects in table `project` that are called `name`, through aliases, in no order.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn numbers(connection: &Connection, name: &str) -> Result<Vec<i64>, rusqlite::Error> {
    let name = canonical(connection, name)?;
    let mut numbers: Vec<i64> = records::project_number(connection, &name)?.into_iter().collect();
    let mut of_aliases = connection.prepare_cached(
        "SELECT number FROM project_alias JOIN project ON project.name = project_alias.name
         WHERE project_alias.project = ?1 AND project_alias.name <> ?1",
    )?;
    for number in of_aliases.query_map([&name], |row| row.get(0))? {
        numbers.push(number?);
    }
    Ok(numbers)
}

/// Returns the name that a caller's project is shown by once [`note_folder`] has noted its folder.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn name_of_caller(connection: &Connection, project: &str, folder: &str) -> Result<String, rusqlite::Error> {
    // A folder that has become a repository is a project of its own.
    match folder == project && is_new_folder(connection, project, folder)? {
        true => Ok(project.to_owned()),
        false => canonical(connection, project),
    }
}

/// Returns the numbers of a caller's project as they are once [`note_folder`] has noted its folder, in no order.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn numbers_of_caller(
    connection: &Connection,
    project: &str,
    folder: &str,
) -> Result<Vec<i64>, rusqlite::Error> {
    if !is_new_folder(connection, project, folder)? {
        return numbers(connection, project);
    }
    if folder == project {
        return Ok(records::project_number(connection, project)?.into_iter().collect());
    }
    let mut own = numbers(connection, project)?;
    // What leads to the folder will lead to the project, unless the folder itself leads elsewhere today.
    let more = match alias(connection, folder)? {
        Some(_) => records::project_number(connection, folder)?.into_iter().collect(),
        None => numbers(connection, folder)?,
    };
    own.extend(more.into_iter().filter(|number| !own.contains(number)).collect::<Vec<_>>());
    Ok(own)
}

/// Returns the first `most` other names of the project that is shown as `name`, sorted.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn other_names(connection: &Connection, name: &str, most: usize) -> Result<Vec<String>, rusqlite::Error> {
    let sql = "SELECT name FROM project_alias WHERE project = ?1 AND name <> ?1 ORDER BY name LIMIT ?2";
    connection.prepare_cached(sql)?.query_map((name, most as i64), |row| row.get(0))?.collect()
}

/// Returns the row of an alias.
fn alias(connection: &Connection, name: &str) -> Result<Option<(String, AliasSource)>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT project, source FROM project_alias WHERE name = ?1")?;
    read.query_row([name], |row| Ok((row.get(0)?, AliasSource::numbered(row.get(1)?)))).optional()
}

/// Renames a project: its records are shown under the name `new`, as are those of its aliases. If another project has that
/// name, the two are one from then on. A name that was renamed before is moved alone; renamed to itself, the rename is
/// undone. Returns the name that the project has now.
///
/// # Errors
/// -32602 if a name is empty or too long, or no project has the name `old`; -32001 if there are [`MAX_ALIAS_COUNT`] aliases
/// or the store cannot be written.
pub(crate) fn rename(connection: &Connection, old: &str, new: &str) -> Result<String, CallError> {
    let known = alias(connection, old)?.map(|(project, _)| project);
    if known.is_none() && !is_known(connection, old)? {
        let shown = crate::dispatch::excerpt(old);
        let what = format_args!("the name of a project: none is called '{shown}'");
        return Err(CallError::invalid("old", what));
    }
    let project = match known.filter(|project| project != old) {
        Some(_) if old == new => old.to_owned(),
        Some(_) => canonical(connection, new)?,
        None if old == new => {
            return Err(CallError::invalid("new", "another name than 'old': the project has that name already"));
        }
        None => match canonical(connection, new)? {
            // `new` is an alias of `old`: they change places.
            project if project == old => new.to_owned(),
            project => project,
        },
    };
    write_alias(connection, old, &project, AliasSource::User)?;
    Ok(project)
}

/// Returns true if a project has this name, or an alias leads to it.
fn is_known(connection: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT 1 FROM project_alias WHERE project = ?1")?;
    Ok(records::project_number(connection, name)?.is_some() || find.exists([name])?)
}

/// Notes that a client works in `folder` of `project`, so that records stored under the folder's name are shown as the
/// project's. A folder that is the project itself ends what a client has noted before. What the user has renamed stays.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_folder(connection: &Connection, project: &str, folder: &str) -> Result<(), rusqlite::Error> {
    if !is_new_folder(connection, project, folder)? {
        return Ok(());
    }
    if folder == project {
        connection.prepare_cached("DELETE FROM project_alias WHERE name = ?1")?.execute([folder])?;
        return forget_briefings(connection);
    }
    let project = canonical(connection, project)?;
    match write_alias(connection, folder, &project, AliasSource::Client) {
        Err(AliasError::Full) => {
            log::warn!("a folder of a project is not remembered: the store has {MAX_ALIAS_COUNT} aliases");
            Ok(())
        }
        Err(AliasError::Sqlite(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Returns true if [`note_folder`] would change something.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn is_new_folder(connection: &Connection, project: &str, folder: &str) -> Result<bool, rusqlite::Error> {
    if project.is_empty() || folder.is_empty() || folder.len() > PROJECT_BYTES {
        return Ok(false);
    }
    match alias(connection, folder)? {
        Some((_, AliasSource::User)) => Ok(false),
        known if folder == project => Ok(known.is_some()),
        known => {
            let project = canonical(connection, project)?;
            let is_new = project != folder && known.is_none_or(|(known, _)| known != project);
            Ok(is_new && !is_renamed_to(connection, folder)?)
        }
    }
}

/// Returns true if the user has renamed another project to this name.
fn is_renamed_to(connection: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT 1 FROM project_alias WHERE project = ?1 AND name <> ?1 AND source = ?2";
    connection.prepare_cached(sql)?.exists((name, AliasSource::User as i64))
}

/// Why an alias was not written.
#[derive(Debug)]
pub(crate) enum AliasError {
    /// There are [`MAX_ALIAS_COUNT`].
    Full,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for AliasError {
    fn from(error: rusqlite::Error) -> AliasError {
        AliasError::Sqlite(error)
    }
}

impl From<AliasError> for CallError {
    fn from(error: AliasError) -> CallError {
        match error {
            AliasError::Full => CallError::failed(format!(
                "the store has {MAX_ALIAS_COUNT} other names of projects, the most that it keeps: end one with \
                 `iaid project rename NAME NAME`"
            )),
            AliasError::Sqlite(error) => error.into(),
        }
    }
}

/// Makes `name`, and all that leads to it, lead to `project`, which must lead nowhere but to itself or to `name`.
///
/// # Errors
/// See [`AliasError`].
fn write_alias(connection: &Connection, name: &str, project: &str, source: AliasSource) -> Result<(), AliasError> {
    if name == project {
        // It is kept apart from what clients send, by a row that leads to itself.
        let sql = "UPDATE project_alias SET project = name, source = ?2 WHERE name = ?1";
        connection.prepare_cached(sql)?.execute((name, source as i64))?;
        return Ok(forget_briefings(connection)?);
    }
    let count: i64 =
        connection.prepare_cached("SELECT count(*) FROM project_alias")?.query_row([], |row| row.get(0))?;
    if count >= MAX_ALIAS_COUNT && alias(connection, name)?.is_none() {
        return Err(AliasError::Full);
    }
    let sql = "DELETE FROM project_alias WHERE name = ?1 AND project <> name";
    connection.prepare_cached(sql)?.execute([project])?;
    connection.prepare_cached("UPDATE project_alias SET project = ?2 WHERE project = ?1")?.execute((name, project))?;
    let sql = "INSERT INTO project_alias (name, project, source) VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET project = excluded.project, source = excluded.source";
    connection.prepare_cached(sql)?.execute((name, project, source as i64))?;
    Ok(forget_briefings(connection)?)
}

/// What [`import_alias`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportedAlias {
    New,
    Known,
    /// The name leads elsewhere in this store.
    Differs,
}

/// Stores an alias of an export, unless the name leads elsewhere here.
///
/// # Errors
/// See [`AliasError`].
pub(crate) fn import_alias(
    connection: &Connection,
    name: &str,
    project: &str,
    source: AliasSource,
) -> Result<ImportedAlias, AliasError> {
    let target = if name == project { name.to_owned() } else { canonical(connection, project)? };
    match alias(connection, name)? {
        Some((known, _)) if known == target => return Ok(ImportedAlias::Known),
        Some(_) => return Ok(ImportedAlias::Differs),
        None if target == name && project != name => return Ok(ImportedAlias::Differs),
        None => {}
    }
    if name == project {
        let sql = "INSERT INTO project_alias (name, project, source) VALUES (?1, ?1, ?2)";
        connection.prepare_cached(sql)?.execute((name, source as i64))?;
        return Ok(ImportedAlias::New);
    }
    write_alias(connection, name, &target, source).map(|()| ImportedAlias::New)
}

/// Deletes the briefings that were rendered in advance: they depend on the aliases.
fn forget_briefings(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM wake")?.execute([]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open;

    fn with_projects(names: &[&str]) -> (tempfile::TempDir, open::OpenedStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = open::open(folder.path()).unwrap();
        for name in names {
            store.connection.execute("INSERT INTO project (name) VALUES (?1)", [name]).unwrap();
        }
        (folder, store)
    }

    /// Returns the name that each of a to e is shown by.
    fn shown(connection: &Connection) -> String {
        ["a", "b", "c", "d", "e"].map(|name| canonical(connection, name).unwrap()).concat()
    }

    #[test]
    fn renames_in_chains_and_circles_lead_to_one_name() {
        for (renames, want) in [
            (&[][..], "abcde"),
            (&["ab"], "bbcde"),
            (&["ab", "bc"], "cccde"),
            (&["bc", "ab"], "cccde"),
            (&["ab", "ba"], "aacde"),
            (&["ab", "ba", "ab"], "bbcde"),
            (&["ab", "bc", "ca"], "aaade"),
            (&["ab", "cd", "bd"], "dddde"),
            (&["ab", "cb", "ac"], "bbbde"),
            (&["ab", "ac"], "cbcde"),
            (&["ab", "aa"], "abcde"),
            (&["ab", "bc", "aa"], "accde"),
            (&["ab", "aa", "ab"], "bbcde"),
            (&["ab", "aa", "ba"], "aacde"),
            (&["az"], "zbcde"),
            (&["az", "zb"], "bbcde"),
        ] {
            let (_folder, store) = with_projects(&["a", "b", "c", "d", "e", ""]);
            for one in renames {
                rename(&store.connection, &one[..1], &one[1..]).unwrap_or_else(|error| panic!("{renames:?}: {error}"));
            }
            assert_eq!(shown(&store.connection), want, "{renames:?}");
            let longest =
                "SELECT count(*) FROM project_alias AS one JOIN project_alias AS two ON two.name = one.project
                           WHERE two.project <> two.name";
            let chains: i64 = store.connection.query_row(longest, [], |row| row.get(0)).unwrap();
            assert_eq!(chains, 0, "{renames:?}");
            // Each name finds the numbers of all that are shown by its name.
            for name in ["a", "b", "c", "d", "e"] {
                let mut got = numbers(&store.connection, name).unwrap();
                got.sort_unstable();
                let own = canonical(&store.connection, name).unwrap();
                let want: Vec<i64> =
                    (1..=5).filter(|at| want.as_bytes()[*at as usize - 1] == own.as_bytes()[0]).collect();
                assert_eq!(got, want, "{renames:?} {name}");
            }
        }
    }

    #[test]
    fn a_rename_without_an_effect_is_refused_with_a_sentence() {
        let (_folder, store) = with_projects(&["a"]);
        for (old, new, want) in [("x", "y", "none is called 'x'"), ("a", "a", "has that name already")] {
            let error = rename(&store.connection, old, new).unwrap_err();
            assert!(error.message.contains(want), "{}", error.message);
        }
    }

    #[test]
    fn a_folder_is_noted_once_and_never_over_the_users_word() {
        let (_folder, store) = with_projects(&["/r", "/r/s", "/q"]);
        let connection = &store.connection;
        let of = |name: &str| canonical(connection, name).unwrap();
        note_folder(connection, "/r", "/r/s").unwrap();
        assert_eq!(of("/r/s"), "/r");
        note_folder(connection, "/q", "/r/s").unwrap();
        assert_eq!(of("/r/s"), "/q");
        note_folder(connection, "/r/s", "/r/s").unwrap();
        assert_eq!(of("/r/s"), "/r/s");
        note_folder(connection, "/r", "/r/s").unwrap();
        rename(connection, "/r", "named").unwrap();
        assert_eq!((of("/r"), of("/r/s")), ("named".into(), "named".into()));
        note_folder(connection, "/r", "/r/t").unwrap();
        note_folder(connection, "/r", "/r").unwrap();
        assert_eq!((of("/r"), of("/r/t")), ("named".into(), "named".into()));
        rename(connection, "/r/s", "/r/s").unwrap();
        note_folder(connection, "/r", "/r/s").unwrap();
        assert_eq!(of("/r/s"), "/r/s");
        for (project, folder) in [("", "/x"), ("/r", ""), ("named", "/r")] {
            note_folder(connection, project, folder).unwrap();
        }
        assert_eq!((of("/x"), of("/r")), ("/x".into(), "named".into()));
        // What the user has renamed to a folder stays there.
        rename(connection, "/q", "/apart").unwrap();
        note_folder(connection, "/r", "/apart").unwrap();
        assert_eq!((of("/q"), of("/apart")), ("/apart".into(), "/apart".into()));
    }

    #[test]
    fn aliases_are_bounded() {
        let (_folder, store) = with_projects(&["a", "b"]);
        let connection = &store.connection;
        connection
            .execute_batch(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
                 INSERT INTO project_alias SELECT 'x' || n, 'a', 0 FROM n",
            )
            .unwrap();
        note_folder(connection, "a", "one more").unwrap();
        assert_eq!(canonical(connection, "one more").unwrap(), "one more");
        let error = rename(connection, "b", "c").unwrap_err();
        assert!(error.message.contains("10000 other names") && error.message.contains("rename NAME NAME"));
        // Those that exist can still be moved.
        rename(connection, "x7", "b").unwrap();
        assert_eq!(canonical(connection, "x7").unwrap(), "b");
    }
}
