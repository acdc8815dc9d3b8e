"""Pause and resume."""

from starlette.responses import Response

from gatebook.database.port import Transaction
from gatebook.switches import PAUSE, Switches
from gatebook_servers.console.visit import Visit

MOST_REASON_CHARS = 500


async def pause_page(visit: Visit) -> Response:
    """Whether all goes on, and the forms to change that."""
    return await visit.page("pause.html")


async def pause(visit: Visit) -> Response:
    """Stop writes and sends of every process."""
    reason = visit.form.text("reason").strip()[:MOST_REASON_CHARS]

    def stop(tx: Transaction) -> None:
        Switches(tx).set(PAUSE, reason=reason, person=visit.person.reviewer.person)

    await visit.transact(stop)
    return visit.to("/pause", done="paused")


async def resume(visit: Visit) -> Response:
    """End the pause."""
    await visit.transact(lambda tx: Switches(tx).clear(PAUSE, person=visit.person.reviewer.person))
    return visit.to("/pause", done="resumed")
