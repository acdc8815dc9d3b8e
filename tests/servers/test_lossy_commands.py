"""The same with real processes: nothing but the command runs when a person approves, and the desk loses the reply."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import pytest

from fakes.lossy import BODY, Lossy, asked, environment, gatebook, request_of_today, server_process
from fakes.remote_desk import RemoteService, running_service
from gatebook.clock import ManualClock
from suite import Json, ticket

pytestmark = pytest.mark.anyio

LOOK_UPS = r"GET /operations/.*"


@pytest.fixture(scope="module")
def service() -> Generator[RemoteService]:
    with running_service() as running:
        yield running


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
    variables = environment(lossy.home, service)
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
