"""The night as a user has it: the command, five real servers, and what people decide afterwards."""

import json
import shlex
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from programs.processes import Cell, complained, gatebook, gatebook_json, rows
from suite import ticket

NIGHT = ("nightly", "--since", "2026-11-21T18:00:00Z", "--until", "2026-11-22T06:00:00Z")
KEYS = {
    "run_id", "key", "status", "window", "tickets", "by_category", "drafts", "held", "approvals", "steps", "retries",
    "checkpoints", "resumed_from", "summary_key", "tokens", "duration_s",
}  # fmt: skip

Json = dict[str, JsonValue]


def imported(tmp_path: Path, *rows: Json) -> Path:
    home = tmp_path / "home"
    file = tmp_path / "tickets.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    gatebook(home, "tickets", "import", str(file))
    return home


def night(home: Path, *more: str, code: int = 0, **settings: str) -> Json:
    return cast("Json", gatebook_json(home, *NIGHT, *more, code=code, **settings))


def requests(home: Path, state: str = "pending") -> list[Json]:
    return cast("list[Json]", gatebook_json(home, "approvals", "list", "--state", state))


def approve(home: Path, request: Json, *, code: int = 0) -> str:
    fingerprint = str(request["fingerprint"])[:6]
    return gatebook(home, "approvals", "approve", str(request["approval_id"]), "--fingerprint", fingerprint, code=code)


def answers(home: Path, ticket_id: str) -> list[tuple[Cell, ...]]:
    sql = "SELECT body, public FROM desk_comments WHERE ticket_id = ? AND author_role = 'bot'"
    return rows(home, sql, ticket_id)


QUESTION = ticket("AB-1", subject="How do I reset my password?", body="I forgot my password. Where can I reset it?")


def test_the_demo_ends_with_what_waits_and_the_command_that_decides_it(tmp_path: Path) -> None:
    home = tmp_path / "my own" / "home"
    printed = gatebook(home, "demo")
    assert "completed" in printed
    assert "60 tickets" in printed
    decide = next(line for line in printed.splitlines() if line.startswith("Decide it: "))
    words = shlex.split(decide.removeprefix("Decide it: "))
    demo_home = Path(words[0].partition("=")[2])
    assert "approved and done" in gatebook(demo_home, *words[words.index("gatebook") + 1 :])


def test_an_approved_reply_leaves_once_though_no_agent_and_no_server_runs(tmp_path: Path) -> None:
    home = imported(tmp_path, QUESTION)
    report = night(home)
    assert report.keys() >= KEYS
    assert night(home) == report
    request = requests(home)[0]
    body = cast("Json", request["content"])["body"]
    assert "approved and done" in approve(home, request)
    assert answers(home, "AB-1") == [(body, 1)]
    approve(home, request, code=1)
    gatebook(home, "worker", "--once")
    again = night(home, "--again")
    assert cast("Json", again["approvals"])["executed"] == 1
    assert answers(home, "AB-1") == [(body, 1)]


def test_a_pause_stops_what_was_approved_until_it_ends(tmp_path: Path) -> None:
    home = imported(tmp_path, QUESTION)
    night(home)
    gatebook(home, "pause", "--reason", "incident")
    approve(home, requests(home)[0], code=3)
    assert answers(home, "AB-1") == []
    gatebook(home, "resume")
    gatebook(home, "worker", "--once")
    assert len(answers(home, "AB-1")) == 1


def test_a_dry_run_says_so_and_sends_nothing_even_when_approved(tmp_path: Path) -> None:
    home = imported(tmp_path, QUESTION)
    night(home, GATEBOOK_MODE="dry-run")
    request = requests(home)[0]
    assert request["mode"] == "dry-run"
    fingerprint = str(request["fingerprint"])[:6]
    command = ("approvals", "approve", str(request["approval_id"]), "--fingerprint", fingerprint)
    gatebook(home, *command, GATEBOOK_MODE="dry-run")
    assert answers(home, "AB-1") == []
    night(home)
    assert len(requests(home)) == 1


def test_bad_windows_and_settings_are_refused_with_their_names(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "ISO 8601" in complained(home, "nightly", "--since", "yesterday", "--until", "today")
    backwards = ("--since", "2026-11-22T00:00:00Z", "--until", "2026-11-21T00:00:00Z")
    assert "--since" in complained(home, "nightly", *backwards)
    assert "GATEBOOK_TZ" in complained(home, *NIGHT, GATEBOOK_TZ="Middle/Earth")
    gatebook(home, "doctor", code=1, GATEBOOK_DESK="local", GATEBOOK_MODE="sometimes")
