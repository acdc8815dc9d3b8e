-- Every page that a commit changes is written to the disk: an index that only a daily chore or a rare look-up needs
-- costs every call more than it saves there.
DROP INDEX recordings_finished;

DROP INDEX steps_effect;

CREATE INDEX steps_effect ON steps (effect_key) WHERE effect_key <> '';

-- A call looks for the request that fits it, among all that were ever made.
CREATE INDEX approvals_fingerprint ON approvals (tenant, fingerprint);
