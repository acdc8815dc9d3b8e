"""What every write to another company's desk goes through (`gatebook_servers/tickets/desks/writing.py`)."""

import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import anyio
import pytest

from fakes.troubled_desk import Trouble, TroubledDesk
from gatebook.clock import moment
from gatebook.database import postgres, sqlite
from gatebook.errors import (
    ConflictError,
    GatebookError,
    InProgressError,
    NotFoundError,
    OutcomeUnknownError,
    StoreBusyError,
)
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.desk import Applied
from gatebook_servers.tickets.desks import writing
from gatebook_servers.tickets.desks.github.pace import Pace
from gatebook_servers.tickets.desks.writing import LEASE_S, DeskWrites, Request, Write
from gatebook_servers.tickets.ports import open_desk
from suite import Suite, approved_reply, the_effect

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

DONE = Applied(ref="x:1", operation_id="7", version="2", at=moment(0.0))
FIRST = Write(marker="gb-1", ref="x:1", operation="comment", request={"body": "Grüße"})
SECOND = Write(marker="gb-2", ref="x:1", operation="comment", request={"body": "Noch etwas"})


def sends(outcome: Applied | Exception, seen: list[Request] | None = None) -> Callable[[Request], Awaitable[Applied]]:
    async def send(request: Request) -> Applied:
        if seen is not None:
            seen.append(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return send


def outcomes(suite: Suite) -> dict[str, str]:
    with suite.runtime.database.transaction() as tx:
        return {str(row["marker"]): str(row["outcome"]) for row in tx.all("SELECT * FROM desk_writes")}


@pytest.fixture
def writes(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> DeskWrites:
    monkeypatch.setattr(writing, "_WAIT_S", 0.2)
    return DeskWrites(suite.runtime, "x/one")


async def test_a_write_is_on_record_before_it_is_sent(suite: Suite, writes: DeskWrites) -> None:
    async def send(request: Request) -> Applied:
        with suite.runtime.database.transaction() as tx:
            row = tx.one("SELECT * FROM desk_writes")
        assert row is not None
        assert json.loads(str(row["request"])) == request == FIRST.request
        assert (row["account"], row["ref"], row["outcome"]) == ("x/one", "x:1", "ambiguous")
        return DONE

    assert await writes.send(FIRST, send) == DONE
    assert outcomes(suite) == {"gb-1": "applied"}


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (ConflictError("changed.", next_step="Read it."), "conflict"),
        (NotFoundError("gone.", next_step="Check it."), "not_applied"),
        (OutcomeUnknownError("seen otherwise.", next_step="Ask."), "ambiguous"),
        (StoreBusyError("the database is busy.", next_step="Repeat it."), "ambiguous"),
        (AmbiguousError(), "ambiguous"),
        (RuntimeError("a defect"), "ambiguous"),
    ],
)
async def test_how_a_write_ended_is_on_record(suite: Suite, writes: DeskWrites, ended: Exception, outcome: str) -> None:
    with pytest.raises(type(ended)):
        await writes.send(FIRST, sends(ended))
    assert outcomes(suite) == {"gb-1": outcome}


async def test_a_repetition_sends_the_same_request(writes: DeskWrites) -> None:
    seen: list[Request] = []
    with pytest.raises(AmbiguousError):
        await writes.send(FIRST, sends(AmbiguousError(), seen))
    other = Write(marker="gb-1", ref="x:1", operation="comment", request={"body": "another text"})
    assert await writes.send(other, sends(DONE, seen)) == DONE
    assert seen == [FIRST.request] * 2


async def test_two_writes_do_not_go_to_one_ticket_in_the_same_moment(writes: DeskWrites) -> None:
    begun, go_on, order = anyio.Event(), anyio.Event(), list[str]()

    async def slowly(_: Request) -> Applied:
        begun.set()
        await go_on.wait()
        order.append("first")
        return DONE

    async def behind(_: Request) -> Applied:
        order.append("second")
        return DONE

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writes.send, FIRST, slowly)
        await begun.wait()
        with pytest.raises(InProgressError, match="another write"):
            await writes.send(SECOND, behind)
        tasks.start_soon(writes.send, SECOND, behind)
        elsewhere = Write(marker="gb-3", ref="x:2", operation="comment", request={})
        await writes.send(elsewhere, sends(DONE))
        go_on.set()
    assert order == ["first", "second"]


async def test_a_write_that_was_cut_off_keeps_its_ticket_until_its_lease_ends(suite: Suite, writes: DeskWrites) -> None:
    with pytest.raises(AmbiguousError):
        await writes.send(FIRST, sends(AmbiguousError()))
    with pytest.raises(InProgressError):
        await writes.send(SECOND, sends(DONE))
    assert outcomes(suite) == {"gb-1": "ambiguous"}
    suite.clock.advance(LEASE_S + 1)
    assert await writes.send(SECOND, sends(DONE)) == DONE


async def test_a_refused_write_gives_its_ticket_back(writes: DeskWrites) -> None:
    refused: GatebookError = NotFoundError("gone.", next_step="Check it.")
    with pytest.raises(NotFoundError):
        await writes.send(FIRST, sends(refused))
    assert await writes.send(SECOND, sends(DONE)) == DONE


@pytest.mark.parametrize("ended", [DONE, AmbiguousError(), ConflictError("changed.", next_step="Read it.")])
async def test_how_a_write_ended_is_told_although_nobody_can_record_it(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, ended: Applied | Exception
) -> None:
    for database in (sqlite, postgres):
        monkeypatch.setattr(database, "BUSY_MS", 50)
    runtime = suite.another_process()
    writes, pace = DeskWrites(runtime, "x/one"), Pace(runtime, "x/one")
    with ExitStack() as stack:

        async def send(request: Request) -> Applied:
            try:
                return await sends(ended)(request)
            finally:
                tx = stack.enter_context(suite.runtime.database.transaction())
                tx.execute("UPDATE switches SET reason = ''")
                await pace.rest()

        if isinstance(ended, Applied):
            assert await writes.send(FIRST, send) == ended
        else:
            with pytest.raises(type(ended)):
                await writes.send(FIRST, send)
    assert outcomes(suite) == {"gb-1": "ambiguous"}


@pytest.mark.parametrize("sent", [True, False])
async def test_a_database_that_fails_amid_a_send_leaves_one_reply(suite: Suite, sent: bool) -> None:  # noqa: FBT001 - pytest's
    send = await approved_reply(suite)
    busy: list[Exception] = [StoreBusyError("the database is busy.", next_step="Repeat it.", retry_after_s=1.0)]
    trouble = Trouble(after=busy) if sent else Trouble(before=busy)
    suite.runtime.ports[open_desk] = TroubledDesk(suite.runtime, trouble)
    async with suite.agent("tickets") as agent:
        first = await agent.call("send_reply", send)
        assert (first.code, first.content.get("outcome")) == (("", "reconciled") if sent else ("in_progress", None))
        suite.clock.advance(91)
        assert (await agent.ok("send_reply", send))["outcome"] == ("replayed" if sent else "executed")
    assert len(suite.comments("AB-1")) == len(trouble.sent) == 1
    assert the_effect(suite).state == "done"
