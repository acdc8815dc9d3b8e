"""Notes and tickets, to look up while deciding."""

from starlette.responses import Response

from gatebook_servers.console.visit import Visit

MOST_WORDS_CHARS = 200


async def notes(visit: Visit) -> Response:
    """The notes that match, or one of them."""
    key, words = visit.asked("key"), visit.asked("q").strip()[:MOST_WORDS_CHARS]
    lookups = visit.console.lookups
    if key:
        return await visit.page("note.html", note=await visit.transact(lambda tx: lookups.note(tx, key)))
    return await visit.page("notes.html", words=words, notes=await visit.transact(lambda tx: lookups.notes(tx, words)))


async def tickets(visit: Visit) -> Response:
    """The tickets that match, or one of them."""
    ref, words = visit.asked("ref"), visit.asked("q").strip()[:MOST_WORDS_CHARS]
    lookups = visit.console.lookups
    if ref:
        return await visit.page("ticket.html", ticket=await lookups.ticket(ref))
    return await visit.page("tickets.html", words=words, tickets=await lookups.tickets(words))
