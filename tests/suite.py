"""The suite as tests drive it: a real client, the real servers, a database of its own, a clock that tests move."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import anyio
from mcp import Client
from mcp.types import CallToolResult, TextContent
from pydantic import JsonValue

from gatebook.approvals.models import EVERY_ROLE, Approval, Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.clock import ManualClock
from gatebook.deciding import approve, deny
from gatebook.effects import EffectRow, Effects
from gatebook.errors import ERROR_META
from gatebook.guard import Guard
from gatebook.outbox import Job, Outbox
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from gatebook.toolset import build_server
from gatebook.worker import Worker
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.commands.data import seed_templates
from gatebook_servers.memory.store import Notes
from gatebook_servers.nightly.client import Servers
from gatebook_servers.nightly.shift import NightShift
from gatebook_servers.nightly.state import Order, Report
from gatebook_servers.tickets.importing import ImportReport, import_tickets

Json = dict[str, JsonValue]
T = TypeVar("T")
ADA = Reviewer(person="person:ada", roles=(EVERY_ROLE,))
SINCE, UNTIL = "2026-11-21T18:00:00Z", "2026-11-22T06:00:00Z"


def text_of(result: CallToolResult) -> str:
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


@dataclass(frozen=True)
class Answer:
    """A result as a test looks at it: `code` is empty unless the call was refused."""

    code: str
    text: str
    content: Json
    error: Json


@dataclass(frozen=True)
class Agent:
    """A connected client."""

    client: Client

    async def call(self, tool: str, arguments: Mapping[str, JsonValue] | None = None, /, **more: JsonValue) -> Answer:
        result = await self.client.call_tool(tool, {**(arguments or {}), **more})
        error = cast("Json", (result.meta or {}).get(ERROR_META, {}))
        content = cast("Json", result.structured_content or {})
        return Answer(str(error.get("code", "")) if result.is_error else "", text_of(result), content, error)

    async def ok(self, tool: str, arguments: Mapping[str, JsonValue] | None = None, /, **more: JsonValue) -> Json:
        answer = await self.call(tool, arguments, **more)
        assert answer.code == "", answer.text
        return answer.content


@dataclass
class Suite:
    """One installation."""

    home: Path
    clock: ManualClock = field(default_factory=ManualClock)
    overrides: dict[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        self._opened: list[Runtime] = []
        self.runtime: Runtime = self.another_process()

    def another_process(self, **overrides: object) -> Runtime:
        """Open the same database once more, as another process would."""
        settings = Settings.model_validate({"home": self.home, **self.overrides, **overrides})
        self._opened.append(open_runtime(settings, clock=self.clock))
        return self._opened[-1]

    def close(self) -> None:
        for runtime in self._opened:
            runtime.close()

    @asynccontextmanager
    async def agent(self, *servers: str, mode: str = "auto", runtime: Runtime | None = None) -> AsyncGenerator[Agent]:
        toolsets = [SERVERS[name] for name in servers or SERVERS]
        server = build_server(toolsets, runtime or self.runtime, catalogue=catalogue(), name="suite")
        async with Client(server, mode=mode) as client:
            yield Agent(client)

    async def night(
        self, *, since: str = SINCE, until: str = UNTIL, runtime: Runtime | None = None, **limits: int | bool
    ) -> Report:
        """Work a night with the reference agent, as `gatebook nightly` does."""
        chosen = runtime or self.runtime
        seed_templates(chosen)
        order = Order.model_validate(
            {"since": since, "until": until, "key": f"nightly/{since}/{until}", "day": until[:10], **limits}
        )
        async with self.agent(runtime=chosen) as agent:
            offered = {tool.name: "suite" for tool in (await agent.client.list_tools()).tools}
            servers = Servers({"suite": agent.client}, offered)
            return await NightShift(servers, order, lambda _done, _total, _ref: None).work()

    def tickets(self, rows: Sequence[Mapping[str, JsonValue]]) -> ImportReport:
        self.home.mkdir(exist_ok=True)
        file = self.home / "import.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return import_tickets(self.runtime.database, file, zone=self.runtime.settings.zone)

    def requests(self, state: str = "pending") -> list[Approval]:
        with self.runtime.database.transaction() as tx:
            found = Approvals(tx).select(tenant="default", limit=1_000)
        return [request for request in found if state in ("all", request.state)]

    def approve(self, approval_id: str, *, reviewer: Reviewer = ADA) -> Approval:
        """Say yes as the command line does, without executing anything yet."""
        with self.runtime.database.transaction() as tx:
            shown = Approvals(tx).get(approval_id).shown
            return approve(tx, self.runtime.settings, approval_id, reviewer=reviewer, channel="test", shown=shown)

    def deny(self, approval_id: str, *, reviewer: Reviewer = ADA, reason: str = "not like this") -> None:
        with self.runtime.database.transaction() as tx:
            shown = Approvals(tx).get(approval_id).shown
            deny(tx, approval_id, reviewer=reviewer, channel="test", shown=shown, reason=reason)

    async def execute(self, subject: str = "", *, runtime: Runtime | None = None) -> Job | None:
        """Let a worker do the next job."""
        chosen = runtime or self.runtime
        return await Worker(chosen, Guard(chosen, catalogue())).run_one(subject=subject)

    async def work(self) -> None:
        """Let a worker do all that is due."""
        await Worker(self.runtime, Guard(self.runtime, catalogue())).run_due()

    def comments(self, ticket_id: str) -> list[Mapping[str, object]]:
        with self.runtime.database.transaction() as tx:
            rows = tx.all("SELECT * FROM desk_comments WHERE ticket_id = :id ORDER BY created_at", id=ticket_id)
        return list(rows)

    def note(self, key: str) -> str:
        with self.runtime.database.transaction() as tx:
            return Notes(tx).get(key).value

    def count(self, table: str) -> int:
        with self.runtime.database.transaction() as tx:
            row = tx.one(f"SELECT COUNT(*) AS n FROM {table}")  # noqa: S608 - a test names its tables
        assert row is not None
        return int(row["n"] or 0)


def ticket(ticket_id: str = "AB-1", **fields: JsonValue) -> Json:
    """A harmless ticket."""
    return {
        "id": ticket_id,
        "subject": "How do I rename a board?",
        "body": "I cannot find where a board is renamed.",
        "created_at": "2026-11-21T20:00:00Z",
        "requester": {"name": "Robin Reyes", "email": "robin@customer.example"},
        "tags": [],
        "status": "new",
        "channel": "email",
        **fields,
    }


REPLY = "Open the board menu and choose Rename."


async def approved_reply(suite: Suite) -> Json:
    """Ask for a reply and approve it; the arguments of the call."""
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
    suite.approve(suite.requests()[0].approval_id)
    return send


@asynccontextmanager
async def under_way(call: Callable[[], Awaitable[T]]) -> AsyncGenerator[list[T]]:
    """Make a call beside the block, which does not end before it; what it returned is in the list then."""
    returned: list[T] = []

    async def make() -> None:
        returned.append(await call())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        yield returned


def the_effect(suite: Suite) -> EffectRow:
    with suite.runtime.database.transaction() as tx:
        row = tx.one("SELECT effect_key FROM effects")
        assert row is not None
        found = Effects(tx).find(str(row["effect_key"]))
    assert found is not None
    return found


def the_job(suite: Suite) -> Job:
    [request] = suite.requests("all")
    with suite.runtime.database.transaction() as tx:
        job = Outbox(tx).of_subject("execute_approved", request.approval_id)
    assert job is not None
    return job
