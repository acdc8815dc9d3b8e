-- The same as the statements of gatebook/ledger/checkpoints.py, in one call whose plans the server keeps: what a night
-- does most often, besides, is one trip and one statement then. It returns the number that it saved, or nothing.

DROP FUNCTION save_checkpoint;

CREATE FUNCTION save_checkpoint (
  known_schema BIGINT, given_now DOUBLE PRECISION,
  run TEXT, epoch BIGINT, seq BIGINT, state TEXT, kept BIGINT, every BIGINT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  present BIGINT;
  saved BIGINT;
BEGIN
  SELECT schema_version INTO present FROM suite_lock FOR UPDATE;
  IF present <> known_schema THEN
    RAISE EXCEPTION 'the database has schema %', present;
  END IF;
  INSERT INTO checkpoints (run_id, seq, step, state, created_at)
  SELECT runs.run_id, save_checkpoint.seq, runs.steps, save_checkpoint.state,
    coalesce(given_now, CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION))
  FROM runs
  WHERE runs.run_id = run AND runs.epoch = save_checkpoint.epoch AND runs.status = 'running' AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS known WHERE known.run_id = run AND known.seq >= save_checkpoint.seq)
  RETURNING checkpoints.seq INTO saved;
  DELETE FROM checkpoints WHERE checkpoints.run_id = run AND checkpoints.seq % every <> 0 AND checkpoints.seq <= (
    SELECT newer.seq FROM checkpoints AS newer WHERE newer.run_id = run ORDER BY newer.seq DESC LIMIT 1 OFFSET kept);
  RETURN saved;
END
$$;

-- A checkpoint is inserted from its run's row, under the one lock of all writers: looking for that row once more, and
-- locking it, adds nothing.
ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_run_id_fkey;
