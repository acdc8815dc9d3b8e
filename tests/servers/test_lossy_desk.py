"""A desk that loses replies: what a person approved is done exactly once, with the desk in a process of its own."""

import time
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import anyio
import pytest

from fakes.lossy import (
    BODY,
    REF,
    Lossy,
    asked,
    environment,
    gatebook,
    installed,
    request_of_today,
    sent_in_bad_weather,
    server_process,
)
from fakes.remote_desk import RemoteDesk, RemoteService, running_service
from gatebook.clock import ManualClock
from gatebook.errors import ConflictError, UpstreamUnavailableError
from gatebook.retry import AmbiguousError, Operation, counting_attempts, without_waiting
from gatebook_servers.tickets.ports import open_desk
from suite import Json, ticket

pytestmark = pytest.mark.anyio

CLAIM_S = 91.0
"""Lease and settle time of a claim, and a second."""
LOOK_UPS = r"GET /operations/.*"
NO_DATE = "Wed, 32 Oct 2026 07:28:00 GMT"

# Applied, and the answer does not arrive.
ANSWER_LOST: dict[str, Json] = {
    "closed": {"kind": "lost"},
    "reset": {"kind": "reset"},
    "half a body": {"kind": "half"},
    "garbled": {"kind": "garbled"},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "504": {"kind": "status", "status": 504},
}
# Not applied, which nobody can tell from the answer.
REQUEST_LOST: dict[str, Json] = {
    "closed": {"kind": "lost", "when": "before"},
    "reset": {"kind": "reset", "when": "before"},
    "500": {"kind": "status", "status": 500, "when": "before"},
    "503": {"kind": "status", "status": 503, "when": "before", "retry_after": "1"},
}


@pytest.fixture(scope="module")
def service() -> Generator[RemoteService]:
    with running_service() as running:
        yield running


@pytest.fixture
async def lossy(tmp_path: Path, service: RemoteService) -> AsyncGenerator[Lossy]:
    async with installed(tmp_path / "home", service, effects=Operation.EFFECT) as made:
        yield made


@pytest.fixture
async def naive(tmp_path: Path, service: RemoteService) -> AsyncGenerator[Lossy]:
    """The same, but every failed attempt is simply repeated, as most retry stacks do."""
    async with installed(tmp_path / "home", service, effects=Operation.READ) as made:
        yield made


async def approved(lossy: Lossy) -> str:
    """An approval that nothing has executed yet."""
    async with lossy.agent("tickets") as agent:
        _, approval_id = await asked(agent)
    assert lossy.service.comments("AB-1") == []
    lossy.approve(approval_id)
    return approval_id


@pytest.mark.parametrize("fault", ANSWER_LOST.values(), ids=ANSWER_LOST)
async def test_a_reply_whose_answer_is_lost_is_found_by_its_marker(lossy: Lossy, fault: Json) -> None:
    approval_id = await approved(lossy)
    lossy.service.faults(fault)
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.service.requests("POST") == 1
    assert (lossy.state(approval_id), lossy.job(approval_id).state) == ("used", "done")
    assert lossy.outcomes() == ["reconciled"]


@pytest.mark.parametrize("fault", REQUEST_LOST.values(), ids=REQUEST_LOST)
async def test_a_reply_that_may_have_arrived_waits_and_is_looked_up_again_before_it_is_repeated(
    lossy: Lossy, fault: Json
) -> None:
    approval_id = await approved(lossy)
    lossy.service.faults(fault)
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == []
    assert (lossy.state(approval_id), lossy.job(approval_id).state) == ("claimed", "waiting")
    assert await lossy.execute(approval_id) is None
    lossy.clock.advance(CLAIM_S)
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == [BODY]
    assert (lossy.state(approval_id), lossy.job(approval_id).state) == ("used", "done")


async def test_while_nobody_knows_the_agent_is_told_to_wait(lossy: Lossy) -> None:
    async with lossy.agent("tickets") as agent:
        draft_id, approval_id = await asked(agent)
        lossy.approve(approval_id)
        lossy.service.faults({"kind": "lost", "when": "before"})
        for _ in range(2):
            waiting = await agent.call("send_reply", draft_id=draft_id, visibility="public")
            assert (waiting.code, waiting.error["retryable"]) == ("in_progress", True)
        lossy.clock.advance(CLAIM_S)
        sent = await agent.ok("send_reply", draft_id=draft_id, visibility="public")
    assert sent["outcome"] == "executed"
    assert lossy.service.texts("AB-1") == [BODY]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_throttled_reply_is_repeated(lossy: Lossy, form: str, times: int) -> None:
    approval_id = await approved(lossy)
    retry_after = "0" if form == "seconds" else format_datetime(datetime.now(UTC), usegmt=True)
    throttled: Json = {"kind": "status", "status": 429, "when": "before", "retry_after": retry_after, "times": times}
    lossy.service.faults(throttled)
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.service.requests("POST") == times + 1
    assert lossy.outcomes() == ["executed"]


@pytest.mark.parametrize(
    ("retry_after", "attempts", "due_in"),
    [("3600", 1, 3600), ("", 4, 60), ("soon", 4, 60), ("\u00b2", 4, 60), (NO_DATE, 4, 60)],
)
async def test_a_reply_throttled_for_longer_waits_for_the_worker(
    lossy: Lossy, retry_after: str, attempts: int, due_in: float
) -> None:
    approval_id = await approved(lossy)
    throttled: Json = {"kind": "status", "status": 429, "when": "before", "retry_after": retry_after, "times": None}
    lossy.service.faults(throttled)
    await lossy.execute(approval_id)
    job = lossy.job(approval_id)
    assert lossy.service.requests("POST") == attempts
    assert (lossy.state(approval_id), job.state, job.error) == ("approved", "waiting", "rate_limited")
    assert job.due == lossy.clock.now() + due_in
    lossy.service.faults()
    lossy.clock.advance(due_in)
    await lossy.execute()
    assert lossy.service.texts("AB-1") == [BODY]


async def test_a_refused_connection_is_tried_four_times(service: RemoteService) -> None:
    service.reset()
    desk = RemoteDesk(service.url)
    service.down()
    retries: list[int] = []
    try:
        with without_waiting(), counting_attempts(retries), pytest.raises(UpstreamUnavailableError):
            await desk.comment(REF, BODY, visibility="public", head=None, marker="gb-1")
    finally:
        service.up()
        await desk.aclose()
    assert retries == [3]


@pytest.mark.parametrize("fault", ANSWER_LOST.values(), ids=ANSWER_LOST)
async def test_a_read_is_tried_four_times(lossy: Lossy, fault: Json) -> None:
    async with lossy.agent("tickets") as agent:
        lossy.service.faults({**fault, "on": r"GET /tickets", "times": 3})
        await agent.ok("list_tickets")
        lossy.service.faults({**fault, "on": r"GET /tickets", "times": None})
        refused = await agent.call("list_tickets")
    assert (refused.code, refused.error["retryable"]) == ("upstream_unavailable", False)
    assert lossy.service.requests("GET") == 8


async def test_a_desk_that_is_down_keeps_the_approval_until_it_is_up_again(lossy: Lossy) -> None:
    approval_id = await approved(lossy)
    lossy.service.down()
    try:
        for _ in range(3):
            await lossy.execute(approval_id)
            job = lossy.job(approval_id)
            assert (lossy.state(approval_id), job.state) == ("approved", "waiting")
            assert job.error == "upstream_unavailable"
            lossy.clock.seconds = job.due
    finally:
        lossy.service.up()
    assert (await lossy.execute()) is not None
    assert (await lossy.execute()) is None
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.state(approval_id) == "used"


async def test_a_look_up_that_fails_too_decides_nothing(lossy: Lossy) -> None:
    approval_id = await approved(lossy)
    lossy.service.faults({"kind": "lost"}, {"kind": "status", "when": "before", "on": LOOK_UPS, "times": None})
    for _ in range(2):
        await lossy.execute(approval_id)
        assert (lossy.state(approval_id), lossy.job(approval_id).state) == ("claimed", "waiting")
        lossy.clock.advance(CLAIM_S)
    lossy.service.faults()
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.service.requests("POST") == 1
    assert lossy.outcomes() == ["reconciled"]


async def test_an_answer_slower_than_a_call_may_take_is_looked_up_later(lossy: Lossy) -> None:
    approval_id = await approved(lossy)
    hasty = lossy.another_process(call_s=0.3)
    desk = hasty.ports[open_desk] = RemoteDesk(lossy.service.url)
    lossy.service.faults({"kind": "slow", "seconds": 1.0})
    await lossy.execute(approval_id, runtime=hasty)
    await desk.aclose()
    hasty.close()
    assert (lossy.state(approval_id), lossy.job(approval_id).state) == ("claimed", "waiting")
    lossy.clock.advance(CLAIM_S)
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.outcomes() == ["reconciled"]


async def test_an_answer_that_trickles_ends_with_its_attempt(
    service: RemoteService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.reset()
    service.tickets([ticket()])
    monkeypatch.setattr("gatebook.http.ATTEMPT_S", 0.4)
    desk = RemoteDesk(service.url)
    service.faults({"kind": "trickle", "seconds": 0.1})
    with anyio.fail_after(5), pytest.raises(AmbiguousError):
        await desk.comment(REF, BODY, visibility="public", head=None, marker="gb-1")
    await desk.aclose()


async def test_nothing_that_is_repeated_sends_again(lossy: Lossy) -> None:
    async with lossy.agent("tickets", "runs") as agent:
        draft_id, approval_id = await asked(agent)
        lossy.approve(approval_id)
        lossy.service.faults({"kind": "lost"})
        await lossy.execute()
        with pytest.raises(ConflictError):
            lossy.approve(approval_id)
        assert await lossy.execute() is None
        run = await agent.ok("start_run", key="another", goal="again")
        for run_id in ("", run["run_id"]):
            again = await agent.ok("send_reply", draft_id=draft_id, visibility="public", run_id=run_id)
            assert again["outcome"] == "replayed"
        same = await agent.ok("draft_reply", ref=REF, body=BODY)
        assert (same["draft_id"], same["created"]) == (draft_id, False)
    assert lossy.service.texts("AB-1") == [BODY]


async def test_the_agents_own_repeated_call_sends_what_was_approved_once(lossy: Lossy) -> None:
    async with lossy.agent("tickets") as agent:
        draft_id, approval_id = await asked(agent)
        lossy.approve(approval_id)
        lossy.service.faults({"kind": "lost"})
        sent = await agent.ok("send_reply", draft_id=draft_id, visibility="public")
    assert sent["outcome"] == "reconciled"
    assert sent["comment_id"] == lossy.service.comments("AB-1")[0]["id"]
    await lossy.execute()
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.job(approval_id).state == "done"


CHANGES: dict[str, tuple[str, Json]] = {
    "create": ("create_ticket", {"project": "OPS", "title": "Disk is full", "description": "Two hosts."}),
    "escalate": ("escalate_ticket", {"ref": REF, "reason": "Two customers wait for hours."}),
    "update": ("update_ticket", {"ref": REF, "version": "v1", "status": "solved"}),
}


@pytest.mark.parametrize(("tool", "arguments"), CHANGES.values(), ids=CHANGES)
async def test_every_change_survives_a_lost_answer(lossy: Lossy, tool: str, arguments: Json) -> None:
    async with lossy.agent("tickets") as agent:
        refused = await agent.call(tool, arguments)
        approval_id = str(refused.error["approval_id"])
        lossy.approve(approval_id)
        lossy.service.faults({"kind": "lost"})
        await lossy.execute(approval_id)
        again = await agent.ok(tool, arguments)
    assert again["outcome"] == "replayed"
    assert lossy.service.requests("POST") + lossy.service.requests("PATCH") == 1
    assert lossy.state(approval_id) == "used"


async def test_a_customer_who_wrote_meanwhile_voids_the_approval(lossy: Lossy) -> None:
    approval_id = await approved(lossy)
    lossy.service.customer_writes("AB-1", "I found it.")
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == ["I found it."]
    assert (lossy.state(approval_id), lossy.job(approval_id).state) == ("lapsed", "failed")


async def test_a_naive_retry_sends_twice(naive: Lossy) -> None:
    """The control: without the classes of operations the very same fault shows as a duplicate."""
    approval_id = await approved(naive)
    naive.service.faults({"kind": "lost"})
    await naive.execute(approval_id)
    assert naive.service.texts("AB-1") == [BODY, BODY]


async def test_in_any_weather_every_reply_is_sent_exactly_once(lossy: Lossy) -> None:
    texts = await sent_in_bad_weather(lossy, 20)
    assert texts == {name: [f"Reply to {name}"] for name in texts}
    assert list(lossy.service.applied().values()) == [1] * len(texts)
    assert {request.state for request in lossy.requests("all")} == {"used"}


async def test_in_the_same_weather_a_naive_retry_duplicates(naive: Lossy) -> None:
    texts = await sent_in_bad_weather(naive, 20)
    assert sum(len(said) for said in texts.values()) > len(texts)


async def test_the_real_command_sends_once_what_a_real_server_asked_for(tmp_path: Path, service: RemoteService) -> None:
    service.reset()
    service.tickets([ticket()])
    home = tmp_path / "home"
    variables = environment(home, service)
    async with server_process(variables) as agent:
        draft_id, approval_id = await asked(agent)
    looking = Lossy(home, clock=ManualClock(time.time()))
    (request,) = looking.requests()
    looking.runtime.close()
    assert request.approval_id == approval_id

    service.faults({"kind": "lost"})
    decision = ("approvals", "approve", approval_id, "--fingerprint", request.shown)
    first = gatebook(*decision, environment=variables)
    assert (first.returncode, service.texts("AB-1")) == (0, [BODY]), first.stderr
    second = gatebook(*decision, environment=variables)
    assert second.returncode != 0
    assert "conflict" in second.stderr
    async with server_process(variables) as agent:
        run = await agent.ok("start_run", key="the next night", goal="again")
        for run_id in ("", run["run_id"]):
            again = await agent.ok("send_reply", draft_id=draft_id, visibility="public", run_id=run_id)
            assert again["outcome"] == "replayed"
    assert service.texts("AB-1") == [BODY]
    assert service.requests("POST") == 1


@pytest.mark.parametrize("kind", ["applied", "refused"])
async def test_the_real_command_survives_an_unavailable_desk(
    tmp_path: Path, service: RemoteService, kind: Literal["applied", "refused"]
) -> None:
    lossy, approval_id = await request_of_today(tmp_path / "home", service)
    unavailable: Json = {"kind": "status", "status": 503}
    throttled: Json = {"kind": "status", "status": 429, "when": "before", "retry_after": "1"}
    service.faults(unavailable if kind == "applied" else throttled)
    shown = lossy.requests()[0].shown
    # An owner waits for the desk no longer than its lease lasts.
    variables = {**environment(lossy.home, service), "GATEBOOK_LEASE_S": "10"}
    done = gatebook("approvals", "approve", approval_id, "--fingerprint", shown, environment=variables)
    assert (done.returncode, service.texts("AB-1")) == (0, [BODY]), done.stderr
    assert lossy.state(approval_id) == "used"
    lossy.runtime.close()


async def test_the_real_worker_settles_what_the_command_could_not(tmp_path: Path, service: RemoteService) -> None:
    lossy, approval_id = await request_of_today(tmp_path / "home", service)
    blind: Json = {"kind": "status", "when": "before", "on": LOOK_UPS, "times": None}
    service.faults({"kind": "lost"}, blind)
    shown = lossy.requests()[0].shown
    variables = environment(lossy.home, service, GATEBOOK_CALL_S="1")
    refused = gatebook("approvals", "approve", approval_id, "--fingerprint", shown, environment=variables)
    assert refused.returncode == 3
    assert "not done yet" in refused.stderr
    assert lossy.state(approval_id) == "claimed"
    service.faults()
    for _ in range(10):
        assert gatebook("worker", "--once", environment=variables).returncode == 0
        if lossy.state(approval_id) == "used":
            break
    assert lossy.state(approval_id) == "used"
    assert service.texts("AB-1") == [BODY]
    assert lossy.outcomes() == ["reconciled"]
    lossy.runtime.close()
