-- The store, version 3.

-- One row: which store this is, which commit it is at, and the commit before that (commit_mark.rs). The mark is the
-- last cell of the table's only page, so its bytes are at the end of the page in the file and in the write-ahead log.
CREATE TABLE commit_mark (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    mark BLOB    NOT NULL CHECK (length(mark) = 88)
) STRICT;
