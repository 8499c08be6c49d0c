-- The store, version 2.

-- How far a file of deferred captures is in the store: kept in the transaction of its records, so that
-- nothing of it is taken twice or left out, whenever the process ends.
CREATE TABLE spool (
    name     TEXT    PRIMARY KEY,                                -- without what its failures add
    position INTEGER NOT NULL CHECK (position >= 0),             -- bytes that are taken
    mark     BLOB    NOT NULL CHECK (length(mark) = 16),         -- of bytes before that: is it the same file?
    state    TEXT    NOT NULL,                                   -- JSON: what its header said, what became of its lines
    given_up TEXT                                                -- why it stays; its name is then still to be changed
) STRICT, WITHOUT ROWID;

-- Sessions that were opened and have not asked anything yet.
CREATE TABLE first_turn (session TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- A term that keeps company with others: how many records had it when that was last looked at, and the
-- others, each with how much in tenths behind it.
CREATE TABLE companion (term TEXT PRIMARY KEY, seen INTEGER NOT NULL, others TEXT NOT NULL) STRICT, WITHOUT ROWID;
