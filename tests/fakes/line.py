"""A bad line in front of a desk that has no network of its own, with the same faults as `network.py`."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from gatebook.errors import RateLimitedError
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.desk import Applied, TicketDesk
from suite import Json

D = TypeVar("D", bound=TicketDesk)
WRITES = ("comment", "create", "update")
_THROTTLED = 429
_READS = "GET"


class Line:
    """The line. What is lost on it is ambiguous for the sender, as it is behind `HttpClient`."""

    def __init__(self) -> None:
        self._faults: list[Json] = []
        self._chance = random.Random(0)
        self._flying: list[Callable[[], Awaitable[Applied]]] = []

    def faults(self, *faults: Json, seed: int) -> None:
        """Let these go wrong from now on; those of reads do not happen here."""
        self._faults = [fault for fault in faults if not str(fault.get("on", "")).startswith(_READS)]
        self._chance = random.Random(seed)

    async def land(self) -> int:
        """Apply what is still on its way, and return how many it was."""
        landing, self._flying = self._flying, []
        for send in landing:
            await send()
        return len(landing)

    def before(self, desk: D) -> D:
        """Put the line in front of a desk."""
        for name in WRITES:
            vars(desk)[name] = partial(self._sent, getattr(desk, name))
        return desk

    async def _sent(self, write: Callable[..., Awaitable[Applied]], *arguments: object, **named: object) -> Applied:
        send = partial(write, *arguments, **named)
        fault = self._drawn()
        if fault is None or fault["kind"] == "slow":
            return await send()
        if fault.get("status") == _THROTTLED:
            raise RateLimitedError("not now.", next_step="Wait.", retry_after_s=1.0)
        if fault["kind"] == "held":
            self._flying.append(send)
        elif fault.get("when") != "before":
            await send()
        raise AmbiguousError

    def _drawn(self) -> Json | None:
        for fault in self._faults:
            if self._chance.random() < float(str(fault.get("rate", 1.0))):
                return fault
        return None
