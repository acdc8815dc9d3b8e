"""Copies of the database: taken while servers run, put back without repeating what was done since then."""

import stat
from pathlib import Path

import pytest

from fakes.lossy import BODY, asked, installed
from fakes.remote_desk import RemoteDesk, RemoteService, running_service
from gatebook.database.sqlite import put_back
from gatebook.errors import ConfigurationError
from gatebook.switches import RESTORED, Switches
from gatebook_servers.tickets.ports import open_desk
from programs.processes import gatebook, rows, start
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
