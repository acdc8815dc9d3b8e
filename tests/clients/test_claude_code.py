"""The real Claude Code at work with Gatebook's servers, and what it does with the flags that unattended work rests on."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clients.claude_code import ABSENT, ClaudeCode, Report, find_cli
from clients.scripted_messages_api import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    Call,
    Say,
    ScriptedMessagesApi,
    Seen,
    Step,
    serving,
)
from pydantic import JsonValue, TypeAdapter

pytestmark = pytest.mark.slow

PROBE = Path(__file__).with_name("probe_tools_server.py")
TICKET = {
    "id": "AB-1",
    "subject": "How do I rename a board?",
    "body": "I cannot find where a board is renamed.",
    "created_at": "2026-11-21T20:00:00Z",
    "requester": {"name": "Robin Reyes", "email": "robin@customer.example"},
}
REPLY = "Open the board's menu and choose Rename."
OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
OBJECTS: TypeAdapter[list[dict[str, JsonValue]]] = TypeAdapter(list[dict[str, JsonValue]])


@dataclass(frozen=True)
class Servers:
    """What Claude Code is told about the servers: the file for `--mcp-config`, and the environment."""

    config: dict[str, JsonValue]
    env: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> list[str]:
        return list(OBJECT.validate_python(self.config["mcpServers"]))

    @property
    def every_tool(self) -> list[str]:
        return [f"mcp__{name}__*" for name in self.names]


@dataclass(frozen=True)
class Installation:
    """Gatebook as a user has it: a home and the command."""

    home: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gatebook_servers", *arguments]

    def env(self, **more: str) -> dict[str, str]:
        return {**os.environ, "GATEBOOK_HOME": str(self.home), **more}

    def gatebook(self, *arguments: str, **env: str) -> str:
        command = self.command(*arguments)
        return subprocess.run(command, env=self.env(**env), check=True, capture_output=True, encoding="utf-8").stdout

    def pending(self) -> list[dict[str, JsonValue]]:
        return OBJECTS.validate_json(self.gatebook("approvals", "list", "--json"))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installed = Installation(tmp_path / "home")
    inbox = tmp_path / "inbox.jsonl"
    inbox.write_text(json.dumps(TICKET) + "\n", encoding="utf-8")
    installed.gatebook("tickets", "import", str(inbox))
    return installed


@pytest.fixture
def claude(tmp_path: Path) -> ClaudeCode:
    cli = find_cli()
    if cli is None:
        pytest.skip(ABSENT)
    place = tmp_path / "cc"
    place.mkdir()
    return ClaudeCode(cli, place)


@pytest.fixture(params=["stdio", "sse"])
def servers(request: pytest.FixtureRequest, installation: Installation) -> Generator[Servers]:
    """Gatebook's servers, as `gatebook config claude-code` says they are reached."""
    if request.param == "stdio":
        yield over_stdio(installation)
    else:
        with over_sse(installation) as reached:
            yield reached


def over_stdio(installation: Installation) -> Servers:
    return Servers(OBJECT.validate_json(installation.gatebook("config", "claude-code")))


@contextmanager
def over_sse(installation: Installation) -> Generator[Servers]:
    command = installation.command("serve", "all", "--transport", "sse", "--port", "0")
    with subprocess.Popen(command, env=installation.env(), stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stderr is not None
        try:
            # "tickets: http://127.0.0.1:PORT/tickets/sse", a line for each server, after what it logs
            announced = next(line for line in process.stderr if line.startswith("tickets: http://"))
            threading.Thread(target=process.stderr.read).start()  # a full pipe would stop it
            port = announced.split("/")[2].rpartition(":")[2]
            config = installation.gatebook("config", "claude-code", "--transport", "sse", GATEBOOK_PORT=port)
            token = (installation.home / "token").read_text(encoding="utf-8").strip()
            yield Servers(OBJECT.validate_json(config), {"GATEBOOK_TOKEN": token})
        finally:
            process.terminate()


def probe_servers() -> Servers:
    entry: JsonValue = {"type": "stdio", "command": sys.executable, "args": [str(PROBE)]}
    return Servers({"mcpServers": {"probe": entry}})


def work(
    claude: ClaudeCode, servers: Servers, script: Sequence[Step], *, prompt: str = "Go.", allowed: Sequence[str] = ()
) -> tuple[Report, ScriptedMessagesApi]:
    with serving(script) as api:
        report = claude.run(
            prompt, api_url=api.url, config=servers.config, allowed=allowed or servers.every_tool, env=servers.env
        )
    assert api.unplayable == []
    return report, api


def first_ref(seen: Seen) -> JsonValue:
    tickets = OBJECTS.validate_python(seen["list_tickets"].data["tickets"])
    return tickets[0]["ref"]


def run_id(seen: Seen) -> JsonValue:
    return seen["start_run"].data["run_id"]


SEND_A_REPLY = [
    Call("mcp__runs__start_run", {"key": "nightly/2026-11-22"}),
    Call("mcp__tickets__list_tickets", lambda seen: {"run_id": run_id(seen)}),
    Call("mcp__tickets__draft_reply", lambda seen: {"ref": first_ref(seen), "body": REPLY, "run_id": run_id(seen)}),
    Call(
        "mcp__tickets__send_reply",
        lambda seen: {
            "draft_id": seen["draft_reply"].data["draft_id"],
            "visibility": "public",
            "run_id": run_id(seen),
        },
    ),
    Call("mcp__tickets__list_comments", lambda seen: {"ref": first_ref(seen), "run_id": run_id(seen)}),
    Say("One reply waits for a person."),
]


def test_a_reply_that_claude_code_sends_waits_for_a_person_and_reaches_nobody(
    claude: ClaudeCode, servers: Servers, installation: Installation
) -> None:
    report, api = work(claude, servers, SEND_A_REPLY)
    results = Seen(api.results())
    assert [result.tool for result in api.results() if result.is_error] == ["mcp__tickets__send_reply"]
    assert results["send_reply"].text.startswith("approval_required: ")
    assert results["list_comments"].data["comments"] == []
    assert [request["tool"] for request in installation.pending()] == ["send_reply"]
    assert {server.name: server.status for server in report.opening.mcp_servers} == dict.fromkeys(
        servers.names, "connected"
    )
    assert report.outcome.result == "One reply waits for a person."
