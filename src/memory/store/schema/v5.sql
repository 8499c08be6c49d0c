-- The store, version 5.

-- Other names of projects: folders in a repository, and names that were renamed. Each leads to the name that is shown,
-- which no row leads on from, so that a look-up is one step. A row that leads to itself keeps a folder a project of its
-- own. Records keep the name that they were stored with.
CREATE TABLE project_alias (
    name    TEXT    PRIMARY KEY,
    project TEXT    NOT NULL,
    source  INTEGER NOT NULL CHECK (source BETWEEN 0 AND 1)    -- a client (it may be replaced), the user
) STRICT, WITHOUT ROWID;
CREATE INDEX project_alias_by_project ON project_alias (project);

-- Session briefings, rendered in advance: also for sessions that are shown no other project's records.
DROP TABLE wake;
CREATE TABLE wake (
    project TEXT    NOT NULL,
    is_only INTEGER NOT NULL CHECK (is_only BETWEEN 0 AND 1),
    newest  INTEGER NOT NULL,                                  -- the last record that was there then
    payload TEXT    NOT NULL,                                  -- JSON
    PRIMARY KEY (project, is_only)
) STRICT, WITHOUT ROWID;

-- Records that were forgotten. Their ids and numbers are not used again.
CREATE TABLE forgotten (
    seq INTEGER PRIMARY KEY,
    id  BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    at  INTEGER NOT NULL
) STRICT;

-- Keyed hashes of what they said (forgotten.rs), so that imports, hooks and deferred files do not bring it back.
CREATE TABLE forgotten_text (
    hash BLOB    PRIMARY KEY CHECK (length(hash) = 16),
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The numbers of the records that are still to be deleted by the forgetting that is in progress.
CREATE TABLE forgetting (seq INTEGER PRIMARY KEY) STRICT;

-- Backups and exports that were made of the store.
CREATE TABLE copy_made (
    path TEXT    PRIMARY KEY,
    kind TEXT    NOT NULL CHECK (kind IN ('backup', 'export')),
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A record is deleted only once it is noted as forgotten.
DROP TRIGGER record_stays;
CREATE TRIGGER record_stays BEFORE DELETE ON record
    WHEN NOT EXISTS (SELECT 1 FROM forgotten WHERE seq = old.seq AND id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'a record is never deleted');
END;

CREATE TRIGGER record_stays_forgotten BEFORE INSERT ON record
    WHEN EXISTS (SELECT 1 FROM forgotten WHERE id = new.id) OR EXISTS (SELECT 1 FROM forgotten WHERE seq = new.seq)
BEGIN
    SELECT RAISE(ABORT, 'a record with this id was forgotten');
END;

CREATE TRIGGER forgotten_is_selected BEFORE INSERT ON forgotten
    WHEN NOT EXISTS (SELECT 1 FROM forgetting WHERE seq = new.seq)
        OR NOT EXISTS (SELECT 1 FROM record WHERE seq = new.seq AND id = new.id)
BEGIN
    SELECT RAISE(ABORT, 'only a record that memory_forget has selected is forgotten');
END;

CREATE TRIGGER forgotten_never_changes BEFORE UPDATE ON forgotten
BEGIN
    SELECT RAISE(ABORT, 'a forgotten record stays forgotten');
END;

CREATE TRIGGER forgotten_stays BEFORE DELETE ON forgotten
BEGIN
    SELECT RAISE(ABORT, 'a forgotten record stays forgotten');
END;
