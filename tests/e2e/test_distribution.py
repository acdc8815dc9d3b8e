"""What a host starts: every entry of mcp.json, what `gatebook config` prints, and the addresses of HTTP and SSE."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from mcp import Client, StdioServerParameters
from pydantic import JsonValue

from gatebook_servers.catalogue import SERVERS
from programs.processes import COMMAND, environment, gatebook

ROOT = Path(__file__).parents[2]
HARMLESS: dict[str, tuple[str, dict[str, JsonValue]]] = {
    "tickets": ("list_tickets", {}),
    "classifier": ("check_sensitive", {"text": "a harmless text"}),
    "memory": ("memory_list", {}),
    "approvals": ("list_approvals", {}),
    "runs": ("list_runs", {}),
}


def entries(text: str) -> dict[str, dict[str, JsonValue]]:
    return cast("dict[str, dict[str, dict[str, JsonValue]]]", json.loads(text))["mcpServers"]


def test_the_hidden_file_that_claude_code_reads_is_the_same_file() -> None:
    assert (ROOT / ".mcp.json").readlink() == Path("mcp.json")
    assert list(entries((ROOT / "mcp.json").read_text(encoding="utf-8"))) == list(SERVERS)


@pytest.mark.anyio
@pytest.mark.parametrize("name", SERVERS)
async def test_what_config_prints_starts_in_any_folder(name: str, tmp_path: Path, mode: str) -> None:
    home = tmp_path / "home"
    entry = entries(gatebook(home, "config", "claude-code"))[name]
    parameters = StdioServerParameters(
        command=str(entry["command"]),
        args=cast("list[str]", entry["args"]),
        env=cast("dict[str, str]", entry["env"]),
        cwd=tmp_path,
    )
    tool, arguments = HARMLESS[name]
    async with Client(parameters, mode=mode) as client:
        listed = {found.name for found in (await client.list_tools()).tools}
        result = await client.call_tool(tool, arguments)
    assert listed == set(SERVERS[name].specs)
    assert not result.is_error
    assert (home / "gatebook.db").exists()


def test_the_configuration_for_claude_desktop_has_absolute_paths_and_no_secret(tmp_path: Path) -> None:
    for transport in ("stdio", "http", "sse"):
        text = gatebook(tmp_path / "home", "config", "claude-desktop", "--transport", transport)
        for entry in entries(text).values():
            assert Path(str(entry.get("command", sys.executable))).is_absolute()
            headers = cast("dict[str, str]", entry.get("headers", {}))
            assert headers.get("Authorization", "Bearer ${GATEBOOK_TOKEN}") == "Bearer ${GATEBOOK_TOKEN}"


@contextmanager
def served(home: Path, transport: str) -> Generator[tuple[str, str]]:
    """Serve all rooms; the address of the first and the token."""
    command = [*COMMAND, "serve", "all", "--transport", transport, "--port", "0"]
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if line.startswith("tickets: "))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            address = line.removeprefix("tickets: ").strip().partition("/tickets/")[0]
            yield address, (home / "token").read_text(encoding="utf-8").strip()
        finally:
            process.terminate()


INSPECTOR = ("npx", "-y", "@modelcontextprotocol/inspector@2.12.0", "--cli")


def inspect(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEBOOK_")}
    return subprocess.run(
        [*INSPECTOR, *arguments, "--format", "json", "-q"],
        env={**kept, "GATEBOOK_HOME": str(home)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def inspector() -> None:
    """Skip where the Inspector cannot be had; have the checkout set up as the README does."""
    subprocess.run(["uv", "run", "--no-dev", "gatebook", "--version"], cwd=ROOT, timeout=300, check=True)
    try:
        probe = subprocess.run(
            [*INSPECTOR, "--help"], stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip("npx is not here or cannot fetch the MCP Inspector")
    if probe.returncode != 0:
        pytest.skip("the MCP Inspector cannot be fetched")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("inspector")
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("name", SERVERS)
def test_the_inspector_lists_and_calls_every_entry_of_mcp_json(name: str, era: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    # The Inspector hands few of its own variables on, as other hosts do.
    options = ("--config", "mcp.json", "--server", name, "-e", f"GATEBOOK_HOME={home}")
    options += ("--stored-auth-only", "--protocol-era", era)
    listed = inspect(*options, "--method", "tools/list", "--strict", home=home)
    assert listed.returncode == 0, listed.stderr
    assert {tool["name"] for tool in json.loads(listed.stdout)["result"]["tools"]} == set(SERVERS[name].specs)
    tool, arguments = HARMLESS[name]
    call = ("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    called = inspect(*options, *call, home=home)
    assert called.returncode == 0, called.stderr
    assert (home / "gatebook.db").exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("inspector")
@pytest.mark.parametrize("transport", ["http", "sse"])
def test_the_inspector_reaches_the_addresses_with_the_token_and_not_without(transport: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with served(home, transport) as (address, token):
        for name in SERVERS:
            url = f"{address}/{name}/{'mcp' if transport == 'http' else 'sse'}"
            options = (url, "--transport", transport, "--method", "tools/list")
            assert inspect(*options, home=home).returncode != 0
            found = inspect(*options, "--header", f"Authorization: Bearer {token}", home=home)
            assert found.returncode == 0, found.stderr
            assert {tool["name"] for tool in json.loads(found.stdout)["result"]["tools"]} == set(SERVERS[name].specs)
