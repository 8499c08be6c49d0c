-- The store, version 1. Times are microseconds since 1970 in UTC.

PRAGMA application_id = 1767991652; -- "iaid"

-- terms_version: the version of the tokenizer rules that made term_index. step_…: the cursor of a consolidation step.
-- cycle_step, cycle_seen: the next step of an interrupted cycle, and the mark that it will set; cycle_mark: the mark of
-- the last completed cycle, the last record that it processed. digest, digest_shown: totals of the cycles since the
-- last digest, as JSON, and the time of that digest. topology: the metrics of the link graph, as JSON.
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE profile (knob TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE session (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE project (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- The long columns are last, so that reading the others needs no overflow pages.
CREATE TABLE record (
    seq      INTEGER PRIMARY KEY,                              -- order of arrival, from 1, no gaps
    id       BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),  -- UUID, version 7
    ts       INTEGER NOT NULL,                                 -- when it was said
    tier     INTEGER NOT NULL CHECK (tier BETWEEN 0 AND 4),    -- working, episodic, semantic, procedural, parametric
    role     INTEGER NOT NULL CHECK (role BETWEEN 0 AND 2),    -- user, assistant, system
    session  INTEGER NOT NULL REFERENCES session (number),
    project  INTEGER NOT NULL REFERENCES project (number),
    part     INTEGER CHECK (part BETWEEN 1 AND parts),
    parts    INTEGER CHECK ((part IS NULL) = (parts IS NULL)),
    valid_to INTEGER,                                          -- when it ceased to hold; null while it does
    hash     BLOB    NOT NULL CHECK (length(hash) = 16),       -- fingerprint of session, role and text
    twin     INTEGER NOT NULL,                                 -- 0; counts records whose fingerprints collide
    cue      TEXT    NOT NULL,
    text     TEXT    NOT NULL
) STRICT;

-- Text of one role in one session is valid in one record at a time.
CREATE UNIQUE INDEX record_living ON record (hash, twin) WHERE valid_to IS NULL;
-- For the newest records of a project, and of all projects, merged project by project.
CREATE INDEX record_by_project ON record (project, ts);
CREATE INDEX record_by_session ON record (session);
-- Facts and other records that are no episodes; few compared to the table.
CREATE INDEX record_facts ON record (ts) WHERE tier > 1;

CREATE TRIGGER record_is_written_once BEFORE UPDATE OF
    seq, id, ts, tier, role, session, project, part, parts, hash, twin, cue, text ON record
BEGIN
    SELECT RAISE(ABORT, 'a record never changes: only valid_to can be set');
END;

-- SET rowid = … names no column, so the trigger above does not fire.
CREATE TRIGGER record_keeps_its_place BEFORE UPDATE ON record WHEN new.seq IS NOT old.seq
BEGIN
    SELECT RAISE(ABORT, 'a record never changes: only valid_to can be set');
END;

-- With valid_to null again, OR REPLACE could delete the record that is valid since.
CREATE TRIGGER record_is_not_revived BEFORE UPDATE OF valid_to ON record
    WHEN old.valid_to IS NOT NULL AND new.valid_to IS NULL
BEGIN
    SELECT RAISE(ABORT, 'a record that has ceased to hold does not hold again: store it anew');
END;

CREATE TRIGGER record_stays BEFORE DELETE ON record
BEGIN
    SELECT RAISE(ABORT, 'a record is never deleted');
END;

-- Without recursive_triggers, a setting of each connection, OR REPLACE deletes conflicting rows without firing the
-- trigger above; so this one looks for them first.
CREATE TRIGGER record_is_not_replaced BEFORE INSERT ON record
    WHEN EXISTS (SELECT 1 FROM record WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM record WHERE seq = new.seq)
        OR (new.valid_to IS NULL AND EXISTS (
            SELECT 1 FROM record WHERE hash = new.hash AND twin = new.twin AND valid_to IS NULL))
BEGIN
    SELECT RAISE(ABORT, 'a record with this id exists: records are never replaced');
END;

-- The full-text index. A column is given terms separated by spaces; rowid is the record's seq. It stores no text, and
-- for each term only the records that contain it, a third of the size of an index with positions: frequency and
-- positions are read from the texts of the few candidates. Terms contain no ASCII punctuation but '_', so the ascii
-- tokenizer splits only between them.
CREATE VIRTUAL TABLE term_index USING fts5(
    text, cue, content='', detail=none, columnsize=0, tokenize="ascii tokenchars '_'");

-- Structural properties of a record: 'identity', 'pinned', 'pattern', 'contradict'.
CREATE TABLE tag (
    record INTEGER NOT NULL REFERENCES record (seq),
    name   TEXT    NOT NULL,
    PRIMARY KEY (name, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_record ON tag (record);

-- Links between two records. Associated and reinforced links are undirected and stored once, with a < b; the others
-- lead from a to b: from a contradicted record to its replacement, from a pattern to its evidence.
CREATE TABLE link (
    a      INTEGER NOT NULL REFERENCES record (seq),
    b      INTEGER NOT NULL REFERENCES record (seq),
    kind   INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),      -- associated, reinforced, contradicts, evidence
    weight INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000), -- in thousandths, at its last use
    used   INTEGER NOT NULL,                                   -- its last use, or when it was made
    PRIMARY KEY (a, b, kind),
    CHECK (a <> b AND (kind > 1 OR a < b))
) STRICT, WITHOUT ROWID;
CREATE INDEX link_back ON link (b);
CREATE INDEX link_contradicts ON link (used) WHERE kind = 2;

-- The number of links of a record that has any, and its community.
CREATE TABLE node (
    record    INTEGER PRIMARY KEY REFERENCES record (seq),
    degree    INTEGER NOT NULL,
    community INTEGER                                          -- the seq of its first record
) STRICT;

-- Communities of at least two records.
CREATE TABLE community (number INTEGER PRIMARY KEY, size INTEGER NOT NULL) STRICT;

CREATE TRIGGER link_is_counted AFTER INSERT ON link
BEGIN
    INSERT INTO node (record, degree) VALUES (new.a, 1), (new.b, 1)
        ON CONFLICT (record) DO UPDATE SET degree = degree + 1;
END;

CREATE TRIGGER link_is_counted_out AFTER DELETE ON link
BEGIN
    UPDATE node SET degree = degree - 1 WHERE record IN (old.a, old.b);
END;

-- The event log, the newest 4096 of each kind.
CREATE TABLE event (
    seq      INTEGER PRIMARY KEY,
    id       BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),  -- UUID, version 7
    kind     TEXT    NOT NULL,
    severity TEXT    CHECK (severity IN ('info', 'warning', 'critical')),
    domain   TEXT,
    ts       INTEGER NOT NULL,
    data     TEXT    NOT NULL,                                 -- a JSON object
    session  TEXT    NOT NULL,
    sources  TEXT    NOT NULL                                  -- a JSON array of records' ids
) STRICT;
CREATE INDEX event_by_kind ON event (kind, ts);

-- Session briefings, rendered in advance: for one project, or for none ('').
CREATE TABLE wake (
    project TEXT    PRIMARY KEY,
    newest  INTEGER NOT NULL,                                  -- the last record that was there then
    payload TEXT    NOT NULL                                   -- JSON
) STRICT, WITHOUT ROWID;
