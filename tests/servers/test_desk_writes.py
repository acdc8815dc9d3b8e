"""What every write to another company's desk goes through (`gatebook_servers/tickets/desks/writing.py`)."""

import json
from collections.abc import Awaitable, Callable

import anyio
import pytest

from gatebook.clock import moment
from gatebook.errors import ConflictError, GatebookError, InProgressError, NotFoundError, OutcomeUnknownError
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.desk import Applied
from gatebook_servers.tickets.desks import writing
from gatebook_servers.tickets.desks.writing import LEASE_S, DeskWrites, Request, Write
from suite import Suite

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
