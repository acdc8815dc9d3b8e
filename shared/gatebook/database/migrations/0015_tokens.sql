-- Credentials that renew --------------------------------------------------------------------------------------------

-- The tokens of each account, sealed, without any where it is not connected; until when whose renewal keeps the others
-- from another, and until when a refusal is remembered. Times are steady ones.
CREATE TABLE desk_tokens (
  account TEXT PRIMARY KEY,
  generation INTEGER NOT NULL,
  sealed BLOB,
  obtained_at DOUBLE PRECISION NOT NULL,
  renew_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  leased_until DOUBLE PRECISION NOT NULL,
  refused TEXT NOT NULL,
  refused_until DOUBLE PRECISION NOT NULL
);
