"""A desk of another service, written as an adapter to any service would be, and the process it talks to."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import httpx

from fakes.services import Json, RunningService, running
from gatebook.http import Credentials, HttpClient
from gatebook.retry import Operation
from gatebook.upstream import Upstream
from gatebook_servers.tickets.checking import Finding, rate, reached
from gatebook_servers.tickets.desk import (
    Applied,
    Capabilities,
    Comment,
    NewTicket,
    Patch,
    Person,
    Slice,
    Ticket,
    Visibility,
    Window,
)

PREFIX = "remote:"
MAX_COMMENTS = 1_000
PID_HEADER = "X-Test-Pid"
"""Tells the service which process asks, so that a fault can end it in the middle of a request."""


class RemoteDesk:
    """Tickets behind HTTP. Without a fence the service applies a repeated request again.

    Args:
        url: Where the service is.
        fenced: Whether the service recognises a marker, as it does with `--fenced`.
        effects: How writes are classed for retries, by default as the fence allows; a class that allows more than
            that is wrong and shows what it costs.
        upstream: The retry tokens and the breaker, for tests that move their time.
        credentials: What proves who asks; the service itself does not look.
    """

    account = "remote"

    def __init__(
        self,
        url: str,
        *,
        fenced: bool = False,
        effects: Operation | None = None,
        upstream: Upstream | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.capabilities = Capabilities(internal_notes=True, fenced=fenced)
        headers = {PID_HEADER: str(os.getpid())}
        self._http = HttpClient(url, headers=headers, upstream=upstream, credentials=credentials)
        self._effects = effects or (Operation.FENCED if fenced else Operation.EFFECT)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        query = {"since": window.since, "until": window.until}
        times = {name: value.isoformat(timespec="microseconds") for name, value in query.items() if value is not None}
        return await self._slice("/tickets", {**times, "status": window.status or ""}, position=position, limit=limit)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        return await self._slice("/search", {"text": text}, position=position, limit=limit)

    async def get(self, ref: str) -> Ticket:
        return _ticket(await self._read(f"/tickets/{_name(ref)}"))

    async def comments(self, ref: str) -> Sequence[Comment]:
        answer = await self._read(f"/tickets/{_name(ref)}/comments")
        return [_comment(said) for said in cast("list[Json]", answer["comments"])[-MAX_COMMENTS:]]

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        return await self._write("POST", "/tickets", {**new.model_dump(), "marker": marker})

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        body = {**patch.model_dump(mode="json"), "version": base_version, "marker": marker}
        return await self._write("PATCH", f"/tickets/{_name(ref)}", body)

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        author: Json = {"name": "Gatebook", "role": "bot"}
        said: Json = {"body": body, "public": visibility == "public", "author": author, "head": head, "marker": marker}
        return await self._write("POST", f"/tickets/{_name(ref)}/comments", said)

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        del ref
        answer = await self._read(f"/operations/{quote(marker)}")
        return _applied(cast("Json", answer["operation"])) if answer["operation"] else None

    async def check(self) -> Sequence[Finding]:
        asking = self._http.ask("GET", "/tickets", operation=Operation.READ, query={"limit": "1"})
        answer, findings = await reached(self.account, asking, now=time.time())
        return findings if answer is None else [*findings, *rate(answer.headers, limit="x-most", left="x-left")]

    async def _slice(self, path: str, query: Mapping[str, str], *, position: str, limit: int) -> Slice:
        given = {**query, "after": position, "limit": str(limit)}
        answer = await self._read(path, {name: value for name, value in given.items() if value})
        tickets = tuple(_ticket(ticket) for ticket in cast("list[Json]", answer["tickets"]))
        return Slice(tickets=tickets, position=str(answer["position"]), complete=not answer["more"])

    async def _read(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return cast("Json", await self._http.request("GET", path, operation=Operation.READ, query=query))

    async def _write(self, method: str, path: str, body: Json) -> Applied:
        return _applied(cast("Json", await self._http.request(method, path, operation=self._effects, body=body)))


def _name(ref: str) -> str:
    return quote(ref.removeprefix(PREFIX) if ref.startswith(PREFIX) else "-", safe="")


def _ticket(answer: Json) -> Ticket:
    fields = {name: value for name, value in answer.items() if name != "id"}
    return Ticket.model_validate({**fields, "ref": f"{PREFIX}{answer['id']}"})


def _comment(said: Json) -> Comment:
    author = Person.model_validate({"name": "", **cast("Json", said["author"])})
    return Comment.model_validate(
        {
            "comment_id": said["id"],
            "author": author,
            "visibility": "public" if said["public"] else "internal",
            "body": said["body"],
            "created_at": said["created_at"],
            "ours": author.role != "customer",
        }
    )


def _applied(done: Json) -> Applied:
    return Applied.model_validate(
        {"ref": f"{PREFIX}{done['ticket']}", "operation_id": done["id"], "version": done["version"], "at": done["at"]}
    )


@dataclass(frozen=True)
class RemoteService(RunningService):
    """The running service, as a test steers it."""

    def customer_writes(self, ticket_id: str, text: str) -> None:
        """Add a public message of the customer."""
        author: Json = {"name": "Robin Reyes", "role": "customer"}
        said: Json = {"body": text, "public": True, "author": author, "head": None, "marker": ""}
        httpx.post(f"{self.url}/tickets/{ticket_id}/comments", json=said, trust_env=False).raise_for_status()

    def comments(self, ticket_id: str) -> list[Json]:
        """Return what the service really has."""
        return cast("list[Json]", cast("Json", self.state()["comments"])[ticket_id])

    def texts(self, ticket_id: str) -> list[str]:
        """Return what was said on a ticket."""
        return [str(said["body"]) for said in self.comments(ticket_id)]

    def applied(self) -> dict[str, int]:
        """Return how often each marker was applied; more than once is a duplicate."""
        return cast("dict[str, int]", self.state()["applied"])

    def swallowed(self) -> int:
        """Return how many repetitions of an applied marker the fence kept from being applied."""
        return cast("int", self.state()["swallowed"])


def running_service(*, fenced: bool = False) -> AbstractContextManager[RemoteService]:
    """Run the service in a process of its own; `fenced` applies a marker once and repeats the first result."""
    return running(RemoteService, "remote_desk_server.py", *["--fenced"] * fenced)
