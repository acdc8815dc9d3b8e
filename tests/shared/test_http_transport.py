"""The HTTP transports and their token, driven over real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent

from gatebook.transports.auth import StaticTokenVerifier
from gatebook.transports.http import HttpOptions, build_app, run_http

PROBE = Path(__file__).parents[1] / "programs" / "probe_server.py"
Json = dict[str, object]
TOKEN = "an-invented-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ENVELOPE: Json = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
ADDRESSES = [("POST", "/probe/mcp"), ("GET", "/probe/sse"), ("POST", "/probe/messages/"), ("GET", "/probe/nothing")]

Mode = Literal["auto", "legacy"]
Transport = Literal["mcp", "sse"]
VERSIONS: dict[Mode, str] = {"auto": "2026-07-28", "legacy": "2025-11-25"}


@dataclass
class Gate:
    """Where the tool `hold` waits."""

    listener: socket.socket

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def entered(self) -> socket.socket:
        return self.listener.accept()[0]


@pytest.fixture
def gate() -> Generator[Gate]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield Gate(listener)


@dataclass
class Probe:
    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list[str])
    """Lines of stderr, read as they come so that the pipe never fills."""

    def client(self, transport: Transport, mode: Mode) -> "Connection":
        return Connection(self.url, transport, mode)

    def idle(self) -> socket.socket:
        """A connection without a request, which the server closes first of all."""
        address = httpx.URL(self.url)
        return socket.create_connection((address.host, address.port or 0))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(50)


@contextmanager
def serving(drain_s: float) -> Generator[Probe]:
    command = [sys.executable, str(PROBE), "http", str(drain_s)]
    environment = {**os.environ, "PROBE_TOKEN": TOKEN}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        log: list[str] = []
        reader = threading.Thread(target=log.extend, args=[map(str.rstrip, process.stderr)])
        reader.start()
        try:
            word, url = process.stdout.readline().split()
            assert word == "listening"
            yield Probe(process, url, log)
        finally:
            process.kill()
            reader.join()


@pytest.fixture(scope="module")
def probe() -> Generator[Probe]:
    """One server for the tests that leave it running."""
    with serving(drain_s=1) as running:
        yield running


@dataclass
class Connection:
    url: str
    transport: Transport
    mode: Mode

    @asynccontextmanager
    async def open(self, headers: Mapping[str, str] = BEARER) -> AsyncGenerator[Client]:
        address = f"{self.url}/probe/{self.transport}"
        if self.transport == "sse":
            async with Client(sse_client(address, headers=dict(headers)), mode=self.mode) as client:
                yield client
            return
        async with (
            httpx2.AsyncClient(headers=dict(headers), timeout=60) as http,
            Client(streamable_http_client(address, http_client=http), mode=self.mode) as client,
        ):
            yield client


both_transports = pytest.mark.parametrize("transport", ["mcp", "sse"])
both_eras = pytest.mark.parametrize("mode", ["auto", "legacy"])


def text_of(result: CallToolResult) -> str:
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


@both_transports
@both_eras
def test_the_official_client_calls_tools_as_the_principal_of_the_token(
    probe: Probe, transport: Transport, mode: Mode
) -> None:
    reported: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total, message))

    async def talk() -> None:
        async with probe.client(transport, mode).open() as client:
            assert client.protocol_version == VERSIONS[mode]
            assert {"echo", "hold"} <= {tool.name for tool in (await client.list_tools()).tools}
            assert text_of(await client.call_tool("who", {})) == "agent:http ''"
            await client.call_tool("count", {}, progress_callback=on_progress)
            assert reported == [(1, 2, "half")]

    anyio.run(talk)


def test_every_server_has_its_own_address(probe: Probe) -> None:
    body: Json = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": ENVELOPE}}
    headers = {**modern("server/discover"), **BEARER}
    for name in ("probe", "second"):
        reply = httpx.post(f"{probe.url}/{name}/mcp", headers=headers, json=body)
        assert reply.json()["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == name


def modern(method: str) -> dict[str, str]:
    return {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
    }


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Bearer an-invented-tokem"}, id="wrong"),
        pytest.param({"Authorization": "Bearer"}, id="empty"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, id="other-scheme"),
        pytest.param({"Authorization": "Bearer \xe4\xff"}, id="not-ascii"),
    ],
)
def test_every_mcp_address_refuses_a_request_without_the_token(probe: Probe, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=probe.url, headers=httpx.Headers(headers, encoding="latin-1")) as client:
        for method, path in ADDRESSES:
            reply = client.request(method, path)
            assert (path, reply.status_code) == (path, 401)
            assert reply.headers["www-authenticate"].startswith("Bearer ")


def test_a_bearer_scheme_followed_by_nothing_is_refused(probe: Probe) -> None:
    host = probe.url.removeprefix("http://")
    request = f"POST /probe/mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer \r\n"
    with probe.idle() as raw:
        raw.sendall(request.encode() + b"Content-Length: 0\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 401 ")


def test_a_token_in_the_query_is_refused_and_never_logged(probe: Probe) -> None:
    with httpx.Client(base_url=probe.url) as client:
        for name in ("token", "access_token"):
            for method, path in ADDRESSES:
                assert client.request(method, path, params={name: TOKEN}).status_code == 401
    assert not any(TOKEN in line for line in probe.log)


def test_the_health_check_needs_no_token(probe: Probe) -> None:
    reply = httpx.get(f"{probe.url}/healthz")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:8420"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_foreign_host_or_origin_is_refused_everywhere_even_with_the_token(
    probe: Probe, headers: dict[str, str], status: int
) -> None:
    with httpx.Client(base_url=probe.url, headers={**BEARER, **headers}) as client:
        for method, path in [*ADDRESSES, ("GET", "/healthz")]:
            assert (path, client.request(method, path).status_code) == (path, status)


def test_an_origin_on_this_machine_is_accepted(probe: Probe) -> None:
    assert httpx.get(f"{probe.url}/healthz", headers={"Origin": "http://localhost:3000"}).status_code == 200


@pytest.mark.parametrize("path", ["/probe/mcp", "/probe/messages/"])
def test_a_body_above_the_limit_is_refused(probe: Probe, path: str) -> None:
    def chunks() -> Generator[bytes]:
        for _ in range(5):
            yield b"x" * 1024 * 1024

    headers = {**BEARER, **modern("tools/list"), "Content-Type": "application/json"}
    with httpx.Client(base_url=probe.url, headers=headers) as client:
        declared = client.post(path, content=b"x" * (4 * 1024 * 1024 + 1))
        assert declared.status_code == 413
        try:
            undeclared = client.post(path, content=chunks()).status_code
        except httpx.WriteError:
            undeclared = 413  # the connection was closed under the rest of the body
        assert undeclared == 413


def test_streamable_http_offers_no_stream_that_would_never_say_anything(probe: Probe) -> None:
    for method in ("GET", "DELETE"):
        reply = httpx.request(method, f"{probe.url}/probe/mcp", headers={**BEARER, "Accept": "text/event-stream"})
        assert reply.status_code == 405


def test_a_wrong_token_stops_the_official_client(probe: Probe) -> None:
    async def talk() -> None:
        async with probe.client("mcp", "legacy").open({"Authorization": "Bearer wrong"}):
            pass

    with pytest.raises((ExceptionGroup, MCPError)):
        anyio.run(talk)


@both_transports
@both_eras
def test_a_call_in_flight_is_answered_before_sigterm_ends_the_process(
    gate: Gate, transport: Transport, mode: Mode
) -> None:
    with serving(drain_s=60) as probe, probe.idle() as idle:
        answers: list[str] = []

        async def call(client: Client) -> None:
            answers.append(text_of(await client.call_tool("hold", {"port": gate.port})))

        async def talk() -> None:
            async with probe.client(transport, mode).open() as client, anyio.create_task_group() as tasks:
                await client.list_tools()  # else the client asks for the schemas after the answer, on a new connection
                tasks.start_soon(call, client)
                held = await anyio.to_thread.run_sync(gate.entered)
                probe.process.send_signal(signal.SIGTERM)
                assert await anyio.to_thread.run_sync(idle.recv, 1) == b""  # the server has begun to leave
                with held:
                    held.sendall(b"x")

        anyio.run(talk)
        assert answers == ["released"]
        assert probe.process.wait(30) == 143
    assert probe.log[-3:] == ["released", "stopped", "exit 143"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_open_event_streams_do_not_delay_the_end(number: signal.Signals, code: int) -> None:
    listen: Json = {"_meta": ENVELOPE, "notifications": {"toolsListChanged": True}}
    body: Json = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": listen}
    with (
        serving(drain_s=600) as probe,
        httpx.Client(base_url=probe.url, headers=BEARER) as client,
        client.stream("GET", "/probe/sse") as events,
        client.stream("POST", "/probe/mcp", json=body, headers=modern("subscriptions/listen")) as listening,
    ):
        # Kept: a collected iterator would close its stream.
        lines = [stream.iter_lines() for stream in (events, listening)]
        assert [next(line for line in each if line)[:6] for each in lines] == ["event:", "event:"]
        assert probe.stop(number) == code
    assert probe.log[-2:] == ["stopped", f"exit {code}"]
    assert "Traceback" not in "\n".join(probe.log)


@both_transports
@both_eras
def test_a_call_that_outlasts_the_drain_does_not_hold_the_process_up(
    gate: Gate, transport: Transport, mode: Mode
) -> None:
    with serving(drain_s=1) as probe:

        async def call(client: Client) -> None:
            with pytest.raises(MCPError):
                await client.call_tool("hold", {"port": gate.port})

        async def talk() -> None:
            async with probe.client(transport, mode).open() as client, anyio.create_task_group() as tasks:
                tasks.start_soon(call, client)
                with await anyio.to_thread.run_sync(gate.entered):
                    assert await anyio.to_thread.run_sync(probe.stop) == 143

        anyio.run(talk)
    assert probe.log[-2:] == ["stopped", "exit 143"]
    assert "Traceback" not in "\n".join(probe.log)


def test_a_client_that_discovers_and_then_initializes_over_sse_is_served(probe: Probe) -> None:
    initialize: Json = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    requests: list[Json] = [
        {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": ENVELOPE}},
        {"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": initialize},
    ]
    with httpx.Client(base_url=probe.url, headers=BEARER) as client, client.stream("GET", "/probe/sse") as events:
        data = (line.removeprefix("data: ") for line in events.iter_lines() if line.startswith("data: "))
        address = next(data)
        for request in requests:
            assert client.post(address, json=request).status_code == 202
            assert "result" in json.loads(next(data))


def test_a_port_in_use_is_reported_to_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = HttpOptions(port=taken.getsockname()[1], token=TOKEN)
        with pytest.raises(OSError, match="in use"):
            run_http({}, options, on_stop=lambda: None, announce=lambda _: None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gatebook.example", ""])  # noqa: S104 - must be refused
def test_a_host_other_than_loopback_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="only a loopback address"):
        HttpOptions(host=host, token=TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_a_loopback_host_is_accepted_in_the_host_header(host: str) -> None:
    app = build_app({"probe": MCPServer("probe")}, HttpOptions(host=host, token=TOKEN))
    authority = f"[{host}]:8420" if ":" in host else f"{host}:8420"

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{authority}") as client:
            return await client.get("/healthz")

    assert anyio.run(ask).status_code == 200


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(HttpOptions(token=TOKEN))


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        HttpOptions(token="")
    with pytest.raises(ValueError, match="empty"):
        StaticTokenVerifier("", principal="agent:http")
