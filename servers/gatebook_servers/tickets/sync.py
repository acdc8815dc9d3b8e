"""What a subscription was handed already, and the holds that begin as a ticket is handed out."""

from contextlib import suppress

from gatebook.approvals.holds import HoldRequest, hold, sensitive_passages
from gatebook.database.port import Transaction
from gatebook.errors import HeldError
from gatebook.injection import Caller
from gatebook.intents import Facts
from gatebook.runtime import Runtime
from gatebook_servers.tickets.briefing import briefing
from gatebook_servers.tickets.desk import Ticket, TicketDesk, Window
from gatebook_servers.tickets.outgoing import ticket_passages
from gatebook_servers.tickets.ports import target_of


class Pulls:
    """The pulls table, inside one transaction. A page is handed out again until its cursor is presented."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def position(self, subscription: str) -> str:
        """Return where the next page begins, empty at the start."""
        row = self._tx.one("SELECT position FROM pulls WHERE subscription = :name", name=subscription)
        return str(row["position"]) if row else ""

    def acknowledge(self, subscription: str, position: str) -> None:
        """Record that everything up to a presented cursor arrived."""
        self._tx.execute(
            """INSERT INTO pulls (subscription, position, updated_at) VALUES (:name, :position, :now)
               ON CONFLICT (subscription) DO UPDATE SET position = excluded.position,
                 updated_at = excluded.updated_at""",
            name=subscription,
            position=position,
            now=self._tx.now,
        )


def subscription_key(desk: TicketDesk, subscription: str, window: Window) -> str:
    """Return what a position belongs to: in another window, or of another desk, it would skip tickets unseen."""
    if window.since is None or window.until is None:
        return f"{desk.account}|{subscription}|changes"
    return f"{desk.account}|{subscription}|{window.since.timestamp()!r}|{window.until.timestamp()!r}"


async def hold_sensitive(runtime: Runtime, desk: TicketDesk, caller: Caller, ticket: Ticket) -> None:
    """Have a person asked about a ticket with a sensitive matter before anybody acts on it."""
    comments = list(await desk.comments(ticket.ref))
    facts = Facts(target=target_of(desk, ticket.ref), passages=ticket_passages(ticket, comments))
    found = sensitive_passages(runtime.terms, facts)
    if not found:
        return
    settings = runtime.settings
    request = HoldRequest(
        target=facts.target,
        tenant=settings.tenant,
        principal=caller.principal,
        run_id=caller.run,
        mode=settings.mode,
        server="tickets",
        tool="pull_tickets",
        decide_within_s=settings.decide_within_s,
        most_pending=settings.max_pending_per_principal,
        facts=briefing(desk.account, ticket, comments),
    )

    def ask(tx: Transaction) -> None:
        # Where too many wait it is held without a request: whoever acts on it is refused, and asks again.
        with suppress(HeldError):
            hold(tx, request, found)

    await runtime.transact(ask)
