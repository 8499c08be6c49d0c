-- The store, version 2.

-- How far each spool file has been ingested. Written in the transaction of its records, so that every line is ingested
-- exactly once, whenever the process ends.
CREATE TABLE spool (
    name     TEXT    PRIMARY KEY,                                -- without what its failures add
    position INTEGER NOT NULL CHECK (position >= 0),             -- bytes that are taken
    mark     BLOB    NOT NULL CHECK (length(mark) = 16),         -- of bytes before that: is it the same file?
    state    TEXT    NOT NULL,                                   -- JSON: what its header said, what became of its lines
    given_up TEXT                                                -- why it stays; its name is then still to be changed
) STRICT, WITHOUT ROWID;

-- Sessions that were opened and have not recalled yet.
CREATE TABLE first_turn (session TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Co-occurring terms of a term: the number of records that had it when they were last learned, and the others
-- separated by spaces, each followed by one digit: the association in tenths.
CREATE TABLE companion (term TEXT PRIMARY KEY, seen INTEGER NOT NULL, others TEXT NOT NULL) STRICT, WITHOUT ROWID;
