"""A network at its worst: requests that land late, a process that dies mid-request, single faults and an outage."""

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from fakes import remote_desk
from fakes.lossy import (
    BODY,
    REF,
    Lossy,
    NoBreaker,
    NoLimit,
    Tally,
    Watched,
    asked,
    environment,
    gatebook,
    installed,
    many_reads,
    one_percent,
    request_of_today,
)
from fakes.remote_desk import RemoteDesk, RemoteService, running_service
from gatebook.clock import ManualClock
from gatebook.retry import without_waiting
from gatebook.upstream import FEWEST_ATTEMPTS, OPEN_S, Upstream
from suite import Json, ticket

pytestmark = pytest.mark.anyio

HELD: Json = {"kind": "held"}
ALWAYS_503: Json = {"kind": "status", "status": 503, "when": "before", "on": "GET .*", "times": None}
CALLS_IN_AN_OUTAGE = 2_000


@pytest.fixture(scope="module")
def service() -> Generator[RemoteService]:
    with running_service() as running:
        yield running


@pytest.fixture(scope="module")
def fenced_service() -> Generator[RemoteService]:
    with running_service(fenced=True) as running:
        yield running


@pytest.fixture
async def lossy(tmp_path: Path, service: RemoteService) -> AsyncGenerator[Lossy]:
    async with installed(tmp_path / "home", service) as made:
        yield made


@pytest.fixture
async def fenced(tmp_path: Path, fenced_service: RemoteService) -> AsyncGenerator[Lossy]:
    async with installed(tmp_path / "home", fenced_service, fenced=True) as made:
        yield made


async def approved(lossy: Lossy) -> str:
    """An approval that nothing has executed yet."""
    async with lossy.agent("tickets") as agent:
        _, approval_id = await asked(agent)
    lossy.approve(approval_id)
    return approval_id


# Requests that land late


async def test_a_reply_that_lands_after_twice_the_deadline_is_found_and_not_sent_again(lossy: Lossy) -> None:
    settings = lossy.runtime.settings
    approval_id = await approved(lossy)
    lossy.service.faults(HELD)
    await lossy.execute(approval_id)
    for waited_s in (2 * settings.call_s, settings.lease_s + settings.settle_s - 2 * settings.call_s - 1):
        lossy.clock.advance(waited_s)
        await lossy.execute(approval_id)
        assert (lossy.service.texts("AB-1"), lossy.service.requests("POST")) == ([], 1)
    assert lossy.service.land() == 1
    lossy.clock.advance(2)
    await lossy.execute(approval_id)
    assert lossy.service.texts("AB-1") == [BODY]
    assert (lossy.state(approval_id), lossy.outcomes()) == ("used", ["reconciled"])
    assert list(lossy.service.applied().values()) == [1]


async def takeover_without_settling(lossy: Lossy) -> None:
    """Take the claim over as if lease and settle time were shorter than a request may take to land."""
    approval_id = await approved(lossy)
    hasty = lossy.another_process(lease_s=1.0, settle_s=0.0)
    hasty.ports |= lossy.runtime.ports
    lossy.service.faults(HELD)
    await lossy.execute(approval_id, runtime=hasty)
    lossy.clock.advance(5.1)
    await lossy.execute(approval_id, runtime=hasty)
    assert lossy.service.land() == 1


async def test_a_takeover_that_does_not_wait_sends_twice(lossy: Lossy) -> None:
    """The control: it is the lease and the settle time that keep a late request from being repeated."""
    await takeover_without_settling(lossy)
    assert lossy.service.texts("AB-1") == [BODY, BODY]
    assert list(lossy.service.applied().values()) == [2]


# A desk with a fence


async def test_where_the_desk_has_a_fence_even_that_sends_once(fenced: Lossy) -> None:
    await takeover_without_settling(fenced)
    assert fenced.service.texts("AB-1") == [BODY]


async def test_at_a_fenced_desk_a_lost_answer_is_asked_for_again_at_once(fenced: Lossy) -> None:
    approval_id = await approved(fenced)
    fenced.service.faults({"kind": "lost", "times": 2}, {"kind": "half"})
    await fenced.execute(approval_id)
    assert fenced.service.texts("AB-1") == [BODY]
    assert fenced.service.requests("POST") == 4
    assert (fenced.state(approval_id), fenced.outcomes()) == ("used", ["executed"])


async def test_a_fenced_desk_repeats_its_first_answer_and_applies_a_marker_once(fenced: Lossy) -> None:
    desk = RemoteDesk(fenced.service.url, fenced=True)
    assert desk.capabilities.fenced
    said = [await desk.comment(REF, "Hi", visibility="public", head=None, marker="gb-1") for _ in range(3)]
    other = await desk.comment(REF, "Hi", visibility="public", head=None, marker="gb-2")
    await desk.aclose()
    assert said == [said[0]] * 3
    assert other.operation_id != said[0].operation_id
    assert fenced.service.applied() == {"gb-1": 1, "gb-2": 1}
    assert fenced.service.swallowed() == 2


# A process that dies in the middle of a request

DIES = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(remote_desk.__file__).parents[1])!r})
from fakes.remote_desk import RemoteDesk
asyncio.run(RemoteDesk(sys.argv[1]).comment({REF!r}, "Hi", visibility="public", head=None, marker="gb-1"))
"""


@pytest.mark.parametrize(("when", "applied"), [("before", {}), ("after", {"gb-1": 1})])
def test_the_service_can_end_whoever_asks_before_or_after_it_applies(
    service: RemoteService, when: str, applied: dict[str, int]
) -> None:
    service.reset()
    service.tickets([ticket()])
    service.faults({"kind": "kill", "when": when})
    died = subprocess.run([sys.executable, "-c", DIES, service.url], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert service.applied() == applied
    assert service.requests("POST") == 1


# An upstream that is left alone for a while


async def test_what_the_open_breaker_refuses_keeps_its_approval_and_goes_out_when_it_closes(lossy: Lossy) -> None:
    approval_id = await approved(lossy)
    lossy.service.faults(ALWAYS_503)
    async with lossy.agent("tickets") as agent:
        refusals = [await agent.call("list_tickets") for _ in range(FEWEST_ATTEMPTS)]
    assert {refusal.code for refusal in refusals} == {"upstream_unavailable"}
    assert (refusals[-1].error["retryable"], refusals[-1].error["retry_after_s"]) == (False, OPEN_S)
    asked_for = lossy.service.requests("")
    await lossy.execute(approval_id)
    assert lossy.service.requests("") == asked_for
    assert (lossy.state(approval_id), lossy.job(approval_id).error) == ("approved", "upstream_unavailable")
    lossy.service.faults()
    lossy.clock.seconds = lossy.job(approval_id).due
    await lossy.execute()
    assert lossy.service.texts("AB-1") == [BODY]
    assert lossy.outcomes() == ["executed"]


@pytest.fixture(params=["closed port", "always 503"])
def outage(request: pytest.FixtureRequest, service: RemoteService) -> Generator[str]:
    """The address of a service that is down."""
    service.reset()
    service.tickets([ticket()])
    if request.param == "always 503":
        service.faults(ALWAYS_503)
        yield service.url
        return
    service.down()
    try:
        yield service.url
    finally:
        service.up()


@pytest.mark.parametrize("apart_s", [0.0, 0.25, 1.0])
async def test_a_full_outage_is_asked_less_often_than_it_is_called(outage: str, apart_s: float) -> None:
    clock = ManualClock()
    breaker = Watched(now=lambda: clock.seconds)
    with without_waiting():
        tally = await many_reads(
            outage,
            CALLS_IN_AN_OUTAGE,
            concurrency=10,
            upstream=Upstream(breaker=breaker),
            before_each=lambda: clock.advance(apart_s),
        )
    assert tally.failed == {"upstream_unavailable": tally.calls}
    assert 0 < tally.attempts <= 1.2 * tally.calls


async def test_without_tokens_and_breaker_an_outage_is_asked_four_times_as_often(outage: str) -> None:
    """The control."""
    with without_waiting():
        tally = await many_reads(outage, 200, concurrency=10, upstream=Upstream(NoLimit(), NoBreaker()))
    assert tally.failed == {"upstream_unavailable": tally.calls}
    assert tally.attempts == 4 * tally.calls


# One fault in a hundred


async def reads_at_one_percent(service: RemoteService, calls: int, *, attempt_s: float) -> Tally:
    service.reset()
    service.tickets([ticket()])
    service.faults(*one_percent(slow_s=attempt_s * 1.5), seed=11)
    with without_waiting(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatebook.http.ATTEMPT_S", attempt_s)
        tally = await many_reads(service.url, calls, concurrency=20, upstream=Upstream(breaker=Watched()))
    assert tally.attempts == service.requests("GET")
    assert 1.005 * calls <= tally.attempts <= 1.02 * calls
    return tally


async def test_at_one_fault_in_a_hundred_no_read_of_500_fails(service: RemoteService) -> None:
    assert (await reads_at_one_percent(service, 500, attempt_s=1.0)).failed == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_at_one_fault_in_a_hundred_at_most_one_read_of_25000_fails(service: RemoteService) -> None:
    tally = await reads_at_one_percent(service, 25_000, attempt_s=2.0)
    assert sum(tally.failed.values()) <= 1


# Real commands, and a request that really is late

LATE_S = 3.0
"""More than the call has, which ends with its lease after a second; the request lands after twice that."""
LATE: Json = {"kind": "late", "seconds": LATE_S}


async def executed_by_real_workers(home: Path, service: RemoteService, fault: Json, *, settle_s: float) -> Lossy:
    """Approve a reply whose request is delayed, and let one worker after another try until one says it was sent."""
    lossy, approval_id = await request_of_today(home, service)
    service.faults(fault)
    shown = lossy.requests()[0].shown
    variables = environment(lossy.home, service, GATEBOOK_SETTLE_S=str(settle_s))
    gatebook("approvals", "approve", approval_id, "--fingerprint", shown, environment=variables)
    assert (service.requests("POST"), service.texts("AB-1")) == (1, [])
    for _ in range(60):
        assert gatebook("worker", "--once", environment=variables).returncode == 0
        if lossy.state(approval_id) == "used":
            break
    return lossy


@pytest.mark.slow
async def test_real_workers_wait_for_a_late_request_before_they_look(tmp_path: Path, service: RemoteService) -> None:
    lossy = await executed_by_real_workers(tmp_path / "home", service, LATE, settle_s=4 * LATE_S)
    assert service.texts("AB-1") == [BODY]
    assert lossy.outcomes() == ["reconciled"]
    lossy.runtime.close()


@pytest.mark.slow
async def test_real_workers_that_do_not_wait_repeat_a_late_request(tmp_path: Path, service: RemoteService) -> None:
    """The control; the request lands only when a worker has sent another one."""
    lossy = await executed_by_real_workers(tmp_path / "home", service, HELD, settle_s=0.0)
    assert service.land() == 1
    assert service.texts("AB-1") == [BODY, BODY]
    assert lossy.outcomes() == ["executed"]
    lossy.runtime.close()
