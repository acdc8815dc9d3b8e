"""The ticket desks under the contract, each with what a test needs beside the port. A new desk adds a row to `BENCHES`.

Every desk's clock begins in the afternoon of 2026-09-21, UTC.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from pydantic import JsonValue

from fakes.remote_desk import RemoteDesk, RemoteService
from gatebook_servers.tickets.desk import TicketDesk
from gatebook_servers.tickets.desks.local import LocalDesk
from suite import Json, Suite


class Bench(Protocol):
    """A desk that is open and empty."""

    @property
    def desk(self) -> TicketDesk:
        """The desk."""
        ...

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        """Let tickets be there as their customers wrote them, in the form of an import file's rows."""
        ...

    def customer_writes(self, ticket_id: str, text: str) -> None:
        """Add a public message of the customer, now."""
        ...

    async def aclose(self) -> None:
        """Release the desk."""
        ...


class LocalBench:
    """The embedded desk; a customer writes by being imported again."""

    def __init__(self, suite: Suite, _: RemoteService) -> None:
        self.desk = LocalDesk(suite.runtime)
        self._suite = suite
        self._rows: dict[str, Json] = {}

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        self._rows |= {str(row["id"]): dict(row) for row in rows}
        assert not self._suite.tickets(list(rows)).bad

    def customer_writes(self, ticket_id: str, text: str) -> None:
        self._suite.clock.advance(1)
        row = self._rows[ticket_id]
        said = row.get("comments", [])
        assert isinstance(said, list)
        more: Json = {"id": f"c{len(said) + 1}", "body": text, "created_at": self._suite.clock.now()}
        self.put({**row, "comments": [*said, more]})

    async def aclose(self) -> None:
        """The runtime is the suite's."""


class RemoteBench:
    """A desk behind HTTP, in a process of its own."""

    def __init__(self, _: Suite, service: RemoteService) -> None:
        service.reset()
        self.desk = RemoteDesk(service.url)
        self._service = service

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        self._service.tickets(rows)

    def customer_writes(self, ticket_id: str, text: str) -> None:
        self._service.customer_writes(ticket_id, text)

    async def aclose(self) -> None:
        await self.desk.aclose()


BENCHES: dict[str, Callable[[Suite, RemoteService], Bench]] = {"local": LocalBench, "remote": RemoteBench}
