"""`gatebook config` and `gatebook doctor`: how hosts start the servers, and whether everything is in order."""

import argparse
import json
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

import apsw

from gatebook.errors import GatebookError
from gatebook.retry import ATTEMPT_S
from gatebook.runtime import open_runtime
from gatebook.settings import Settings, load_settings, unknown_variables
from gatebook_servers.catalogue import SERVERS
from gatebook_servers.commands.connecting import desk_findings
from gatebook_servers.commands.context import Commands, opened, pause_in
from gatebook_servers.commands.hooks import asking_settings
from gatebook_servers.commands.output import emit, table
from gatebook_servers.tickets.checking import Finding

HOSTS = ("claude-code", "claude-desktop")
OLDEST_SAFE_SQLITE = (3, 51, 3)
_MARKS = {"ok": "ok", "warning": "LOOK", "wrong": "WRONG"}


def add(commands: Commands) -> None:
    """Declare the commands."""
    config = commands.add_parser("config", help="print a host's configuration")
    config.add_argument("host", choices=HOSTS)
    config.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    config.add_argument(
        "--permission-prompt",
        nargs="?",
        choices=["wait", "defer"],
        const="wait",
        help="print Claude Code's settings instead: every call asks, and waits for a person or ends the session",
    )
    config.set_defaults(run=config_command)
    doctor = commands.add_parser("doctor", help="check the installation")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(run=doctor_command)


def server_command(name: str) -> tuple[str, ...]:
    """Return the absolute command that starts a server, whatever directory the host starts it in."""
    return (sys.executable, "-m", "gatebook_servers", "serve", name)


def config_command(options: argparse.Namespace) -> int:
    """Print the `mcpServers` object for a host, or the settings that make Claude Code ask."""
    settings = load_settings()
    if options.permission_prompt:
        asking = asking_settings(settings, options.transport, defer=options.permission_prompt == "defer")
        sys.stdout.write(json.dumps(asking, indent=2) + "\n")
        return 0
    entries = {name: _entry(settings, name, options.host, options.transport) for name in SERVERS}
    sys.stdout.write(json.dumps({"mcpServers": entries}, indent=2) + "\n")
    return 0


def doctor_command(options: argparse.Namespace) -> int:
    """Check the installation; the exit code is 1 when something is wrong."""
    findings = [*_checks(), *desk_findings()]
    if options.json:
        emit([finding.model_dump() for finding in findings])
    else:
        table(
            "gatebook doctor",
            ["", "check", "detail"],
            [(_MARKS[finding.level], finding.check, finding.detail) for finding in findings],
        )
    return 0 if all(finding.ok for finding in findings) else 1


def _entry(settings: Settings, name: str, host: str, transport: str) -> dict[str, object]:
    if transport == "stdio":
        command = server_command(name)
        entry: dict[str, object] = {
            "command": command[0],
            "args": list(command[1:]),
            "env": {"GATEBOOK_HOME": str(settings.home.absolute())},
        }
        return {"type": "stdio", **entry} if host == "claude-code" else entry
    path = "mcp" if transport == "http" else "sse"
    # The token stays out of the printed text; the host reads it from its environment.
    return {
        "type": transport,
        "url": f"http://{settings.host}:{settings.port}/{name}/{path}",
        "headers": {"Authorization": "Bearer ${GATEBOOK_TOKEN}"},
    }


def _checks() -> list[Finding]:
    try:
        settings = load_settings()
    except GatebookError as error:
        return [Finding.of("settings", error.message, ok=False)]
    checks = [("settings", True, f"desk {settings.desk}, mode {settings.mode}, zone {settings.tz}")]
    if settings.database_url is None:
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        checks.append(("SQLite", version >= OLDEST_SAFE_SQLITE, f"{apsw.sqlite_lib_version()} (needs 3.51.3)"))
    checks.append(_database_check(settings))
    checks.append(_policy_check(settings))
    checks.append(_recordings_check(settings))
    checks.append(_private_check(settings.home))
    checks.append(
        (
            "agents on this machine",
            True,
            "an agent with a shell under your user can do what you can, deciding included; give it a user of its own",
        )
    )
    return [
        *(Finding.of(name, detail, ok=ok) for name, ok, detail in checks),
        _lateness(settings),
        *_oversights(settings),
    ]


def _oversights(settings: Settings) -> list[Finding]:
    """Tell of a slip in the environment, and of a pause that somebody may have forgotten."""
    found: list[Finding] = []
    if unknown := unknown_variables():
        detail = f"no setting has this name, so it does nothing: {', '.join(unknown)}"
        found.append(Finding(check="environment", level="warning", detail=detail))
    with suppress(GatebookError), opened(settings) as runtime, runtime.database.transaction() as tx:
        if pause := pause_in(tx):
            found.append(Finding(check="pause", level="warning", detail=f"nothing is written or sent: {pause}"))
    return found


def _lateness(settings: Settings) -> Finding:
    """Say whether an attempt that takes its longest has landed before somebody looks for what it did."""
    times = (
        ("GATEBOOK_LEASE_S", settings.lease_s, 2 * ATTEMPT_S),
        ("GATEBOOK_SETTLE_S", settings.settle_s, ATTEMPT_S),
    )
    short = [f"{name} is {value:g}, less than {least:g}" for name, value, least in times if value < least]
    if not short:
        return Finding.of("late requests", "are waited for", ok=True)
    detail = f"{' and '.join(short)}: one that lands late could be repeated at a desk without a fence"
    return Finding(check="late requests", level="warning", detail=detail)


def _database_check(settings: Settings) -> tuple[str, bool, str]:
    try:
        with opened(settings) as runtime:
            risks = runtime.database.risks()
            return "database", not risks, "; ".join([runtime.database.describe(), *risks])
    except GatebookError as error:
        return "database", False, f"{error.message} {error.next_step}"


def _policy_check(settings: Settings) -> tuple[str, bool, str]:
    path = settings.policy_file or settings.home / "policy.toml"
    try:
        runtime = open_runtime(settings)
        policy = runtime.policy()
        runtime.close()
    except GatebookError as error:
        return "policy", False, f"{error.message} {error.next_step}"
    return "policy", True, f"{path if path.exists() else 'as shipped'}, sha256 {policy.sha256[:12]}"


def _recordings_check(settings: Settings) -> tuple[str, bool, str]:
    if not settings.record_days:
        return "recordings", True, "off: runs cannot be replayed"
    try:
        with opened(settings) as runtime:
            runtime.vault.seal("", context="doctor")
    except GatebookError as error:
        return "recordings", False, f"{error.message} {error.next_step}"
    return "recordings", True, f"encrypted, kept for {settings.record_days:g} days"


def _private_check(home: Path) -> tuple[str, bool, str]:
    if os.name != "posix" or not home.exists():
        return "permissions", True, str(home)
    open_to_others = stat.S_IMODE(home.stat().st_mode) & 0o077
    return "permissions", not open_to_others, f"{home} {'is open to other users' if open_to_others else 'is private'}"
