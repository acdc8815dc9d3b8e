"""A clock that people set, where leases are counted by one, is set an hour ahead: no lease ends by it.

That is PostgreSQL's, and that of a machine other than Linux.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import cast

import anyio
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fakes.troubled_desk import ProcessDiedError, Trouble, TroubledDesk
from gatebook.clock import ManualClock, Steady, SystemClock
from gatebook.runtime import Runtime
from gatebook_servers.tickets.ports import open_desk
from suite import Json, Suite, approved_reply

pytestmark = pytest.mark.anyio

HOUR_S = 3_600
Opening = Callable[..., Suite]


@pytest.fixture
def opening(postgres_url: str, tmp_path: Path) -> Generator[Opening]:
    """Open installations on a server whose clock `set_clock` sets."""
    name = str(conninfo_to_dict(postgres_url)["options"]).split("search_path=")[1].split()[0]
    url = make_conninfo(postgres_url, options=f"-c search_path={name},pg_catalog -c client_min_messages=error")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE set_ahead (seconds INTEGER)")
        connection.execute("INSERT INTO set_ahead VALUES (0)")
        connection.execute(
            """CREATE FUNCTION clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE SQL AS
               'SELECT pg_catalog.clock_timestamp() + make_interval(secs => seconds) FROM set_ahead'"""
        )
    opened: list[Suite] = []

    def open_one(**overrides: object) -> Suite:
        clock = cast("ManualClock", SystemClock())
        opened.append(Suite(tmp_path / "home", clock, {"database_url": url, **overrides}))
        return opened[-1]

    yield open_one
    for suite in opened:
        suite.close()


def set_clock(suite: Suite, seconds: int) -> None:
    with suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE set_ahead SET seconds = :seconds", seconds=seconds)


async def claimed(suite: Suite) -> Json:
    """Let a process die amid a send; the call."""
    send = await approved_reply(suite)
    suite.runtime.ports[open_desk] = TroubledDesk(suite.runtime, Trouble(after=[ProcessDiedError()]))
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "internal"
    return send


async def repeated(suite: Suite, send: Json, runtime: Runtime) -> str:
    """Repeat the call as another process does; its refusal or its outcome."""
    async with suite.agent("tickets", runtime=runtime) as agent:
        answer = await agent.call("send_reply", send)
    return answer.code or str(answer.content["outcome"])


@pytest.mark.slow
async def test_a_clock_that_is_set_ahead_gives_no_claim_to_another_process(opening: Opening) -> None:
    suite = opening()
    send = await claimed(suite)
    heir = suite.another_process()
    assert await repeated(suite, send, heir) == "in_progress"
    set_clock(suite, HOUR_S)
    assert await repeated(suite, send, heir) == "in_progress"
    with closing(suite.another_process()) as fresh:
        assert await repeated(suite, send, fresh) == "in_progress"
    set_clock(suite, -HOUR_S)
    assert await repeated(suite, send, heir) == "in_progress"
    assert len(suite.comments("AB-1")) == 1


@pytest.mark.slow
async def test_once_the_clock_went_on_evenly_for_long_enough_the_claim_is_looked_up(opening: Opening) -> None:
    suite = opening(lease_s=0.5, settle_s=0.1)
    send = await claimed(suite)
    set_clock(suite, HOUR_S)
    outcome = "in_progress"
    with anyio.fail_after(20):
        while outcome == "in_progress":
            outcome = await repeated(suite, send, suite.runtime)
    assert (outcome, len(suite.comments("AB-1"))) == ("reconciled", 1)


class OnlyClock(ManualClock):
    """The one clock of a machine."""

    def steady(self) -> Steady:
        return Steady("", self.now())


async def test_a_machine_with_no_clock_but_the_one_that_is_set_gives_no_claim_away_either(tmp_path: Path) -> None:
    with closing(Suite(tmp_path / "home", OnlyClock())) as suite:
        send = await claimed(suite)
        heir = suite.another_process()
        suite.clock.jump(HOUR_S)
        assert await repeated(suite, send, heir) == "in_progress"
