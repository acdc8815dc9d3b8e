"""`--agent claude`: headless Claude Code drives the same tools through the `night_shift` prompt.

It gets our five servers and nothing else: no built-in tools, no settings, hooks or servers of the user or the folder,
and none of our environment but the token of the servers, so that the desk's secrets stay with them.
"""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from gatebook.database.port import Transaction
from gatebook.errors import ConfigurationError
from gatebook.ledger.budgets import Budgets
from gatebook.ledger.models import Run
from gatebook.ledger.runs import Runs
from gatebook.ledger.usage import Usage
from gatebook.settings import Settings
from gatebook_servers.catalogue import SERVERS
from gatebook_servers.commands.context import opened
from gatebook_servers.commands.hosts import server_command
from gatebook_servers.commands.record import report_of_run
from gatebook_servers.nightly.state import Order, Report

TURNS_PER_STEP = 2
"""A turn is one reply of the model. Calls of the runs and approvals servers are turns and no steps."""
_KEPT = ("HOME", "PATH", "TMPDIR", "LANG", "USER", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS")
_KEPT_PREFIXES = ("ANTHROPIC_", "CLAUDE_", "AWS_", "GOOGLE_", "LC_")
_QUIET = {"ENABLE_TOOL_SEARCH": "false", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}

Event = Mapping[str, JsonValue]


def claude_night(settings: Settings, order: Order) -> Report:
    """Run the night with Claude Code and return the report that the ledger gives.

    Raises:
        ConfigurationError: If it is not installed, does not reach a server, or ends without having worked.
    """
    program = shutil.which(settings.claude)
    if program is None:
        raise ConfigurationError(
            "Claude Code is not installed.",
            next_step="Install it (`claude` on the PATH, or GATEBOOK_CLAUDE), or leave --agent out.",
        )
    with _served(settings) as (address, token), tempfile.TemporaryDirectory() as place:
        config = Path(place) / "mcp.json"
        config.write_text(json.dumps(_config(address)), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - the program the operator named
            _command(program, config, order),
            env=_environment(token),
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            start_new_session=True,
            check=False,
        )
    result = _result(done.stdout)
    with opened(settings) as runtime, runtime.database.transaction() as tx:
        run = Runs(tx).by_key(tenant=settings.tenant, key=order.key)
        if run is None:
            raise _failed(result)
        _record_usage(tx, run, result, settings)
        return report_of_run(tx, run, order)


@contextmanager
def _served(settings: Settings) -> Generator[tuple[str, str]]:
    """Serve all rooms over HTTP on a free port for as long as the agent works."""
    command = [*server_command("all"), "--transport", "http", "--port", "0"]
    log = settings.home / "logs" / "claude-servers.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("w+", encoding="utf-8") as errors:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)  # noqa: S603
        try:
            yield _announced(server, log), (settings.home / "token").read_text(encoding="utf-8").strip()
        finally:
            server.terminate()
            server.wait(timeout=30)


def _announced(server: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the servers say where they listen."""
    while server.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("tickets: ") and line.endswith("/tickets/mcp"):
                return line.removeprefix("tickets: ").removesuffix("/tickets/mcp")
        try:
            server.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    raise ConfigurationError("the servers did not start.", next_step=f"Look into {log}.")


def _config(address: str) -> dict[str, JsonValue]:
    return {
        "mcpServers": {
            name: {
                "type": "http",
                "url": f"{address}/{name}/mcp",
                "headers": {"Authorization": "Bearer ${GATEBOOK_TOKEN}"},
            }
            for name in SERVERS
        }
    }


def _command(program: str, config: Path, order: Order) -> list[str]:
    # Claude Code splits a prompt's arguments at spaces: none of them has any.
    prompt = f"/mcp__runs__night_shift {order.since.isoformat()} {order.until.isoformat()} {order.key}"
    command = [
        program,
        "-p",
        prompt,
        "--strict-mcp-config",
        f"--mcp-config={config}",
        "--tools=",
        f"--allowedTools={','.join(f'mcp__{name}__*' for name in SERVERS)}",
        "--permission-mode=dontAsk",
        "--setting-sources=",
        f"--max-turns={order.max_steps * TURNS_PER_STEP}",
        "--output-format=stream-json",
        "--verbose",
    ]
    return [*command, f"--max-budget-usd={order.max_usd}"] if order.max_usd else command


def _environment(token: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {**kept, **_QUIET, "GATEBOOK_TOKEN": token}


def _result(output: str) -> Event:
    """Return the last event, after a look at the first: a server that is missing does not fail Claude Code.

    Raises:
        ConfigurationError: If a server was not reached or nothing came.
    """
    events = [cast("Event", json.loads(line)) for line in output.splitlines() if line.startswith("{")]
    opening = next((event for event in events if event.get("subtype") == "init"), None)
    if opening is None:
        raise ConfigurationError("Claude Code did not start.", next_step="Run `claude` once by hand and log in.")
    servers = cast("list[dict[str, str]]", opening.get("mcp_servers", []))
    missing = set(SERVERS) - {server["name"] for server in servers if server["status"] == "connected"}
    if missing:
        raise ConfigurationError(
            f"Claude Code did not reach {', '.join(sorted(missing))}.", next_step="Look into the logs in GATEBOOK_HOME."
        )
    nothing: Event = {}
    return next((event for event in reversed(events) if event.get("type") == "result"), nothing)


def _record_usage(tx: Transaction, run: Run, result: Event, settings: Settings) -> None:
    usage = result.get("usage")
    if not isinstance(usage, dict):
        return
    cost = result.get("total_cost_usd")
    budgets = Budgets.of(tx, settings, principal=run.principal)
    budgets.record_usage(
        run.run_id,
        source_id=str(result.get("session_id") or secrets.token_hex(8)),
        source="claude",
        usage=Usage(
            input_tokens=int(cast("int", usage.get("input_tokens", 0))),
            output_tokens=int(cast("int", usage.get("output_tokens", 0))),
            usd=float(cost) if isinstance(cost, (int, float)) else None,
        ),
        model="claude",
    )


def _failed(result: Event) -> ConfigurationError:
    reason = str(result.get("subtype") or "no result")
    return ConfigurationError(
        f"Claude Code ended ({reason}) without starting a run.", next_step="Run `claude` once by hand and log in."
    )
