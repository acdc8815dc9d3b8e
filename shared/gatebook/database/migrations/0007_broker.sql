-- How a request is to be decided, as policy said when it was asked for, and which policy that was.
ALTER TABLE approvals ADD COLUMN risk TEXT NOT NULL DEFAULT 'normal';

ALTER TABLE approvals ADD COLUMN quorum INTEGER NOT NULL DEFAULT 1;

ALTER TABLE approvals ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';

ALTER TABLE approvals ADD COLUMN four_eyes INTEGER NOT NULL DEFAULT 0;

ALTER TABLE approvals ADD COLUMN editable TEXT NOT NULL DEFAULT '[]';

ALTER TABLE approvals ADD COLUMN batch INTEGER NOT NULL DEFAULT 1;

ALTER TABLE approvals ADD COLUMN use_within_s DOUBLE PRECISION;

ALTER TABLE approvals ADD COLUMN policy_sha256 TEXT NOT NULL DEFAULT '';

-- Whose revision of which request this is, and what the server fetched for the person who decides.
ALTER TABLE approvals ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

ALTER TABLE approvals ADD COLUMN edited_by TEXT NOT NULL DEFAULT '';

ALTER TABLE approvals ADD COLUMN edited_from TEXT NOT NULL DEFAULT '';

ALTER TABLE approvals ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';

CREATE INDEX approvals_edited ON approvals (edited_from);

-- A vote is on one revision, which is one fingerprint; as what the person voted counts again when it is used.
CREATE TABLE votes (
  approval_id TEXT NOT NULL REFERENCES approvals (approval_id),
  revision INTEGER NOT NULL,
  person TEXT NOT NULL,
  roles TEXT NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT NOT NULL,
  channel TEXT NOT NULL,
  shown TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  decided_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (approval_id, revision, person, verdict)
);

INSERT INTO votes (approval_id, revision, person, roles, verdict, reason, channel, shown, fingerprint, decided_at)
SELECT decisions.approval_id, 1, person, '["*"]', verdict, decisions.reason, channel, shown, fingerprint, decided_at
FROM decisions JOIN approvals ON approvals.approval_id = decisions.approval_id;

DROP TABLE decisions;

ALTER TABLE votes RENAME TO decisions;
