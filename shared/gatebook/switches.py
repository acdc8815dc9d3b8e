"""The operator's switches, seen by every process at its next call."""

from gatebook.approvals.audit import SYSTEM, Audit
from gatebook.database.port import Transaction
from gatebook.errors import PausedError

PAUSE = "pause"
RESTORED = "restored"
"""Set for good when the database was put back from a backup: what was done since then is known only outside."""


class Switches:
    """The switches table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def set(self, name: str, *, reason: str, person: str) -> None:
        """Turn a switch on."""
        self._tx.execute(
            """INSERT INTO switches (name, reason, changed_by, changed_at) VALUES (:name, :reason, :person, :now)
               ON CONFLICT (name) DO UPDATE SET reason = excluded.reason, changed_by = excluded.changed_by,
                 changed_at = excluded.changed_at""",
            name=name,
            reason=reason,
            person=person,
            now=self._tx.now,
        )
        Audit(self._tx).switched(name, on=True, person=person, reason=reason)

    def clear(self, name: str, *, person: str = SYSTEM) -> bool:
        """Turn a switch off; whether it was on."""
        was_on = bool(self._tx.execute("DELETE FROM switches WHERE name = :name", name=name))
        if was_on:
            Audit(self._tx).switched(name, on=False, person=person)
        return was_on

    def reason(self, name: str) -> str | None:
        """Return why a switch is on, or None when it is off."""
        row = self._tx.one("SELECT reason FROM switches WHERE name = :name", name=name)
        return str(row["reason"]) if row else None

    def by(self, name: str) -> str | None:
        """Return who turned a switch on, or None when it is off."""
        row = self._tx.one("SELECT changed_by FROM switches WHERE name = :name", name=name)
        return str(row["changed_by"]) if row else None

    def since(self, name: str) -> float | None:
        """Return when a switch was turned on, or None when it is off."""
        row = self._tx.one("SELECT changed_at FROM switches WHERE name = :name", name=name)
        return float(row["changed_at"] or 0) if row else None

    def require_running(self) -> None:
        """Refuse while the suite is paused.

        Raises:
            PausedError: If the operator paused writes and sends.
        """
        if self.reason(PAUSE) is not None:
            raise PausedError(
                "the operator paused all writes and sends.",
                next_step="Read and draft if you like, then finish the run; do not wait for it.",
            )
