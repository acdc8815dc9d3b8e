"""The outbox in real processes: who executes what was approved, who takes over from the dead, how a process ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from time import monotonic
from typing import cast

import anyio
import apsw
import pytest
from mcp import Client

from fakes.listening import listening
from gatebook.approvals.requests import Approvals
from gatebook.deciding import approve
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from gatebook.toolset import build_server
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.tickets.importing import import_tickets
from programs.processes import environment, rows
from suite import ADA, Agent, ticket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended with POSIX's signals")

PROGRAM = (sys.executable, str(Path(__file__).parents[1] / "programs" / "gated_gatebook.py"))
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}
HTTP = ("serve", "tickets", "--transport", "http", "--port", "0")
PATIENCE_S = 30.0
ENDS_WITHIN_S = 8.0
"""How long a process may take to end whose work is not finished in time: the last resort, and a slow machine."""

IDLE_ENDS_WITHIN_S = 2.0

Json = dict[str, object]


@dataclass
class Gate:
    """Where the desk of every process waits before it changes anything."""

    listener: socket.socket

    @property
    def port(self) -> str:
        return str(self.listener.getsockname()[1])

    def entered(self) -> tuple[int, socket.socket]:
        """Wait for a process to come; its id."""
        held = self.listener.accept()[0]
        held.settimeout(PATIENCE_S)
        with held.makefile("rb") as said:
            return int(said.readline()), held

    def let_through(self) -> int:
        """Let the next process pass; its id."""
        pid, held = self.entered()
        with held:
            held.sendall(b"x")
        return pid


@pytest.fixture
def gate() -> Generator[Gate]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        yield Gate(listener)


@dataclass
class Server:
    """A process of the command, and its client when it serves one."""

    process: subprocess.Popen[bytes]

    def send(self, method: str, params: Json, request_id: int | None = None) -> None:
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
        if request_id is not None:
            message["id"] = request_id
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def call(self, tool: str, request_id: int, **arguments: object) -> None:
        self.send("tools/call", {"name": tool, "arguments": arguments, "_meta": ENVELOPE}, request_id)

    def answer(self) -> Json:
        assert self.process.stdout is not None
        return cast("Json", json.loads(self.process.stdout.readline()))

    def leave(self) -> None:
        """Close the client's side."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextmanager
def started(home: Path, *arguments: str, gate: Gate | None = None, **settings: str) -> Generator[Server]:
    gated = {"GATEBOOK_DESK": "gated", "GATEBOOK_CEILING": "send", "GATEBOOK_TEST_GATE": gate.port} if gate else {}
    pipe = subprocess.PIPE
    with (
        (home.parent / f"stderr-{monotonic()}").open("wb") as stderr,
        subprocess.Popen(
            [*PROGRAM, *arguments],
            env=environment(home, **gated, **settings),
            stdin=pipe,
            stdout=pipe,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield Server(process)
        finally:
            process.kill()


@contextmanager
def opened(home: Path) -> Generator[Runtime]:
    runtime = open_runtime(Settings(home=home))
    with closing(runtime):
        yield runtime


def asked(home: Path, *tickets: str) -> list[str]:
    """Ask for a reply to each ticket; the requests' ids."""
    with opened(home) as runtime:
        file = home / "import.jsonl"
        file.write_text("".join(json.dumps(ticket(one)) + "\n" for one in tickets), encoding="utf-8")
        import_tickets(runtime.database, file, zone=runtime.settings.zone)
        return anyio.run(_asked, runtime, tickets)


def approved(home: Path, *tickets: str) -> None:
    """Ask for a reply to each ticket, and approve it as somebody at another machine."""
    ids = asked(home, *tickets)
    with opened(home) as runtime:
        for approval_id in ids:
            decide(runtime, approval_id)


async def _asked(runtime: Runtime, tickets: tuple[str, ...]) -> list[str]:
    ids: list[str] = []
    async with Client(build_server([SERVERS["tickets"]], runtime, catalogue=catalogue())) as client:
        for one in tickets:
            draft = await Agent(client).ok("draft_reply", ref=f"local:{one}", body="Open the board menu.")
            asked = await Agent(client).call("send_reply", draft_id=draft["draft_id"], visibility="public")
            ids.append(str(asked.error["approval_id"]))
    return ids


def decide(runtime: Runtime, approval_id: str) -> None:
    with runtime.database.transaction() as tx:
        shown = Approvals(tx).get(approval_id).shown
        approve(tx, runtime.settings, approval_id, reviewer=ADA, channel="test", shown=shown)


def until(condition: Callable[[], bool]) -> None:
    """Look at what other processes do until it is so; the database has no bell."""
    deadline, pause = monotonic() + PATIENCE_S, Event()
    while not condition():
        assert monotonic() < deadline, "it did not come to pass"
        pause.wait(0.02)


def states(home: Path) -> list[object]:
    return [row[0] for row in rows(home, "SELECT state FROM approvals ORDER BY created_at, approval_id")]


def jobs(home: Path) -> list[tuple[object, ...]]:
    found = rows(home, "SELECT state, attempts FROM outbox WHERE kind = 'execute_approved' ORDER BY created_at, job_id")
    return list(found)


def comments(home: Path) -> int:
    return len(rows(home, "SELECT 1 FROM desk_comments"))


def end_leases(home: Path) -> None:
    """Let the leases of the dead end now rather than in a minute."""
    with closing(apsw.Connection(str(home / "gatebook.db"))) as connection:
        connection.set_busy_timeout(5_000)
        for table in ("outbox", "effects"):
            # apsw's stubs leave the type of a bindable buffer open.
            connection.execute(f"UPDATE {table} SET lease_until = 0")  # noqa: S608  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("serve", "tickets"), id="stdio"),
        pytest.param(("serve", "all"), id="stdio-all", marks=pytest.mark.slow),
        pytest.param(HTTP, id="http"),
        pytest.param(("serve", "all", "--transport", "sse", "--port", "0"), id="sse", marks=pytest.mark.slow),
        pytest.param(("worker",), id="worker"),
    ],
)
def test_a_process_that_serves_tickets_executes_what_was_approved_elsewhere(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    approved(home, "AB-1")
    with started(home, *arguments):
        until(lambda: jobs(home) == [("done", 1)])
    assert (states(home), comments(home)) == (["used"], 1)


def test_a_process_that_serves_no_tickets_leaves_them_alone_and_does_the_chores(tmp_path: Path) -> None:
    home = tmp_path / "home"
    approved(home, "AB-1")
    with started(home, "serve", "memory"):
        until(lambda: rows(home, "SELECT state, attempts FROM outbox WHERE kind = 'prune'") == [("waiting", 1)])
        assert jobs(home) == [("waiting", 0)]
    assert states(home) == ["approved"]


def test_what_is_approved_while_an_agent_waits_reaches_it_long_before_it_gives_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    [approval_id] = asked(home, "AB-1")
    with opened(home) as runtime, started(home, "serve", "approvals") as server:
        server.call("wait_for_approvals", 1, approval_ids=[approval_id], timeout_s=50)
        until(lambda: bool(rows(home, "SELECT 1 FROM counters WHERE name = 'calls'")))
        decide(runtime, approval_id)
        begun = monotonic()
        answer = server.answer()
        assert monotonic() - begun < 25
    assert '"state":"approved"' in json.dumps(answer).replace("\\", "").replace(" ", "")


@pytest.mark.parametrize("lease", ["ended", pytest.param("real", marks=pytest.mark.slow)])
def test_what_a_killed_replica_held_is_done_once_by_another_one(tmp_path: Path, gate: Gate, lease: str) -> None:
    home = tmp_path / "home"
    approved(home, "AB-1")
    quick = {"GATEBOOK_LEASE_S": "2", "GATEBOOK_SETTLE_S": "1"}
    with started(home, *HTTP, gate=gate, **quick) as one, started(home, *HTTP, gate=gate, **quick) as two:
        killed, held = gate.entered()
        assert jobs(home) == [("leased", 1)]
        gate.listener.settimeout(75)
        with held:
            os.kill(killed, signal.SIGKILL)
        if lease == "ended":
            end_leases(home)
        heir = gate.let_through()
        assert {killed, heir} == {one.process.pid, two.process.pid}
        until(lambda: jobs(home)[0][0] == "done")
    assert (states(home), comments(home)) == (["used"], 1)


def signalled(number: signal.Signals) -> Callable[[Server], None]:
    return lambda server: server.process.send_signal(number)


ENDS: dict[str, tuple[tuple[str, ...], Callable[[Server], None], int]] = {
    "stdio-eof": (("serve", "tickets"), Server.leave, 0),
    "stdio-sigterm": (("serve", "tickets"), signalled(signal.SIGTERM), 143),
    "stdio-sigint": (("serve", "tickets"), signalled(signal.SIGINT), 130),
    "http-sigterm": (HTTP, signalled(signal.SIGTERM), 143),
    "worker-sigterm": (("worker",), signalled(signal.SIGTERM), 143),
    "worker-sigint": (("worker",), signalled(signal.SIGINT), 130),
}
"""What is started, how its end begins, and its exit code."""
WAYS = [pytest.param(way, marks=pytest.mark.slow if "sigint" in way else ()) for way in ENDS]


@pytest.mark.parametrize("way", WAYS)
def test_a_job_in_flight_is_finished_before_the_end_and_no_other_one_begun(
    tmp_path: Path, gate: Gate, way: str
) -> None:
    arguments, end, code = ENDS[way]
    home = tmp_path / "home"
    approved(home, "AB-1", "AB-2")
    with started(home, *arguments, gate=gate) as server:
        _, held = gate.entered()
        end(server)
        with held:
            held.sendall(b"x")
        assert server.process.wait(PATIENCE_S) == code
    assert sorted(jobs(home)) == [("done", 1), ("waiting", 0)]
    assert sorted(states(home), key=str) == ["approved", "used"]
    assert comments(home) == 1


@pytest.mark.parametrize("way", ["stdio-eof", pytest.param("stdio-sigterm", marks=pytest.mark.slow)])
def test_a_job_that_outlasts_the_drain_is_abandoned_whole_and_done_once_by_the_next_process(
    tmp_path: Path, gate: Gate, way: str
) -> None:
    arguments, end, code = ENDS[way]
    home = tmp_path / "home"
    approved(home, "AB-1")
    with started(home, *arguments, gate=gate) as server:
        _, held = gate.entered()
        end(server)
        with held:
            assert server.process.wait(ENDS_WITHIN_S) == code
    assert (jobs(home), states(home), comments(home)) == ([("leased", 1)], ["claimed"], 0)
    end_leases(home)
    with started(home, "serve", "tickets", GATEBOOK_SETTLE_S="0"):
        until(lambda: states(home) == ["used"])
    assert comments(home) == 1


@pytest.mark.parametrize("way", WAYS)
def test_an_idle_process_ends_at_once_although_it_has_a_background(tmp_path: Path, way: str) -> None:
    arguments, end, code = ENDS[way]
    home = tmp_path / "home"
    with opened(home), started(home, *arguments) as server:
        until(lambda: len(rows(home, "SELECT 1 FROM outbox WHERE attempts = 1 AND state = 'waiting'")) == 3)
        end(server)
        assert server.process.wait(IDLE_ENDS_WITHIN_S) == code


def test_a_write_whose_call_is_cancelled_is_finished_and_its_repetition_replayed(tmp_path: Path, gate: Gate) -> None:
    home = tmp_path / "home"
    approved(home, "AB-1")
    update = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"]}
    with started(home, "serve", "tickets", gate=gate, GATEBOOK_MODE="live") as server:
        server.call("update_ticket", 1, **update)
        _, held = gate.entered()
        server.send("notifications/cancelled", {"requestId": 1})
        server.call("list_tickets", 2)
        assert server.answer()["id"] == 2
        with held:
            held.sendall(b"x")
        until(lambda: rows(home, "SELECT state FROM effects WHERE tool = 'update_ticket'") == [("done",)])
        server.call("update_ticket", 3, **update)
        answer = server.answer()
    assert answer["id"] == 3
    assert '"outcome": "replayed"' in json.dumps(cast("Json", answer["result"])["structuredContent"])


def test_what_telemetry_has_gathered_is_sent_before_the_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with _collector() as (address, posted):
        for end in (Server.leave, signalled(signal.SIGTERM)):
            posted.clear()
            with started(home, "serve", "tickets", OTEL_EXPORTER_OTLP_ENDPOINT=address) as server:
                server.call("list_tickets", 1)
                server.answer()
                end(server)
                server.process.wait(ENDS_WITHIN_S)
            assert set(posted) == {"/v1/traces", "/v1/metrics"}


@contextmanager
def _collector() -> Generator[tuple[str, list[str]]]:
    posted: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            posted.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with listening(Handler) as url:
        yield url, posted
