"""The move to PostgreSQL: everything that was known is known there, and what was done is not done again."""

from contextlib import closing
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from gatebook.approvals.verifying import verify
from gatebook.database.moving import move
from gatebook.database.postgres import PostgresDatabase
from gatebook.errors import ConfigurationError
from gatebook.jobs.auditing import sign
from gatebook.ledger.recordings import Recordings
from gatebook.switches import PAUSE, Switches
from programs.processes import gatebook, kill_tree, rows, start
from suite import Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PATIENCE_S = 30.0
COMPARED = (
    "runs", "steps", "checkpoints", "effects", "approvals", "decisions", "outbox", "desk_tickets", "desk_comments",
    "drafts", "classifications", "memory_items", "memory_versions", "recordings", "counters", "audit_events",
    "audit_checkpoints",
)  # fmt: skip


async def test_a_night_goes_along_and_is_not_repeated(suite: Suite, postgres_url: str, tmp_path: Path) -> None:
    suite.tickets([ticket(), ticket("AB-2", body="I want a refund."), ticket("AB-3")])
    report = await suite.night()
    suite.approve(next(request.approval_id for request in suite.requests() if request.kind == "effect"))
    await suite.execute()
    await sign(suite.runtime)
    signed = suite.runtime.audit_key.public.read_file(suite.runtime.settings.checkpoint_path).checkpoints
    with closing(PostgresDatabase(SecretStr(postgres_url), suite.clock)) as target:
        copied = move(suite.runtime.database, target)
    moved = Suite(tmp_path / "moved", clock=suite.clock, overrides={"database_url": postgres_url})
    assert {table: moved.count(table) for table in COMPARED} == {table: suite.count(table) for table in COMPARED}
    assert all(copied[table] == suite.count(table) for table in COMPARED)
    [sent] = [request for request in suite.requests("all") if request.state == "used"]
    arguments: Json = dict(sent.arguments)
    async with moved.agent() as agent:
        assert (await agent.ok("send_reply", arguments))["outcome"] == "replayed"
        found = await agent.ok("memory_search", query="support")
        assert found["hits"], "the search index filled itself"
    verified = verify(moved.runtime.database, signed)
    assert (verified.bad_seq, verified.checkpoints) == (None, 1)
    assert verified == verify(suite.runtime.database, signed)
    again = await moved.night()
    assert again.model_dump(exclude={"duration_s"}) == report.model_dump(exclude={"duration_s"})
    with moved.runtime.database.transaction() as tx:
        assert len(Recordings(tx, suite.runtime.vault).select(report.run_id)) > 10
    moved.close()


async def test_nothing_is_mixed_into_a_database_in_use(suite: Suite, postgres_url: str) -> None:
    used = Suite(suite.home / "used", clock=suite.clock, overrides={"database_url": postgres_url})
    used.tickets([ticket()])
    suite.tickets([ticket("AB-2")])
    target = PostgresDatabase(SecretStr(postgres_url), suite.clock)
    with closing(target), pytest.raises(ConfigurationError, match="not empty"):
        move(suite.runtime.database, target)
    assert used.count("desk_tickets") == 1
    used.close()


def test_the_command_moves_and_stops_whoever_still_uses_the_file(tmp_path: Path, postgres_url: str) -> None:
    home = tmp_path / "home"
    gatebook(home, "move", code=1)
    file = tmp_path / "note.txt"
    file.write_text("Call Robin first.", encoding="utf-8")
    gatebook(home, "memory", "put", "notes/robin", str(file))
    assert "rows moved" in gatebook(home, "move", GATEBOOK_DATABASE_URL=postgres_url)
    assert "Call Robin" in gatebook(home, "memory", "get", "notes/robin", GATEBOOK_DATABASE_URL=postgres_url)
    assert "not paused" in gatebook(home, "resume", GATEBOOK_DATABASE_URL=postgres_url)
    assert reasons(home) == ["moved to PostgreSQL"]
    assert "resumed" in gatebook(home, "resume"), "the file's suite was paused"


def test_a_suite_that_was_paused_is_paused_there_for_the_same_reason(tmp_path: Path, postgres_url: str) -> None:
    home = tmp_path / "home"
    gatebook(home, "pause", "--reason", "fire drill")
    gatebook(home, "move", GATEBOOK_DATABASE_URL=postgres_url)
    moved = Suite(home, overrides={"database_url": postgres_url})
    with moved.runtime.database.transaction() as tx:
        assert Switches(tx).reason(PAUSE) == "fire drill"
    moved.close()


@pytest.mark.parametrize("before", [[], ["fire drill"]])
def test_a_move_that_fails_leaves_the_file_as_it_was(tmp_path: Path, postgres_url: str, before: list[str]) -> None:
    home = tmp_path / "home"
    used = Suite(tmp_path / "used", overrides={"database_url": postgres_url})
    used.tickets([ticket()])
    used.close()
    gatebook(home, "resume")
    for reason in before:
        gatebook(home, "pause", "--reason", reason)
    moving = start(home, "move", GATEBOOK_DATABASE_URL=postgres_url)
    _, told = moving.communicate(timeout=PATIENCE_S)
    assert moving.returncode == 1
    assert "not empty" in told
    assert "the file is as it was" in told
    assert reasons(home) == before


async def test_nothing_is_done_from_the_file_while_it_is_copied_nor_after_a_kill(
    suite: Suite, postgres_url: str
) -> None:
    suite.tickets([ticket()])
    with closing(PostgresDatabase(SecretStr(postgres_url))) as target, target.transaction() as tx:
        tx.one("SELECT 1 AS one")  # begins it; the copy waits for its end
        moving = start(suite.home, "move", GATEBOOK_DATABASE_URL=postgres_url)
        with anyio.fail_after(PATIENCE_S):
            while not reasons(suite.home):  # noqa: ASYNC110 - another process
                await anyio.sleep(0.01)
        kill_tree(moving.pid)
        told, _ = moving.communicate(timeout=PATIENCE_S)
    assert "gatebook resume" in told
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Hello.")
        sent = await agent.call("send_reply", draft_id=draft["draft_id"], visibility="internal")
        assert sent.code == "paused"
    assert "rows moved" in gatebook(suite.home, "move", GATEBOOK_DATABASE_URL=postgres_url)
    assert "not paused" in gatebook(suite.home, "resume", GATEBOOK_DATABASE_URL=postgres_url)
    assert reasons(suite.home) == ["moved to PostgreSQL"]


def reasons(home: Path) -> list[object]:
    """Why the file's suite is paused; nothing when it is not."""
    return [reason for (reason,) in rows(home, "SELECT reason FROM switches WHERE name = ?", PAUSE)]
