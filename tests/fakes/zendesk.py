"""The fake Zendesk account as a test steers it, and the desk over it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from fakes.services import Json, RunningService, running
from gatebook.http import Credentials
from gatebook.runtime import Runtime
from gatebook.upstream import Upstream
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.desk import ZendeskDesk
from gatebook_servers.tickets.desks.zendesk.opening import api_token

ADDRESS, TOKEN = "night@desk.example", "not-a-secret"
KIM = 2
"""An agent of the account."""


@dataclass(frozen=True)
class ZendeskService(RunningService):
    """The running account."""

    def options(self, **options: JsonValue) -> None:
        """Let it behave otherwise from now on; see `Zendesk.reset` in `zendesk_server.py`."""
        self.control("options", options)

    def customer_writes(self, number: int, text: str, *, author: int | None = None, public: bool = True) -> None:
        """Add a message, of the requester unless somebody else is named."""
        self.control("writes", {"ticket": number, "text": text, "author": author, "public": public})

    def pass_time(self, seconds: int) -> None:
        """Let time pass."""
        self.control("pass", {"seconds": seconds})

    def said(self, number: int) -> list[Json]:
        """Return the messages that a ticket really has, its own text first."""
        return cast("list[Json]", cast("Json", self.state()["comments"])[str(number)])

    def tickets_there(self) -> dict[str, Json]:
        """Return the tickets that there really are."""
        return cast("dict[str, Json]", self.state()["tickets"])

    def asked(self, line: str) -> list[Json]:
        """Return the requests of one line that were answered."""
        return [one for one in cast("list[Json]", self.state()["seen"]) if one["line"] == line]


def running_zendesk() -> AbstractContextManager[ZendeskService]:
    """Run the account in a process of its own."""
    return running(ZendeskService, "zendesk_server.py")


def zendesk_desk(
    runtime: Runtime,
    service: RunningService,
    *,
    incremental: bool = False,
    credentials: Credentials | None = None,
    upstream: Upstream | None = None,
) -> ZendeskDesk:
    """Return the desk over the account."""
    api = ZendeskApi(service.url, credentials=credentials or api_token(ADDRESS, TOKEN), upstream=upstream)
    return ZendeskDesk(runtime, api, account="zendesk/acme", incremental=incremental)
