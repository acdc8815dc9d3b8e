-- The same as the statements of gatebook/ledger/checkpoints.py, in one call whose plan the server keeps: what a night
-- does most often, besides, is one trip then. It returns the number that it saved, or nothing.

DROP FUNCTION save_checkpoint;

CREATE FUNCTION save_checkpoint (
  known_schema BIGINT, given_now DOUBLE PRECISION, run TEXT, epoch BIGINT, seq BIGINT, state TEXT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  present BIGINT;
  newest BIGINT;
  saved BIGINT;
BEGIN
  SELECT schema_version INTO present FROM suite_lock FOR UPDATE;
  IF present <> known_schema THEN
    RAISE EXCEPTION 'the database has schema %', present;
  END IF;
  SELECT known.seq INTO newest FROM checkpoints AS known WHERE known.run_id = run ORDER BY known.seq DESC LIMIT 1;
  IF newest >= save_checkpoint.seq THEN
    RETURN NULL;
  END IF;
  INSERT INTO checkpoints (run_id, seq, step, state, created_at)
  SELECT runs.run_id, save_checkpoint.seq, runs.steps, save_checkpoint.state,
    coalesce(given_now, CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION))
  FROM runs WHERE runs.run_id = run AND runs.epoch = save_checkpoint.epoch AND runs.status = 'running'
  RETURNING checkpoints.seq INTO saved;
  -- Once in ten numbers, which costs what once does: until then a few more than the last three stay.
  IF saved / 10 > newest / 10 THEN
    DELETE FROM checkpoints WHERE checkpoints.run_id = run AND checkpoints.seq % 100 <> 0 AND checkpoints.seq <= (
      SELECT newer.seq FROM checkpoints AS newer WHERE newer.run_id = run ORDER BY newer.seq DESC LIMIT 1 OFFSET 3);
  END IF;
  RETURN saved;
END
$$;
