"""What every database promises the stores (`gatebook/database/port.py`), and what only PostgreSQL has to."""

import logging
import subprocess
import sys
import traceback
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier, Event

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from contracts.databases import Place
from gatebook.clock import Clock, ManualClock, SystemClock, new_id
from gatebook.database import postgres, sqlite
from gatebook.database.migrations import newest
from gatebook.database.port import Database, Transaction, Value
from gatebook.database.postgres import PostgresDatabase
from gatebook.database.postgres_transaction import translated
from gatebook.errors import ConfigurationError, GatebookError, InvalidArgumentsError, StoreBusyError, TooLargeError
from gatebook.runtime import open_runtime
from gatebook.settings import Settings, load_settings
from gatebook_servers.cli import main
from gatebook_servers.memory.search import search
from gatebook_servers.memory.store import Notes
from gatebook_servers.tickets.ports import open_desk
from suite import Suite, ticket

TIMES = 200
PASSWORD = "kingfisher"


class Abandoned(Exception):  # noqa: N818 - what a caller's own exception looks like
    """The caller gives up."""


def put(tx: Transaction, name: str, reason: str = "") -> None:
    tx.execute(
        "INSERT INTO switches (name, reason, changed_by, changed_at) VALUES (:name, :reason, '', :now)",
        name=name,
        reason=reason,
        now=tx.now,
    )


def names(database: Database) -> list[Value]:
    with database.transaction() as tx:
        return [row["name"] for row in tx.all("SELECT name FROM switches ORDER BY name")]


def test_a_transaction_commits_when_its_block_ends(database: Database, place: Place) -> None:
    with database.transaction() as tx:
        put(tx, "a")
    with closing(place.open()) as other:
        assert names(other) == ["a"]


def test_a_transaction_whose_block_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(Abandoned), database.transaction() as tx:  # noqa: PT012 - the exception is the block's own
        put(tx, "a")
        raise Abandoned
    assert names(database) == []


LAST = """
INSERT INTO switches (name, reason, changed_by, changed_at) SELECT :name, '', '', :now
WHERE NOT EXISTS (SELECT 1 FROM switches WHERE name = :name) RETURNING name, changed_at
"""


@pytest.mark.parametrize("before", [[], ["before"]])
def test_a_last_statement_is_committed_with_what_went_before_and_comes_behind(place: Place, before: list[str]) -> None:
    clock = ManualClock()
    with closing(place.open(clock)) as database:
        for expected in ([clock.now()], []):
            with database.transaction() as tx:
                for name in before:
                    tx.defer("DELETE FROM switches WHERE name = :name", name=name)
                    put(tx, name)
                    tx.defer("DELETE FROM switches WHERE name = :name || '-old'", name=name)
                row = tx.conclude(LAST, "DELETE FROM switches WHERE name = :name || '-old'", name="last")
            assert ([row["changed_at"]] if row else []) == expected
            with database.transaction() as tx:
                for name in ("last", *before):
                    put(tx, f"{name}-old")
        assert names(database) == [*before, *(f"{name}-old" for name in before), "last", "last-old"]


def test_a_last_statement_takes_the_time_of_the_database_where_no_clock_is_given(place: Place) -> None:
    with closing(place.open()) as database, database.transaction() as tx:
        row = tx.conclude(LAST, name="last")
    assert row is not None
    assert abs(float(row["changed_at"] or 0) - SystemClock().now()) < 60


def test_a_last_statement_that_fails_leaves_nothing(database: Database, place: Place) -> None:
    with pytest.raises(Exception, match="no_such_table"), database.transaction() as tx:
        tx.conclude(LAST, "DELETE FROM no_such_table", name="last")
    assert names(database) == []
    with closing(place.open()) as another:
        assert names(another) == []


def test_a_last_statement_changes_nothing_in_a_database_of_a_newer_program(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(place.open()) as running:
        with running.transaction() as tx:
            tx.execute("UPDATE suite_lock SET schema_version = 999")
        with pytest.raises(ConfigurationError, match="schema 999"), running.transaction() as tx:
            tx.conclude(LAST, name="last")
        monkeypatch.setattr(running, "_schema", 999)
        assert names(running) == []


def test_reading_at_once_waits_for_nobody_and_keeps_nobody_waiting(place: Place) -> None:
    with closing(place.open()) as reading, closing(place.open()) as writing:
        with writing.transaction() as tx:
            put(tx, "first")
        with reading.at_once() as now:
            assert (now is None) is bool(place.url)
            if now is None:
                return
            with writing.transaction() as tx:
                put(tx, "second")
            assert [row["name"] for row in now.all("SELECT name FROM switches")] == ["first"]
        with reading.transaction(), ThreadPoolExecutor(1) as threads:
            assert threads.submit(at_once, reading).result(30) is False
        assert at_once(reading)
        with writing.transaction() as tx:
            tx.execute("UPDATE suite_lock SET schema_version = 999")
        with pytest.raises(ConfigurationError, match="schema 999"):
            at_once(reading)


def at_once(database: Database) -> bool:
    with database.at_once() as tx:
        return tx is not None


def test_a_failed_statement_takes_its_transaction_with_it_and_not_the_next(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)no.*nonsense|nonsense.*not"), database.transaction() as tx:  # noqa: PT012
        put(tx, "a")
        tx.execute("SELECT * FROM nonsense")
    with database.transaction() as tx:
        put(tx, "b")
    assert names(database) == ["b"]


def test_the_clock_that_is_given_tells_the_time(place: Place) -> None:
    clock = ManualClock()
    with closing(place.open(clock)) as database:
        with database.transaction() as tx:
            clock.advance(5)
            assert tx.now == clock.now() - 5
        with database.transaction() as tx:
            assert tx.now == clock.now()


@pytest.mark.parametrize("clock", [None, SystemClock()])
def test_otherwise_the_time_is_now(place: Place, clock: Clock | None) -> None:
    with closing(place.open(clock)) as database, database.transaction() as tx:
        assert abs(tx.now - SystemClock().now()) < 30


def test_a_statement_tells_how_many_rows_it_changed(database: Database) -> None:
    with database.transaction() as tx:
        put(tx, "a")
        put(tx, "b")
        assert tx.execute("UPDATE switches SET reason = 'x' WHERE name <> 'c'") == 2
        assert tx.execute("UPDATE switches SET reason = 'x' WHERE name = 'c'") == 0
        assert tx.execute("DELETE FROM switches WHERE name = 'a'") == 1
        assert (
            tx.execute(
                """INSERT INTO switches (name, reason, changed_by, changed_at) VALUES ('b', '', '', 0)
                   ON CONFLICT (name) DO NOTHING"""
            )
            == 0
        )


def test_rows_come_by_the_names_of_their_columns(database: Database) -> None:
    with database.transaction() as tx:
        put(tx, "a")
        put(tx, "b")
        assert tx.all("SELECT name, reason AS why FROM switches ORDER BY name DESC") == [
            {"name": "b", "why": ""},
            {"name": "a", "why": ""},
        ]
        assert tx.one("SELECT name FROM switches ORDER BY name") == {"name": "a"}
        assert tx.one("SELECT name FROM switches WHERE name = 'c'") is None
        assert tx.all("SELECT name FROM switches WHERE name = 'c'") == []


@pytest.mark.parametrize(
    "text", ["", "100 %", "%s %(name)s %%", ":name", "a::text", 'it\'s "quoted" \\ ;--', "\r\n\t", "üß🙂\u202e", "NULL"]
)
def test_a_text_is_only_data(database: Database, text: str) -> None:
    with database.transaction() as tx:
        put(tx, "a", text)
        row = tx.one("SELECT name, ':name' AS quoted, '%' AS percent FROM switches WHERE reason = :text", text=text)
    assert row == {"name": "a", "quoted": ":name", "percent": "%"}


def test_a_percent_sign_divides_and_a_parameter_may_stand_twice(database: Database) -> None:
    with database.transaction() as tx:
        put(tx, "a")
        row = tx.one("SELECT changed_at FROM switches WHERE 7 % :n = 1 AND (:name = '' OR name = :name)", n=3, name="a")
    assert row is not None


def test_a_big_text_comes_back_whole(database: Database) -> None:
    text = "Größe " * 700_000
    with database.transaction() as tx:
        put(tx, "a", text)
        row = tx.one("SELECT reason FROM switches")
    assert row == {"reason": text}


@pytest.mark.parametrize("text", ["a\0b", "\ud83d"])
def test_a_text_that_no_database_holds_is_refused_and_nothing_is_written(database: Database, text: str) -> None:
    with pytest.raises(InvalidArgumentsError) as refused, database.transaction() as tx:  # noqa: PT012 - all is rolled back
        put(tx, "a")
        put(tx, "b", text)
    assert text not in str(refused.value)
    assert names(database) == []


def test_numbers_keep_their_kind_and_their_size(database: Database) -> None:
    with database.transaction() as tx:
        for number in (3_000_000_000, 4_000_000_000):
            tx.execute(
                """INSERT INTO usage_reports (run_id, source_id, source, input_tokens, output_tokens, usd, model,
                     step, recorded_at) VALUES (:run, :id, '', :n, 0, :usd, '', 0, :at)""",
                run=run_in(tx),
                id=str(number),
                n=number,
                usd=None,
                at=1_795_329_000.123457,
            )
        row = tx.one(
            """SELECT SUM(input_tokens) AS total, SUM(usd) AS usd, COUNT(*) AS n, MAX(recorded_at) AS at,
                 COALESCE(SUM(output_tokens - 1), 0) AS less FROM usage_reports"""
        )
    assert row == {"total": 7_000_000_000, "usd": None, "n": 2, "at": 1_795_329_000.123457, "less": -2}
    assert row is not None
    assert [type(value) for value in row.values()] == [int, type(None), int, float, int]


def run_in(tx: Transaction) -> str:
    tx.execute(
        """INSERT INTO runs (run_id, tenant, principal, key, goal, status, epoch, steps, step_limit, grace, max_steps,
             max_tokens, max_usd, summary, started_at, updated_at, finished_at)
           VALUES ('run', '', '', '', '', '', 1, 0, 1, 1, 1, NULL, NULL, '', 0, 0, NULL) ON CONFLICT DO NOTHING"""
    )
    return "run"


def test_texts_sort_by_their_code_points(database: Database) -> None:
    wanted = sorted(["a", "B", "a-b", "a/b", "ab", "a b", "~", "é", "z", "Z", "10", "9"])
    with database.transaction() as tx:
        for name in reversed(wanted):
            put(tx, name)
    assert names(database) == wanted


def test_two_connections_that_read_and_then_write_lose_no_count(place: Place) -> None:
    with closing(place.open()) as database, database.transaction() as tx:
        put(tx, "counter", "0")
    together = Barrier(2)

    def count() -> None:
        with closing(place.open()) as database:
            together.wait(20)
            for _ in range(TIMES):
                with database.transaction() as tx:
                    row = tx.one("SELECT reason FROM switches WHERE name = 'counter'")
                    assert row is not None
                    tx.execute("UPDATE switches SET reason = :n", n=str(int(str(row["reason"])) + 1))

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(count), threads.submit(count)]:
            done.result()
    with closing(place.open()) as database, database.transaction() as tx:
        assert tx.one("SELECT reason FROM switches") == {"reason": str(2 * TIMES)}


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 50)
    monkeypatch.setattr(postgres, "BUSY_MS", 50)


@pytest.mark.usefixtures("_impatient")
def test_who_waits_too_long_for_another_is_told_to_come_again(place: Place) -> None:
    with closing(place.open()) as first, closing(place.open()) as second:
        assert names(second) == []
        with first.transaction() as tx:
            put(tx, "a")
            with pytest.raises(StoreBusyError) as refused:
                names(second)
        assert refused.value.as_dict()["retryable"]
        assert names(second) == ["a"]


def test_a_database_of_a_newer_program_is_refused_also_by_one_that_runs_already(place: Place) -> None:
    with closing(place.open()) as running:
        with running.transaction() as tx:
            tx.execute("UPDATE suite_lock SET schema_version = 999")
        with pytest.raises(ConfigurationError, match="schema 999"):
            names(running)
        with pytest.raises(ConfigurationError, match="schema 999"), closing(place.open()) as starting:
            names(starting)


MIGRATES = """
import sys
from pathlib import Path
from gatebook.errors import StoreBusyError
from gatebook.runtime import open_runtime
from gatebook.settings import Settings
sys.stdin.read()
# A slow machine may say that the database is busy; who is told so comes again.
for last in (False, False, True):
    try:
        runtime = open_runtime(Settings(home=Path(sys.argv[1]), database_url=sys.argv[2]))
        with runtime.database.transaction() as tx:
            print(tx.one("SELECT COUNT(*) AS n FROM runs"))
        break
    except StoreBusyError:
        if last:
            raise
runtime.close()
"""


def told(process: "subprocess.Popen[str]") -> tuple[str, str]:
    return process.communicate(timeout=60)


def test_processes_that_start_at_once_on_an_empty_database_all_find_it_whole(place: Place) -> None:
    command = [sys.executable, "-c", MIGRATES, str(place.home), place.url]
    pipe = subprocess.PIPE
    starting = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    try:
        # Each waits for the end of its input, so that they begin together.
        with ThreadPoolExecutor(len(starting)) as threads:
            said = list(threads.map(told, starting))
    finally:
        for process in starting:
            process.kill()
            process.communicate()
    assert said == [("{'n': 0}\n", "")] * len(starting)


def test_it_says_what_and_where_it_is(database: Database, place: Place) -> None:
    said = database.describe()
    assert ("PostgreSQL 1" in said) if place.url else (str(place.home / "gatebook.db") in said)
    assert said.endswith(f"schema {newest('postgres' if place.url else 'sqlite')}")


# PostgreSQL only


@pytest.fixture
def remote(postgres_url: str) -> Generator[PostgresDatabase]:
    with closing(PostgresDatabase(SecretStr(postgres_url))) as database:
        yield database


def backend_of(database: Database) -> Value:
    with database.transaction() as tx:
        row = tx.one("SELECT pg_backend_pid() AS pid")
        assert row is not None
        return row["pid"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT :a, :a_2", "SELECT %(a)s, %(a_2)s"),
        ("SELECT now()::text, '{:a}'::text", "SELECT now()::text, '{:a}'::text"),
        ("SELECT 'it''s :a', \":a\", 5 % :b", "SELECT 'it''s :a', \":a\", 5 %% %(b)s"),
        ("SELECT '100 %' -- :a %\n, :b", "SELECT '100 %%' -- :a %%\n, %(b)s"),
    ],
)
def test_parameters_are_written_as_the_client_wants_them(ours: str, theirs: str) -> None:
    assert translated(ours) == theirs.encode()


def test_nothing_is_opened_before_it_is_needed() -> None:
    with closing(PostgresDatabase(SecretStr("postgresql://127.0.0.1:1/x"))):
        pass


def test_a_connection_that_was_cut_between_two_transactions_is_opened_again(
    remote: PostgresDatabase, postgres_url: str
) -> None:
    before = backend_of(remote)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (before,))
    assert backend_of(remote) not in (None, before)


def test_a_connection_that_is_cut_amid_a_transaction_leaves_nothing_and_is_opened_again(
    remote: PostgresDatabase, postgres_url: str
) -> None:
    with pytest.raises(StoreBusyError) as refused, remote.transaction() as tx:  # noqa: PT012 - the cut is amid the block
        put(tx, "a")
        row = tx.one("SELECT pg_backend_pid() AS pid")
        assert row is not None
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))
        put(tx, "b")
    assert refused.value.as_dict()["retryable"]
    assert names(remote) == []


def test_the_time_of_a_transaction_is_when_it_held_the_lock(remote: PostgresDatabase, postgres_url: str) -> None:
    names(remote)
    waiting, times = Event(), list[float]()

    def wait_for_the_lock() -> None:
        waiting.set()
        with remote.transaction() as tx:
            times.append(tx.now)

    with (
        ThreadPoolExecutor(1) as threads,
        closing(PostgresDatabase(SecretStr(postgres_url))) as holder,
        psycopg.connect(postgres_url, autocommit=True) as onlooker,
    ):
        with holder.transaction() as held:
            held.one("SELECT 1 AS one")
            done = threads.submit(wait_for_the_lock)
            assert waiting.wait(5)
            while not onlooker.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchall():
                assert not done.done()
            row = onlooker.execute("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)").fetchone()
        done.result()
    assert row is not None
    assert times[0] > row[0]


def test_a_commit_behind_a_failed_statement_is_never_taken_for_one(remote: PostgresDatabase) -> None:
    def careless() -> None:
        with remote.transaction() as tx:
            put(tx, "a")
            try:
                put(tx, "a")
            except psycopg.Error:
                return

    with pytest.raises(psycopg.Error):
        careless()
    assert names(remote) == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://robin:{PASSWORD}@127.0.0.1:1/x",
        f"host=127.0.0.1 port=1 password={PASSWORD}",
        f"postgresql://robin:half@{PASSWORD}@nowhere.invalid/x",
        f"postgresql://robin:{PASSWORD}@[::1/x",
        PASSWORD,
    ],
)
def test_no_failure_tells_the_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    url: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("GATEBOOK_HOME", str(tmp_path))
    monkeypatch.setenv("GATEBOOK_DATABASE_URL", url)
    assert main(["doctor"]) == 1
    settings = load_settings()
    with pytest.raises(GatebookError) as refused:
        open_runtime(settings).database.describe()
    told = "".join(traceback.format_exception(refused.value))
    printed = "".join(capsys.readouterr())
    assert "WRONG" in printed
    for text in (told, printed, caplog.text, repr(settings), str(settings), settings.model_dump_json()):
        assert PASSWORD not in text


def test_a_setting_that_does_not_fit_tells_no_other_ones_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="principal") as refused:
        Settings.model_validate({"home": tmp_path, "database_url": [PASSWORD], "principal": PASSWORD})
    assert PASSWORD not in str(refused.value)


def test_an_empty_address_is_none(tmp_path: Path) -> None:
    assert Settings.model_validate({"home": tmp_path, "database_url": ""}).database_url is None


def test_without_the_extra_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gatebook.database.postgres", None)
    with pytest.raises(ConfigurationError) as refused:
        open_runtime(Settings.model_validate({"home": tmp_path, "database_url": "postgresql://db.example/x"}))
    assert "gatebook[postgres]" in refused.value.next_step


def test_doctor_names_host_and_database(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GATEBOOK_DATABASE_URL", f"{postgres_url} password={PASSWORD}")
    main(["doctor", "--json"])
    printed = capsys.readouterr().out
    assert "PostgreSQL 1" in printed
    assert PASSWORD not in printed


def test_an_older_server_is_refused(remote: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "OLDEST", 99)
    with pytest.raises(ConfigurationError, match="PostgreSQL 1"):
        names(remote)


def test_a_user_who_may_create_nothing_is_told_so(postgres_url: str) -> None:
    guest = new_id("guest").encode()
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(b"CREATE ROLE " + guest + b" LOGIN")
        try:
            guests = SecretStr(make_conninfo(postgres_url, user=guest.decode()))
            with (
                closing(PostgresDatabase(guests)) as database,
                pytest.raises(ConfigurationError, match="may not create"),
            ):
                names(database)
        finally:
            admin.execute(b"DROP ROLE " + guest)


def test_words_without_end_can_be_noted_and_found(remote: PostgresDatabase) -> None:
    words = " ".join(f"w{number:x}" for number in range(15_000))
    with remote.transaction() as tx:
        Notes(tx).put("a", words, tags=(), actor="agent:x")
        assert [hit.key for hit in search(tx, "w3a97", limit=1)] == ["a"]


@pytest.mark.anyio
async def test_a_night_with_its_approvals_works_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    suite = Suite(tmp_path / "home", overrides={"database_url": postgres_url})
    try:
        suite.tickets([ticket(), ticket("AB-2", body="Our lawyer will contact you.")])
        report = await suite.night()
        assert (report.status, report.tickets, report.drafts, report.held) == ("completed", 2, 1, 1)
        request = next(request for request in suite.requests() if request.kind == "effect")
        suite.approve(request.approval_id)
        await suite.execute(runtime=suite.another_process())
        assert [row["public"] for row in suite.comments("AB-1")] == [1]
        found = await open_desk(suite.runtime).search("RENAME", position="", limit=5)
        assert len(found.tickets) == 2
    finally:
        suite.close()


def test_an_error_of_size_is_no_reason_to_come_again(remote: PostgresDatabase) -> None:
    with pytest.raises(TooLargeError), remote.transaction() as tx:
        put(tx, "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(30_000)))
