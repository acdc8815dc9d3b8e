"""Functions of the database, called without a transaction: done as in a transaction, or not and then in one."""

import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial

import anyio
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from contracts.databases import Place, another
from gatebook.clock import ManualClock, new_id
from gatebook.database import postgres_calls
from gatebook.database.port import Database
from gatebook.ledger.checkpoints import MAX_STATE_BYTES, Checkpoints, saved
from gatebook.ledger.models import Run
from gatebook.ledger.runs import Runs
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from gatebook_servers.runs.saving import save

pytestmark = pytest.mark.anyio

AT_ONCE = 20
KEPT = 3
STATE = b'{"done": 1}'


def started(database: Database) -> Run:
    with database.transaction() as tx:
        return Runs(tx).create(
            tenant="default",
            principal="agent:a",
            key=new_id("key"),
            goal="",
            max_steps=10,
            max_tokens=None,
            max_usd=None,
        )


def newest(database: Database, run: Run) -> tuple[int, bytes] | None:
    with database.transaction() as tx:
        checkpoint = Checkpoints(tx).newest(run.run_id)
    return (checkpoint.seq, checkpoint.state.encode()) if checkpoint else None


@pytest.fixture
def runtime(place: Place) -> Generator[Runtime]:
    address = SecretStr(place.url) if place.url else None
    runtime = open_runtime(Settings(home=place.home, database_url=address))
    with closing(runtime):
        yield runtime


@contextmanager
def somebody_else_writing(place: Place) -> Generator[None]:
    """Hold a transaction open, on a thread for the event loop to go on."""
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(place.open()) as database, database.transaction() as tx:
            tx.execute("UPDATE switches SET reason = ''")
            begun.set()
            go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(30)
    try:
        yield
    finally:
        go.set()
        thread.join()


def cut_the_others(place: Place) -> None:
    """End every connection to the database but this one."""
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(
            """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
               WHERE application_name = 'gatebook' AND pid <> pg_backend_pid()"""
        )


async def test_a_call_saves_where_the_database_has_functions(place: Place) -> None:
    with closing(place.open()) as database:
        run = started(database)
        assert await saved(database, run.handle, seq=1, state=STATE) is bool(place.url)
        assert newest(database, run) == ((1, STATE) if place.url else None)


async def test_before_the_first_transaction_has_looked_at_the_schema_nothing_is_called(place: Place) -> None:
    with closing(place.open()) as database:
        run = started(database)
    with closing(place.open()) as fresh:
        assert not await saved(fresh, run.handle, seq=1, state=STATE)
        assert newest(fresh, run) is None


async def test_a_call_changes_nothing_in_a_database_of_a_newer_program(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(place.open()) as database:
        run = started(database)
        with database.transaction() as tx:
            tx.execute("UPDATE suite_lock SET schema_version = 999")
        assert not await saved(database, run.handle, seq=1, state=STATE)
        monkeypatch.setattr(database, "_schema", 999)
        assert newest(database, run) is None


async def test_many_at_the_same_time_are_all_saved(runtime: Runtime) -> None:
    runs = [started(runtime.database) for _ in range(AT_ONCE)]
    async with anyio.create_task_group() as group:
        for run in runs:
            group.start_soon(partial(save, runtime, run.handle, seq=1, state=STATE))
    assert [newest(runtime.database, run) for run in runs] == [(1, STATE)] * AT_ONCE


@pytest.mark.parametrize("text", ["x", "\u00e9", "\U0001f642"])
async def test_the_largest_state_is_saved_whole(runtime: Runtime, text: str) -> None:
    run = started(runtime.database)
    state = b'{"a": "' + text.encode() * ((MAX_STATE_BYTES - 9) // len(text.encode())) + b'"}'
    assert await save(runtime, run.handle, seq=1, state=state)
    assert newest(runtime.database, run) == (1, state)


async def test_who_is_kept_waiting_saves_in_a_transaction(
    place: Place, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_calls, "_SESSION", "SET lock_timeout = 50")
    run = started(runtime.database)
    async with anyio.create_task_group() as group:
        with somebody_else_writing(place):
            group.start_soon(partial(save, runtime, run.handle, seq=1, state=STATE))
            assert not await saved(runtime.database, run.handle, seq=1, state=STATE)
    assert newest(runtime.database, run) == (1, STATE)


async def test_an_answer_that_does_not_come_is_not_waited_for(
    place: Place, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_calls, "LONGEST_S", 0.05)
    run = started(runtime.database)
    with somebody_else_writing(place), anyio.fail_after(1):
        assert not await saved(runtime.database, run.handle, seq=1, state=STATE)


async def test_a_call_that_is_cancelled_leaves_the_next_one_whole(place: Place, runtime: Runtime) -> None:
    run = started(runtime.database)
    await save(runtime, run.handle, seq=1, state=STATE)
    with somebody_else_writing(place):
        with anyio.move_on_after(0.05) as waiting:
            await saved(runtime.database, run.handle, seq=2, state=STATE)
        assert waiting.cancelled_caught is bool(place.url)
    # What was on its way may have been done.
    for seq in (3, 4):
        assert await save(runtime, run.handle, seq=seq, state=STATE)
    assert newest(runtime.database, run) == (4, STATE)


async def test_a_connection_that_was_cut_is_opened_again(place: Place, runtime: Runtime) -> None:
    if not place.url:
        return
    run = started(runtime.database)
    for seq in range(1, 7):
        if seq % 2 == 0:
            cut_the_others(place)
        assert await save(runtime, run.handle, seq=seq, state=STATE)
    assert await saved(runtime.database, run.handle, seq=7, state=STATE)


OPERATIONS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["", "older", "unknown"]), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_a_function_does_what_the_statements_do(place: Place, operations: list[tuple[int, str, bool]]) -> None:
    """Save with growing, equal and falling numbers, by handles of every kind; the last three are always there."""
    if not place.url:
        return

    async def both() -> None:
        with another(place) as empty, closing(empty.open(ManualClock())) as database:
            one, other = started(database), started(database)
            last, kept = 0, list[int]()
            for step, handle, again in operations:
                seq = last if again else last + step * step * step
                state = b'{"seq": %d}' % seq
                by_call = await saved(database, _handle(one, handle), seq=seq, state=state)
                with database.transaction() as tx:
                    by_statement = Checkpoints(tx).save(_handle(other, handle), seq=seq, state=state)
                assert by_call == by_statement
                if by_call:
                    last, kept = seq, [*kept, seq]
                assert newest(database, one) == newest(database, other)
            with database.transaction() as tx:
                there = [
                    row["seq"] for row in tx.all("SELECT seq FROM checkpoints WHERE run_id = :run", run=one.run_id)
                ]
            assert set(kept[-KEPT:]) <= set(there) <= set(kept)
            assert len(there) <= KEPT + 10 + last // 100

    anyio.run(both)


def _handle(run: Run, kind: str) -> str:
    return {"": run.handle, "older": f"{run.run_id}.0", "unknown": "nobody.1"}[kind]
