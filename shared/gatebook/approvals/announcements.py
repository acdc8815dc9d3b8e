"""Which requests people were told of, where they are: each of an event's requests once, many in one message.

A night asks for dozens of things within minutes. The first is told at once; what follows within a minute is told
together.
"""

from typing import Literal

from gatebook.approvals.models import Approval
from gatebook.approvals.records import LAPSED, Records
from gatebook.clock import new_id
from gatebook.database.port import Transaction
from gatebook.intents import Value

Event = Literal["requested", "reminder", "expired"]

MESSAGE_EVERY_S = 60.0
"""Shortest time between two messages about the same event of one tenant."""
MOST_AT_ONCE = 100
"""Requests in one message; the next one tells of the others."""
TOLD_WITHIN_S = 86_400.0
"""What expired longer ago is not told any more."""

_DUE: dict[Event, str] = {
    "requested": "state = 'pending'",
    # Not to who was told of it only then.
    "reminder": """state = 'pending' AND :now >= (created_at + decide_by) / 2 AND EXISTS (
      SELECT 1 FROM announcements AS first WHERE first.approval_id = approvals.approval_id
        AND first.event = 'requested' AND first.announced_at < (created_at + decide_by) / 2)""",
    "expired": """(state = 'expired' OR (state = 'lapsed' AND state_reason = :lapsed))
      AND changed_at > :now - :within""",
}
EVENTS: tuple[Event, ...] = tuple(_DUE)


class Told(Value):
    """What a message tells."""

    event: Event
    announced_at: float
    requests: tuple[Approval, ...]
    waiting: int
    """How many requests of the tenant wait in all."""


class Announcements:
    """The announcements table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def collect(self, event: Event, *, tenant: str, mode: str) -> str:
        """Put what was not told of an event into a new message, unless the last one was a moment ago.

        Returns:
            The message's id, empty when there is none.
        """
        due = self._due(event, tenant=tenant, mode=mode)
        if not due or self._lately(event, tenant=tenant, mode=mode):
            return ""
        message = new_id("msg")
        for approval_id in due:
            self._tx.execute(
                """INSERT INTO announcements (approval_id, event, message, announced_at)
                   VALUES (:id, :event, :message, :now)""",
                id=approval_id,
                event=event,
                message=message,
                now=self._tx.now,
            )
        return message

    def told(self, message: str) -> Told | None:
        """Return what a message tells as things are now; None when all that it asks for was decided meanwhile."""
        rows = self._tx.all(
            "SELECT approval_id, event, announced_at FROM announcements WHERE message = :message ORDER BY approval_id",
            message=message,
        )
        if not rows:
            return None
        requests = Records(self._tx).several([str(row["approval_id"]) for row in rows])
        if rows[0]["event"] != "expired":
            requests = [request for request in requests if request.state == "pending"]
        if not requests:
            return None
        return Told.model_validate(
            {
                "event": rows[0]["event"],
                "announced_at": rows[0]["announced_at"],
                "requests": requests,
                "waiting": self._waiting(tenant=requests[0].tenant, mode=requests[0].mode),
            }
        )

    def _due(self, event: Event, *, tenant: str, mode: str) -> list[str]:
        rows = self._tx.all(
            f"""SELECT approval_id FROM approvals
                WHERE tenant = :tenant AND mode = :mode AND {_DUE[event]} AND NOT EXISTS (
                  SELECT 1 FROM announcements AS known
                  WHERE known.approval_id = approvals.approval_id AND known.event = :event)
                ORDER BY created_at, approval_id LIMIT :limit""",  # noqa: S608 - constants
            tenant=tenant,
            mode=mode,
            event=event,
            limit=MOST_AT_ONCE,
            now=self._tx.now,
            lapsed=LAPSED,
            within=TOLD_WITHIN_S,
        )
        return [str(row["approval_id"]) for row in rows]

    def _lately(self, event: Event, *, tenant: str, mode: str) -> bool:
        row = self._tx.one(
            """SELECT 1 FROM announcements JOIN approvals ON approvals.approval_id = announcements.approval_id
               WHERE event = :event AND announced_at > :since AND tenant = :tenant AND mode = :mode""",
            event=event,
            since=self._tx.now - MESSAGE_EVERY_S,
            tenant=tenant,
            mode=mode,
        )
        return row is not None

    def _waiting(self, *, tenant: str, mode: str) -> int:
        row = self._tx.one(
            "SELECT COUNT(*) AS n FROM approvals WHERE tenant = :tenant AND mode = :mode AND state = 'pending'",
            tenant=tenant,
            mode=mode,
        )
        return int(row["n"] or 0) if row else 0
