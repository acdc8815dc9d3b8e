"""The audit log: every change of it is found, and what it says is what happened."""

import json
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import cast

import anyio
import apsw
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from gatebook.approvals.audit import COLUMNS, NOTHING, RESTORED, Audit, Event, entry, leaf_hash
from gatebook.approvals.merkle import Tree
from gatebook.approvals.signing import AuditKey, Checkpoint, append
from gatebook.approvals.verifying import Verdict, verify
from gatebook.clock import ManualClock, moment
from gatebook.database.port import Database, Value
from gatebook.database.sqlite import SqliteDatabase
from gatebook.jobs.auditing import CHECKPOINT_EVERY, CHECKPOINT_EVERY_S, sign
from gatebook.jobs.kinds import find_jobs
from gatebook.switches import PAUSE, Switches
from gatebook_servers.cli import main
from suite import REPLY, Suite, approved_reply, ticket

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
BODY = st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-(2**53) + 1, 2**53 - 1), st.booleans()), max_size=3)
LOGS = st.lists(st.tuples(TEXT, TEXT, TEXT, BODY), min_size=2, max_size=8)
NAMES = COLUMNS.split(", ")
SQLITE_TRIGGERS = ("no_update", "no_delete", "at_the_end")
Log = list[tuple[str, str, str, dict[str, JsonValue]]]


def write(database: Database, log: Log) -> Checkpoint:
    tree = Tree()
    with database.transaction() as tx:
        for event, actor, subject, body in log:
            Audit(tx).record(event, actor=actor, subject=subject, body=body)
        for event in Audit(tx).events():
            tree.add(bytes.fromhex(event.hash))
    return Checkpoint(size=tree.size, root=tree.root())


def unguarded(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    for name in SQLITE_TRIGGERS:
        connection.execute(f"DROP TRIGGER audit_events_{name}")
    return connection


def tampered(log: Log, tamper: Callable[[sqlite3.Connection], object], *, with_checkpoint: bool = True) -> Verdict:
    """Return what is found after somebody without scruples and without the key opened the file."""
    with tempfile.TemporaryDirectory() as home:
        file = Path(home, "gatebook.db")
        with closing(SqliteDatabase(file, ManualClock())) as database:
            checkpoint = write(database, log)
        connection = unguarded(file)
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


THREE: Log = [("a", "person:ada", "x", {"n": 1}), ("b", "agent:é", "y", {}), ("c", "gatebook", "z", {"t": "z"})]


def flips(value: object) -> list[object]:
    """Every value that one flipped bit makes of a stored one, as SQLite has it."""
    if isinstance(value, str):
        raw = value.encode()
        flipped = [raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in range(8)]
        return list(flipped)
    if isinstance(value, int):
        return [value ^ 1 << bit for bit in range(62)]
    [bits] = struct.unpack(">Q", struct.pack(">d", value))
    floats = [struct.unpack(">d", struct.pack(">Q", bits ^ 1 << bit))[0] for bit in range(64)]
    return [number for number in floats if number == number]  # noqa: PLR0124 - SQLite has no NaN


def test_every_bit_of_every_column_of_every_event_counts(suite: Suite) -> None:
    database = suite.runtime.database
    write(database, THREE)

    def put(column: str, value: object, *, seq: object) -> None:
        stored = "CAST(:value AS TEXT)" if isinstance(value, bytes) else ":value"
        with database.transaction(durable=False) as tx:
            tx.execute(
                f"UPDATE audit_events SET {column} = {stored} WHERE seq = :seq",  # noqa: S608 - ours
                value=cast("Value", value),
                seq=cast("Value", seq),
            )

    with database.transaction() as tx:
        tx.execute("DROP TRIGGER audit_events_no_update")
        rows = tx.all(f"SELECT {COLUMNS} FROM audit_events ORDER BY seq")  # noqa: S608 - ours
    tried = 0
    for row, column in product(rows, NAMES):
        for flipped in flips(row[column]):
            if column == "seq" and flipped in (1, 2, 3):
                continue  # another event has this number
            put(column, flipped, seq=row["seq"])
            # Only an event that would stand before the first one is missed there.
            assert verify(database).bad_seq == (1 if (column, flipped) == ("seq", 0) else row["seq"]), (column, flipped)
            put(column, row[column], seq=flipped if column == "seq" else row["seq"])
            tried += 1
    assert verify(database).bad_seq is None
    assert tried > 3_500


@pytest.mark.parametrize("renumbered", [False, True])
@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 4), (4, 4), (1, 4)])
def test_a_cut_at_the_head_in_the_middle_or_at_the_tail_is_found(first: int, last: int, *, renumbered: bool) -> None:
    def cut(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM audit_events WHERE seq BETWEEN ? AND ?", (first, last))
        if renumbered:
            for seq in range(last + 1, 5):
                connection.execute("UPDATE audit_events SET seq = ? WHERE seq = ?", (seq - last + first - 1, seq))

    assert tampered([*THREE, THREE[0]], cut).bad_seq == first


@pytest.mark.parametrize("seq", [1, 2, 3])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_event_that_stands_there_twice_is_found(seq: int, at: int) -> None:
    def double(connection: sqlite3.Connection) -> None:
        [row] = connection.execute(f"SELECT {COLUMNS} FROM audit_events WHERE seq = ?", (seq,))  # noqa: S608 - ours
        for moved in range(3, at - 1, -1):
            connection.execute("UPDATE audit_events SET seq = ? WHERE seq = ?", (moved + 1, moved))
        connection.execute("INSERT INTO audit_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (at, *row[1:]))

    # Before the event itself the copy is what the event was, and the event the second one.
    assert tampered(THREE, double).bad_seq == (at + 1 if at == seq else at)


def rechained(connection: sqlite3.Connection, rows: list[dict[str, str | int | float]]) -> None:
    """Write another log whose hashes fit, as who knows the program but not the key can."""
    connection.execute("DELETE FROM audit_events")
    previous = NOTHING
    for seq, row in enumerate(rows, 1):
        written = {**row, "seq": seq, "prev_hash": previous}
        previous = leaf_hash(written).hex()
        connection.execute(
            "INSERT INTO audit_events VALUES (:seq, :prev_hash, :hash, :actor, :event, :subject, :at, :body)",
            {**written, "hash": previous},
        )


OTHER_HISTORIES: dict[str, Callable[[list[dict[str, str | int | float]]], list[dict[str, str | int | float]]]] = {
    "the first event cut": lambda rows: rows[1:],
    "one amid it cut": lambda rows: [rows[0], rows[2]],
    "the last one cut": lambda rows: rows[:2],
    "one doubled": lambda rows: [rows[0], *rows],
    "two changed places": lambda rows: [rows[1], rows[0], rows[2]],
    "another actor": lambda rows: [*rows[:2], {**rows[2], "actor": "person:eve"}],
    "another event": lambda rows: [{**rows[0], "event": "d"}, *rows[1:]],
    "another subject": lambda rows: [{**rows[0], "subject": "d"}, *rows[1:]],
    "another time": lambda rows: [{**rows[0], "at": 1.5}, *rows[1:]],
    "another body": lambda rows: [{**rows[0], "body": '{"n":2}'}, *rows[1:]],
    "nothing at all": lambda _rows: [],
    "a restore that was none": lambda rows: [
        rows[0],
        {**rows[1], "event": RESTORED, "body": '{"events":1,"head":"","signed":3,"signed_root":""}'},
        *rows[2:],
    ],
}


@pytest.mark.parametrize("name", OTHER_HISTORIES)
def test_another_history_with_hashes_that_fit_does_not_fit_the_checkpoint(name: str) -> None:
    def rewrite(connection: sqlite3.Connection) -> None:
        found = connection.execute(f"SELECT {COLUMNS} FROM audit_events ORDER BY seq").fetchall()  # noqa: S608 - ours
        rechained(connection, OTHER_HISTORIES[name]([dict(zip(NAMES, row, strict=True)) for row in found]))

    assert tampered(THREE, rewrite, with_checkpoint=False).bad_seq is None
    assert tampered(THREE, rewrite).bad_seq is not None


@pytest.mark.any_database
def test_on_every_database_a_change_of_any_column_a_cut_and_a_swap_are_found(suite: Suite) -> None:
    database = suite.runtime.database
    checkpoint = write(database, THREE)
    columns = [name for name in NAMES if name != "seq"]
    with database.transaction() as tx:
        for name in SQLITE_TRIGGERS if tx.dialect == "sqlite" else ["no_change"]:
            tx.execute(f"DROP TRIGGER audit_events_{name}" + (" ON audit_events" if tx.dialect != "sqlite" else ""))
        whole = [dict(row) for row in tx.all(f"SELECT {COLUMNS} FROM audit_events ORDER BY seq")]  # noqa: S608 - ours

    def found(*statements: str) -> int | None:
        """What is found after these statements; then the log is put back."""
        with database.transaction() as tx:
            for statement in statements:
                tx.execute(statement)
        bad = verify(database, [checkpoint]).bad_seq
        with database.transaction() as tx:
            tx.execute("DELETE FROM audit_events")
            for row in whole:
                names = ", ".join(f":{name}" for name in NAMES)
                tx.execute(f"INSERT INTO audit_events ({COLUMNS}) VALUES ({names})", **row)  # noqa: S608 - ours
        return bad

    for seq in (1, 2, 3):
        for column in columns:
            value = "at + 1" if column == "at" else f"{column} || 'x'"
            assert found(f"UPDATE audit_events SET {column} = {value} WHERE seq = {seq}") == seq  # noqa: S608 - ours
        assert found(f"DELETE FROM audit_events WHERE seq = {seq}") == seq  # noqa: S608 - ours
    moves = [f"UPDATE audit_events SET seq = {to} WHERE seq = {seq}" for seq, to in ((2, 9), (3, 2), (9, 3))]  # noqa: S608
    assert found(*moves) == 2
    assert found() is None


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
        whole = key.public.read_file(file)
        assert ([found.size for found in whole.checkpoints], whole.damaged, whole.torn) == ([3, 7], None, 0)
        raw = bytearray(file.read_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        found = key.public.read(bytes(raw))
        assert found.damaged is not None
        assert found.torn == 0
        assert set(found.checkpoints) <= set(whole.checkpoints)


def test_a_checkpoint_torn_at_any_byte_is_told_from_a_changed_one_and_the_next_one_heals_the_file(
    tmp_path: Path,
) -> None:
    key, file = AuditKey(tmp_path / "audit.key"), tmp_path / "checkpoints"
    first, second, third = (key.note(Checkpoint(size=size, root=bytes([size]) * 32)) for size in (3, 7, 9))
    for length in range(1, len(second.encode()) - 1):
        file.write_bytes(first.encode() + second.encode()[:length])
        torn = key.public.read_file(file)
        assert ([found.size for found in torn.checkpoints], torn.damaged, torn.torn) == ([3], None, 1), length
        append(file, third)
        healed = key.public.read_file(file)
        assert ([found.size for found in healed.checkpoints], healed.damaged, healed.torn) == ([3, 9], None, 1), length
    for garbage in (b"x", second.encode()[1:], second.encode()[:40] + b"\n\n\n\n\n", second.encode()[5:60]):
        file.write_bytes(first.encode() + garbage)
        assert key.public.read_file(file).damaged is not None
        append(file, third)
        assert key.public.read_file(file).damaged is not None, "what was changed is not healed"


def test_a_log_verifies_by_the_public_key_that_somebody_kept_and_by_no_other(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    write(suite.runtime.database, THREE)
    anyio.run(sign, suite.runtime)
    kept = tmp_path / "kept"
    kept.write_bytes(suite.runtime.settings.checkpoint_path.read_bytes())
    assert main(["approvals", "audit", "key"]) == 0
    public = capsys.readouterr().out.splitlines()[0]
    verifying = ["approvals", "audit", "verify", "--checkpoints", str(kept), "--public-key"]
    assert main([*verifying, public]) == 0
    # Who has the machine writes another history and signs it, with the key that is there or a new one.
    connection = unguarded(suite.home / "gatebook.db")
    connection.execute("DELETE FROM audit_events WHERE seq > 1")
    connection.close()
    (suite.home / "audit.key").unlink()
    suite.runtime.settings.checkpoint_path.write_text(
        AuditKey(suite.home / "audit.key").note(Checkpoint(size=1, root=bytes.fromhex(events_of(suite)[0].hash)))
    )
    assert main(["approvals", "audit", "verify"]) == 0, "the control: by itself the machine believes its own key"
    assert main([*verifying, public]) == 1
    assert main([*verifying[:3], "--public-key", public]) == 1
    assert "signed with another key" in capsys.readouterr().err
    assert main([*verifying, "abc"]) != 0
    assert main([*verifying[:3], "--checkpoints", str(tmp_path / "nowhere")]) != 0


def test_show_prints_the_events_since_a_time_as_lines_or_as_json(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    write(suite.runtime.database, THREE)
    suite.clock.advance(3_600)
    write(suite.runtime.database, [("late", "person:lin", "w", {"n": 4})] * 2)
    since = moment(events_of(suite)[-1].at).isoformat()
    assert main(["approvals", "audit", "show", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert shown == [{**event.model_dump(), "body": json.loads(event.body)} for event in events_of(suite)]
    assert main(["approvals", "audit", "show", "--since", since]) == 0
    out = capsys.readouterr().out
    assert "events 4 to 5" in out
    assert "person:lin" in out
    assert "person:ada" not in out
    for wrong in ("yesterday", "2026-11-21T18:00:00"):
        with pytest.raises(SystemExit):
            main(["approvals", "audit", "show", "--since", wrong])


def events_of(suite: Suite) -> list[Event]:
    with suite.runtime.database.transaction() as tx:
        return Audit(tx).events()
