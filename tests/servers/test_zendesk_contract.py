"""The Zendesk desk against what is not ours: the vendor's contract, and answers recorded from real accounts."""

import json
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import cast

import pytest
from pydantic import JsonValue

from gatebook.errors import GatebookError
from gatebook.http import Credentials, FixedCredentials, HttpClient
from gatebook.retry import Operation
from gatebook_servers.tickets.desk import NewTicket, Patch
from gatebook_servers.tickets.desks.zendesk import changing
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.opening import api_token
from gatebook_servers.tickets.desks.zendesk.payloads import (
    Audit,
    AuditsAnswer,
    CommentsAnswer,
    ExportAnswer,
    Payload,
    TicketAnswer,
    TicketsAnswer,
    ZendeskComment,
    ZendeskTicket,
    parsed,
)
from gatebook_servers.tickets.desks.zendesk.values import comment_of, number_of, stamp, ticket_of
from programs.prism import running_prism, shared
from suite import Json

pytestmark = pytest.mark.anyio

BEARER = FixedCredentials({"Authorization": "Bearer not-a-secret"})
NEW = NewTicket(project="OPS", title="Disk is full", description="On two hosts.", priority="Critical")


@pytest.fixture(scope="module")
def prism() -> Generator[str]:
    with running_prism("zendesk-tickets-strict.json") as url:
        yield url


@pytest.fixture(params=["token", "bearer"])
async def api(request: pytest.FixtureRequest, prism: str) -> AsyncGenerator[ZendeskApi]:
    chosen: dict[str, Credentials] = {"token": api_token("night@desk.example", "not-a-secret"), "bearer": BEARER}
    made = ZendeskApi(prism, credentials=chosen[str(request.param)])
    yield made
    await made.aclose()


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_zendesks_contract_accepts_what_is_asked(api: ZendeskApi) -> None:
    await api.ticket(35_436)
    await api.tickets([35_436, 35_437])
    await api.tickets_of("gb-1")
    await api.changed_last(after=None)
    await api.comments(35_436, after="abc")
    await api.audits(35_436, after=None)
    await api.search("type:ticket updated>=2026-09-20T20:00:00Z", sort_by="updated_at", page=1)
    await api.people('type:user "Kim"')
    await api.export({"start_time": "1332034771"}, limit=50)
    await api.export({"cursor": "MTU3NjYxMzUzOS4wfHw0Njd8"}, limit=50)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_zendesks_contract_accepts_what_is_sent(api: ZendeskApi, prism: str) -> None:
    await api.create(changing.creation(NEW, "gb-1"), key="gb-1")
    ticket = (await api.ticket(35_436)).answer.ticket
    patch = Patch(status="hold", priority="Low", add_tags=("vip",))
    requests = [
        changing.change(ticket, patch, "gb-1", assignee={"assignee_id": 2}),
        changing.change(ticket, patch, "gb-1", assignee={"assignee_email": "kim@desk.example"}),
        changing.message("Hi", "public", "gb-1"),
        changing.message("Hi", "internal", "gb-1"),
    ]
    # The contract's example of an answer is abridged, so the answers are not read.
    client = HttpClient(prism, credentials=BEARER)
    for request in requests:
        body: Json = {"ticket": changing.fenced_at(request, stamp(ticket.updated_at))}
        await client.ask("PUT", "/api/v2/tickets/35436", operation=Operation.EFFECT, body=body)
    await client.aclose()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "wrong", [{"status": "on-hold"}, {"tikcet": 1}, {"comment": {"body": "Hi", "public": "no"}}, {"updated_stamp": 1}]
)
async def test_the_contract_refuses_what_is_wrong(prism: str, wrong: Json) -> None:
    """Or else the tests above would prove nothing."""
    api = ZendeskApi(prism, credentials=BEARER)
    with pytest.raises(GatebookError):
        await api.update(35_436, wrong, operation=Operation.EFFECT)
    await api.aclose()
    without = HttpClient(prism)
    with pytest.raises(GatebookError):
        await without.ask("GET", "/api/v2/tickets/35436", operation=Operation.READ)
    await without.aclose()


def recordings() -> Iterator[tuple[Path, Json]]:
    for file in sorted(shared("fixtures/zendesk").glob("*.json")):
        yield file, cast("Json", json.loads(file.read_text(encoding="utf-8")))


def parts(body: JsonValue, name: str) -> list[Json]:
    """Every object under a name, wherever it stands."""
    if isinstance(body, list):
        return [part for one in body for part in parts(one, name)]
    if not isinstance(body, dict):
        return []
    found: list[Json] = []
    for key, value in body.items():
        if key == name and isinstance(value, dict):
            found.append(value)
        elif key == f"{name}s" and isinstance(value, list):
            found += [one for one in value if isinstance(one, dict)]
        found += parts(value, name)
    return found


def test_every_recorded_ticket_comment_and_audit_is_read() -> None:
    read = {"ticket": 0, "comment": 0, "audit": 0}
    for _, recorded in recordings():
        for found in parts(recorded["json"], "ticket"):
            ticket = ticket_of(parsed(ZendeskTicket, found), {})
            assert number_of(ticket.ref) == found["id"]
            assert (ticket.version, ticket.subject) == (found["updated_at"], found["subject"] or "")
            read["ticket"] += 1
        for found in parts(recorded["json"], "comment"):
            comment = comment_of(parsed(ZendeskComment, found), {}, requester_id=0)
            assert comment.body.startswith(str(found["body"]))
            read["comment"] += 1
        for found in parts(recorded["json"], "audit"):
            audit = parsed(Audit, found)
            assert changing.applied("zendesk:1", audit).version == found["created_at"]
            read["audit"] += 1
    assert all(read.values()), read


KINDS: dict[str, type[Payload]] = {
    "/api/v2/incremental/tickets/cursor": ExportAnswer,
    "/api/v2/tickets/show_many": TicketsAnswer,
    "/api/v2/tickets": TicketsAnswer,
    "/api/v2/ticket_audits": AuditsAnswer,
}


def test_every_recorded_answer_of_an_endpoint_that_is_used_is_read() -> None:
    seen: set[type[Payload]] = set()
    for _, recorded in recordings():
        path = str(recorded["path"]).partition("?")[0].removesuffix(".json")
        kind = KINDS.get(path)
        if path.endswith("/comments"):
            kind = CommentsAnswer
        elif recorded["method"] != "GET" or path.rpartition("/")[2].isdecimal():
            kind = TicketAnswer
        if kind and recorded["status"] in (200, 201):
            parsed(kind, recorded["json"])
            seen.add(kind)
    assert seen == {*KINDS.values(), CommentsAnswer, TicketAnswer}
