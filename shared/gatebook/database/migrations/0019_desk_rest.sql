-- Until when nobody writes to an account, whatever moment was given out before: the last write ended just now, or the
-- desk asked for a rest.
ALTER TABLE desk_pace ADD COLUMN rest_until DOUBLE PRECISION NOT NULL DEFAULT 0;
