"""What the command says to a person who slipped, who stopped everything, or who asked for too much."""

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

from gatebook.clock import ManualClock
from programs.processes import complained, gatebook, gatebook_json
from suite import Json, Suite, ticket


@pytest.fixture
def today(tmp_path: Path) -> Generator[Suite]:
    """An installation whose requests have not expired for the command's real clock."""
    made = Suite(tmp_path / "home", ManualClock(time.time()))
    yield made
    made.close()


async def asked(suite: Suite) -> tuple[str, str]:
    """Have an agent ask for a reply; the request's id and fingerprint."""
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Look below Settings.")
        await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
    [request] = suite.requests()
    return request.approval_id, request.shown


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("memory put notes/a /nope", 1, "the file is not there"),
        ("memory put notes/a /", 1, "the file cannot be read"),
        ("approvals policy check /nope", 1, "the file is not there"),
        ("approvals policy test /nope", 1, "the file is not there"),
        ("approvals edit some --file /nope", 1, "the file is not there"),
        ("classifier evaluate /nope", 1, "the file is not there"),
        ("serve all --transport http --port 99999", 2, "a port is a number from 0 to 65535"),
        ("console --port 99999", 2, "a port is a number from 0 to 65535"),
        ("console --port -1", 2, "a port is a number from 0 to 65535"),
        ("nightly --since 2026-11-21 --until 9999-12-31T23:59:59-10:00", 1, "a time is not ISO 8601"),
        ("approvals list --state aproved", 2, "invalid choice: 'aproved'"),
    ],
)
def test_a_slip_at_the_command_line_is_told_in_a_sentence(tmp_path: Path, words: str, code: int, says: str) -> None:
    assert says in complained(tmp_path / "home", *words.split(), code=code)


def test_a_file_that_is_no_text_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "picture"
    file.write_bytes(b"\x89PNG")
    for words in (("memory", "put", "notes/a"), ("approvals", "policy", "check"), ("classifier", "evaluate")):
        assert "the file is no UTF-8 text" in complained(tmp_path / "home", *words, str(file))


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("runs show nope", "gatebook runs list"),
        ("runs usage nope", "gatebook runs list"),
        ("approvals show nope", "gatebook approvals list"),
        ("approvals deny nope --reason no", "gatebook approvals list"),
        ("memory get nope", "gatebook memory put"),
    ],
)
def test_a_refusal_at_the_command_line_names_commands_and_no_tools(tmp_path: Path, words: str, command: str) -> None:
    said = complained(tmp_path / "home", *words.split())
    assert command in said
    assert not any(tool in said for tool in ("list_runs", "start_run", "list_approvals", "memory_list"))


@pytest.mark.anyio
async def test_whoever_acts_during_a_pause_is_told_of_it_and_how_it_ends(today: Suite) -> None:
    approval_id, shown = await asked(today)
    gatebook(today.home, "pause", "--reason", "incident")
    approved = complained(today.home, "approvals", "approve", approval_id, "--fingerprint", shown, code=3)
    worked = complained(today.home, "worker", "--once", code=0)
    findings = cast("list[Json]", gatebook_json(today.home, "doctor"))
    [finding] = [finding for finding in findings if finding["check"] == "pause"]
    assert finding["level"] == "warning"
    for said in (approved, worked, str(finding["detail"])):
        assert "paused by person:" in said
        assert "(incident): run `gatebook resume`" in said
    gatebook(today.home, "resume")
    assert "paused" not in complained(today.home, "worker", "--once", code=0)
    assert [request.state for request in today.requests("all")] == ["used"]


@pytest.mark.anyio
async def test_a_list_that_stops_at_its_most_says_so(today: Suite) -> None:
    await asked(today)
    async with today.agent() as agent:
        for number in range(100):
            await agent.ok("start_run", key=f"night/{number}")
    assert complained(today.home, "runs", "list", code=0) == ""
    assert complained(today.home, "approvals", "list", "--state", "all", code=0) == ""
    async with today.agent() as agent:
        await agent.ok("start_run", key="night/100")
    with today.runtime.database.transaction() as tx:
        row = tx.one("SELECT * FROM approvals")
        assert row is not None
        columns = ", ".join(row)
        copied = columns.replace("approval_id", "'copy-' || n").replace(" state,", " 'used',")
        tx.execute(
            f"""WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
                INSERT INTO approvals ({columns}) SELECT {copied} FROM numbers, approvals"""  # noqa: S608
        )
    assert "these are the newest runs, 100" in complained(today.home, "runs", "list", code=0)
    assert len(cast("list[Json]", gatebook_json(today.home, "runs", "list"))) == 100
    said = complained(today.home, "approvals", "list", "--state", "all", "--json", code=0)
    assert "these are the oldest requests, 1,000" in said


@pytest.mark.anyio
async def test_a_long_run_is_shown_with_every_step(today: Suite) -> None:
    async with today.agent() as agent:
        run = str((await agent.ok("start_run", key="night"))["run_id"])
        await agent.ok("memory_put", key="notes/a", value="a", run_id=run)
    with today.runtime.database.transaction() as tx:
        row = tx.one("SELECT * FROM steps ORDER BY number DESC LIMIT 1")
        assert row is not None
        columns = ", ".join(row)
        tx.execute(
            f"""WITH RECURSIVE numbers (n) AS (SELECT :last + 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1500)
                INSERT INTO steps ({columns}) SELECT {columns.replace("number", "n")} FROM numbers, steps
                WHERE number = :last""",  # noqa: S608
            last=row["number"],
        )
        tx.execute("UPDATE runs SET steps = 1500")
    shown = cast("Json", gatebook_json(today.home, "runs", "show", run))
    assert len(cast("list[Json]", shown["steps"])) == 1_500


def test_doctor_names_variables_that_are_no_settings(tmp_path: Path) -> None:
    slips = {"GATEBOOK_MDOE": "dry-run", "GATEBOOK_TOKEN": "x", "gatebook_tz": "UTC"}
    findings = cast("list[Json]", gatebook_json(tmp_path / "home", "doctor", code=0, **slips))
    [finding] = [finding for finding in findings if finding["check"] == "environment"]
    assert finding["level"] == "warning"
    assert str(finding["detail"]).endswith(": GATEBOOK_MDOE")


@pytest.mark.parametrize(
    ("name", "value"),
    [("GATEBOOK_DESK", "zendesk"), ("GATEBOOK_DATABASE_URL", "postgresql://x"), ("GATEBOOK_NOTIFY_URL", "https://x.y")],
)
def test_a_demo_keeps_to_itself_whatever_is_exported(tmp_path: Path, name: str, value: str) -> None:
    assert f"Leave out for it: {name}." in complained(tmp_path / "home", "demo", code=1, **{name: value})
    assert not (tmp_path / "gatebook-demo").exists()


def test_a_slip_in_the_file_of_settings_stops_every_command(tmp_path: Path) -> None:
    (tmp_path / "gatebook.toml").write_text('mdoe = "dry-run"\n', encoding="utf-8")
    assert "names what is no setting: mdoe" in complained(tmp_path, "runs", "list")
    assert "mdoe" in json.dumps(gatebook_json(tmp_path, "doctor", code=1))
