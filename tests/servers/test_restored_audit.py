"""A database that was put back from a copy, and what its audit log says of that."""

import sqlite3
from pathlib import Path

import anyio
import pytest

from gatebook.approvals.audit import COLUMNS, NOTHING, Audit, leaf_hash
from gatebook.jobs.auditing import sign
from gatebook_servers.cli import main
from suite import Suite

VERIFY = ["approvals", "audit", "verify"]


def happens(suite: Suite, *events: str) -> None:
    """Let something happen and be signed."""
    with suite.runtime.database.transaction() as tx:
        for event in events:
            Audit(tx).record(event, actor="person:ada", subject="x", body={})
    anyio.run(sign, suite.runtime)


@pytest.fixture
def copy(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy with three signed events of a database that has six by now, which nobody uses any more."""
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    happens(suite, "a", "b", "c")
    suite.runtime.database.back_up(tmp_path / "copy.db")
    happens(suite, "d", "e", "f")
    suite.close()
    return tmp_path / "copy.db"


def test_after_an_honest_restore_the_log_verifies_and_says_that_it_was_restored(
    suite: Suite, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = suite.runtime.settings.checkpoint_path.read_bytes()
    assert main(["restore", str(copy)]) == 0
    [aside] = suite.home.glob("audit-checkpoints.before-*")
    assert aside.read_bytes() == before
    assert str(aside) in capsys.readouterr().out
    assert main(VERIFY) == 0
    said = capsys.readouterr().out
    assert "5 events are what they were, by 2 signed checkpoints" in said
    assert "put the database back from a copy" in said
    assert "the log went on from 3 events, of 6 that were signed" in said
    assert main([*VERIFY, "--checkpoints", str(aside)]) == 1, "who kept the old ones sees what is gone"
    assert "a checkpoint tells of 6 events" in capsys.readouterr().err


def test_a_restore_is_told_again_when_it_is_done_again_and_loses_no_checkpoint_that_fits(
    suite: Suite, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", str(copy)]) == 0
    assert main(["restore"]) == 0
    assert len(list(suite.home.glob("audit-checkpoints.before-*"))) == 1
    assert main(VERIFY) == 0
    said = capsys.readouterr().out
    assert said.count("put the database back") == 2
    assert "by 3 signed checkpoints" in said


def test_a_copy_that_was_tampered_with_does_not_fit_the_checkpoints_that_stay(copy: Path) -> None:
    connection = sqlite3.connect(copy, isolation_level=None)
    for trigger in ("no_update", "no_delete", "at_the_end"):
        connection.execute(f"DROP TRIGGER audit_events_{trigger}")
    names, previous = COLUMNS.split(", "), NOTHING
    for values in connection.execute(f"SELECT {COLUMNS} FROM audit_events ORDER BY seq").fetchall():  # noqa: S608
        row: dict[str, str | int | float] = dict(zip(names, values, strict=True))
        row |= {"actor": "person:eve", "prev_hash": previous}
        previous = leaf_hash(row).hex()
        change = "UPDATE audit_events SET actor = :actor, prev_hash = :prev_hash, hash = :hash WHERE seq = :seq"
        connection.execute(change, {**row, "hash": previous})
    connection.close()
    assert main(["restore", str(copy)]) == 0
    assert main(VERIFY) == 1


def test_a_file_put_back_by_hand_is_a_cut_until_it_is_told(
    suite: Suite, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in suite.home.glob("gatebook.db*"):
        file.unlink()
    copy.rename(suite.home / "gatebook.db")
    assert main(VERIFY) == 1
    assert "the log was cut: a checkpoint tells of 6 events" in capsys.readouterr().err
    assert main(["restore"]) == 0
    assert main(VERIFY) == 0
    assert "the log went on from 3 events, of 6 that were signed" in capsys.readouterr().out
