-- The store, version 6. What a store gives to others and takes from them (sync/).

-- Other ids of a record: the same words of one role in one session, stored on two machines, are one record. It is shown by
-- its smallest id.
CREATE TABLE record_alias (
    id     BLOB    PRIMARY KEY CHECK (length(id) = 16),
    record INTEGER NOT NULL REFERENCES record (seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_alias_by_record ON record_alias (record);

-- What a record becomes while another store's form of it is merged: the lesser time, and one of two projects. Empty
-- outside of that transaction.
CREATE TABLE record_merge (
    record  INTEGER PRIMARY KEY,
    ts      INTEGER NOT NULL,
    project INTEGER NOT NULL
) STRICT;

-- Records that have ceased to hold, by their fingerprint: index record_living has only the others.
CREATE TABLE ended_record (
    hash   BLOB    NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (hash, record)
) STRICT, WITHOUT ROWID;

-- Of records whose words one role has said before in the session: how often. A record that stores have counted differently
-- has several numbers, one without rows has 0.
CREATE TABLE repetition (
    record INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 0),
    PRIMARY KEY (record, number)
) STRICT, WITHOUT ROWID;

-- Numbers of records that turned out to be another one, which has their ids now. They are not used again.
CREATE TABLE absorbed_record (
    seq    INTEGER PRIMARY KEY,
    record INTEGER NOT NULL
) STRICT;

-- Ids that were forgotten and whose record this store does not have under that id: other ids of a forgotten record, and
-- ids that another store has forgotten.
CREATE TABLE forgotten_id (
    id BLOB    PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Keyed hashes of session, role, text and repetition of forgotten records (forgotten.rs): the same record of another
-- store, under another id, is forgotten too.
CREATE TABLE forgotten_record (hash BLOB PRIMARY KEY CHECK (length(hash) = 16)) STRICT, WITHOUT ROWID;

-- Other stores, each with a number.
CREATE TABLE sync_peer (
    number   INTEGER PRIMARY KEY,
    store    BLOB    NOT NULL UNIQUE CHECK (length(store) = 16),
    unasked  INTEGER NOT NULL DEFAULT 0                        -- records that its present run has made this store forget
) STRICT;

-- Where another store was met. One store may be met over a host and in folders.
CREATE TABLE sync_meeting (
    peer     INTEGER NOT NULL REFERENCES sync_peer (number),
    kind     TEXT    NOT NULL CHECK (kind IN ('host', 'folder')),
    name     TEXT    NOT NULL,
    met      INTEGER NOT NULL,
    sent     TEXT,                                             -- up to where it has this store's entries
    received TEXT,                                             -- up to where this store has its entries
    PRIMARY KEY (peer, kind, name)
) STRICT, WITHOUT ROWID;

-- Runs of records that were learned from a peer, and are not given back to it.
CREATE TABLE learned_record (
    peer  INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    first INTEGER NOT NULL,
    PRIMARY KEY (peer, last)
) STRICT, WITHOUT ROWID;

-- The change log: records are in it by their seq. Each other change has a row, and one that replaces an earlier change of
-- the same object from the same origin takes its place, with a new number. Numbers are not used again.
CREATE TABLE change (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 4),      -- record, reinforced link, contradiction, forgotten id, knob
    a      INTEGER NOT NULL DEFAULT 0,                         -- a record, or the first one of a link
    b      INTEGER NOT NULL DEFAULT 0,                         -- the second one of a link
    name   BLOB    NOT NULL DEFAULT X'',                       -- an id, or the name of a knob
    origin INTEGER NOT NULL                                    -- the number of a peer; 0 if it was made here
) STRICT;
CREATE INDEX change_by_object ON change (kind, a, b, name, origin);
CREATE INDEX change_by_second_record ON change (b) WHERE b > 0;

-- One row: the origin of the changes that are being made. 0 outside of transactions.
CREATE TABLE change_origin (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    peer INTEGER NOT NULL
) STRICT;
INSERT INTO change_origin (one, peer) VALUES (1, 0);

-- What is inserted here gets a row of the change log, in the place of an earlier one of the same object and origin.
CREATE VIEW noted_change AS SELECT kind, a, b, name FROM change;
CREATE TRIGGER change_is_noted INSTEAD OF INSERT ON noted_change
BEGIN
    DELETE FROM change
        WHERE kind = new.kind AND a = new.a AND b = new.b AND name = new.name
            AND origin = (SELECT peer FROM change_origin);
    INSERT INTO change (kind, a, b, name, origin)
        SELECT new.kind, new.a, new.b, new.name, peer FROM change_origin;
END;

-- The last change of each knob by each store. A knob has the value of the latest.
CREATE TABLE knob_change (
    knob   TEXT    NOT NULL,
    store  BLOB    NOT NULL CHECK (length(store) = 16),
    number INTEGER NOT NULL,                                   -- grows with each change by that store
    at     INTEGER NOT NULL,
    value  TEXT    NOT NULL,
    PRIMARY KEY (knob, store)
) STRICT, WITHOUT ROWID;

-- Records that have ceased to hold: those that were replaced, and if these are not all, all that a look at each finds.
INSERT INTO ended_record (hash, record)
    SELECT DISTINCT hash, seq FROM link INDEXED BY link_contradicts CROSS JOIN record ON seq = a
    WHERE kind = 2 AND valid_to IS NOT NULL;
INSERT OR IGNORE INTO ended_record (hash, record)
    SELECT hash, seq
    FROM (SELECT 1 WHERE (SELECT count(*) FROM record)
              <> (SELECT count(*) FROM record WHERE valid_to IS NULL) + (SELECT count(*) FROM ended_record))
    CROSS JOIN record WHERE valid_to IS NOT NULL;

INSERT INTO repetition (record, number)
    WITH said_again (hash) AS (
        SELECT hash FROM ended_record UNION SELECT hash FROM record WHERE valid_to IS NULL AND twin > 0),
    said (hash, seq) AS (
        SELECT hash, record FROM ended_record
        UNION ALL SELECT record.hash, seq FROM said_again CROSS JOIN record
                  ON record.hash = said_again.hash AND valid_to IS NULL)
    SELECT seq, number FROM (
        SELECT said.seq, row_number() OVER (PARTITION BY said.hash ORDER BY ts, id) - 1 AS number
        FROM said CROSS JOIN record ON record.seq = said.seq)
    WHERE number > 0;

INSERT INTO change (kind, a, b, origin) SELECT kind, a, b, 0 FROM link WHERE kind IN (1, 2) ORDER BY used;
INSERT INTO change (kind, name, origin) SELECT 3, id, 0 FROM forgotten ORDER BY at;

-- A record changes in two ways: it ceases to hold, and it is merged with another store's form of it. Then it is shown by a
-- smaller id, and has the lesser time and one of the projects.
DROP TRIGGER record_is_written_once;
CREATE TRIGGER record_is_written_once BEFORE UPDATE OF
    seq, tier, role, session, part, parts, hash, twin, cue, text ON record
BEGIN
    SELECT RAISE(ABORT, 'a record never changes: only valid_to can be set');
END;

CREATE TRIGGER record_keeps_its_id BEFORE UPDATE OF id ON record
    WHEN new.id >= old.id OR NOT EXISTS (SELECT 1 FROM record_alias WHERE id = new.id AND record = old.seq)
BEGIN
    SELECT RAISE(ABORT, 'a record never changes its id, but to a smaller one that is noted as its alias');
END;

CREATE TRIGGER record_has_a_smaller_id AFTER UPDATE OF id ON record
BEGIN
    DELETE FROM record_alias WHERE id = new.id;
    INSERT INTO record_alias (id, record) VALUES (old.id, new.seq);
END;

CREATE TRIGGER record_keeps_its_time_and_project BEFORE UPDATE OF ts, project ON record
    WHEN new.ts > old.ts
        OR NOT EXISTS (SELECT 1 FROM record_merge WHERE record = old.seq AND ts = new.ts AND project = new.project)
BEGIN
    SELECT RAISE(ABORT, 'a record never changes: only valid_to can be set');
END;

DROP TRIGGER record_is_not_replaced;
CREATE TRIGGER record_is_not_replaced BEFORE INSERT ON record
    WHEN EXISTS (SELECT 1 FROM record WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM record_alias WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM record WHERE seq = new.seq)
        OR (new.valid_to IS NULL AND EXISTS (
            SELECT 1 FROM record
            WHERE session = new.session AND hash = new.hash AND twin = new.twin AND valid_to IS NULL))
BEGIN
    SELECT RAISE(ABORT, 'a record with this id exists: records are never replaced');
END;

-- A record is deleted only once it is noted as forgotten, or once another one has all that it says.
DROP TRIGGER record_stays;
CREATE TRIGGER record_stays BEFORE DELETE ON record
    WHEN NOT EXISTS (SELECT 1 FROM forgotten WHERE seq = old.seq AND id = old.id)
        AND NOT EXISTS (SELECT 1 FROM absorbed_record WHERE seq = old.seq)
BEGIN
    SELECT RAISE(ABORT, 'a record is never deleted');
END;

CREATE TRIGGER absorbed_record_has_a_twin BEFORE INSERT ON absorbed_record
    WHEN new.seq = new.record OR NOT EXISTS (
        SELECT 1 FROM record AS one JOIN record AS other ON other.seq = new.record
        WHERE one.seq = new.seq AND one.session = other.session AND one.role = other.role AND one.text = other.text)
BEGIN
    SELECT RAISE(ABORT, 'only a record whose words another one has is absorbed by it');
END;

CREATE TRIGGER absorbed_record_never_changes BEFORE UPDATE ON absorbed_record
BEGIN
    SELECT RAISE(ABORT, 'an absorbed record stays absorbed');
END;

CREATE TRIGGER absorbed_record_stays BEFORE DELETE ON absorbed_record
BEGIN
    SELECT RAISE(ABORT, 'an absorbed record stays absorbed');
END;

CREATE TRIGGER record_is_absorbed AFTER INSERT ON absorbed_record
BEGIN
    DELETE FROM ended_record WHERE record = new.seq AND hash = (SELECT hash FROM record WHERE seq = new.seq);
    DELETE FROM repetition WHERE record = new.seq;
    DELETE FROM change WHERE kind IN (0, 1, 2) AND a = new.seq;
    DELETE FROM change WHERE b = new.seq AND b > 0;
END;

DROP TRIGGER record_stays_forgotten;
CREATE TRIGGER record_stays_forgotten BEFORE INSERT ON record
    WHEN EXISTS (SELECT 1 FROM forgotten WHERE id = new.id) OR EXISTS (SELECT 1 FROM forgotten WHERE seq = new.seq)
        OR EXISTS (SELECT 1 FROM forgotten_id WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM absorbed_record WHERE seq = new.seq)
BEGIN
    SELECT RAISE(ABORT, 'a record with this id was forgotten');
END;

CREATE TRIGGER alias_is_no_id BEFORE INSERT ON record_alias
    WHEN EXISTS (SELECT 1 FROM record WHERE id = new.id) OR EXISTS (SELECT 1 FROM record_alias WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM forgotten_id WHERE id = new.id) OR EXISTS (SELECT 1 FROM forgotten WHERE id = new.id)
BEGIN
    SELECT RAISE(ABORT, 'an id of a record, or of a forgotten one, is no alias of another record');
END;

CREATE TRIGGER alias_never_changes BEFORE UPDATE ON record_alias
BEGIN
    SELECT RAISE(ABORT, 'an alias never changes');
END;

CREATE TRIGGER alias_stays BEFORE DELETE ON record_alias
    WHEN NOT EXISTS (SELECT 1 FROM record WHERE seq = old.record AND id = old.id)
        AND NOT EXISTS (SELECT 1 FROM forgotten_id WHERE id = old.id)
        AND NOT EXISTS (SELECT 1 FROM absorbed_record WHERE seq = old.record)
BEGIN
    SELECT RAISE(ABORT, 'an alias stays as long as its record');
END;

CREATE TRIGGER forgotten_id_never_changes BEFORE UPDATE ON forgotten_id
BEGIN
    SELECT RAISE(ABORT, 'a forgotten record stays forgotten');
END;

CREATE TRIGGER forgotten_id_stays BEFORE DELETE ON forgotten_id
BEGIN
    SELECT RAISE(ABORT, 'a forgotten record stays forgotten');
END;

-- The records that have ceased to hold.
CREATE TRIGGER record_was_ended AFTER INSERT ON record WHEN new.valid_to IS NOT NULL
BEGIN
    INSERT INTO ended_record (hash, record) VALUES (new.hash, new.seq);
END;

CREATE TRIGGER record_ends AFTER UPDATE OF valid_to ON record WHEN new.valid_to IS NOT old.valid_to
BEGIN
    INSERT INTO ended_record (hash, record) SELECT new.hash, new.seq WHERE old.valid_to IS NULL;
    INSERT INTO noted_change (kind, a, b, name) VALUES (0, new.seq, 0, X'');
END;

-- The change log. A tag of the newest record is given with the record.
CREATE TRIGGER record_is_tagged AFTER INSERT ON tag WHEN new.record < (SELECT max(seq) FROM record)
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (0, new.record, 0, X'');
END;

CREATE TRIGGER record_has_an_alias AFTER INSERT ON record_alias
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (0, new.record, 0, X'');
END;

CREATE TRIGGER record_is_merged AFTER UPDATE OF ts, project ON record
    WHEN new.ts <> old.ts OR new.project <> old.project
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (0, new.seq, 0, X'');
END;

CREATE TRIGGER link_is_made AFTER INSERT ON link WHEN new.kind IN (1, 2)
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (new.kind, new.a, new.b, X'');
END;

CREATE TRIGGER link_is_used AFTER UPDATE OF weight, used ON link
    WHEN new.kind IN (1, 2) AND (new.weight <> old.weight OR new.used <> old.used)
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (new.kind, new.a, new.b, X'');
END;

CREATE TRIGGER knob_is_set AFTER INSERT ON knob_change
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (4, 0, 0, CAST(new.knob AS BLOB));
END;

CREATE TRIGGER knob_is_set_again AFTER UPDATE ON knob_change
BEGIN
    INSERT INTO noted_change (kind, a, b, name) VALUES (4, 0, 0, CAST(new.knob AS BLOB));
END;

CREATE TRIGGER id_is_forgotten AFTER INSERT ON forgotten_id
BEGIN
    INSERT INTO change (kind, name, origin) SELECT 3, new.id, peer FROM change_origin;
END;

-- With a forgotten record go its other ids, which are forgotten too, and what the tables above have of it.
CREATE TRIGGER record_is_forgotten AFTER INSERT ON forgotten
BEGIN
    INSERT INTO change (kind, name, origin)
        SELECT 3, new.id, peer FROM change_origin WHERE NOT EXISTS (SELECT 1 FROM forgotten_id WHERE id = new.id);
    INSERT INTO forgotten_id (id, at)
        SELECT id, new.at FROM record_alias AS alias
        WHERE record = new.seq AND NOT EXISTS (SELECT 1 FROM forgotten_id WHERE id = alias.id);
    DELETE FROM record_alias WHERE record = new.seq;
    DELETE FROM ended_record WHERE record = new.seq AND hash = (SELECT hash FROM record WHERE seq = new.seq);
    DELETE FROM repetition WHERE record = new.seq;
    DELETE FROM change WHERE kind IN (0, 1, 2) AND a = new.seq;
    DELETE FROM change WHERE b = new.seq AND b > 0;
END;

-- Reports are copies, too. (To rename a table, SQLite reads the whole schema several times.)
CREATE TEMP TABLE copy_before AS SELECT path, kind, at FROM copy_made;
DROP TABLE copy_made;
CREATE TABLE copy_made (
    path TEXT    PRIMARY KEY,
    kind TEXT    NOT NULL CHECK (kind IN ('backup', 'export', 'report')),
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO copy_made SELECT path, kind, at FROM copy_before;
DROP TABLE copy_before;

-- Records that are stored together are mostly of one session. With the session first, their rows of the index are on a few
-- pages; by the fingerprint alone each would be on another one.
DROP INDEX record_living;
CREATE UNIQUE INDEX record_living ON record (session, hash, twin) WHERE valid_to IS NULL;
