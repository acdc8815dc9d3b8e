"""How long people and agents wait for the broker, and what its decisions and its audit log cost.

    uv run --group benchmarks python benchmarks/approvals.py

Without an argument everything is measured, on the embedded database and on a PostgreSQL server whose commits wait for
the disk:

- `wake-up`: an agent waits in `wait_for_approvals`, in a real server over stdio. From the commit of a person's
  decision, in another process, to the answer at the agent's client.
- `gate`: what decides about one approved `send_reply` and takes its grant: the look-up, and the transaction that judges
  it, consumes the grant and claims the effect, with the wait for the disk. Called as the guard calls it. Judged is what
  that takes longer than a bare claim of an effect, measured in turn with it: a claim has to be on the disk before
  anything is done outside, whether a person decides about it or not. The whole is printed as well.
- `audit`: events verified a second, and what appending one adds to a transaction.
- `console`: the inbox with 500 pending requests, from a signed-in browser's request to the last byte of the page.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters
from pydantic import JsonValue

from filesystem import require_disk
from percentiles import percentile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from consoles import running_console
from gatebook.approvals.audit import Audit
from gatebook.approvals.policy import Outcome, Verdict
from gatebook.approvals.requests import Approvals
from gatebook.approvals.verifying import verify
from gatebook.database.port import Transaction
from gatebook.effects import Effects
from gatebook.gate import Gate
from gatebook.guard import Guard
from gatebook.injection import Caller, Scope
from gatebook.intents import Briefing, Intent, text_digest
from gatebook.recalling import Claimed
from gatebook.telemetry import CallRecord
from gatebook_servers.catalogue import catalogue
from programs.postgres import running_postgres, schema
from suite import Agent, Suite, ticket

WARM_UP = 5
EVENTS = 20_000
CARDS = 500
INBOXES = 20
WANTED = {
    "wake-up": {"sqlite": 100.0, "postgres": 100.0},
    "gate": {"sqlite": 2.0, "postgres": 5.0},
}
"""Milliseconds that 95 of 100 have to stay under."""
WANTED_EVENTS = 20_000
WANTED_INBOX_MS = 300

Measure = Callable[[Suite, int], Awaitable[list[float]]]


async def wake_up(suite: Suite, rounds: int) -> list[float]:
    """Return the milliseconds from a decision to the answer at the client that waits for it."""
    suite.tickets([ticket(f"AB-{number}") for number in range(rounds)])
    async with Client(_server(suite)) as client:
        agent = Agent(client)
        return [await _woken(suite, agent, await asked(agent, f"local:AB-{number}")) for number in range(rounds)]


async def _woken(suite: Suite, agent: Agent, approval_id: str) -> float:
    waiting = anyio.Event()
    answered: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        waiting.set()

    async def wait() -> None:
        arguments: dict[str, JsonValue] = {"approval_ids": [approval_id], "timeout_s": 30}
        result = await agent.client.call_tool("wait_for_approvals", arguments, progress_callback=on_progress)
        answered.append(time.perf_counter())
        assert result.structured_content is not None
        assert result.structured_content["pending"] == 0

    decided = 0.0
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await waiting.wait()
        await anyio.sleep(0.05)  # at rest, as an agent is that waits for a person
        await anyio.to_thread.run_sync(suite.approve, approval_id)
        decided = time.perf_counter()
    return (answered[0] - decided) * 1000


async def gate(suite: Suite, rounds: int) -> list[float]:
    """Return the milliseconds that the decisions about an approved reply add to the claim of its effect."""
    suite.tickets([ticket(f"AB-{number}") for number in range(rounds)])
    sends: list[Mapping[str, JsonValue]] = []
    async with suite.agent("tickets") as agent:
        for number in range(rounds):
            sends.append(await drafted(agent, f"local:AB-{number}"))
            suite.approve(await approval_of(agent, sends[-1]))
    decided: list[float] = []
    bare: list[float] = []
    for number, send in enumerate(sends):
        decided.append(await _decided(suite, send))
        bare.append(await _claimed(suite, number))
    print(f"{'':8} the whole, the commit of the claim included: {_p50_and_p95(decided[WARM_UP:])}")
    return [one - other for one, other in zip(decided, bare, strict=True)]


async def _claimed(suite: Suite, number: int) -> float:
    """Return the milliseconds of a claim that nobody decides about."""
    runtime = suite.runtime
    settings = runtime.settings
    content: dict[str, JsonValue] = {"body": "Open the board menu and choose Rename.", "visibility": "public"}
    intent = Intent(target=f"local:bare-{number}", operation="reply", subject="drf", content=content)

    def claim(tx: Transaction) -> None:
        Effects(tx).claim(
            intent,
            tenant=settings.tenant,
            mode=settings.mode,
            server="tickets",
            tool="send_reply",
            principal=settings.principal,
            run_id="",
            arguments="{}",
            owner=runtime.owner,
            lease_s=settings.lease_s,
            approval_id="",
        )

    with runtime.call_under_way():
        begun = time.perf_counter()
        await runtime.transact(claim)
        return (time.perf_counter() - begun) * 1000


async def _decided(suite: Suite, send: Mapping[str, JsonValue]) -> float:
    runtime, spec = suite.runtime, catalogue()["send_reply"]
    caller = Caller(runtime.settings.principal)
    scope = Scope(runtime, caller, Guard(runtime, catalogue()))
    arguments = spec.validate(send)
    intent, facts = await spec.resolve(scope, arguments), await spec.look(scope, arguments)
    decisions = Gate(runtime, spec, caller, arguments)
    record = CallRecord(server=spec.server, tool=spec.name)
    with runtime.call_under_way():
        begun = time.perf_counter()
        known = await runtime.look(lambda tx: decisions.recall(tx, intent))
        claimed = await runtime.transact(
            lambda tx: decisions.claim(tx, intent, facts, record=record, handle="", approval=None)
        )
        took = (time.perf_counter() - begun) * 1000
    assert known is None
    assert isinstance(claimed, Claimed)
    assert claimed.effect is not None
    assert claimed.effect.approval_id, "a grant was taken"
    return took


async def drafted(agent: Agent, ref: str) -> dict[str, JsonValue]:
    """Write a draft; the arguments that send it."""
    draft = await agent.ok("draft_reply", ref=ref, body="Open the board menu and choose Rename.")
    return {"draft_id": draft["draft_id"], "visibility": "public"}


async def approval_of(agent: Agent, send: Mapping[str, JsonValue]) -> str:
    """Try to send; the id of the request that this makes."""
    return str((await agent.call("send_reply", send)).error["approval_id"])


async def asked(agent: Agent, ref: str) -> str:
    """Ask for a reply to be sent; the request's id."""
    return await approval_of(agent, await drafted(agent, ref))


def audit(suite: Suite) -> bool:
    """Print how fast the log is verified, and what an event adds to a transaction."""
    body: dict[str, JsonValue] = {"fingerprint": "f" * 64, "channel": "console", "revision": 1, "roles": ["lead"]}
    with suite.runtime.database.transaction() as tx:
        begun = time.perf_counter()
        for number in range(EVENTS):
            Audit(tx).record("vote.approve", actor="person:ada", subject=f"apr_{number}", body=body)
        appending_us = (time.perf_counter() - begun) / EVENTS * 1e6
    begun = time.perf_counter()
    verdict = verify(suite.runtime.database)
    a_second = verdict.events / (time.perf_counter() - begun)
    assert verdict.fault == ""
    print(
        f"audit    {a_second:,.0f} events verified a second (wanted: {WANTED_EVENTS:,}), one adds {appending_us:.0f} us"
    )
    return a_second >= WANTED_EVENTS


def console(suite: Suite) -> bool:
    """Print how long the inbox takes."""
    with suite.runtime.database.transaction() as tx:
        for number in range(CARDS):
            ask(Approvals(tx), number)
    took: list[float] = []
    with running_console(suite) as running, running.visitor("ada", "admin") as ada:
        for _ in range(INBOXES):
            begun = time.perf_counter()
            page = ada.get("/").text
            took.append((time.perf_counter() - begun) * 1000)
            assert page.count('class="card"') == CARDS
    median = sorted(took)[len(took) // 2]
    print(
        f"console  {CARDS} pending: median {median:.0f} ms, worst {max(took):.0f} ms (wanted: under {WANTED_INBOX_MS})"
    )
    return median < WANTED_INBOX_MS


def ask(approvals: Approvals, number: int) -> None:
    """Make a pending request of ordinary size."""
    content: dict[str, JsonValue] = {
        "body": f"Hello Robin,\n\nthis is answer {number}. " + "Open the board menu and choose Rename. " * 20,
        "recipients": ["robin@customer.example"],
        "visibility": "public",
    }
    approvals.ask(
        tenant="default",
        principal="agent:local",
        run_id="",
        kind="effect",
        server="tickets",
        tool="send_reply",
        tool_sha256="",
        arguments={},
        effect_key=f"effect {number}",
        target=f"local:AB-{number}",
        operation="reply",
        content=content,
        fingerprint=text_digest(str(number)),
        mode="live",
        verdict=Verdict(outcome=Outcome.REVIEW, rules=("always_review",)),
        reason="",
        decide_within_s=72 * 3600,
        facts=Briefing(subject=f"How do I rename board {number}?"),
    )


def _server(suite: Suite) -> StdioServerParameters:
    environment = {**os.environ, "GATEBOOK_HOME": str(suite.home), "GATEBOOK_LOG_LEVEL": "ERROR"}
    if url := suite.runtime.settings.database_url:
        environment["GATEBOOK_DATABASE_URL"] = url.get_secret_value()
    command = ["-m", "gatebook_servers", "serve", "all"]
    return StdioServerParameters(command=sys.executable, args=command, env=environment)


def _judged(what: str, database: str, measure: Measure, rounds: int) -> bool:
    """Measure on one database and print it."""
    with _installed(database) as suite:
        took = anyio.run(measure, suite, rounds + WARM_UP)[WARM_UP:]
    wanted = WANTED[what][database]
    print(f"{what:8} {database:8}  {_p50_and_p95(took)}  (wanted: p95 under {wanted:.0f})")
    return percentile(took, 0.95) < wanted


def _p50_and_p95(took: list[float]) -> str:
    return f"p50 {percentile(took, 0.5):6.2f} ms  p95 {percentile(took, 0.95):6.2f} ms"


@contextmanager
def _installed(database: str) -> Generator[Suite]:
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=Path.cwd()) as folder:
        if database == "sqlite":
            suite = Suite(Path(folder) / "home", overrides=_ROOM)
            yield suite
            suite.close()
        else:
            with running_postgres(durable=True) as server, schema(server.address) as address:
                suite = Suite(Path(folder) / "home", overrides={**_ROOM, "database_url": address})
                yield suite
                suite.close()


_ROOM: dict[str, object] = {"max_calls_per_day": 1_000_000}


def main() -> int:
    """Print what was asked for; the exit code is 1 when a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["wake-up", "gate", "audit", "console", []], help="default: all")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    kind = require_disk(Path.cwd())
    chosen = options.what or ["wake-up", "gate", "audit", "console"]
    print(f"{options.rounds} rounds on {kind}; PostgreSQL's data is in {tempfile.gettempdir()}")
    reached: list[bool] = []
    for what, measure in (("wake-up", wake_up), ("gate", gate)):
        if what in chosen:
            reached += [_judged(what, database, measure, options.rounds) for database in ("sqlite", "postgres")]
    for what, print_it in (("audit", audit), ("console", console)):
        if what in chosen:
            with _installed("sqlite") as suite:
                reached.append(print_it(suite))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
