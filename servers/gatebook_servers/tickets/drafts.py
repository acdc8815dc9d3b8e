"""Drafts: immutable rows. A new one for a ticket supersedes the older and voids what was asked for it."""

from datetime import datetime

from gatebook.approvals.requests import Approvals
from gatebook.clock import moment, new_id
from gatebook.database.port import Row, Transaction
from gatebook.errors import ConflictError, NotFoundError
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

    @classmethod
    def written(
        cls, *, draft_id: str, ref: str, body: str, head: str, recipient: str, author: str, run_id: str, at: float
    ) -> "StoredDraft":
        """Return a draft as it will be stored."""
        return cls(
            draft_id=draft_id,
            ref=ref,
            body=body,
            body_sha256=text_digest(body),
            head=head,
            recipient=recipient,
            author=author,
            run_id=run_id,
            superseded_by="",
            created_at=moment(at),
        )

    def says_the_same(self, other: "StoredDraft") -> bool:
        """Whether both say the same to the same customer in the same state of the conversation."""
        return (self.body_sha256, self.head, self.recipient) == (other.body_sha256, other.head, other.recipient)


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

    def replaced_by(self, draft_id: str) -> StoredDraft | None:
        """Return the draft in whose place this one is."""
        row = self._tx.one(
            "SELECT * FROM drafts WHERE superseded_by = :id ORDER BY created_at DESC LIMIT 1", id=draft_id
        )
        return _draft(row) if row else None

    def add(
        self, *, ref: str, body: str, head: str, recipient: str, author: str, run_id: str, tenant: str, target: str
    ) -> tuple[StoredDraft, StoredDraft | None, bool]:
        """Store a draft: it, the one it supersedes, and whether it is new. The same text on the same state is one.

        An agent that repeats a draft which a person changed since gets its own again and leaves the person's in force.
        """
        draft = StoredDraft.written(
            draft_id=new_id("drf"),
            ref=ref,
            body=body,
            head=head,
            recipient=recipient,
            author=author,
            run_id=run_id,
            at=self._tx.now,
        )
        present = self.current(ref)
        earlier = present
        while earlier is not None and not earlier.says_the_same(draft):
            earlier = self.replaced_by(earlier.draft_id) if earlier.author.startswith("person:") else None
        if earlier is not None:
            return earlier, None, False
        if present is not None:
            self.replace(present.draft_id, draft, tenant=tenant, target=target)
        else:
            self._insert(draft)
        return draft, present, True

    def replace(self, draft_id: str, draft: StoredDraft, *, tenant: str, target: str) -> None:
        """Store a draft in the place of another one, and close the open requests to send a reply on its target.

        Raises:
            ConflictError: If that one is not the newest any more.
        """
        replaced = self._tx.execute(
            "UPDATE drafts SET superseded_by = :new WHERE draft_id = :old AND superseded_by = ''",
            new=draft.draft_id,
            old=draft_id,
        )
        if not replaced:
            raise ConflictError("a newer draft replaced this one.", next_step="Decide on the newer one.")
        Approvals(self._tx).supersede(tenant=tenant, target=target, operation=REPLY, reason="superseded")
        self._insert(draft)

    def _insert(self, draft: StoredDraft) -> None:
        self._tx.execute(
            """INSERT INTO drafts (draft_id, ref, body, body_sha256, head, recipient, author, run_id, superseded_by,
                 created_at)
               VALUES (:id, :ref, :body, :sha, :head, :recipient, :author, :run_id, '', :now)""",
            id=draft.draft_id,
            ref=draft.ref,
            body=draft.body,
            sha=draft.body_sha256,
            head=draft.head,
            recipient=draft.recipient,
            author=draft.author,
            run_id=draft.run_id,
            now=self._tx.now,
        )


def _draft(row: Row) -> StoredDraft:
    return StoredDraft.model_validate(dict(row))
