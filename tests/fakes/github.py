"""The fake GitHub as a test steers it, and a desk over it whose waits move time instead of taking it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from fakes.services import Json, RunningService, running
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desks.github.desk import GitHubDesk
from suite import Suite

TOKEN = "ours"
LOGIN = "gatebook-desk"
NOBODY = 404_404


@dataclass(frozen=True)
class GitHubService(RunningService):
    """The running service."""

    def number(self, ticket_id: str) -> int:
        """Return the number of the issue that an import row's id became; nobody's where there was no such row."""
        return cast("dict[str, int]", self.state()["names"]).get(ticket_id, NOBODY)

    def issue(self, number: int) -> Json:
        """Return an issue as it really is."""
        return cast("dict[str, Json]", self.state()["issues"])[str(number)]

    def bodies(self, number: int) -> list[str]:
        """Return what was said on an issue, markers included."""
        said = cast("dict[str, list[Json]]", self.state()["comments"])[str(number)]
        return [str(one["body"]) for one in said]

    def say(self, number: int, text: str, *, login: str = "Robin-Reyes", association: str = "NONE") -> None:
        """Let somebody comment."""
        self.control("say", {"number": number, "text": text, "login": login, "association": association})

    def change(self, number: int, **fields: JsonValue) -> None:
        """Let somebody change an issue."""
        self.control("change", {"number": number, "fields": fields})

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.control("advance", {"seconds": seconds})

    def set(self, **values: JsonValue) -> None:
        """Set how the service is, by the names of its fields."""
        self.control("set", values)

    def tick(self) -> None:
        """Let time pass by itself from now on."""
        self.set(ticks=True)

    def lines(self) -> list[str]:
        """Return what was asked and reached the service."""
        return [str(one["line"]) for one in cast("list[Json]", self.state()["seen"])]


def running_github() -> AbstractContextManager[GitHubService]:
    """Run the service in a process of its own."""
    return running(GitHubService, "github_server.py")


def configured(suite: Suite, service: GitHubService, **more: object) -> Runtime:
    """Open the suite's database as a process whose desk is the service, which has the time of the suite."""
    suite.home.mkdir(exist_ok=True)
    token = suite.home / "github-token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    service.set(now=suite.clock.now(), reset_at=suite.clock.now() + 3_600)
    settings = {"desk": "github", "github_repository": "acme/support", "github_url": service.url}
    return suite.another_process(**{**settings, "github_token_file": token, **more})


def passing(suite: Suite, service: GitHubService) -> Callable[[float], Awaitable[None]]:
    """Return a wait that lets time pass at once, for the suite and the service."""

    async def pause(seconds: float) -> None:
        suite.clock.advance(seconds)
        service.advance(seconds)

    return pause


def opened(suite: Suite, service: GitHubService, **more: object) -> GitHubDesk:
    """Open a desk over the service."""
    return GitHubDesk(configured(suite, service, **more), pause=passing(suite, service))
