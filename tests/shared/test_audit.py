"""The audit log: every change of it is found, and what it says is what happened."""

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from gatebook.approvals.audit import COLUMNS, NOTHING, Audit, entry, leaf_hash
from gatebook.approvals.merkle import Tree
from gatebook.approvals.signing import AuditKey, Checkpoint, append
from gatebook.approvals.verifying import Verdict, verify
from gatebook.clock import ManualClock
from gatebook.database.port import Database
from gatebook.database.sqlite import SqliteDatabase
from gatebook.jobs.auditing import CHECKPOINT_EVERY, CHECKPOINT_EVERY_S
from gatebook.jobs.kinds import find_jobs
from gatebook.switches import PAUSE, Switches
from gatebook_servers.cli import main
from suite import REPLY, Suite, approved_reply, ticket

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
BODY = st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-(2**53) + 1, 2**53 - 1), st.booleans()), max_size=3)
LOGS = st.lists(st.tuples(TEXT, TEXT, TEXT, BODY), min_size=2, max_size=8)
NAMES = COLUMNS.split(", ")
Log = list[tuple[str, str, str, dict[str, JsonValue]]]


def write(database: Database, log: Log) -> Checkpoint:
    tree = Tree()
    with database.transaction() as tx:
        for event, actor, subject, body in log:
            Audit(tx).record(event, actor=actor, subject=subject, body=body)
        for event in Audit(tx).events():
            tree.add(bytes.fromhex(event.hash))
    return Checkpoint(size=tree.size, root=tree.root())


def tampered(log: Log, tamper: Callable[[sqlite3.Connection], object], *, with_checkpoint: bool = True) -> Verdict:
    """Return what is found after somebody without scruples and without the key opened the file."""
    with tempfile.TemporaryDirectory() as home:
        file = Path(home, "gatebook.db")
        with closing(SqliteDatabase(file, ManualClock())) as database:
            checkpoint = write(database, log)
        connection = sqlite3.connect(file, isolation_level=None)
        for name in ("no_update", "no_delete", "at_the_end"):
            connection.execute(f"DROP TRIGGER audit_events_{name}")
        tamper(connection)
        connection.close()
        with closing(SqliteDatabase(file, ManualClock())) as database:
            return verify(database, [checkpoint] if with_checkpoint else [])


@settings(max_examples=40, deadline=None)
@given(LOGS, st.data())
def test_any_bit_flipped_is_found_and_where(log: Log, data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, len(log)))
    column = data.draw(st.sampled_from([name for name in NAMES if name != "seq"]))

    def flip(connection: sqlite3.Connection) -> None:
        [[kind, value]] = connection.execute(
            f"SELECT typeof({column}), CAST({column} AS BLOB) FROM audit_events WHERE seq = ?",  # noqa: S608 - ours
            (seq,),
        )
        raw = bytearray(value or b"\0")
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        cast = f"CAST(? AS {kind.upper()})"
        connection.execute(f"UPDATE audit_events SET {column} = {cast} WHERE seq = ?", (bytes(raw), seq))  # noqa: S608
        [[now]] = connection.execute(f"SELECT CAST({column} AS BLOB) FROM audit_events WHERE seq = ?", (seq,))  # noqa: S608
        unchanged.append(now == value)

    unchanged: list[bool] = []
    found = tampered(log, flip, with_checkpoint=False)
    assert unchanged == [True] or found.bad_seq == seq


@settings(max_examples=25, deadline=None)
@given(LOGS, st.data())
def test_an_event_cut_out_anywhere_is_found(log: Log, data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, len(log)))
    found = tampered(log, lambda c: c.execute("DELETE FROM audit_events WHERE seq = ?", (seq,)))
    assert found.bad_seq == seq


@settings(max_examples=25, deadline=None)
@given(LOGS, st.data())
def test_events_that_changed_places_are_found(log: Log, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(log) - 1))
    second = data.draw(st.integers(first + 1, len(log)))

    def swap(connection: sqlite3.Connection) -> None:
        for before, after in ((first, -1), (second, first), (-1, second)):
            connection.execute("UPDATE audit_events SET seq = ? WHERE seq = ?", (after, before))

    assert tampered(log, swap).bad_seq == first


@settings(max_examples=25, deadline=None)
@given(LOGS, st.data())
def test_a_log_rewritten_from_any_event_on_with_fitting_hashes_is_found_by_a_checkpoint(
    log: Log, data: st.DataObject
) -> None:
    seq = data.draw(st.integers(1, len(log)))

    def rewrite(connection: sqlite3.Connection) -> None:
        previous = NOTHING
        for values in connection.execute(f"SELECT {COLUMNS} FROM audit_events ORDER BY seq").fetchall():  # noqa: S608
            row: dict[str, str | int | float] = dict(zip(NAMES, values, strict=True))
            row |= {"prev_hash": previous, "actor": f"{row['actor']}x" if row["seq"] == seq else row["actor"]}
            previous = leaf_hash(row).hex()
            connection.execute(
                "UPDATE audit_events SET actor = ?, prev_hash = ?, hash = ? WHERE seq = ?",
                (row["actor"], row["prev_hash"], previous, row["seq"]),
            )

    assert tampered(log, rewrite, with_checkpoint=False).bad_seq is None
    assert tampered(log, rewrite).bad_seq == 1


@settings(max_examples=25, deadline=None)
@given(LOGS)
def test_an_honest_log_verifies_and_its_events_are_in_canonical_form(log: Log) -> None:
    assert tampered(log, lambda _: None).bad_seq is None
    with tempfile.TemporaryDirectory() as home, closing(SqliteDatabase(Path(home, "db"))) as database:
        write(database, log)
        with database.transaction() as tx:
            for row in tx.all(f"SELECT {COLUMNS} FROM audit_events"):  # noqa: S608 - ours
                document = {name: row[name] for name in NAMES if name not in ("hash", "body")}
                document["body"] = json.loads(str(row["body"]))
                assert entry(row) == rfc8785.dumps(document)


@pytest.mark.any_database
@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events"],
)
def test_the_database_refuses_to_change_what_is_written(suite: Suite, statement: str) -> None:
    write(suite.runtime.database, [("a", "b", "c", {})])

    def change() -> None:
        with suite.runtime.database.transaction() as tx:
            tx.execute(statement)

    with pytest.raises(Exception, match="only appended to"):
        change()
    assert verify(suite.runtime.database).events == 1


def test_replacing_an_event_is_refused_too(suite: Suite) -> None:
    write(suite.runtime.database, [("a", "b", "c", {})])
    with pytest.raises(apsw.ConstraintError), suite.runtime.database.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO audit_events VALUES (1, '', '', 'x', 'x', 'x', 0, '{}')")


@pytest.mark.any_database
@pytest.mark.anyio
async def test_the_log_tells_what_became_of_a_request_and_holds_no_text_of_anybody(suite: Suite) -> None:
    await approved_reply(suite)
    await suite.execute()
    suite.tickets([ticket("AB-2", subject="CANARY ticket")])
    async with suite.agent("tickets", "approvals") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-2", body=f"CANARY {REPLY}")
        send: dict[str, JsonValue] = {"draft_id": draft["draft_id"], "visibility": "public"}
        held = await agent.call("send_reply", send)
        assert held.code == "approval_required"
    [request] = suite.requests()
    suite.deny(request.approval_id, reason="CANARY")
    with suite.runtime.database.transaction() as tx:
        Switches(tx).set(PAUSE, reason="CANARY", person="person:ada")
        Switches(tx).clear(PAUSE, person="person:ada")
        events = Audit(tx).events()
    told = [(event.event, event.actor) for event in events]
    assert told == [
        ("policy.changed", "gatebook"),
        ("request.made", "agent:local"),
        ("vote.approve", "person:ada"),
        ("request.approved", "gatebook"),
        ("grant.claimed", "gatebook"),
        ("grant.used", "gatebook"),
        ("request.made", "agent:local"),
        ("vote.deny", "person:ada"),
        ("request.denied", "gatebook"),
        ("switch.on", "person:ada"),
        ("switch.off", "person:ada"),
    ]
    written = "".join(event.model_dump_json() for event in events)
    assert "CANARY" not in written
    assert REPLY not in written
    assert "robin" not in written
    assert verify(suite.runtime.database).bad_seq is None


@pytest.mark.anyio
async def test_what_time_and_the_agent_end_is_told_once(suite: Suite) -> None:
    suite.tickets([ticket(), ticket("AB-2")])
    async with suite.agent("tickets", "approvals") as agent:
        for ref in ("local:AB-1", "local:AB-2"):
            draft = await agent.ok("draft_reply", ref=ref, body=REPLY)
            await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
        await agent.ok("cancel_approval", approval_id=suite.requests()[0].approval_id, reason="oh")
    suite.clock.advance(73 * 3600)
    assert not suite.requests()
    assert not suite.requests()
    with suite.runtime.database.transaction() as tx:
        told = [(event.event, event.actor) for event in Audit(tx).events()][-2:]
    assert told == [("request.cancelled", "agent:local"), ("request.expired", "gatebook")]


@pytest.mark.anyio
async def test_a_changed_policy_is_told_once(suite: Suite) -> None:
    await approved_reply(suite)
    (suite.home / "policy.toml").write_text('version = 1\ndefault = "review"\n', encoding="utf-8")
    suite.tickets([ticket("AB-2"), ticket("AB-3")])
    async with suite.agent("tickets") as agent:
        for ref in ("local:AB-2", "local:AB-3"):
            draft = await agent.ok("draft_reply", ref=ref, body=REPLY)
            await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
    with suite.runtime.database.transaction() as tx:
        bodies = [json.loads(event.body) for event in Audit(tx).events() if event.event == "policy.changed"]
    assert [body["from"] for body in bodies] == ["", bodies[0]["to"]]


APPEND = """
import sys
from pathlib import Path
from gatebook.approvals.audit import Audit
from gatebook.database.sqlite import SqliteDatabase

database = SqliteDatabase(Path(sys.argv[1]))
for number in range(25):
    with database.transaction(durable=False) as tx:
        Audit(tx).record("test", actor="x", subject=str(number), body={})
"""


def test_processes_that_append_at_once_make_one_chain(tmp_path: Path) -> None:
    file = tmp_path / "gatebook.db"
    SqliteDatabase(file).close()
    processes = [subprocess.Popen([sys.executable, "-c", APPEND, str(file)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with closing(SqliteDatabase(file)) as database:
        assert verify(database) == Verdict(events=75, checkpoints=0)


@pytest.mark.anyio
async def test_checkpoints_are_written_after_many_events_or_some_time_and_a_cut_log_does_not_fit_them(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    file = suite.runtime.settings.checkpoint_path

    async def work() -> int:
        with suite.runtime.database.transaction() as tx:
            find_jobs(tx, suite.runtime.settings)
        while await suite.execute():
            pass
        return file.read_text(encoding="utf-8").count("\u2014") if file.exists() else 0

    write(suite.runtime.database, [("a", "b", "c", {})] * 3)
    assert await work() == 1
    write(suite.runtime.database, [("a", "b", "c", {})] * 3)
    assert await work() == 1
    suite.clock.advance(CHECKPOINT_EVERY_S)
    assert await work() == 2
    write(suite.runtime.database, [("a", "b", "c", {})] * CHECKPOINT_EVERY)
    assert await work() == 3
    assert (suite.home / "audit.key").stat().st_mode & 0o777 == 0o600
    assert main(["approvals", "audit", "verify"]) == 0
    assert "106 events" in capsys.readouterr().out
    connection = sqlite3.connect(suite.home / "gatebook.db", isolation_level=None)
    connection.execute("DROP TRIGGER audit_events_no_delete")
    connection.execute("DELETE FROM audit_events WHERE seq > 50")
    assert main(["approvals", "audit", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["bad_seq"] == 51


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_checkpoint_with_any_bit_flipped_is_not_believed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as home:
        key, file = AuditKey(Path(home, "audit.key")), Path(home, "checkpoints")
        for size in (3, 7):
            append(file, key.note(Checkpoint(size=size, root=bytes([size]) * 32)))
        assert [found.size for found in key.public.read(file.read_text(encoding="utf-8"))[0]] == [3, 7]
        raw = bytearray(file.read_bytes().rstrip(b"\n"))
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert key.public.read(raw.decode(errors="replace"))[1] is not None
