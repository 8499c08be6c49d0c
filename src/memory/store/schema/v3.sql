-- The store, version 3.

-- One row: which store this is, which commit it is at, and the commit before that (commit_mark.rs). The mark is the
-- last cell of the table's only page, so its bytes are at the end of the page in the file and in the write-ahead log.
CREATE TABLE commit_mark (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    mark BLOB    NOT NULL CHECK (length(mark) = 88)
) STRICT;

-- The assistants' ids of turns, hashed, and the records that have the turns. A turn is known by its id in each file that
-- has a copy of it. Its record and that of early_turn are no foreign keys: without an index on them, SQLite would plan to
-- read both tables at each insertion into record.
CREATE TABLE turn (
    id     BLOB    PRIMARY KEY CHECK (length(id) = 16),
    record INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Records of turns that were stored before their lines of a transcript: from the input of a hook, or while they waited
-- in a queue. The line has another time, and the first one with the same words is the record's.
CREATE TABLE early_turn (
    session INTEGER NOT NULL REFERENCES session (number),
    record  INTEGER NOT NULL,
    line_ts INTEGER,                                           -- the time of the line; null until it is found
    PRIMARY KEY (session, record)
) STRICT, WITHOUT ROWID;

-- For the records of a turn of a session, role and time.
CREATE INDEX record_by_session_time ON record (session, ts);

-- The last record of the releases before this one, which stored some turns in another form.
INSERT INTO meta (key, value) SELECT 'last_without_turns', coalesce(max(seq), 0) FROM record;
