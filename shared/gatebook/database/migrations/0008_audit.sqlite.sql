-- What happened to requests, grants, switches, people and policy: a chain of hashes, only ever appended to.
CREATE TABLE audit_events (
  seq INTEGER PRIMARY KEY,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  actor TEXT NOT NULL,
  event TEXT NOT NULL,
  subject TEXT NOT NULL,
  at DOUBLE PRECISION NOT NULL,
  body TEXT NOT NULL
);

CREATE INDEX audit_events_subject ON audit_events (subject, seq);

CREATE TRIGGER audit_events_no_update
BEFORE UPDATE ON audit_events
BEGIN
  SELECT RAISE(ABORT, 'the audit log is only appended to');
END;

CREATE TRIGGER audit_events_no_delete
BEFORE DELETE ON audit_events
BEGIN
  SELECT RAISE(ABORT, 'the audit log is only appended to');
END;

-- REPLACE deletes without a word to the trigger above.
CREATE TRIGGER audit_events_at_the_end
BEFORE INSERT ON audit_events
WHEN NEW.seq <= (SELECT MAX(seq) FROM audit_events)
BEGIN
  SELECT RAISE(ABORT, 'the audit log is only appended to');
END;

-- The tree as it was at a checkpoint, for the next one not to begin at the first event.
CREATE TABLE audit_checkpoints (
  size INTEGER PRIMARY KEY,
  peaks TEXT NOT NULL,
  written_at DOUBLE PRECISION NOT NULL
);
