-- Runs, steps, checkpoints, budgets -------------------------------------------------------------------------

CREATE TABLE runs (
  run_id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  principal TEXT NOT NULL,
  key TEXT NOT NULL,
  goal TEXT NOT NULL,
  status TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  steps INTEGER NOT NULL,
  step_limit INTEGER NOT NULL,
  grace INTEGER NOT NULL,
  max_steps INTEGER NOT NULL,
  max_tokens INTEGER,
  max_usd DOUBLE PRECISION,
  summary TEXT NOT NULL,
  started_at DOUBLE PRECISION NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL,
  finished_at DOUBLE PRECISION,
  UNIQUE (tenant, key)
);

CREATE TABLE steps (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  number INTEGER NOT NULL,
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  status TEXT NOT NULL,
  arguments_sha256 TEXT NOT NULL,
  effect_key TEXT NOT NULL,
  approval_id TEXT NOT NULL,
  tool_use_id TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT NOT NULL,
  input_size INTEGER NOT NULL,
  output_size INTEGER NOT NULL,
  started_at DOUBLE PRECISION NOT NULL,
  finished_at DOUBLE PRECISION,
  PRIMARY KEY (run_id, number)
);

CREATE TABLE checkpoints (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  seq INTEGER NOT NULL,
  step INTEGER NOT NULL,
  state TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE usage_records (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  source_id TEXT NOT NULL,
  source TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  usd DOUBLE PRECISION,
  model TEXT NOT NULL,
  recorded_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (run_id, source_id)
);

CREATE TABLE counters (
  tenant TEXT NOT NULL,
  principal TEXT NOT NULL,
  day TEXT NOT NULL,
  name TEXT NOT NULL,
  spent DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (tenant, principal, day, name)
);

CREATE TABLE switches (
  name TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  changed_by TEXT NOT NULL,
  changed_at DOUBLE PRECISION NOT NULL
);

-- Effects on the outside -------------------------------------------------------------------------------------

CREATE TABLE effects (
  effect_key TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  target TEXT NOT NULL,
  operation TEXT NOT NULL,
  subject TEXT NOT NULL,
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  principal TEXT NOT NULL,
  run_id TEXT NOT NULL,
  mode TEXT NOT NULL,
  content TEXT NOT NULL,
  content_sha256 TEXT NOT NULL,
  marker TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  owner TEXT NOT NULL,
  lease_until DOUBLE PRECISION NOT NULL,
  fence INTEGER NOT NULL,
  approval_id TEXT NOT NULL,
  result TEXT NOT NULL,
  outcome TEXT NOT NULL,
  claimed_at DOUBLE PRECISION NOT NULL,
  finished_at DOUBLE PRECISION
);

CREATE INDEX effects_state ON effects (state, lease_until);

-- Approvals --------------------------------------------------------------------------------------------------

CREATE TABLE approvals (
  approval_id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  principal TEXT NOT NULL,
  run_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  tool_sha256 TEXT NOT NULL,
  arguments TEXT NOT NULL,
  effect_key TEXT NOT NULL,
  target TEXT NOT NULL,
  operation TEXT NOT NULL,
  content TEXT NOT NULL,
  content_sha256 TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  mode TEXT NOT NULL,
  rules TEXT NOT NULL,
  reason TEXT NOT NULL,
  state TEXT NOT NULL,
  state_reason TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  decide_by DOUBLE PRECISION NOT NULL,
  use_by DOUBLE PRECISION,
  changed_at DOUBLE PRECISION NOT NULL
);

CREATE UNIQUE INDEX approvals_one_open ON approvals (tenant, fingerprint)
  WHERE state IN ('pending', 'approved', 'claimed');

CREATE INDEX approvals_content ON approvals (tenant, effect_key, content_sha256);

CREATE INDEX approvals_target ON approvals (tenant, target, state);

CREATE INDEX approvals_run ON approvals (run_id, state);

CREATE TABLE decisions (
  approval_id TEXT NOT NULL REFERENCES approvals (approval_id),
  person TEXT NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT NOT NULL,
  channel TEXT NOT NULL,
  shown TEXT NOT NULL,
  decided_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (approval_id, person)
);

-- Durable background jobs ------------------------------------------------------------------------------------

CREATE TABLE outbox (
  job_id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  state TEXT NOT NULL,
  due DOUBLE PRECISION NOT NULL,
  use_by DOUBLE PRECISION NOT NULL,
  owner TEXT NOT NULL,
  lease_until DOUBLE PRECISION NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  UNIQUE (kind, subject)
);

CREATE INDEX outbox_due ON outbox (state, due);

-- The embedded desk, drafts, the pull position ----------------------------------------------------------------

CREATE TABLE desk_tickets (
  ticket_id TEXT PRIMARY KEY,
  project TEXT NOT NULL,
  subject TEXT NOT NULL,
  body TEXT NOT NULL,
  status TEXT NOT NULL,
  priority TEXT NOT NULL,
  kind TEXT NOT NULL,
  requester_name TEXT NOT NULL,
  requester_email TEXT NOT NULL,
  channel TEXT NOT NULL,
  assignee TEXT NOT NULL,
  tags TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL,
  naive_time INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_sha256 TEXT NOT NULL,
  marker TEXT NOT NULL
);

CREATE INDEX desk_tickets_created ON desk_tickets (created_at, ticket_id);

CREATE INDEX desk_tickets_updated ON desk_tickets (updated_at, ticket_id);

CREATE TABLE desk_comments (
  ticket_id TEXT NOT NULL REFERENCES desk_tickets (ticket_id),
  comment_id TEXT NOT NULL,
  author_name TEXT NOT NULL,
  author_role TEXT NOT NULL,
  public INTEGER NOT NULL,
  body TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  marker TEXT NOT NULL,
  PRIMARY KEY (ticket_id, comment_id)
);

CREATE TABLE desk_operations (
  marker TEXT PRIMARY KEY,
  ticket_id TEXT NOT NULL,
  result TEXT NOT NULL,
  applied_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE drafts (
  draft_id TEXT PRIMARY KEY,
  ref TEXT NOT NULL,
  body TEXT NOT NULL,
  body_sha256 TEXT NOT NULL,
  head TEXT NOT NULL,
  recipient TEXT NOT NULL,
  author TEXT NOT NULL,
  run_id TEXT NOT NULL,
  superseded_by TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX drafts_ref ON drafts (ref, created_at);

CREATE TABLE pulls (
  subscription TEXT PRIMARY KEY,
  position TEXT NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL
);

-- Classification ---------------------------------------------------------------------------------------------

CREATE TABLE classifications (
  ref TEXT PRIMARY KEY,
  category TEXT NOT NULL,
  confidence DOUBLE PRECISION NOT NULL,
  decision TEXT NOT NULL,
  model_version TEXT NOT NULL,
  run_id TEXT NOT NULL,
  classified_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE labels (
  ref TEXT PRIMARY KEY,
  category TEXT NOT NULL,
  subject TEXT NOT NULL,
  body TEXT NOT NULL,
  labelled_by TEXT NOT NULL,
  note TEXT NOT NULL,
  labelled_at DOUBLE PRECISION NOT NULL
);

-- Memory -----------------------------------------------------------------------------------------------------

CREATE TABLE memory_versions (
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  operation TEXT NOT NULL,
  value TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  actor TEXT NOT NULL,
  run_id TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (key, version)
);
