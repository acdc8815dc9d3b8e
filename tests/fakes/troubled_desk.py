"""The embedded desk behind a bad line."""

from dataclasses import dataclass, field

import anyio

from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import Applied, Comment, Visibility
from gatebook_servers.tickets.desks.local import LocalDesk


class ProcessDiedError(Exception):
    """Stands for the end of a process: nothing behind it is recorded."""


@dataclass
class Trouble:
    """What happens to a desk and its answers. Each exception is raised once."""

    before: list[Exception] = field(default_factory=list[Exception])
    after: list[Exception] = field(default_factory=list[Exception])
    looking: list[Exception] = field(default_factory=list[Exception])
    reading: anyio.Event | None = None
    """When set, nobody can read before."""
    begun: anyio.Event = field(default_factory=anyio.Event)
    asked: int = 0
    """How often something was to be sent."""
    sent: list[str] = field(default_factory=list[str])


class TroubledDesk(LocalDesk):
    """The desk with its trouble."""

    def __init__(self, runtime: Runtime, trouble: Trouble) -> None:
        super().__init__(runtime)
        self._trouble = trouble

    async def comments(self, ref: str) -> list[Comment]:
        self._trouble.begun.set()
        if self._trouble.reading is not None:
            await self._trouble.reading.wait()
        return list(await super().comments(ref))

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        self._trouble.asked += 1
        if self._trouble.before:
            raise self._trouble.before.pop()
        applied = await super().comment(ref, body, visibility=visibility, head=head, marker=marker)
        self._trouble.sent.append(ref)
        if self._trouble.after:
            raise self._trouble.after.pop()
        return applied

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        if self._trouble.looking:
            raise self._trouble.looking.pop()
        return await super().find_operation(ref, marker)
