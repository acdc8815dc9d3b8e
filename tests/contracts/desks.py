"""The ticket desks under the contract, each with what a test needs beside the port. A new desk adds a row to `BENCHES`.

Every desk's clock begins in the afternoon of 2026-09-21, UTC.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from pydantic import JsonValue

from fakes.github import opened, running_github
from fakes.jira import jira_desk, running_jira
from fakes.remote_desk import RemoteDesk, running_service
from fakes.services import RunningService
from fakes.zendesk import running_zendesk, zendesk_desk
from gatebook_servers.tickets.desk import TicketDesk
from gatebook_servers.tickets.desks.local import LocalDesk
from suite import Json, Suite

S = TypeVar("S", bound=RunningService)


class Services:
    """The fake services that the tests of a module need, each started when it is first needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[object, RunningService] = {}

    def of(self, run: Callable[[], AbstractContextManager[S]]) -> S:
        """Return the service that `run` starts, with nothing in it."""
        if run not in self._running:
            self._running[run] = self._stack.enter_context(run())
        service = self._running[run]
        service.reset()
        return service  # pyright: ignore[reportReturnType] - what `run` returned


@contextmanager
def services() -> Generator[Services]:
    """Keep services running until the end of the block."""
    with ExitStack() as stack:
        yield Services(stack)


class Bench(Protocol):
    """A desk that is open and empty."""

    @property
    def traits(self) -> "Traits":
        """What it does in its own way."""
        ...

    @property
    def desk(self) -> TicketDesk:
        """The desk."""
        ...

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        """Let tickets be there as their customers wrote them, in the form of an import file's rows."""
        ...

    def ref(self, row_id: str) -> str:
        """Return the ref that a row's ticket has, or would have: some desks number by themselves."""
        ...

    def customer_writes(self, ticket_id: str, text: str) -> None:
        """Add a public message of the customer, now."""
        ...

    async def aclose(self) -> None:
        """Release the desk."""
        ...


@dataclass(frozen=True)
class Traits:
    """What a desk does in its own way, within what the port promises."""

    finds_signs: bool = True
    """Whether a search finds signs alone; or else it refuses."""
    project: Literal["ref", "tag"] = "ref"
    """Where a new ticket's project is seen."""
    spaced_tags: bool = True
    """Whether a tag may hold a space; or else it refuses."""
    addresses: bool = True
    """Whether people have names and addresses; or else logins, with a stroke for every gap of a name."""


class LocalBench:
    """The embedded desk; a customer writes by being imported again."""

    traits = Traits()

    def __init__(self, suite: Suite, _: Services) -> None:
        self.desk = LocalDesk(suite.runtime)
        self._suite = suite
        self._rows: dict[str, Json] = {}

    def ref(self, row_id: str) -> str:
        return f"local:{row_id}"

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

    traits = Traits()

    def __init__(self, _: Suite, services: Services) -> None:
        self._service = services.of(running_service)
        self.desk = RemoteDesk(self._service.url)

    def ref(self, row_id: str) -> str:
        return f"remote:{row_id}"

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        self._service.tickets(rows)

    def customer_writes(self, ticket_id: str, text: str) -> None:
        self._service.customer_writes(ticket_id, text)

    async def aclose(self) -> None:
        await self.desk.aclose()


class ZendeskBench:
    """A Zendesk account; its changes come from the search index and the list, or from the incremental export."""

    traits = Traits(finds_signs=False, project="tag", spaced_tags=False)

    def __init__(self, suite: Suite, services: Services, *, incremental: bool = False) -> None:
        self._service = services.of(running_zendesk)
        self.desk = zendesk_desk(suite.runtime, self._service, incremental=incremental)
        self._numbers: dict[str, int] = {}

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        self._service.tickets([{**row, "id": self._number(str(row["id"]))} for row in rows])

    def ref(self, row_id: str) -> str:
        return f"zendesk:{self._number(row_id)}"

    def customer_writes(self, ticket_id: str, text: str) -> None:
        self._service.customer_writes(self._number(ticket_id), text)

    def _number(self, row_id: str) -> int:
        """Numbers in the order of the names, so that what is in one order is so in the other."""
        digits = row_id.rpartition("-")[2]
        return self._numbers.setdefault(row_id, int(digits) + 1 if digits.isdecimal() else 900 + len(self._numbers))

    async def aclose(self) -> None:
        await self.desk.aclose()


class JiraBench:
    """A Jira site whose project AB has a service desk."""

    traits = Traits(finds_signs=False, spaced_tags=False)

    def __init__(self, suite: Suite, services: Services) -> None:
        self._service = services.of(running_jira)
        self.desk = jira_desk(suite.runtime, self._service)

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        self._service.tickets([{**row, "id": self._key(str(row["id"]))} for row in rows])

    def ref(self, row_id: str) -> str:
        return f"jira:{self._key(row_id)}"

    def customer_writes(self, ticket_id: str, text: str) -> None:
        self._service.customer_writes(self._key(ticket_id), text)

    async def aclose(self) -> None:
        await self.desk.aclose()

    @staticmethod
    def _key(row_id: str) -> str:
        """Jira's keys end in a number, from 1 on."""
        name = row_id.removeprefix("AB-")
        return f"AB-{int(name) + 1 if name.isdecimal() else 1_000 + sum(name.encode())}"


class GitHubBench:
    """GitHub, which numbers its tickets and messages itself."""

    traits = Traits(finds_signs=False, project="tag", addresses=False)

    def __init__(self, suite: Suite, services: Services) -> None:
        self._service = services.of(running_github)
        self._suite = suite
        self.desk = opened(suite, self._service)

    def put(self, *rows: Mapping[str, JsonValue]) -> None:
        self._service.tickets(sorted(rows, key=lambda row: str(row["id"])))

    def ref(self, row_id: str) -> str:
        return f"github:{self._service.number(row_id)}"

    def customer_writes(self, ticket_id: str, text: str) -> None:
        self._suite.clock.advance(1)
        self._service.advance(1)
        self._service.say(self._service.number(ticket_id), text)

    async def aclose(self) -> None:
        await self.desk.aclose()


def zendesk_incremental(suite: Suite, services: Services) -> ZendeskBench:
    return ZendeskBench(suite, services, incremental=True)


BENCHES: dict[str, Callable[[Suite, Services], Bench]] = {
    "github": GitHubBench,
    "jira": JiraBench,
    "local": LocalBench,
    "remote": RemoteBench,
    "zendesk": ZendeskBench,
    "zendesk-incremental": zendesk_incremental,
}
