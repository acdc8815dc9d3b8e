"""The real Claude Code, run headless against a scripted model and the MCP servers of a test.

It needs no account and no network: everything it would ask the model goes to `scripted_messages_api`. Claude Code is
proprietary and no dependency of ours; a test which needs it skips where it is absent. `pip install claude-agent-sdk` in
an environment of its own brings it.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

CLI_VARIABLE = "GATEBOOK_TEST_CLAUDE"
"""Environment variable with the path of the program."""
VENV_VARIABLE = "GATEBOOK_TEST_CLAUDE_VENV"
"""Environment variable with the path of a virtual environment that has claude-agent-sdk."""
ABSENT = (
    f"Claude Code is not installed: set {CLI_VARIABLE}, put `claude` on PATH,"
    f" or pip install claude-agent-sdk in .claude-venv or the environment named by {VENV_VARIABLE}"
)
TIME_LIMIT_S = 100.0
"""Seconds that one run may take; a script of a few steps takes three on a quiet machine."""
CONNECT_LIMIT_S = 60.0
"""Seconds within which a server of the configuration has to answer; it takes one on a quiet machine."""

_REPOSITORY = Path(__file__).parents[2]
UNATTENDED = (
    "--tools=",  # no built-in tool
    "--permission-mode=dontAsk",  # what is not allowed is refused
)
_FLAGS = (
    "--strict-mcp-config",  # no server but the test's
    "--setting-sources=",  # no hooks, permissions or CLAUDE.md from anywhere
    "--max-turns=100",
    "--output-format=stream-json",  # one event says which servers connected; "json" does not
    "--verbose",  # "stream-json" demands it
)


class ServerStatus(BaseModel):
    """Whether a server of the configuration was reached."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # here and below the shape is Claude Code's and grows

    name: str
    status: str


class Opening(BaseModel):
    """What Claude Code says when it begins."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tools: tuple[str, ...]
    mcp_servers: tuple[ServerStatus, ...]
    slash_commands: tuple[str, ...]


class Usage(BaseModel):
    """Tokens used, all turns together."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int


class Denial(BaseModel):
    """A call that Claude Code itself refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tool_name: str


class Outcome(BaseModel):
    """What Claude Code says when it has ended; the same object as with `--output-format json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subtype: str
    is_error: bool
    session_id: str
    stop_reason: str | None
    num_turns: int
    total_cost_usd: float
    usage: Usage
    permission_denials: tuple[Denial, ...]
    result: str = ""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    subtype: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One run of Claude Code.

    Attributes:
        events: What it wrote to stdout.
        outcome: Its last event.
        stderr: What it and nobody else wrote there; it keeps the servers' stderr to itself.
    """

    events: str
    outcome: Outcome
    stderr: str

    @property
    def opening(self) -> Opening:
        """Its first event.

        Raises:
            AssertionError: It ended before it: a resumed session may, when its call is still deferred.
        """
        return Opening.model_validate_json(_event(self.events, "system", "init"))


def find_cli() -> Path | None:
    """Return the program, or None where Claude Code is not installed.

    Raises:
        FileNotFoundError: `GATEBOOK_TEST_CLAUDE` names a file that is not there.
    """
    if named := os.environ.get(CLI_VARIABLE):
        return Path(named).resolve(strict=True)
    if on_path := shutil.which("claude"):
        return Path(on_path)
    venv = Path(os.environ.get(VENV_VARIABLE) or _REPOSITORY / ".claude-venv")
    return next(venv.glob("lib/python*/site-packages/claude_agent_sdk/_bundled/claude"), None)


@dataclass(frozen=True, slots=True)
class ClaudeCode:
    """Claude Code with a home and a working directory of its own.

    Attributes:
        cli: The program.
        place: An empty directory that it may fill.
    """

    cli: Path
    place: Path

    def run(
        self,
        prompt: str,
        *,
        api_url: str,
        config: Mapping[str, JsonValue],
        flags: Sequence[str] = UNATTENDED,
        allowed: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Report:
        """Let it work on the prompt until it ends.

        Args:
            prompt: The task; `/mcp__SERVER__PROMPT ARGUMENT ...` stands for a prompt of a server.
            api_url: Where the model is.
            config: The content of the file for `--mcp-config`.
            flags: Which tools it has and who it asks; without any, the tools of the configured servers and nobody.
            allowed: Tools that may be called, as `mcp__SERVER__TOOL` or `mcp__SERVER__*`; a call to another is refused.
            env: Further environment variables; Claude Code hands its own on to stdio servers.

        Raises:
            subprocess.TimeoutExpired: It did not end within `TIME_LIMIT_S`.
            AssertionError: It ended without saying how.
        """
        file = self.place / "mcp.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        command = [str(self.cli), "-p", prompt, *_FLAGS, *flags, f"--mcp-config={file}"]
        if allowed:
            command.append(f"--allowedTools={','.join(allowed)}")
        stdout, stderr = _communicate(
            command, cwd=self.directory("work"), env={**self._environment(api_url), **(env or {})}
        )
        assert stdout, f"Claude Code said nothing but {stderr!r}"
        outcome = Outcome.model_validate_json(_event(stdout, "result"))
        return Report(stdout, outcome, stderr)

    def directory(self, name: str) -> Path:
        """Return one of its directories: `home`, `tmp` or `work`, where it is started."""
        directory = self.place / name
        directory.mkdir(exist_ok=True)
        return directory

    def server_logs(self) -> str:
        """What it noted about its servers, their stderr included: why one did not connect."""
        logs = sorted(self.directory("home").glob(".cache/claude-cli-nodejs/*/mcp-logs-*/*.jsonl"))
        return "\n".join(f"{log.parent.name}:\n{log.read_text(encoding='utf-8')}" for log in logs)

    def _environment(self, api_url: str) -> dict[str, str]:
        """Nothing is inherited but PATH, so that neither an account nor a setting of the developer's gets in."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory("home")),
            "TMPDIR": str(self.directory("tmp")),
            "ANTHROPIC_BASE_URL": api_url,
            "ANTHROPIC_API_KEY": "dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "ENABLE_TOOL_SEARCH": "false",  # every tool is in the first request
            "MCP_CONNECTION_NONBLOCKING": "0",  # it waits for its servers, on a machine with much to do for long
            "MCP_TIMEOUT": str(round(CONNECT_LIMIT_S * 1000)),
        }


def _communicate(command: list[str], *, cwd: Path, env: dict[str, str]) -> tuple[str, str]:
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=TIME_LIMIT_S)
        finally:
            # Its stdio servers are in its process group, also when they have outlived it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _event(stdout: str, kind: str, subtype: str = "") -> str:
    """Return the last line that tells of this kind of event."""
    for line in reversed(stdout.splitlines()):
        event = _Event.model_validate_json(line)
        if event.type == kind and subtype in {"", event.subtype}:
            return line
    raise AssertionError(f"no {kind} {subtype} in {stdout!r}")
