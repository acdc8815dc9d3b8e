-- What rules count and ask: how often the like of a call happened of late, and whether somebody was written to before.
CREATE INDEX effects_claimed ON effects (tenant, claimed_at);

CREATE INDEX effects_subject ON effects (subject);

CREATE INDEX approvals_created ON approvals (tenant, created_at);

CREATE INDEX drafts_recipient ON drafts (recipient);
