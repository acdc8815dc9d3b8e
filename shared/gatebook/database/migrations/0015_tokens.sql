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

-- Webhooks that wake -------------------------------------------------------------------------------------------------

-- How often each source told of something, and how often somebody who waits was told of it.
CREATE TABLE desk_wakes (
  source TEXT PRIMARY KEY,
  told INTEGER NOT NULL,
  taken INTEGER NOT NULL
);

-- What was heard already, as long as it would still be fresh.
CREATE TABLE desk_deliveries (
  signature TEXT PRIMARY KEY,
  heard_at DOUBLE PRECISION NOT NULL
);
