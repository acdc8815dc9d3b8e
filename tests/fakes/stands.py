"""The desks as the harnesses have them, each with its faults and with what is really there, counted without the desk.

A new desk adds a class of a few lines and a row to `STANDS`. The numbers of tickets begin with 1.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar, cast

from pydantic import JsonValue

from contracts.desks import LocalBench, Services
from fakes.github import NOBODY, TOKEN, GitHubService, running_github
from fakes.jira import JiraService, running_jira
from fakes.line import Line
from fakes.remote_desk import RemoteDesk, RemoteService, running_service
from fakes.services import RunningService
from fakes.zendesk import ADDRESS, ZendeskService, running_zendesk
from fakes.zendesk import TOKEN as API_TOKEN
from gatebook.clock import ManualClock
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import TicketDesk
from gatebook_servers.tickets.desks.github.desk import GitHubDesk
from gatebook_servers.tickets.desks.jira.adf import text_of
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import open_desk
from suite import Json, Suite, ticket

S = TypeVar("S", bound=RunningService)
Sending = Literal["reply", "note", "create", "update"]
SENDINGS: tuple[Sending, ...] = ("reply", "note", "create", "update")
MANY = 1_000_000
BEGINNING = 1_790_000_000.0
"""When the time of every service begins, seconds since the epoch; its tickets are from before."""


@dataclass(frozen=True)
class Traits:
    """How a desk differs from the others.

    Args:
        name: Its name in `STANDS`.
        desk: Its name in `GATEBOOK_DESK`.
        sendings: What it can do at all; a desk may have no internal notes.
        fenced: What the service itself applies once, however often and late it is asked.
        one_at_a_time: Whether it refuses the second of two messages that were written on the same state of a ticket.
        shared: Whether several installations may have it.
        project: Where new tickets go.
    """

    name: str
    desk: str
    sendings: tuple[Sending, ...] = SENDINGS
    fenced: frozenset[Sending] = frozenset()
    one_at_a_time: bool = False
    shared: bool = True
    project: str = "OPS"

    @property
    def fences_everything(self) -> bool:
        """Whether the service itself applies everything once."""
        return self.fenced == frozenset(self.sendings)


class Stand(Protocol):
    """A desk and what is behind it, empty at first."""

    @property
    def traits(self) -> Traits:
        """How it differs from the others."""
        ...

    def settings(self, home: Path) -> dict[str, str]:
        """Return what an installation in a home needs beside the desk's name, as the settings are called."""
        ...

    def clock(self) -> ManualClock:
        """Return a clock for suites in process; a service that measures between requests follows it."""
        ...

    def tick(self) -> None:
        """Let a service that measures between requests do so in the time of this machine, for real processes."""
        ...

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        """Let tickets be there, in the form of an import file's rows whose ids are `AB-` and a number."""
        ...

    def ref(self, number: int) -> str:
        """Return the ref of the ticket whose row had the number; some desks number by themselves."""
        ...

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        """Add a public message of the customer to a ticket."""
        ...

    def texts(self, suite: Suite) -> list[str]:
        """Return what writes left behind, once for each time that one was applied: messages, subjects, tags."""
        ...

    def open(self, suite: Suite, runtime: Runtime) -> TicketDesk:
        """Open the desk for a process of a suite, and have its tools use it."""
        ...

    def faults(self, *faults: Json, seed: int = 0) -> None:
        """Let these go wrong from now on, and nothing else; see `Fault` in `network.py`."""
        ...

    async def land(self) -> int:
        """Apply the requests that are still on their way, and return how many they were."""
        ...


class Served(Generic[S]):
    """A desk whose service runs in a process of its own. What a desk does otherwise its own class says."""

    def __init__(self, traits: Traits, service: S) -> None:
        self.traits = traits
        self.service = service

    def settings(self, home: Path) -> dict[str, str]:
        """Nothing, unless a desk needs more than its name."""
        del home
        return {}

    def clock(self) -> ManualClock:
        return ManualClock(BEGINNING)

    def tick(self) -> None:
        """Nothing, unless a service measures."""

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        del suite
        self.service.tickets(rows)

    def open(self, suite: Suite, runtime: Runtime) -> TicketDesk:
        del suite
        return runtime.port(open_desk)

    def faults(self, *faults: Json, seed: int = 0) -> None:
        self.service.faults(*faults, seed=seed)

    async def land(self) -> int:
        return self.service.land()


def _texts_of(state: Json) -> list[str]:
    """Return the messages, tags and subjects of a service that keeps tickets and comments by those names."""
    comments = cast("Mapping[str, list[Json]]", state["comments"])
    tickets = cast("Mapping[str, Json]", state["tickets"])
    said = [str(comment["body"]) for messages in comments.values() for comment in messages]
    tags = [tag for found in tickets.values() for tag in cast("Sequence[str]", found["tags"])]
    return [*said, *tags, *(str(found["subject"]) for found in tickets.values())]


class RemoteStand(Served[RemoteService]):
    """The desk behind HTTP that is no product's."""

    def settings(self, home: Path) -> dict[str, str]:
        # For `gatebook_with_remote_desk.py`; the suite itself knows no such setting.
        del home
        return {"test_desk_url": self.service.url, "test_desk_fenced": "1" if self._fenced else "0"}

    def ref(self, number: int) -> str:
        return f"remote:AB-{number}"

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        del suite
        self.service.customer_writes(f"AB-{number}", text)

    def texts(self, suite: Suite) -> list[str]:
        del suite
        return _texts_of(self.service.state())

    def open(self, suite: Suite, runtime: Runtime) -> TicketDesk:
        del suite
        desk = runtime.ports[open_desk] = RemoteDesk(self.service.url, fenced=self._fenced)
        return desk

    @property
    def _fenced(self) -> bool:
        return "reply" in self.traits.fenced


class ZendeskStand(Served[ZendeskService]):
    """A Zendesk account, whose numbers are the rows'."""

    def settings(self, home: Path) -> dict[str, str]:
        del home
        return {"zendesk_url": self.service.url, "zendesk_email": ADDRESS, "zendesk_api_token": API_TOKEN}

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        del suite
        self.service.tickets([{**row, "id": int(str(row["id"]).removeprefix("AB-"))} for row in rows])

    def ref(self, number: int) -> str:
        return f"zendesk:{number}"

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        del suite
        self.service.customer_writes(number, text)

    def texts(self, suite: Suite) -> list[str]:
        del suite
        return _texts_of(self.service.state())


class JiraStand(Served[JiraService]):
    """A Jira site whose project AB has a service desk."""

    def settings(self, home: Path) -> dict[str, str]:
        del home
        return {"jira_url": self.service.url, "jira_email": "bot@acme.example", "jira_api_token": "token"}

    def ref(self, number: int) -> str:
        return f"jira:AB-{number}"

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        del suite
        self.service.customer_writes(f"AB-{number}", text)

    def texts(self, suite: Suite) -> list[str]:
        del suite
        issues = cast("Mapping[str, Json]", self.service.state()["issues"]).values()
        said = [text_of(one["body"]) for issue in issues for one in cast("list[Json]", issue["comments"])]
        fields = [cast("Json", issue["fields"]) for issue in issues]
        tags = [tag for found in fields for tag in cast("Sequence[str]", found["labels"])]
        return [*said, *tags, *(str(found["summary"]) for found in fields)]


@dataclass
class _Followed(ManualClock):
    """A clock that the fake GitHub follows: it wants a second between two writes."""

    service: GitHubService | None = None

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        if self.service:
            self.service.advance(seconds)


class GitHubStand(Served[GitHubService]):
    """A repository, which numbers its issues itself. Time passes where the desk waits."""

    _names: Mapping[str, int] = {}

    def _numbered(self, number: int) -> int:
        if f"AB-{number}" not in self._names:
            self._names = cast("dict[str, int]", self.service.state()["names"])
        return self._names.get(f"AB-{number}", NOBODY)

    def settings(self, home: Path) -> dict[str, str]:
        home.mkdir(parents=True, exist_ok=True)
        token = home / "github-token"
        token.write_text(f"{TOKEN}\n", encoding="ascii")
        where = {"github_repository": "acme/support", "github_url": self.service.url}
        return {**where, "github_token_file": str(token)}

    def clock(self) -> ManualClock:
        return _Followed(BEGINNING, service=self.service)

    def tick(self) -> None:
        self.service.tick()

    def ref(self, number: int) -> str:
        return f"github:{self._numbered(number)}"

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        suite.clock.advance(1)
        self.service.say(self._numbered(number), text)

    def open(self, suite: Suite, runtime: Runtime) -> TicketDesk:
        async def pause(seconds: float) -> None:
            suite.clock.advance(seconds)

        desk = runtime.ports[open_desk] = GitHubDesk(runtime, pause=pause)
        return desk

    def texts(self, suite: Suite) -> list[str]:
        del suite
        state = self.service.state()
        issues = cast("Mapping[str, Json]", state["issues"]).values()
        comments = cast("Mapping[str, list[Json]]", state["comments"])
        # Without the marker, which is hidden behind it.
        said = [str(one["body"]).partition("\n\n<!-- ")[0] for messages in comments.values() for one in messages]
        tags = [json.dumps(issue["labels"]) for issue in issues]
        return [*said, *tags, *(str(issue["title"]) for issue in issues)]


class Embedded:
    """The desk in Gatebook's own database. What it has for a network is a `Line`."""

    traits = Traits("local", "local", fenced=frozenset(SENDINGS), shared=False)

    def __init__(self) -> None:
        self._line = Line()
        self._benches: dict[str, LocalBench] = {}

    def settings(self, home: Path) -> dict[str, str]:
        del home
        return {}

    def clock(self) -> ManualClock:
        return ManualClock(BEGINNING)

    def tick(self) -> None:
        """It measures nothing."""

    def put(self, suite: Suite, *rows: Mapping[str, JsonValue]) -> None:
        self._bench(suite).put(*rows)

    def ref(self, number: int) -> str:
        return f"local:AB-{number}"

    def customer_writes(self, suite: Suite, number: int, text: str) -> None:
        self._bench(suite).customer_writes(f"AB-{number}", text)

    def texts(self, suite: Suite) -> list[str]:
        with suite.runtime.database.transaction() as tx:
            said = tx.all("SELECT body AS text FROM desk_comments")
            named = tx.all("SELECT subject AS text FROM desk_tickets UNION ALL SELECT tags FROM desk_tickets")
        return [str(row["text"]) for row in (*said, *named)]

    def open(self, suite: Suite, runtime: Runtime) -> TicketDesk:
        del suite
        desk = runtime.ports[open_desk] = self._line.before(LocalDesk(runtime))
        return desk

    def faults(self, *faults: Json, seed: int = 0) -> None:
        self._line.faults(*faults, seed=seed)

    async def land(self) -> int:
        return await self._line.land()

    def _bench(self, suite: Suite) -> LocalBench:
        return self._benches.setdefault(str(suite.home), LocalBench(suite, cast("Services", None)))


@contextmanager
def _embedded() -> Generator[Stand]:
    yield Embedded()


@contextmanager
def _remote() -> Generator[Stand]:
    with running_service() as service:
        # An update names the version that it changes.
        yield RemoteStand(Traits("remote", "remote", fenced=frozenset(["update"])), service)


@contextmanager
def _remote_fenced() -> Generator[Stand]:
    with running_service(fenced=True) as service:
        yield RemoteStand(Traits("remote, fenced", "remote", fenced=frozenset(SENDINGS)), service)


@contextmanager
def _zendesk() -> Generator[Stand]:
    with running_zendesk() as service:
        yield ZendeskStand(Traits("zendesk", "zendesk", fenced=frozenset(SENDINGS), one_at_a_time=True), service)


@contextmanager
def _jira() -> Generator[Stand]:
    with running_jira() as service:
        yield JiraStand(Traits("jira", "jira", project="AB"), service)


@contextmanager
def _github() -> Generator[Stand]:
    with running_github() as service:
        # Thousands of writes in the time of a test are more than an hour may have.
        service.set(hourly=MANY, remaining=MANY)
        yield GitHubStand(Traits("github", "github", ("reply", "create", "update")), service)


STANDS: dict[str, Callable[[], AbstractContextManager[Stand]]] = {
    "local": _embedded,
    "remote": _remote,
    "remote, fenced": _remote_fenced,
    "zendesk": _zendesk,
    "jira": _jira,
    "github": _github,
}


def overrides(stand: Stand, home: Path) -> dict[str, object]:
    """Return the settings of a suite in process whose desk it is."""
    return {"desk": stand.traits.desk, "ceiling": "send", **stand.settings(home)}


def variables(stand: Stand, home: Path) -> dict[str, str]:
    """Return the variables of a real process whose desk it is."""
    named = {f"GATEBOOK_{name.upper()}": value for name, value in stand.settings(home).items()}
    return {"GATEBOOK_DESK": stand.traits.desk, "GATEBOOK_CEILING": "send", **named}


def tickets(numbers: Sequence[int], **fields: JsonValue) -> list[Json]:
    """Return the rows of harmless tickets with these numbers, as old as the services."""
    return [ticket(f"AB-{number}", **{"created_at": "2026-09-20T20:00:00Z", **fields}) for number in numbers]
