"""The stream that tells open pages that something changed."""

import json
from collections.abc import AsyncGenerator

from starlette.responses import Response, StreamingResponse

from gatebook_servers.console.sessions import Sessions
from gatebook_servers.console.visit import Visit

QUIET_S = 15.0
"""Longest silence of a stream, seconds; then the session is looked at, and whoever stands in between sees life."""


async def events(visit: Visit) -> Response:
    """Server-sent events: what waits, whenever that changes. They end with the session, and keep none alive."""
    return StreamingResponse(_beats(visit), media_type="text/event-stream")


async def _beats(visit: Visit) -> AsyncGenerator[str]:
    pulse, mark = visit.console.pulse, visit.asked("mark")
    with pulse.listening():
        yield "retry: 3000\n\n"
        while not pulse.over and await _goes_on(visit):
            beat = await pulse.after(mark, within_s=QUIET_S)
            if beat.mark != mark:
                mark = beat.mark
                yield f"data: {json.dumps(beat.model_dump(exclude={'paused'}))}\n\n"
            else:
                yield ": quiet\n\n"


async def _goes_on(visit: Visit) -> bool:
    person = await visit.runtime.transact(lambda tx: Sessions(tx).person(visit.cookie, active=False), durable=False)
    return person is not None
