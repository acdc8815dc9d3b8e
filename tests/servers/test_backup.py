"""Copies of the database: taken while servers run, put back without repeating what was done since then."""

import stat
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from fakes.lossy import BODY, asked, installed
from fakes.remote_desk import RemoteDesk, RemoteService, running_service
from gatebook.database.sqlite_copies import put_back
from gatebook.errors import ConfigurationError
from gatebook.switches import RESTORED, Switches
from gatebook_servers.tickets.ports import open_desk
from programs.postgres import Postgres, UnavailableError, running_postgres
from programs.processes import COMMAND, complained, gatebook, rows, start
from suite import Suite, ticket

pytestmark = pytest.mark.anyio


async def _sent_anew(tmp_path: Path, service: RemoteService, *, marked: bool) -> list[object]:
    """Copy, send, put the copy back and send the same draft again; the outcomes that are recorded then."""
    copy = tmp_path / "copy.db"
    async with installed(tmp_path / "home", service) as suite:
        async with suite.agent() as agent:
            draft_id, approval_id = await asked(agent)
        suite.runtime.database.back_up(copy)
        suite.approve(approval_id)
        await suite.execute()
        assert service.texts("AB-1") == [BODY]
        suite.close()
        put_back(copy, suite.home / "gatebook.db")
        suite.runtime = suite.another_process()
        desk = RemoteDesk(service.url)
        suite.runtime.ports[open_desk] = desk
        if marked:
            with suite.runtime.database.transaction() as tx:
                Switches(tx).set(RESTORED, reason="test", person="person:ada")
        assert suite.state(approval_id) == "pending", "the copy does not know of the yes"
        suite.approve(approval_id)
        await suite.execute()
        async with suite.agent() as agent:
            sent = await agent.ok("send_reply", draft_id=draft_id, visibility="public")
        assert sent["outcome"] == "replayed"
        await desk.aclose()
        return suite.outcomes()


async def test_what_was_sent_after_the_copy_is_not_sent_again_when_it_is_put_back(tmp_path: Path) -> None:
    with running_service() as service:
        assert await _sent_anew(tmp_path, service, marked=True) == ["reconciled"]
        assert service.texts("AB-1") == [BODY]


async def test_without_the_look_up_a_restored_database_would_send_again(tmp_path: Path) -> None:
    with running_service() as service:
        assert await _sent_anew(tmp_path, service, marked=False) == ["executed"]
        assert service.texts("AB-1") == [BODY, BODY], "the control: the fault that the mark prevents"


@pytest.fixture
def postgres() -> Generator[Postgres]:
    """A server with PostgreSQL's own tools of the same version beside it."""
    try:
        with running_postgres() as server:
            if not (server.binaries / "pg_dump").exists():
                pytest.skip("pg_dump is not there")
            yield server
    except UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
async def test_what_a_dump_has_is_replayed_and_what_was_sent_after_it_is_looked_up(
    tmp_path: Path, postgres: Postgres
) -> None:
    home, dump = tmp_path / "home", tmp_path / "gatebook.dump"
    before, after = postgres.database("before"), postgres.database("after")
    with running_service() as service:
        async with installed(home, service, database_url=before) as suite:
            service.tickets([ticket("AB-2")])
            async with suite.agent() as agent:
                first, approved_before = await asked(agent)
                second, approved_after = await asked(agent, "remote:AB-2")
                await agent.ok("memory_put", key="notes/robin", value="Call Robin first.")
            suite.approve(approved_before)
            await suite.execute()
            await anyio.run_process([postgres.binaries / "pg_dump", "-Fc", "-f", dump, "-d", before])
            suite.approve(approved_after)
            await suite.execute()
            assert [service.texts("AB-1"), service.texts("AB-2")] == [[BODY], [BODY]]

            await anyio.run_process([postgres.binaries / "pg_restore", "-e", "-d", after, dump])
            gatebook(home, "restore", GATEBOOK_DATABASE_URL=after)
            desk = RemoteDesk(service.url)
            suite.runtime = suite.another_process(database_url=after)
            suite.runtime.ports[open_desk] = desk
            async with suite.agent() as agent:
                assert (await agent.ok("send_reply", draft_id=first, visibility="public"))["outcome"] == "replayed"
                assert suite.state(approved_after) == "pending", "the dump does not know of the yes"
                suite.approve(approved_after)
                assert (await agent.ok("send_reply", draft_id=second, visibility="public"))["outcome"] == "reconciled"
                assert (await agent.ok("memory_search", query="calls"))["hits"], "the functions of the search are back"
            await desk.aclose()
            assert suite.outcomes() == ["executed", "reconciled"]
            assert [service.texts("AB-1"), service.texts("AB-2")] == [[BODY], [BODY]]
            suite.close()


def test_the_command_copies_while_a_server_runs_and_refuses_to_put_back_under_it(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy.db"
    file = tmp_path / "tickets.jsonl"
    file.write_text('{"id": "AB-1", "subject": "Boards", "body": "Where?", "created_at": "2026-11-21T20:00:00Z"}\n')
    gatebook(home, "tickets", "import", str(file))
    with start(home, "serve", "tickets", "--transport", "http", "--port", "0") as server:
        assert server.stderr is not None
        assert "tickets:" in server.stderr.readline()
        gatebook(home, "backup", str(copy))
        gatebook(home, "backup", str(copy), code=1)
        gatebook(home, "restore", str(copy), code=1)
        server.terminate()
        server.communicate()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    gatebook(home, "memory", "put", "notes/later", str(file))
    printed = gatebook(home, "restore", str(copy))
    assert "what was there is kept" in printed
    assert rows(home, "SELECT ticket_id FROM desk_tickets") == [("AB-1",)]
    assert rows(home, "SELECT COUNT(*) FROM memory_items WHERE key = 'notes/later'") == [(0,)]
    assert rows(home, "SELECT name FROM switches") == [(RESTORED,)]
    assert len(list(home.glob("gatebook.db.before-*"))) == 1


def test_a_copy_for_which_there_is_no_room_leaves_everything_as_it_was(suite: Suite, tmp_path: Path) -> None:
    suite.tickets([ticket("AB-1")])
    copy, home = tmp_path / "copy.db", suite.home
    suite.runtime.database.back_up(copy)
    suite.tickets([ticket("AB-2")])
    suite.close()
    kilobytes = copy.stat().st_size // 1024 - 4
    before = {file.name: file.stat().st_size for file in home.iterdir()}
    small = ("bash", "-c", f'ulimit -f {kilobytes}; exec "$0" "$@"', *COMMAND)
    assert "storage_full: there is no room for the copy" in complained(home, "restore", str(copy), command=small)
    assert {file.name: file.stat().st_size for file in home.iterdir()} == before
    assert rows(home, "SELECT ticket_id FROM desk_tickets ORDER BY 1") == [("AB-1",), ("AB-2",)]


def test_a_copy_that_nothing_could_be_recorded_in_is_not_taken_for_restored(suite: Suite, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    suite.runtime.database.back_up(copy)
    suite.close()
    (suite.home / "audit-checkpoints").mkdir()
    said = complained(suite.home, "restore", str(copy))
    assert "could be sent again" in said
    assert "`gatebook restore` without a file" in said
    (suite.home / "audit-checkpoints").rmdir()
    gatebook(suite.home, "restore")
    assert rows(suite.home, "SELECT name FROM switches") == [(RESTORED,)]


def test_a_copy_takes_the_place_of_a_damaged_database(suite: Suite, tmp_path: Path) -> None:
    copy, database = tmp_path / "copy.db", suite.home / "gatebook.db"
    suite.runtime.database.back_up(copy)
    suite.close()
    database.write_bytes(b"no database" * 1_000)
    assert "what was there is kept" in gatebook(suite.home, "restore", str(copy))


def test_the_log_of_a_database_that_was_deleted_is_kept_and_not_read_into_the_copy(
    suite: Suite, tmp_path: Path
) -> None:
    copy, log, killed = tmp_path / "copy.db", suite.home / "gatebook.db-wal", tmp_path / "killed"
    suite.tickets([ticket("AB-1")])
    suite.runtime.database.back_up(copy)
    suite.tickets([ticket("AB-2")])
    killed.write_bytes(log.read_bytes())
    suite.close()
    (suite.home / "gatebook.db").unlink()
    killed.rename(log)
    gatebook(suite.home, "restore", str(copy))
    assert rows(suite.home, "SELECT ticket_id FROM desk_tickets") == [("AB-1",)]
    assert len(list(suite.home.glob("gatebook.db.before-*-wal"))) == 1


def test_a_copy_that_is_not_there_is_not_called_damaged(suite: Suite, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        assert "the copy is not there" in complained(suite.home, "restore", str(path))


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 and then nothing of the kind", b"x" * 5_000])
def test_what_is_no_copy_is_not_put_back(suite: Suite, tmp_path: Path, content: bytes) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(content)
    suite.tickets([ticket()])
    suite.close()
    with pytest.raises(ConfigurationError, match="damaged"):
        put_back(copy, suite.home / "gatebook.db")
    assert rows(suite.home, "SELECT COUNT(*) FROM desk_tickets") == [(1,)]


def test_a_damaged_page_is_noticed(suite: Suite, tmp_path: Path) -> None:
    suite.tickets([ticket(f"AB-{number}") for number in range(200)])
    copy = tmp_path / "copy.db"
    suite.runtime.database.back_up(copy)
    content = bytearray(copy.read_bytes())
    content[-3_000:-100] = b"\xff" * 2_900
    copy.write_bytes(bytes(content))
    with pytest.raises(ConfigurationError, match="damaged"):
        put_back(copy, tmp_path / "elsewhere" / "gatebook.db")
