"""An installation whose ticket desk is the remote service, in process and as real commands."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import cast

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from fakes.remote_desk import RemoteDesk, RemoteService
from gatebook.clock import ManualClock
from gatebook.errors import GatebookError
from gatebook.http import HttpClient
from gatebook.outbox import Job, Outbox
from gatebook.retry import Operation, without_waiting
from gatebook.upstream import CircuitBreaker, RetryTokens, Upstream
from gatebook_servers.tickets.ports import open_desk
from suite import Agent, Json, Suite, ticket

COMMAND = Path(__file__).with_name("gatebook_with_remote_desk.py")
REF = "remote:AB-1"
BODY = "Hello Robin,\n\nopen the board's menu and choose „Rename“.\n\nBest regards"


class Lossy(Suite):
    """An installation whose desk is the remote service."""

    service: RemoteService

    def job(self, approval_id: str) -> Job:
        with self.runtime.database.transaction() as tx:
            found = Outbox(tx).of_subject("execute_approved", approval_id)
        assert found is not None
        return found

    def state(self, approval_id: str) -> str:
        return next(request.state for request in self.requests("all") if request.approval_id == approval_id)

    def outcomes(self) -> list[object]:
        with self.runtime.database.transaction() as tx:
            return [row["outcome"] for row in tx.all("SELECT outcome FROM effects ORDER BY claimed_at")]


def timed_by(clock: ManualClock) -> Upstream:
    """Retry tokens and a breaker for whom time passes as the test says."""
    return Upstream(breaker=CircuitBreaker(now=lambda: clock.steady().seconds))


@asynccontextmanager
async def installed(
    home: Path,
    service: RemoteService,
    *,
    fenced: bool = False,
    effects: Operation | None = None,
    database_url: str | None = None,
) -> AsyncGenerator[Lossy]:
    """Install the suite with the service as its desk, classed as the fence allows unless `effects` says otherwise."""
    service.reset()
    service.tickets([ticket()])
    made = Lossy(home, overrides={"desk": "remote", "ceiling": "send", "database_url": database_url})
    made.service = service
    desk = RemoteDesk(service.url, fenced=fenced, effects=effects, upstream=timed_by(made.clock))
    made.runtime.ports[open_desk] = desk
    with without_waiting():
        yield made
    await desk.aclose()
    made.runtime.close()


async def asked(agent: Agent, ref: str = REF, body: str = BODY) -> tuple[str, str]:
    """Draft and send: the draft's id and the id of the approval that it waits for."""
    draft = await agent.ok("draft_reply", ref=ref, body=body)
    refused = await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
    assert refused.code == "approval_required", refused.text
    return str(draft["draft_id"]), str(refused.error["approval_id"])


class Watched(CircuitBreaker):
    """A breaker that counts the attempts it lets through."""

    attempts = 0

    def admit(self) -> bool:
        probe = super().admit()
        self.attempts += 1
        return probe


class NoBreaker(Watched):
    """The control: lets everything through."""

    def end(self, *, probe: bool, failed: bool | None) -> None:
        del probe, failed


class NoLimit(RetryTokens):
    """The control: always has a token."""

    def take(self) -> bool:
        return True


@dataclass(frozen=True)
class Tally:
    """What became of many reads."""

    calls: int
    attempts: int
    failed: Mapping[str, int]
    """Calls that failed for good, by code."""


async def many_reads(
    url: str, calls: int, *, concurrency: int, upstream: Upstream, before_each: Callable[[], None] = lambda: None
) -> Tally:
    """Read a ticket `calls` times through the one HTTP client. `upstream` has a breaker of the kind `Watched`."""
    client, waiting, failed = HttpClient(url, upstream=upstream), iter(range(calls)), Counter[str]()

    async def read_on() -> None:
        for _ in waiting:
            before_each()
            try:
                answer = cast("Json", await client.request("GET", "/tickets/AB-1", operation=Operation.READ))
            except GatebookError as error:
                failed[error.code] += 1
            else:
                assert answer["id"] == "AB-1"

    async with anyio.create_task_group() as tasks:
        for _ in range(concurrency):
            tasks.start_soon(read_on)
    await client.aclose()
    assert isinstance(upstream.breaker, Watched)
    return Tally(calls, upstream.breaker.attempts, failed)


def one_percent(slow_s: float) -> list[Json]:
    """Every hundredth request fails somehow; `slow_s` must be longer than an attempt."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    kinds: list[Json] = [
        {"kind": "status", "status": 429, "retry_after": "0"},
        {"kind": "status", "status": 429, "retry_after": date},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503},
        {"kind": "reset"},
        {"kind": "half"},
        {"kind": "lost"},
        {"kind": "slow", "seconds": slow_s},
    ]
    return [{**kind, "on": "GET .*", "times": None, "rate": 0.01 / len(kinds)} for kind in kinds]


WEATHER: list[Json] = [
    {"kind": "lost", "rate": 0.15, "times": None},
    {"kind": "lost", "rate": 0.1, "times": None, "when": "before"},
    {"kind": "status", "status": 500, "rate": 0.1, "times": None, "when": "before"},
    {"kind": "status", "status": 503, "rate": 0.1, "times": None},
    {"kind": "status", "status": 429, "rate": 0.15, "times": None, "when": "before", "retry_after": "0"},
    {"kind": "reset", "rate": 0.1, "times": None},
    {"kind": "half", "rate": 0.1, "times": None},
    {"kind": "held", "rate": 0.1, "times": None},
    {"kind": "status", "status": 503, "rate": 0.3, "times": None, "when": "before", "on": r"GET /operations/.*"},
]


async def sent_in_bad_weather(lossy: Lossy, count: int) -> dict[str, list[str]]:
    """Approve a reply to each of `count` tickets and let a worker work until nothing is left.

    What the network holds back arrives after more than twice the time of a call, just before the claim may be taken
    over.
    """
    names = [f"AB-{number}" for number in range(count)]
    lossy.service.tickets([ticket(name) for name in names])
    async with lossy.agent("tickets") as agent:
        for name in names:
            lossy.approve((await asked(agent, f"remote:{name}", f"Reply to {name}"))[1])
    lossy.service.faults(*WEATHER, seed=7)
    landed = 0
    for _ in range(30):
        for later_s in (2 * lossy.runtime.settings.call_s, 45, 600):
            while await lossy.execute() is not None:
                pass
            lossy.clock.advance(later_s)
        landed += lossy.service.land()
    assert landed > 0, "nothing was late"
    return {name: lossy.service.texts(name) for name in names}


def environment(home: Path, service: RemoteService, **settings: str) -> dict[str, str]:
    return {
        **os.environ,
        "GATEBOOK_HOME": str(home),
        "GATEBOOK_DESK": "remote",
        "GATEBOOK_CEILING": "send",
        "GATEBOOK_TEST_DESK_URL": service.url,
        "GATEBOOK_LEASE_S": "1",
        "GATEBOOK_SETTLE_S": "0.5",
        **settings,
    }


def gatebook(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    return subprocess.run(
        [sys.executable, str(COMMAND), *arguments], env=environment, capture_output=True, encoding="utf-8", check=False
    )


@asynccontextmanager
async def server_process(environment: dict[str, str]) -> AsyncGenerator[Agent]:
    """Run the tickets server in a process of its own, as an MCP host does."""
    command = StdioServerParameters(command=sys.executable, args=[str(COMMAND), "serve", "all"], env=environment)
    async with Client(stdio_client(command)) as client:
        yield Agent(client)


async def request_of_today(home: Path, service: RemoteService) -> tuple[Lossy, str]:
    """A pending request in a database that a real process opens next."""
    service.reset()
    service.tickets([ticket()])
    made = Lossy(home, clock=ManualClock(time.time()), overrides={"desk": "remote", "ceiling": "send"})
    desk = made.runtime.ports[open_desk] = RemoteDesk(service.url)
    async with made.agent("tickets") as agent:
        _, approval_id = await asked(agent)
    await desk.aclose()
    return made, approval_id
