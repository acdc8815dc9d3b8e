-- What happened to requests, grants, switches, people and policy: a chain of hashes, only ever appended to.
CREATE TABLE audit_events (
  seq BIGINT PRIMARY KEY,
  prev_hash TEXT COLLATE "C" NOT NULL,
  hash TEXT COLLATE "C" NOT NULL,
  actor TEXT COLLATE "C" NOT NULL,
  event TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  at DOUBLE PRECISION NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);

CREATE INDEX audit_events_subject ON audit_events (subject, seq);

CREATE FUNCTION audit_events_refuse () RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is only appended to'; END
$$;

CREATE TRIGGER audit_events_no_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse ();

-- The tree as it was at a checkpoint, for the next one not to begin at the first event.
CREATE TABLE audit_checkpoints (
  size BIGINT PRIMARY KEY,
  peaks TEXT COLLATE "C" NOT NULL,
  written_at DOUBLE PRECISION NOT NULL
);
