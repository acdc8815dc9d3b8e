-- Which processes may do a job: those of its tenant and mode that loaded its room. Empty means any.
ALTER TABLE outbox ADD COLUMN tenant TEXT NOT NULL DEFAULT '';

ALTER TABLE outbox ADD COLUMN mode TEXT NOT NULL DEFAULT '';

ALTER TABLE outbox ADD COLUMN room TEXT NOT NULL DEFAULT '';

UPDATE outbox SET
  tenant = COALESCE((SELECT tenant FROM approvals WHERE approval_id = outbox.subject), ''),
  mode = COALESCE((SELECT mode FROM approvals WHERE approval_id = outbox.subject), ''),
  room = COALESCE((SELECT server FROM approvals WHERE approval_id = outbox.subject), '')
WHERE kind = 'execute_approved';

-- Which requests the people's channels were told of, each event once, and with which message.
CREATE TABLE announcements (
  approval_id TEXT NOT NULL REFERENCES approvals (approval_id),
  event TEXT NOT NULL,
  message TEXT NOT NULL,
  announced_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (approval_id, event)
);

CREATE INDEX announcements_message ON announcements (message);

CREATE INDEX announcements_event ON announcements (event, announced_at);

-- For the clocks, which every look at the requests applies.
CREATE INDEX approvals_state ON approvals (state, changed_at);
