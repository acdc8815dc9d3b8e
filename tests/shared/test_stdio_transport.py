"""The stdio transport, driven as a client drives it: a real process, its pipes and signals."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import TextContent

PROBE = Path(__file__).parents[1] / "programs" / "probe_server.py"
COMMAND = [sys.executable, str(PROBE), "stdio"]
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the event loop serves pipes on POSIX only")

Message = dict[str, object]
Era = Literal["legacy", "modern"]


@dataclass
class Gate:
    """Where the tool `hold` waits."""

    listener: socket.socket

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def entered(self) -> socket.socket:
        return self.listener.accept()[0]

    def release(self, held: socket.socket) -> None:
        with held:
            held.sendall(b"x")


@pytest.fixture
def gate() -> Generator[Gate]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield Gate(listener)


@dataclass
class Wire:
    """A raw client."""

    process: subprocess.Popen[bytes]
    era: Era = "legacy"

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: Mapping[str, object], request_id: int | None = None) -> None:
        message: Message = {"jsonrpc": "2.0", "method": method, "params": dict(params)}
        if request_id is not None:
            message["id"] = request_id
        self.write(json.dumps(message).encode())

    def call(self, tool: str, request_id: int, **arguments: object) -> None:
        meta = {"_meta": ENVELOPE} if self.era == "modern" else {}
        self.send("tools/call", {"name": tool, "arguments": arguments, **meta}, request_id)

    def receive(self) -> Message:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server has closed its stdout"
        return json.loads(line)

    def open(self) -> None:
        """Settle the era; a modern client needs no handshake."""
        if self.era == "legacy":
            self.initialize()

    def initialize(self) -> Message:
        self.send("initialize", INITIALIZE, 0)
        reply = self.receive()
        self.send("notifications/initialized", {})
        return reply

    def rest(self) -> list[Message]:
        """Close stdin and return what still arrives until the server closes stdout."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        return [json.loads(line) for line in self.process.stdout]

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


@contextmanager
def started(era: Era = "legacy", *, command: list[str] = COMMAND) -> Generator[Wire]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield Wire(process, era)
        finally:
            process.kill()


def text_of(message: Message) -> str:
    result = cast("dict[str, list[dict[str, str]]]", message["result"])
    return result["content"][0]["text"]


def error_of(message: Message) -> tuple[object, object]:
    return message["id"], cast("dict[str, object]", message["error"])["code"]


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_the_official_client_lists_and_calls_tools(
    mode: Literal["auto", "legacy"], version: str, tmp_path: Path
) -> None:
    reported: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total, message))

    async def talk() -> None:
        with (tmp_path / "stderr").open("w") as errlog:
            transport = stdio_client(StdioServerParameters(command=COMMAND[0], args=COMMAND[1:]), errlog=errlog)
            async with Client(transport, mode=mode) as client:
                assert client.protocol_version == version
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert {"echo", "hold", "who"} <= names
                big = "ä\u2028" * 500_000
                reply = await client.call_tool("echo", {"text": big})
                assert reply.content == [TextContent(type="text", text=big)]
                await client.call_tool("count", {}, progress_callback=on_progress)
                assert reported == [(1, 2, "half")]
                assert (await client.call_tool("who", {})).content == [TextContent(type="text", text="nobody")]

    anyio.run(talk)
    assert (tmp_path / "stderr").read_text().splitlines()[-2:] == ["stopped", "exit 0"]


def test_a_client_that_discovers_and_then_initializes_is_served() -> None:
    with started() as wire:
        wire.send("server/discover", {"_meta": ENVELOPE}, 1)
        assert "2026-07-28" in json.dumps(wire.receive()["result"])
        wire.send("server/discover", {"_meta": ENVELOPE}, 2)
        assert wire.receive()["id"] == 2
        assert cast("Message", wire.initialize()["result"])["protocolVersion"] == "2025-11-25"
        wire.call("echo", 3, text="hello")
        assert text_of(wire.receive()) == "hello"


def test_a_client_that_discovers_and_stays_modern_is_served() -> None:
    with started("modern") as wire:
        wire.send("server/discover", {"_meta": ENVELOPE}, 1)
        assert wire.receive()["id"] == 1
        wire.call("echo", 2, text="hello")
        assert text_of(wire.receive()) == "hello"
        wire.send("server/discover", {"_meta": ENVELOPE}, 3)
        assert wire.receive()["id"] == 3


def test_a_later_discovery_does_not_wait_for_a_call_in_flight(gate: Gate) -> None:
    with started("modern") as wire:
        wire.call("hold", 1, port=gate.port)
        held = gate.entered()
        wire.send("server/discover", {"_meta": ENVELOPE}, 2)
        wire.call("echo", 3, text="hello")
        assert {wire.receive()["id"] for _ in range(2)} == {2, 3}
        gate.release(held)
        assert text_of(wire.receive()) == "released"


def test_a_legacy_client_whose_probe_has_no_envelope_can_still_initialize() -> None:
    with started() as wire:
        wire.send("server/discover", {}, 1)
        assert error_of(wire.receive()) == (1, -32601)
        assert "result" in wire.initialize()


def test_requests_sent_without_waiting_for_the_probe_are_answered_in_order() -> None:
    with started() as wire:
        wire.send("server/discover", {"_meta": ENVELOPE}, 1)
        wire.send("initialize", INITIALIZE, 2)
        wire.call("echo", 3, text="hello")
        assert [wire.receive()["id"] for _ in range(3)] == [1, 2, 3]


NO_MESSAGES: list[tuple[bytes, tuple[int | None, int]]] = [
    (b"this is not JSON", (None, -32700)),
    (b'{"jsonrpc":"2.0","id":7,', (None, -32700)),
    (b'{"jsonrpc":"2.0","id":7,"method":"x\xff\xfe"}', (None, -32700)),
    (b"[" * 100_000, (None, -32700)),
    (b'"' + b"x" * (8 * 1024 * 1024) + b'"', (None, -32700)),
    (b'[{"jsonrpc":"2.0","id":7,"method":"ping"}]', (None, -32600)),
    (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', (7, -32600)),
    (b'{"jsonrpc":"1.0","id":true,"method":"ping"}', (None, -32600)),
    (b'{"jsonrpc":"2.0","id":7,"result":3}', (None, -32600)),
]


def test_a_line_that_is_no_message_is_answered_and_the_connection_lives_on() -> None:
    with started() as wire:
        for line, answer in NO_MESSAGES:
            wire.write(line)
            assert error_of(wire.receive()) == answer, line[:80]
        wire.initialize()
        for request_id, (line, answer) in enumerate(NO_MESSAGES, start=1):
            wire.write(line)
            assert error_of(wire.receive()) == answer, line[:80]
            wire.call("echo", request_id, text="hello")
            assert text_of(wire.receive()) == "hello"


def test_an_empty_line_is_ignored() -> None:
    with started("modern") as wire:
        wire.write(b"\n\r")
        wire.call("echo", 1, text="hello")
        assert text_of(wire.receive()) == "hello"


def test_a_message_just_below_the_limit_is_served() -> None:
    text = "x" * (8 * 1024 * 1024 - 200)
    with started() as wire:
        wire.initialize()
        wire.call("echo", 1, text=text)
        assert text_of(wire.receive()) == text


def test_a_last_message_without_a_newline_is_answered() -> None:
    with started("modern") as wire:
        assert wire.process.stdin is not None
        message = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": ENVELOPE}}
        wire.process.stdin.write(json.dumps(message).encode())
        assert [reply["id"] for reply in wire.rest()] == [1]


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_nothing_a_tool_prints_or_reads_touches_the_wire(era: Era) -> None:
    with started(era) as wire:
        wire.open()
        wire.call("chatter", 1)
        wire.call("echo", 2, text="hello")
        assert {text_of(wire.receive()) for _ in range(2)} == {"0+0", "hello"}
        assert wire.rest() == []
        diverted = wire.stderr()
    for stray in ("stray print", "stray write", "stray child"):
        assert stray in diverted


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_call_in_flight_at_eof_is_answered_before_the_process_ends(era: Era, gate: Gate) -> None:
    with started(era) as wire:
        wire.open()
        wire.call("hold", 1, port=gate.port)
        held = gate.entered()
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        gate.release(held)
        assert text_of(wire.receive()) == "released"
        assert wire.process.wait(30) == 0
        assert wire.stderr().splitlines()[-3:] == ["released", "stopped", "exit 0"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_signal_ends_the_process_after_the_calls_in_flight(
    era: Era, number: signal.Signals, code: int, gate: Gate
) -> None:
    with started(era) as wire:
        wire.open()
        wire.call("hold", 1, port=gate.port)
        held = gate.entered()
        wire.process.send_signal(number)
        gate.release(held)
        assert text_of(wire.receive()) == "released"
        assert wire.process.wait(30) == code
        assert wire.stderr().splitlines()[-2:] == ["stopped", f"exit {code}"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_process_although_stdin_stays_open(number: signal.Signals) -> None:
    with started() as wire:
        wire.initialize()
        wire.process.send_signal(number)
        assert wire.process.wait(30) == 128 + number
        assert wire.stderr().splitlines()[-2:] == ["stopped", f"exit {128 + number}"]


def test_a_call_that_outlasts_the_drain_is_cancelled_and_answered(gate: Gate) -> None:
    with started() as wire:
        wire.initialize()
        wire.call("hold", 1, port=gate.port)
        with gate.entered():
            wire.process.send_signal(signal.SIGTERM)
            assert error_of(wire.receive()) == (1, -32000)
            assert wire.process.wait(30) == 143
        assert wire.stderr().splitlines()[-2:] == ["stopped", "exit 143"]


def test_work_that_cannot_be_cancelled_does_not_hold_the_process_up(gate: Gate) -> None:
    with started() as wire:
        wire.initialize()
        wire.call("hold", 1, port=gate.port, shielded=True)
        with gate.entered():
            wire.process.send_signal(signal.SIGTERM)
            assert wire.process.wait(30) == 143
        assert wire.stderr().splitlines()[-1] == "stopped"


@pytest.mark.slow  # waits for the last resort
def test_a_tool_that_blocks_the_event_loop_does_not_hold_the_process_up(gate: Gate) -> None:
    with started() as wire:
        wire.initialize()
        wire.call("seize", 1, port=gate.port)
        with gate.entered():
            wire.process.send_signal(signal.SIGTERM)
            assert wire.process.wait(30) == 143
        assert wire.stderr().splitlines()[-1] == "stopped"


def test_shielded_work_of_a_cancelled_call_finishes_before_the_end(gate: Gate) -> None:
    with started() as wire:
        wire.initialize()
        wire.call("hold", 1, port=gate.port, shielded=True)
        held = gate.entered()
        wire.send("notifications/cancelled", {"requestId": 1})
        wire.call("echo", 2, text="the cancellation has been read")
        wire.receive()
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        gate.release(held)
        assert wire.rest() == []
        assert wire.process.wait(30) == 0
        assert wire.stderr().splitlines()[-3:] == ["released", "stopped", "exit 0"]


def test_a_client_that_no_longer_reads_ends_the_process() -> None:
    with started() as wire:
        wire.initialize()
        assert wire.process.stdout is not None
        wire.process.stdout.close()
        wire.call("echo", 1, text="hello")
        assert wire.process.wait(30) == 0
        assert wire.stderr().splitlines()[-2:] == ["stopped", "exit 0"]


def test_the_death_of_the_parent_ends_the_process_although_stdin_stays_open() -> None:
    parent = f"import subprocess; subprocess.run({COMMAND!r})"
    with started(command=[sys.executable, "-c", parent]) as wire:
        wire.initialize()
        wire.process.kill()
        assert wire.process.wait(30) == -signal.SIGKILL
        assert wire.process.stdout is not None
        assert wire.process.stdout.read() == b""
        assert wire.stderr().splitlines()[-2:] == ["stopped", "exit 0"]
