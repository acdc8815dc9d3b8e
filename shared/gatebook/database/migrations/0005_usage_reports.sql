-- Who counts is part of a report's identity: the same id from another source is another report. `step` is how many steps
-- the run had taken when it was made; reports from before this are taken to be recent.
CREATE TABLE usage_reports (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  source TEXT NOT NULL,
  source_id TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  usd DOUBLE PRECISION,
  model TEXT NOT NULL,
  step INTEGER NOT NULL,
  recorded_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (run_id, source, source_id)
);

INSERT INTO usage_reports (run_id, source, source_id, input_tokens, output_tokens, usd, model, step, recorded_at)
SELECT usage_records.run_id, source, source_id, input_tokens, output_tokens, usd, model, runs.steps, recorded_at
FROM usage_records JOIN runs ON runs.run_id = usage_records.run_id;

DROP TABLE usage_records;
