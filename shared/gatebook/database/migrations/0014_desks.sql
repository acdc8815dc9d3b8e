-- Writes to desks of other companies ----------------------------------------------------------------------------

-- What is sent, exactly, before it is sent, and how it ended: applied, not_applied, conflict or ambiguous.
CREATE TABLE desk_writes (
  marker TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  ref TEXT NOT NULL,
  operation TEXT NOT NULL,
  request TEXT NOT NULL,
  outcome TEXT NOT NULL,
  sent_at DOUBLE PRECISION NOT NULL
);

-- Whose write goes to a ticket at this moment.
CREATE TABLE desk_leases (
  account TEXT NOT NULL,
  ref TEXT NOT NULL,
  owner TEXT NOT NULL,
  marker TEXT NOT NULL,
  until DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (account, ref)
);
