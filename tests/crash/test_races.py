"""Three processes on one PostgreSQL database: what they race for happens once, and no budget is overrun."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fakes.remote_desk import running_service
from gatebook.ledger.runs import Runs
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from programs.processes import environment

RACER = Path(__file__).parents[1] / "programs" / "racer.py"
RACERS = 3
EFFECTS = 1_500
STEPS = 10_000
CALLS = 2_000


@pytest.fixture
def runtime(tmp_path: Path, postgres_url: str) -> Generator[Runtime]:
    """The database, looked at from outside."""
    (tmp_path / "policy.toml").write_text('version = 1\nalways_allow = ["tickets.create_ticket"]\n', encoding="utf-8")
    settings = Settings.model_validate({"home": tmp_path, "database_url": postgres_url})
    with closing(open_runtime(settings)) as opened:
        yield opened


def race(runtime: Runtime, what: str, limit: str, **settings: str) -> Counter[str]:
    """Let three racers start at the same moment; all their outcomes."""
    url = runtime.settings.database_url
    assert url is not None
    own = {"GATEBOOK_DATABASE_URL": url.get_secret_value(), "GATEBOOK_LOG_LEVEL": "ERROR", **settings}
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(RACER), what, limit],
                    env=environment(runtime.settings.home, **own),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    encoding="utf-8",
                )
            )
            for _ in range(RACERS)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        printed = [racer.communicate(timeout=300)[0] for racer in racers]
    return sum((Counter[str](json.loads(text)) for text in printed), Counter[str]())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_processes_racing_the_same_effects_do_each_once(runtime: Runtime) -> None:
    with running_service() as service:
        outcomes = race(
            runtime,
            "effects",
            str(EFFECTS),
            GATEBOOK_DESK="remote",
            GATEBOOK_CEILING="send",
            GATEBOOK_TEST_DESK_URL=service.url,
        )
        assert Counter(service.applied().values()) == {1: EFFECTS}
        assert service.requests("POST") == EFFECTS
    assert outcomes["executed"] == EFFECTS
    assert outcomes["replayed"] == (RACERS - 1) * EFFECTS
    assert set(outcomes) <= {"executed", "replayed", "in_progress"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_processes_racing_for_steps_never_overrun_the_run(runtime: Runtime) -> None:
    with runtime.database.transaction() as tx:
        run = Runs(tx).create(
            tenant="default",
            principal="agent:local",
            key="race",
            goal="",
            max_steps=STEPS,
            max_tokens=None,
            max_usd=None,
        )
    outcomes = race(runtime, "steps", run.handle)
    assert outcomes["answered"] == STEPS
    assert set(outcomes) == {"answered", "step_budget_exceeded"}
    with runtime.database.transaction() as tx:
        assert Runs(tx).get(run.run_id).steps == STEPS
        assert [step.number for step in Runs(tx).steps(run.run_id, limit=2 * STEPS)] == list(range(1, STEPS + 1))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_processes_racing_for_calls_never_overrun_the_day(runtime: Runtime) -> None:
    each = CALLS // RACERS + 100
    outcomes = race(runtime, "calls", str(each), GATEBOOK_MAX_CALLS_PER_DAY=str(CALLS))
    assert outcomes == {"answered": CALLS, "ceiling_reached": RACERS * each - CALLS}
    with runtime.database.transaction() as tx:
        assert tx.all("SELECT spent FROM counters WHERE name = 'calls'") == [{"spent": CALLS}]
