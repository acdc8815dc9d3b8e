"""What became of a write whose answer was lost. GitHub keeps markers in texts, and none of a change of fields."""

import json
from typing import Literal, cast

from gatebook.database.port import Transaction
from gatebook.errors import OutcomeUnknownError
from gatebook_servers.tickets.desk import Patch
from gatebook_servers.tickets.desks.github.changing import holds
from gatebook_servers.tickets.desks.github.reading import Issue, version_of
from gatebook_servers.tickets.desks.writing import Request

SKEW_S = 600
"""By how much GitHub's clock may be behind ours, seconds."""


class Sent:
    """A write on record."""

    def __init__(self, operation: str, request: Request, outcome: str, sent_at: float) -> None:
        self.operation = operation
        self.request = request
        self.outcome = outcome
        self.since = int(sent_at) - SKEW_S
        """From when on it may be found at GitHub, seconds since the epoch."""


def sent(tx: Transaction, marker: str, account: str) -> Sent | None:
    """Return what is on record of a marker; None where this database never sent it."""
    row = tx.one(
        "SELECT operation, request, outcome, sent_at FROM desk_writes WHERE marker = :marker AND account = :account",
        marker=marker,
        account=account,
    )
    if row is None:
        return None
    request = cast("Request", json.loads(str(row["request"])))
    return Sent(str(row["operation"]), request, str(row["outcome"]), float(row["sent_at"] or 0.0))


def became_of(write: Sent, issue: Issue, prefix: str) -> Literal["applied", "nothing"]:
    """Return what became of a change of fields, as far as the issue tells.

    Raises:
        OutcomeUnknownError: If the issue changed and is not as the change wanted it.
    """
    if write.outcome in ("not_applied", "conflict"):
        return "nothing"
    patch = Patch.model_validate(write.request["patch"])
    if write.outcome == "applied" or holds(issue, patch, prefix):
        return "applied"
    if version_of(issue) == write.request["base_version"]:
        return "nothing"
    raise cannot_tell()


def cannot_tell() -> OutcomeUnknownError:
    """Return the refusal to guess."""
    return OutcomeUnknownError(
        "GitHub does not tell whether this was applied.", next_step="A person has to look at the issue and settle it."
    )
