"""A disk without room: a clear refusal, no effect without its claim, and work goes on when there is room again."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from gatebook.database.sqlite import SqliteDatabase
from programs.processes import COMMAND, environment, gatebook
from suite import Agent, Json, Suite, ticket

pytestmark = pytest.mark.anyio

BODY = "x" * 100_000


def limited(suite: Suite, pages: int | None) -> None:
    """Let the file grow no further; None lets it grow again."""
    connection = cast("SqliteDatabase", suite.runtime.database)._connection
    most = pages or 2_000_000_000
    connection.execute(f"PRAGMA max_page_count = {most}")  # pyright: ignore[reportUnknownMemberType]


async def test_a_full_disk_refuses_what_needs_room_and_the_same_call_works_once_there_is_some(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        run = str((await agent.ok("start_run", key="night"))["run_id"])
        limited(suite, 1)
        refused = await agent.call("checkpoint", run_id=run, seq=1, state={"text": BODY})
        assert (refused.code, "Free space" in refused.text) == ("storage_full", True)
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": [f"{number:040}" for number in range(20)]}
        codes = [(await agent.call("update_ticket", update)).code for _ in range(2)]
        assert set(codes) <= {"", "storage_full"}
        limited(suite, None)
        await agent.ok("checkpoint", run_id=run, seq=1, state={"text": BODY})
        await agent.ok("update_ticket", update)
    assert suite.count("desk_operations") == suite.count("effects") == 1


@contextmanager
def small_disk(place: Path) -> Generator[Path]:
    """A file system of three megabytes."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted here by root only")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.slow
async def test_a_real_server_lives_through_a_full_disk_and_repeats_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        home, ballast = disk / "home", disk / "ballast"
        file = tmp_path / "tickets.jsonl"
        file.write_text('{"id": "AB-1", "subject": "S", "body": "B", "created_at": "2026-11-21T20:00:00Z"}\n')
        gatebook(home, "tickets", "import", str(file))
        parameters = StdioServerParameters(
            command=COMMAND[0], args=[*COMMAND[1:], "serve", "all"], env=environment(home)
        )
        async with Client(stdio_client(parameters)) as client:
            agent = Agent(client)
            run = str((await agent.ok("start_run", key="night"))["run_id"])
            room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            ballast.write_bytes(b"x" * (room - 64 * 1024))
            codes = [await _checkpoint(agent, run, seq) for seq in range(1, 4)]
            assert "storage_full" in codes
            assert set(codes) <= {"", "storage_full"}
            version = (await agent.call("get_ticket", ref="local:AB-1")).content.get("version", "1")
            update: Json = {"ref": "local:AB-1", "version": version, "add_tags": ["seen"]}
            first = await agent.call("update_ticket", update)
            assert first.code in ("", "storage_full", "in_progress")
            ballast.unlink()
            saved = codes.count("")
            assert await _checkpoint(agent, run, saved + 1) == ""
            if first.code != "in_progress":
                await agent.ok("update_ticket", update)
        shown = gatebook(home, "runs", "list")
        assert "running" in shown


async def _checkpoint(agent: Agent, run: str, seq: int) -> str:
    return (await agent.call("checkpoint", run_id=run, seq=seq, state={"text": BODY, "seq": seq})).code
