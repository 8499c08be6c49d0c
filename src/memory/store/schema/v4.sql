-- The store, version 4.

-- What a session's model has before it: since when its context has grown (the session was started, resumed or compacted
-- then), and the records that it was given with its prompts.
CREATE TABLE session_context (
    session TEXT    PRIMARY KEY,
    since   INTEGER NOT NULL,                                  -- the least integer if the session was not opened
    changed INTEGER NOT NULL,
    given   TEXT    NOT NULL                                   -- their seqs, separated by spaces
) STRICT, WITHOUT ROWID;
