"""An upgrade: what an older program left in its database is known to this one, and nothing of it is done again."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import psycopg
import pytest

from contracts.databases import Place
from fakes.troubled_desk import ProcessDiedError, Trouble, TroubledDesk
from gatebook.database.migrations import LOCK_TABLE, migrations, newest, statements
from gatebook.database.port import Row, Value
from gatebook.database.postgres_transaction import translated
from gatebook_servers.tickets.ports import open_desk
from suite import REPLY, Json, Suite, ticket

pytestmark = pytest.mark.anyio

VERSIONS = (1, 6, 13)
"""Schemas: the first; the last before requests had quorum and roles; the last before desks of other companies."""
KEPT = (
    "effects", "approvals", "decisions", "outbox", "desk_tickets", "desk_comments", "desk_operations", "drafts",
)  # fmt: skip
"""Tables that are the same in every schema but for columns that came later."""
LEASE_AND_SETTLE_S = 91.0
Run = Callable[[str, Mapping[str, Value]], object]


async def left_behind(suite: Suite) -> dict[str, Json]:
    """Leave an effect in every state behind; the calls that they are of."""
    troubles = {
        "done": Trouble(),
        "claimed, and there": Trouble(after=[ProcessDiedError()]),
        "claimed, and not there": Trouble(before=[ProcessDiedError()]),
        "approved": None,
    }
    calls: dict[str, Json] = {}
    for number, (state, trouble) in enumerate(troubles.items()):
        suite.tickets([ticket(f"AB-{number}")])
        async with suite.agent("tickets") as agent:
            draft = await agent.ok("draft_reply", ref=f"local:AB-{number}", body=REPLY)
            calls[state] = {"draft_id": draft["draft_id"], "visibility": "public"}
            assert (await agent.call("send_reply", calls[state])).code == "approval_required"
            suite.approve(suite.requests()[0].approval_id)
            if trouble is not None:
                suite.runtime.ports[open_desk] = TroubledDesk(suite.runtime, trouble)
                assert (await agent.call("send_reply", calls[state])).code == ("" if state == "done" else "internal")
    return calls


@contextmanager
def opened(place: Place) -> Generator[Run]:
    """Open a database as no program of ours does: without a look at its schema."""
    if place.url:
        with psycopg.connect(place.url) as server:
            yield lambda sql, values: server.execute(translated(sql), values)
        return
    place.home.mkdir(exist_ok=True)
    with closing(apsw.Connection(str(place.home / "gatebook.db"))) as file:
        yield lambda sql, values: run(file, sql, values)


def run(connection: apsw.Connection, sql: str, values: Mapping[str, Value]) -> apsw.Cursor:
    # apsw's stubs leave the type of a bindable buffer open.
    return connection.execute(sql, values)  # pyright: ignore[reportUnknownMemberType]


def schema_of(version: int, dialect: str) -> list[str]:
    """What made a database that knew the migrations up to a number, of which a dialect may lack some."""
    older = [(number, script) for number, script in migrations(dialect) if number <= version]
    made = [sql for _, script in older for sql in statements(script)]
    return [*LOCK_TABLE, *made, f"UPDATE suite_lock SET schema_version = {older[-1][0]}"]  # noqa: S608 - a number


def columns_of(version: int) -> dict[str, set[str]]:
    """The columns that each table had."""
    with closing(apsw.Connection(":memory:")) as empty:
        for sql in schema_of(version, "sqlite"):
            run(empty, sql, {})
        return {
            table: {str(name) for (name,) in run(empty, "SELECT name FROM pragma_table_info(:table)", {"table": table})}
            for table in KEPT
        }


def set_back(rows: Mapping[str, Sequence[Row]], place: Place, version: int) -> None:
    """Make an older database of what is known, as far as it had room for it."""
    known = columns_of(version)
    with opened(place) as execute:
        for sql in schema_of(version, place.name):
            execute(sql, {})
        for table, found in rows.items():
            for row in found:
                kept = {name: value for name, value in row.items() if name in known[table]}
                columns = f"{', '.join(kept)}) VALUES (:{', :'.join(kept)}"
                execute(f"INSERT INTO {table} ({columns})", kept)


@pytest.mark.parametrize("by", ["agent", "worker"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_an_older_database_has_is_replayed_looked_up_or_sent_once(
    suite: Suite, tmp_path: Path, place: Place, version: int, by: str
) -> None:
    calls = await left_behind(suite)
    with suite.runtime.database.transaction() as tx:
        rows = {table: tx.all(f"SELECT * FROM {table}") for table in KEPT}  # noqa: S608 - constant names
    older = Place(place.name, tmp_path / "older", place.url)
    set_back(rows, older, version)
    suite.clock.advance(LEASE_AND_SETTLE_S)
    upgraded = Suite(older.home, clock=suite.clock, overrides={"database_url": place.url} if place.url else {})
    trouble = Trouble()
    upgraded.runtime.ports[open_desk] = TroubledDesk(upgraded.runtime, trouble)
    expected = dict(zip(calls, ("replayed", "reconciled", "executed", "executed"), strict=True))
    async with upgraded.agent("tickets") as agent:
        if by == "worker":
            await upgraded.work()
            expected = dict.fromkeys(calls, "replayed")
        for outcomes in (expected, dict.fromkeys(calls, "replayed")):
            assert {state: (await agent.ok("send_reply", send))["outcome"] for state, send in calls.items()} == outcomes
    await upgraded.work()
    with upgraded.runtime.database.transaction() as tx:
        assert tx.one("SELECT schema_version FROM suite_lock") == {"schema_version": newest(place.name)}
        recorded = tx.all("SELECT outcome FROM effects ORDER BY target")
    assert [row["outcome"] for row in recorded] == ["executed", "reconciled", "executed", "executed"]
    assert sorted(trouble.sent) == ["local:AB-2", "local:AB-3"]
    assert [len(upgraded.comments(f"AB-{number}")) for number in range(len(calls))] == [1, 1, 1, 1]
    assert {request.state for request in upgraded.requests("all")} == {"used"}
    upgraded.close()
