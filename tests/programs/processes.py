"""Real processes of the suite: how tests start the command, and how they kill it with everything it started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import apsw

Cell = str | int | float | None
COMMAND = (sys.executable, "-m", "gatebook_servers")


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Our own environment with this installation's settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GATEBOOK_", "OTEL_"))}
    return {**kept, "GATEBOOK_HOME": str(home), **settings}


def gatebook(
    home: Path, *arguments: str, code: int | None = 0, command: Sequence[str] = COMMAND, **settings: str
) -> str:
    """Run the command to its end and return what it printed."""
    return _ended(home, *arguments, code=code, command=command, **settings).stdout


def complained(home: Path, *arguments: str, code: int = 1, command: Sequence[str] = COMMAND, **settings: str) -> str:
    """Run the command to its end and return what it said on stderr: what it did not do, or not wholly."""
    return _ended(home, *arguments, code=code, command=command, **settings).stderr


def _ended(
    home: Path, *arguments: str, code: int | None, command: Sequence[str], **settings: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*command, *arguments],
        env=environment(home, **settings),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def gatebook_json(home: Path, *arguments: str, code: int | None = 0, **settings: str) -> object:
    """Run a command with --json; it prints one JSON value and nothing else."""
    return json.loads(gatebook(home, *arguments, "--json", code=code, **settings))


def start(home: Path, *arguments: str, command: Sequence[str] = COMMAND, **settings: str) -> subprocess.Popen[str]:
    """Start the command without waiting for it."""
    return subprocess.Popen(
        [*command, *arguments],
        env=environment(home, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


def kill_tree(root: int) -> int:
    """Kill a process and all its descendants with SIGKILL; how many."""
    victims = [root, *_descendants(root)]
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return len(victims)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(entry)[1]), []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        found += (below := children.get(queue.pop(), []))
        queue += below
    return found


def stands_still(pid: int) -> bool:
    """Whether a process was stopped and not let go on since."""
    return _stat(Path("/proc") / str(pid))[0] == "T"


def _stat(process: Path) -> list[str]:
    # The command's name may hold spaces and parentheses; the fields behind it do not.
    return (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def rows(home: Path, sql: str, *parameters: str) -> list[tuple[Cell, ...]]:
    """Look into an installation's database from outside, without taking part in its locks."""
    connection = apsw.Connection(str(home / "gatebook.db"), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        # apsw's stubs leave the type of a bindable buffer open.
        found = connection.execute(sql, parameters)  # pyright: ignore[reportUnknownMemberType]
        return cast("list[tuple[Cell, ...]]", list(found))
    finally:
        connection.close()
