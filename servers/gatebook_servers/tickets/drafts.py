"""Drafts: immutable rows. A new one for a ticket supersedes the older and voids what was asked for it."""

from datetime import datetime

from gatebook.approvals.requests import Approvals
from gatebook.clock import new_id
from gatebook.database.port import Row, Transaction
from gatebook.errors import NotFoundError
from gatebook.intents import Value, text_digest

REPLY = "reply"
"""The operation of a sent draft in an effect's identity."""


class StoredDraft(Value):
    """A stored draft: `head` was the customer's newest message, and `recipient` their address, when written."""

    draft_id: str
    ref: str
    body: str
    body_sha256: str
    head: str
    recipient: str
    author: str
    run_id: str
    superseded_by: str
    created_at: datetime


class Drafts:
    """The drafts table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def get(self, draft_id: str) -> StoredDraft:
        """Return a draft.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._tx.one("SELECT * FROM drafts WHERE draft_id = :id", id=draft_id)
        if row is None:
            raise NotFoundError("no draft has this id.", next_step="Call draft_reply first.")
        return _draft(row)

    def current(self, ref: str) -> StoredDraft | None:
        """Return a ticket's draft that nothing supersedes."""
        row = self._tx.one(
            "SELECT * FROM drafts WHERE ref = :ref AND superseded_by = '' ORDER BY created_at DESC LIMIT 1", ref=ref
        )
        return _draft(row) if row else None

    def add(
        self, *, ref: str, body: str, head: str, recipient: str, author: str, run_id: str, tenant: str, target: str
    ) -> tuple[StoredDraft, StoredDraft | None, bool]:
        """Store a draft: it, the one it supersedes, and whether it is new. The same text on the same state is one."""
        present = self.current(ref)
        sha = text_digest(body)
        if present is not None and (present.body_sha256, present.head, present.recipient) == (sha, head, recipient):
            return present, None, False
        draft_id = new_id("drf")
        if present is not None:
            self._tx.execute(
                "UPDATE drafts SET superseded_by = :new WHERE draft_id = :old", new=draft_id, old=present.draft_id
            )
            Approvals(self._tx).supersede(tenant=tenant, target=target, operation=REPLY, reason="superseded")
        self._tx.execute(
            """INSERT INTO drafts (draft_id, ref, body, body_sha256, head, recipient, author, run_id, superseded_by,
                 created_at)
               VALUES (:id, :ref, :body, :sha, :head, :recipient, :author, :run_id, '', :now)""",
            id=draft_id,
            ref=ref,
            body=body,
            sha=sha,
            head=head,
            recipient=recipient,
            author=author,
            run_id=run_id,
            now=self._tx.now,
        )
        return self.get(draft_id), present, True


def _draft(row: Row) -> StoredDraft:
    return StoredDraft.model_validate(dict(row))
