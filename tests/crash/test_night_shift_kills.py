"""kill -9 of the agent and all servers in the middle of the night; the same command goes on and finishes."""

import json
import random
import subprocess
import time
from importlib import resources
from pathlib import Path

import pytest

from programs.processes import COMMAND, environment, gatebook, kill_tree, rows, start

WINDOW = ("--since", "2026-11-21T18:00:00Z", "--until", "2026-11-22T06:00:00Z")
KILLS = 20
PATIENCE = {"GATEBOOK_LEASE_S": "1", "GATEBOOK_SETTLE_S": "0.2"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    dice = random.Random(20261122)
    inbox = resources.files("gatebook_servers.demo").joinpath("inbox.jsonl")
    kills = nights = 0
    while kills < KILLS:
        nights += 1
        home = tmp_path / f"home-{nights}"
        gatebook(home, "tickets", "import", str(inbox))
        # The next kill falls a few steps behind the last one, wherever the process is then.
        before = kills
        while kills < KILLS and _killed_after(home, steps=_steps(home) + dice.randint(1, 5)):
            kills += 1
        report = _finish(home)
        assert (report["resumed_from"] is not None) is (kills > before)
        _assert_once(home, report)


def _killed_after(home: Path, *, steps: int) -> bool:
    """Start the night and kill it with all it started once so many steps are done; False when it was faster."""
    night = start(home, "nightly", *WINDOW, "--json", **PATIENCE)
    while night.poll() is None:
        if _steps(home) >= steps:
            kill_tree(night.pid)
            night.communicate()
            return True
        time.sleep(0.002)
    printed = night.communicate()
    assert night.returncode == 0, printed
    return False


def _finish(home: Path) -> dict[str, object]:
    for _ in range(5):
        done = subprocess.run(
            [*COMMAND, "nightly", *WINDOW, "--json"],
            env=environment(home, **PATIENCE),
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert done.returncode in (0, 4), done.stderr
        report = json.loads(done.stdout)
        if report["status"] == "completed":
            return report
    pytest.fail("the night never completed")


def _assert_once(home: Path, report: dict[str, object]) -> None:
    assert report["tickets"] == 60
    categories = {str(ref): category for ref, category in rows(home, "SELECT ref, category FROM classifications")}
    assert len(categories) == 60
    tags = rows(home, "SELECT ticket_id, tags FROM desk_tickets")
    assert all(sum(tag.startswith("category:") for tag in json.loads(str(found))) <= 1 for _, found in tags)
    held = {str(target) for (target,) in rows(home, "SELECT target FROM approvals WHERE kind = 'hold'")}
    drafted = [str(ref) for (ref,) in rows(home, "SELECT ref FROM drafts WHERE superseded_by = ''")]
    support = {ref for ref, category in categories.items() if category == "Support"}
    assert sorted(drafted) == sorted(support - held)
    assert len(rows(home, "SELECT draft_id FROM drafts")) == len(drafted)
    requests = rows(home, "SELECT target, COUNT(*) FROM approvals WHERE kind = 'effect' GROUP BY target")
    assert {str(target): count for target, count in requests} == dict.fromkeys(drafted, 1)
    assert rows(home, "SELECT COUNT(*) FROM desk_comments WHERE author_role = 'bot'") == [(0,)]
    effects = rows(home, "SELECT COUNT(*), COUNT(DISTINCT effect_key) FROM effects WHERE state = 'done'")
    operations = rows(home, "SELECT COUNT(*) FROM desk_operations")
    assert effects[0][0] == effects[0][1] == operations[0][0]


def _steps(home: Path) -> int:
    return int(str(rows(home, "SELECT COALESCE(MAX(steps), 0) FROM runs")[0][0]))
