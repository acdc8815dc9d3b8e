"""The desks as the harnesses have them, each with its faults and with what is really there, counted without the desk.

A new desk adds a row to `STANDS`.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, cast

from pydantic import JsonValue

from contracts.desks import LocalBench, Services
from fakes.line import Line
from fakes.remote_desk import RemoteDesk, RemoteService, running_service
from fakes.services import RunningService
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import TicketDesk
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import open_desk
from suite import Json, Suite, ticket

S = TypeVar("S", bound=RunningService)
Sending = Literal["reply", "note", "create", "update"]
SENDINGS: tuple[Sending, ...] = ("reply", "note", "create", "update")


@dataclass(frozen=True)
class Traits:
    """How a desk differs from the others.

    Args:
        name: Its name in `STANDS`.
        desk: Its name in `DESKS`.
        settings: What an installation needs beside the name, as the settings are called.
        prefix: What its refs begin with.
        ids: The id of an imported ticket, from its number.
        fenced: What the service itself applies once, however often and late it is asked.
        one_at_a_time: Whether it refuses the second of two messages that were written on the same state of a ticket.
    """

    name: str
    desk: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    prefix: str = ""
    ids: str = "AB-{}"
    fenced: frozenset[Sending] = frozenset()
    one_at_a_time: bool = False

    def ticket_id(self, number: int) -> str:
        """Return the id of a ticket."""
        return self.ids.format(number)

    def ref(self, number: int) -> str:
        """Return the ref of a ticket."""
        return self.prefix + self.ticket_id(number)

    def overrides(self) -> dict[str, object]:
        """Return the settings of a suite in process."""
        return {"desk": self.desk, "ceiling": "send", **self.settings}

    def environment(self) -> dict[str, str]:
        """Return the variables of a real process."""
        named = {f"GATEBOOK_{name.upper()}": value for name, value in self.settings.items()}
        return {"GATEBOOK_DESK": self.desk, "GATEBOOK_CEILING": "send", **named}


class Stand(Protocol):
    """A desk and what is behind it, empty at first."""

    @property
    def traits(self) -> Traits:
        """How it differs from the others."""
        ...

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        """Let tickets be there, in the form of an import file's rows."""
        ...

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        """Add a public message of the customer to a ticket."""
        ...

    def texts(self, suite: Suite) -> list[str]:
        """Return what writes left behind, once for each time that one was applied: messages, subjects, tags."""
        ...

    def open(self, runtime: Runtime) -> TicketDesk:
        """Open the desk for a process, and have its tools use it."""
        ...

    def faults(self, *faults: Json, seed: int = 0) -> None:
        """Let these go wrong from now on, and nothing else; see `Fault` in `network.py`."""
        ...

    async def land(self) -> int:
        """Apply the requests that are still on their way, and return how many they were."""
        ...


class Served:
    """A desk whose service runs in a process of its own."""

    def __init__(
        self,
        traits: Traits,
        service: RunningService,
        texts: Callable[[Json], list[str]],
        customer_writes: Callable[[str, str], None],
        opener: Callable[[Runtime], TicketDesk],
    ) -> None:
        self.traits = traits
        self._opener = opener
        self._service = service
        self._texts = texts
        self._customer_writes = customer_writes

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        del suite
        self._service.tickets(rows)

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        del suite
        self._customer_writes(self.traits.ticket_id(number), text)

    def texts(self, suite: Suite) -> list[str]:
        del suite
        return self._texts(self._service.state())

    def open(self, runtime: Runtime) -> TicketDesk:
        desk = runtime.ports[open_desk] = self._opener(runtime)
        return desk

    def faults(self, *faults: Json, seed: int = 0) -> None:
        self._service.faults(*faults, seed=seed)

    async def land(self) -> int:
        return self._service.land()


class Embedded:
    """The desk in Gatebook's own database. What it has for a network is a `Line`."""

    traits = Traits("local", "local", prefix="local:", fenced=frozenset(SENDINGS))

    def __init__(self) -> None:
        self._line = Line()
        self._benches: dict[str, LocalBench] = {}

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        self._bench(suite).put(*rows)

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        self._bench(suite).customer_writes(self.traits.ticket_id(number), text)

    def texts(self, suite: Suite) -> list[str]:
        with suite.runtime.database.transaction() as tx:
            said = tx.all("SELECT body AS text FROM desk_comments")
            named = tx.all("SELECT subject AS text FROM desk_tickets UNION ALL SELECT tags FROM desk_tickets")
        return [str(row["text"]) for row in (*said, *named)]

    def open(self, runtime: Runtime) -> TicketDesk:
        desk = runtime.ports[open_desk] = self._line.before(LocalDesk(runtime))
        return desk

    def faults(self, *faults: Json, seed: int = 0) -> None:
        self._line.faults(*faults, seed=seed)

    async def land(self) -> int:
        return await self._line.land()

    def _bench(self, suite: Suite) -> LocalBench:
        return self._benches.setdefault(str(suite.home), LocalBench(suite, cast("Services", None)))


def served(
    run: Callable[[], AbstractContextManager[S]],
    traits: Callable[[str], Traits],
    *,
    texts: Callable[[Json], list[str]],
    customer_writes: Callable[[S, str, str], None],
    opener: Callable[[str], Callable[[Runtime], TicketDesk]] | None = None,
) -> Callable[[], AbstractContextManager[Stand]]:
    """Return a row: what starts a service and makes its stand.

    Args:
        run: Starts the service.
        traits: How the desk differs from the others, by the service's address.
        texts: What writes left in the service's state; see `Stand.texts`.
        customer_writes: Adds a customer's message to the ticket with an id.
        opener: For a desk that is not among `DESKS`: what opens it, by the service's address.
    """

    @contextmanager
    def standing() -> Generator[Stand]:
        with run() as service:
            yield Served(
                traits(service.url),
                service,
                texts,
                lambda ticket_id, text: customer_writes(service, ticket_id, text),
                opener(service.url) if opener else open_desk,
            )

    return standing


@contextmanager
def _embedded() -> Generator[Stand]:
    yield Embedded()


def _remote(*, fenced: bool) -> Callable[[], AbstractContextManager[Stand]]:
    def traits(url: str) -> Traits:
        # For `gatebook_with_remote_desk.py`; the suite itself knows no such setting.
        settings = {"test_desk_url": url, "test_desk_fenced": "1" if fenced else "0"}
        # An update names the version that it changes.
        name, fences = ("remote, fenced", frozenset(SENDINGS)) if fenced else ("remote", frozenset[Sending](["update"]))
        return Traits(name, "remote", settings, "remote:", fenced=fences)

    return served(
        lambda: running_service(fenced=fenced),
        traits,
        texts=_remote_texts,
        customer_writes=RemoteService.customer_writes,
        opener=lambda url: lambda _: RemoteDesk(url, fenced=fenced),
    )


def _remote_texts(state: Json) -> list[str]:
    comments = cast("Mapping[str, list[Json]]", state["comments"])
    tickets = cast("Mapping[str, Json]", state["tickets"])
    said = [str(comment["body"]) for messages in comments.values() for comment in messages]
    tags = [tag for found in tickets.values() for tag in cast("Sequence[str]", found["tags"])]
    return [*said, *tags, *(str(found["subject"]) for found in tickets.values())]


STANDS: dict[str, Callable[[], AbstractContextManager[Stand]]] = {
    "local": _embedded,
    "remote": _remote(fenced=False),
    "remote, fenced": _remote(fenced=True),
}


def tickets(stand: Stand, numbers: Sequence[int], **fields: JsonValue) -> list[Json]:
    """Return harmless tickets with these numbers."""
    return [ticket(stand.traits.ticket_id(number), **fields) for number in numbers]
