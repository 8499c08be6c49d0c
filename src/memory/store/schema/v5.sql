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
