"""What a subscription was handed already. A page is handed out again until its cursor is presented."""

from gatebook.database.port import Transaction


class Pulls:
    """The pulls table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def position(self, subscription: str, *, acknowledged: str) -> str:
        """Return where the next page begins; a presented cursor acknowledges everything up to it."""
        if acknowledged:
            self._tx.execute(
                """INSERT INTO pulls (subscription, position, updated_at) VALUES (:name, :position, :now)
                   ON CONFLICT (subscription) DO UPDATE SET position = excluded.position,
                     updated_at = excluded.updated_at""",
                name=subscription,
                position=acknowledged,
                now=self._tx.now,
            )
            return acknowledged
        row = self._tx.one("SELECT position FROM pulls WHERE subscription = :name", name=subscription)
        return str(row["position"]) if row else ""
