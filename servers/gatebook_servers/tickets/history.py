"""What the database knows of a ticket and of whoever wrote it, for policy."""

from gatebook.database.port import Transaction
from gatebook_servers.tickets.drafts import REPLY
from gatebook_servers.tickets.ports import Desk, target_of


def category_of(tx: Transaction, ref: str) -> str:
    """Return what the classifier last said of a ticket, empty when it said nothing.

    It judged the text that an agent handed it, which is why policy lets a category only make things stricter.
    """
    row = tx.one("SELECT category FROM classifications WHERE ref = :ref", ref=ref)
    return str(row["category"]) if row else ""


def wrote_to(tx: Transaction, desk: Desk, address: str, *, tenant: str, mode: str) -> bool:
    """Whether a public reply to this address was ever sent from this desk."""
    rows = tx.all(
        """SELECT drafts.ref AS ref, effects.target AS target
           FROM drafts JOIN effects ON effects.subject = drafts.draft_id
           WHERE drafts.recipient = :address AND effects.operation = :reply AND effects.tenant = :tenant
             AND effects.mode = :mode AND effects.state = 'done' AND effects.content LIKE :public""",
        address=address,
        reply=REPLY,
        tenant=tenant,
        mode=mode,
        # In a text of the content the quotation marks would have backslashes before them.
        public='%"visibility":"public"%',
    )
    return any(row["target"] == target_of(desk, str(row["ref"])) for row in rows)
