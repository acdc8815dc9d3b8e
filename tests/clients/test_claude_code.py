"""The real Claude Code at work with Gatebook's servers.

The tests on the probe hold what unattended work rests on and Claude Code alone decides: what its flags do.
"""

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
from pydantic import JsonValue, TypeAdapter

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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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
            announced = next((line for line in process.stderr if line.startswith("tickets: http://")), "")
            assert announced, "the servers did not start"
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


LOOK_AGAIN = [
    Call("mcp__tickets__list_tickets"),
    Call("mcp__tickets__list_comments", lambda seen: {"ref": first_ref(seen)}),
    Say("Done."),
]
LIST = Call("mcp__probe__list_tickets")
SEND = Call("mcp__probe__send_reply", {"ref": "local:AB-1"})


def test_a_reply_that_claude_code_sends_waits_for_a_person_and_reaches_nobody(
    claude: ClaudeCode, servers: Servers, installation: Installation
) -> None:
    report, api = work(claude, servers, SEND_A_REPLY)
    statuses = {server.name: server.status for server in report.opening.mcp_servers}
    assert statuses == dict.fromkeys(servers.names, "connected"), claude.server_logs()
    results = Seen(api.results())
    assert [result.tool for result in api.results() if result.is_error] == ["mcp__tickets__send_reply"]
    assert results["send_reply"].text.startswith("approval_required: ")
    assert results["list_comments"].data["comments"] == []
    assert [(request["tool"], request["run_id"]) for request in installation.pending()] == [
        ("send_reply", str(results["start_run"].data["run_id"]).partition(".")[0])
    ]
    assert report.outcome.result == "One reply waits for a person."


def test_a_reply_is_public_once_a_person_approved_it(claude: ClaudeCode, installation: Installation) -> None:
    servers = over_stdio(installation)
    work(claude, servers, SEND_A_REPLY)
    (request,) = installation.pending()
    installation.gatebook(
        "approvals", "approve", str(request["approval_id"]), "--fingerprint", str(request["fingerprint"])[:6]
    )
    _, api = work(claude, servers, LOOK_AGAIN)
    comments = OBJECTS.validate_python(Seen(api.results())["list_comments"].data["comments"])
    assert [comment["visibility"] for comment in comments] == ["public"]


def test_the_first_request_offers_all_tools_of_the_servers_and_no_other(claude: ClaudeCode) -> None:
    report, api = work(claude, probe_servers(), [LIST, Say("Done.")])
    assert api.requests[0].offered == ["mcp__probe__list_tickets", "mcp__probe__send_reply"]
    assert sorted(report.opening.tools) == api.requests[0].offered


def test_a_tool_that_is_not_allowed_is_refused_without_a_question(claude: ClaudeCode) -> None:
    report, api = work(claude, probe_servers(), [LIST, SEND, Say("Done.")], allowed=["mcp__probe__list_tickets"])
    assert [result.is_error for result in api.results()] == [False, True]
    assert "approval_required" not in api.results()[1].text
    assert [denial.tool_name for denial in report.outcome.permission_denials] == ["mcp__probe__send_reply"]


def test_a_refusal_reaches_the_model_word_for_word(claude: ClaudeCode) -> None:
    _, api = work(claude, probe_servers(), [SEND, Say("Done.")])
    (refusal,) = api.results()
    assert refusal.is_error
    assert refusal.text == (
        "approval_required: a person has to approve the reply to local:AB-1. Go on with other work."
    )


def test_the_prompt_of_a_server_is_expanded(claude: ClaudeCode) -> None:
    prompt = "/mcp__probe__night_shift 2026-11-21T18:00 2026-11-22T08:00"
    _, api = work(claude, probe_servers(), [Say("Done.")], prompt=prompt)
    assert "Work through the tickets from 2026-11-21T18:00 to 2026-11-22T08:00." in api.requests[0].user_text


def test_a_server_that_cannot_be_started_is_reported_and_does_not_fail_the_run(claude: ClaudeCode) -> None:
    broken: JsonValue = {"type": "stdio", "command": "/nonexistent/server", "args": []}
    servers = probe_servers()
    entries = OBJECT.validate_python(servers.config["mcpServers"])
    report, _ = work(claude, Servers({"mcpServers": {**entries, "broken": broken}}), [LIST, Say("Done.")])
    assert {server.name: server.status for server in report.opening.mcp_servers} == {
        "probe": "connected",
        "broken": "failed",
    }
    assert not report.outcome.is_error


def test_the_usage_of_all_turns_is_added_up(claude: ClaudeCode) -> None:
    report, api = work(claude, probe_servers(), [LIST, LIST, Say("Done.")])
    turns = len(api.requests)
    assert turns == report.outcome.num_turns == 3
    assert report.outcome.usage.input_tokens == turns * INPUT_TOKENS
    assert report.outcome.usage.output_tokens == turns * OUTPUT_TOKENS
    assert report.outcome.total_cost_usd > 0


def test_settings_and_instructions_in_the_working_directory_are_ignored(claude: ClaudeCode) -> None:
    directory = claude.directory("work")
    hook = {"hooks": [{"type": "command", "command": "echo from-the-hook"}]}
    (directory / ".claude").mkdir()
    (directory / ".claude" / "settings.json").write_text(json.dumps({"hooks": {"UserPromptSubmit": [hook]}}))
    (directory / "CLAUDE.md").write_text("from-claude-md")
    _, api = work(claude, probe_servers(), [LIST, Say("Done.")])
    told = api.requests[-1].model_dump_json()
    assert "from-the-hook" not in told
    assert "from-claude-md" not in told
