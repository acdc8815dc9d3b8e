-- What a background job needs to look an interrupted effect up.
ALTER TABLE effects ADD COLUMN arguments TEXT NOT NULL DEFAULT '';

CREATE INDEX steps_effect ON steps (effect_key);

-- Every tool message of a run, in order; what was said, arguments and result, is encrypted.
CREATE TABLE recordings (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  number INTEGER NOT NULL,
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  step INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  error TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  arguments_sha256 TEXT NOT NULL,
  said BLOB,
  started_at DOUBLE PRECISION NOT NULL,
  finished_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (run_id, number)
);

CREATE INDEX recordings_finished ON recordings (finished_at);
