"""The Jira desk against what is not ours: the vendor's contracts, and answers of a real Jira."""

import json
from collections.abc import Generator, Iterator
from typing import cast

import anyio
import httpx
import pytest
from pydantic import JsonValue

from fakes.jira import JiraService, jira_desk, running_jira
from fakes.services import Json
from gatebook_servers.tickets.desk import NewTicket, Patch, Window
from gatebook_servers.tickets.desks.jira.answers import Comments, Issue, JiraComment, Transitions, User
from gatebook_servers.tickets.desks.jira.words import Words, comment_of
from programs.prism import running_prism, shared
from suite import Suite

REF = "jira:AB-1"
FIXTURES = "fixtures/jira/spec/mock_responses"
AUTHORIZED = {"authorization": "Bearer not-a-secret"}


@pytest.fixture(scope="module")
def jira() -> Generator[JiraService]:
    with running_jira() as service:
        yield service


async def everything(suite: Suite, jira: JiraService) -> list[Json]:
    """Do all that the desk can do and return what was asked."""
    jira.reset()
    desk = jira_desk(suite.runtime, jira)
    requester: Json = {"name": "Robin Reyes", "email": "robin@customer.example"}
    row: Json = {"subject": "Question", "body": "How?", "created_at": "2026-09-20T20:00:00Z", "requester": requester}
    jira.tickets([{**row, "id": f"AB-{number}"} for number in (1, 2)])
    jira.expire_tokens(0, cap=1)
    await desk.page(Window(), position="", limit=9)
    await desk.search('the "export" OR x', position="", limit=9)
    await desk.comment(REF, "Hi\n\nthere", visibility="public", head="", marker="gb-1")
    await desk.comment(REF, "For us", visibility="internal", head="", marker="gb-2")
    for number, patch in enumerate((Patch(status="solved"), Patch(assignee="k", priority="Low", add_tags=("a",)))):
        version = (await desk.get(REF)).version
        await desk.update(REF, patch, base_version=version, marker=f"gb-3{number}")
    await desk.create(
        NewTicket(project="OPS", title="Disk is full", description="Two.", priority="High"), marker="gb-4"
    )
    await desk.page(Window(), position="", limit=9)
    for ref, marker in ((REF, "gb-1"), (REF, "gb-2"), (REF, "gb-30"), ("", "gb-4")):
        assert await desk.find_operation(ref, marker) is not None
    await desk.aclose()
    return jira.log()


def refused(url: str, asked: list[Json]) -> list[str]:
    """Return which requests a contract does not take, as its own mock judges them."""
    faults: list[str] = []
    with httpx.Client(base_url=url, headers=AUTHORIZED, trust_env=False, timeout=30) as client:
        for one in asked:
            method, path = str(one["line"]).split()
            body = None if method == "GET" else one["body"]
            answer = client.request(method, path, params=cast("dict[str, str]", one["query"]), json=body)
            if not answer.is_success:
                faults.append(f"{method} {path} {answer.status_code} {answer.text[:300]}")
    return faults


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("contract", "part"),
    [("jira-tickets-strict.json", "/rest/api/3/"), ("jsm-comments-strict.json", "/servicedeskapi/")],
)
def test_jiras_contracts_accept_what_is_asked(suite: Suite, jira: JiraService, contract: str, part: str) -> None:
    with running_prism(contract) as url:
        asked = [one for one in anyio.run(everything, suite, jira) if part in str(one["line"])]
        kinds = {(str(one["line"]).split()[0], str(one["line"]).rstrip("0123456789")) for one in asked}
        assert len(kinds) >= (2 if "service" in part else 9)
        assert refused(url, asked) == []
        # Or else this would prove nothing.
        wrong: list[Json] = [
            {**one, "body": {"public": "no", "startAt": 1}} for one in asked if "POST" in str(one["line"])
        ]
        assert len(refused(url, wrong)) == len(wrong)


def answers(value: JsonValue) -> Iterator[Json]:
    """Every object in an answer, wherever it stands."""
    if isinstance(value, list):
        for one in value:
            yield from answers(one)
    if isinstance(value, dict):
        yield value
        yield from answers(list(value.values()))


def recorded() -> Iterator[Json]:
    for file in sorted(shared(FIXTURES).rglob("*.json")):
        if file.read_text(encoding="utf-8").strip():
            yield from answers(json.loads(file.read_text(encoding="utf-8")))


def test_every_recorded_issue_comment_and_transition_is_read() -> None:
    read = {"issue": 0, "comment": 0, "transition": 0}
    words = Words(statuses={}, priorities={})
    for found in recorded():
        fields = found.get("fields")
        if isinstance(fields, dict) and "summary" in fields and "updated" in fields:
            ticket = words.ticket(Issue.model_validate(found))
            assert (ticket.ref, ticket.subject) == (f"jira:{found['key']}", fields["summary"])
            read["issue"] += 1
        elif "body" in found and "created" in found:
            comment = JiraComment.model_validate(found)
            assert comment_of(comment, reporter=None, account=User()).body == found["body"]
            read["comment"] += 1
        elif "transitions" in found:
            read["transition"] += len(Transitions.model_validate(found).transitions)
        elif "comments" in found:
            Comments.model_validate(found)
    assert all(read.values()), read
