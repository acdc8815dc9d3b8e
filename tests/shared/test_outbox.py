"""The outbox: who may do a job, for how long, how often, and what the word of a process that lost it counts."""

from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.approvals.verdicts import Outcome, Verdict
from gatebook.clock import ManualClock
from gatebook.database.migrations import LOCK_TABLE, migrations, statements
from gatebook.database.sqlite import SqliteDatabase
from gatebook.errors import NotFoundError
from gatebook.outbox import ANYWHERE, FOREVER, LEASE_S, Job, JobKind, Outbox, Place
from suite import Suite

pytestmark = pytest.mark.any_database

HERE = Place(tenant="default", mode="live", room="tickets")
DAY_S = 86_400.0
KINDS: tuple[JobKind, ...] = ("execute_approved", "expire", "notify", "prune", "reconcile")


@contextmanager
def outbox(suite: Suite) -> Generator[Outbox]:
    with suite.runtime.database.transaction() as tx:
        yield Outbox(tx)


def add(suite: Suite, subject: str = "k1", *, place: Place = HERE, kind: JobKind = "reconcile") -> None:
    with outbox(suite) as jobs:
        jobs.add(kind, subject, use_by=suite.clock.now() + DAY_S, place=place)


def lease(
    suite: Suite,
    owner: str = "a",
    *,
    tenant: str = "default",
    mode: str = "live",
    rooms: tuple[str, ...] = ("tickets", "memory"),
    kinds: tuple[JobKind, ...] = KINDS,
    subject: str = "",
) -> Job | None:
    with outbox(suite) as jobs:
        return jobs.lease(owner, tenant=tenant, mode=mode, rooms=rooms, kinds=kinds, subject=subject)


def leased(suite: Suite, owner: str = "a") -> Job:
    job = lease(suite, owner)
    assert job is not None
    return job


def state(suite: Suite, subject: str = "k1", kind: JobKind = "reconcile") -> tuple[str, str]:
    with outbox(suite) as jobs:
        job = jobs.of_subject(kind, subject)
    assert job is not None
    return job.state, job.error


def asked(suite: Suite, *, tenant: str = "default", mode: str = "live", server: str = "tickets") -> Approval:
    with suite.runtime.database.transaction() as tx:
        return Approvals(tx).ask(
            tenant=tenant, principal="agent:a", run_id="", kind="effect", server=server, tool="send_reply",
            tool_sha256="", arguments={}, effect_key="e", target="local:AB-1", operation="reply", content={},
            fingerprint="f" * 64, mode=mode, reason="", decide_within_s=DAY_S,
            verdict=Verdict(outcome=Outcome.REVIEW, rules=()),
        )  # fmt: skip


def test_the_same_job_twice_is_one(suite: Suite) -> None:
    for _ in range(2):
        add(suite)
    assert lease(suite) is not None
    assert lease(suite) is None
    assert suite.count("outbox") == 1


def test_the_job_that_is_due_longest_is_first_unless_one_is_wanted(suite: Suite) -> None:
    for subject in ("k1", "k2", "k3"):
        add(suite, subject)
        suite.clock.advance(1)
    wanted = lease(suite, subject="k3")
    assert wanted is not None
    assert [wanted.subject, leased(suite).subject, leased(suite).subject] == ["k3", "k1", "k2"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"tenant": "other"}, id="tenant"),
        pytest.param({"mode": "dry-run"}, id="mode"),
        pytest.param({"rooms": ("memory", "runs")}, id="room"),
        pytest.param({"rooms": ()}, id="no-room"),
        pytest.param({"kinds": ("notify", "prune")}, id="kind"),
    ],
)
def test_a_process_that_may_not_do_a_job_leaves_it_to_who_may(suite: Suite, other: dict[str, object]) -> None:
    add(suite)
    assert lease(suite, **other) is None  # pyright: ignore[reportArgumentType] - one of `lease`'s own parameters
    assert lease(suite) is not None


def test_a_job_that_belongs_nowhere_is_anybodys(suite: Suite) -> None:
    add(suite, kind="prune", place=ANYWHERE)
    assert lease(suite, tenant="other", mode="dry-run", rooms=()) is not None


def test_the_job_of_an_approval_belongs_where_its_tool_is(suite: Suite) -> None:
    request = asked(suite, tenant="acme", mode="dry-run", server="memory")
    with outbox(suite) as jobs:
        jobs.add("execute_approved", request.approval_id, use_by=FOREVER)
        with pytest.raises(NotFoundError):
            jobs.add("execute_approved", "apr_none", use_by=FOREVER)
    job = lease(suite, tenant="acme", mode="dry-run", rooms=("memory",))
    assert job is not None
    assert (job.subject, job.tenant, job.mode, job.room) == (request.approval_id, "acme", "dry-run", "memory")


def test_what_a_dead_process_held_is_taken_over_when_its_lease_ends_and_not_before(suite: Suite) -> None:
    add(suite)
    leased(suite, "a")
    suite.clock.advance(LEASE_S - 1)
    assert lease(suite, "b") is None
    suite.clock.advance(1)
    taken = leased(suite, "b")
    assert (taken.owner, taken.attempts) == ("b", 2)


def test_who_lost_its_lease_changes_nothing_any_more(suite: Suite) -> None:
    add(suite)
    first = leased(suite, "a")
    suite.clock.advance(LEASE_S)
    second = leased(suite, "b")
    suite.clock.advance(LEASE_S)
    third = leased(suite, "a")
    with outbox(suite) as jobs:
        for lost in (first, second):
            assert not jobs.finish(lost)
            assert not jobs.finish(lost, error="conflict")
            assert not jobs.postpone(lost, error="late")
            assert not jobs.rearrange(lost, after_s=0)
    assert state(suite) == ("leased", "")
    with outbox(suite) as jobs:
        assert jobs.finish(third)
        assert not jobs.finish(third, error="twice")
    assert state(suite) == ("done", "")


def test_setting_the_clock_ends_no_lease_and_prolongs_none(suite: Suite) -> None:
    add(suite)
    leased(suite, "a")
    suite.clock.jump(3_600)
    assert lease(suite, "b") is None
    suite.clock.jump(-7_200)
    suite.clock.advance(LEASE_S)
    assert lease(suite, "b") is not None


def test_a_job_that_fails_is_tried_again_after_growing_waits(suite: Suite) -> None:
    add(suite)
    for wait_s in (5, 30, 120, 600, 600):
        with outbox(suite) as jobs:
            taken = jobs.lease("a", tenant="default", mode="live", rooms=["tickets"], kinds=KINDS)
            assert taken is not None
            jobs.postpone(taken, error="upstream_unavailable")
        assert state(suite) == ("waiting", "upstream_unavailable")
        suite.clock.advance(wait_s - 1)
        assert lease(suite) is None
        suite.clock.advance(1)


def test_a_job_waits_as_long_as_it_is_told_to(suite: Suite) -> None:
    add(suite)
    taken = leased(suite)
    with outbox(suite) as jobs:
        jobs.postpone(taken, error="rate_limited", after_s=3_600)
    suite.clock.advance(3_599)
    assert lease(suite) is None
    suite.clock.advance(1)
    assert lease(suite) is not None


def test_an_upstream_that_asks_for_no_wait_at_all_is_not_asked_without_one(suite: Suite) -> None:
    add(suite)
    for wait_s in (5, 30, 120):
        taken = leased(suite)
        with outbox(suite) as jobs:
            jobs.postpone(taken, error="rate_limited", after_s=0.0)
        suite.clock.advance(wait_s - 1)
        assert lease(suite) is None
        suite.clock.advance(1)


@pytest.mark.parametrize("kind", ["execute_approved", "notify", "reconcile"])
def test_a_job_of_any_kind_that_cannot_be_tried_again_before_its_use_by_fails_for_good(
    suite: Suite, kind: JobKind
) -> None:
    add(suite, kind=kind)
    taken = leased(suite)
    suite.clock.advance(DAY_S - 5)
    with outbox(suite) as jobs:
        assert jobs.postpone(taken, error="upstream_unavailable")
        assert [(job.kind, job.error) for job in jobs.failed(tenant="default")] == [(kind, "upstream_unavailable")]
    suite.clock.advance(DAY_S)
    assert lease(suite) is None


def test_what_was_done_is_done_again_only_when_that_is_asked_for(suite: Suite) -> None:
    def again(*, repeated: bool) -> Job | None:
        with outbox(suite) as jobs:
            jobs.add("reconcile", "k1", use_by=FOREVER, place=HERE, repeated=repeated)
        return lease(suite)

    first = again(repeated=False)
    assert first is not None
    assert again(repeated=True) is None, "it is being done"
    with outbox(suite) as jobs:
        jobs.finish(first)
    assert again(repeated=False) is None
    second = again(repeated=True)
    assert second is not None
    assert (second.attempts, second.use_by) == (1, FOREVER)
    with outbox(suite) as jobs:
        jobs.finish(second, error="not_found")
    assert again(repeated=True) is None, "a person has to look"


def test_a_chore_comes_back_when_it_is_due(suite: Suite) -> None:
    add(suite, kind="prune")
    taken = leased(suite)
    with outbox(suite) as jobs:
        jobs.rearrange(taken, after_s=DAY_S)
    suite.clock.advance(DAY_S - 1)
    assert lease(suite) is None
    suite.clock.advance(1)
    assert leased(suite).attempts == 2


def test_only_what_was_done_long_ago_is_forgotten(suite: Suite) -> None:
    for subject in ("done", "failed", "waiting"):
        add(suite, subject)
    with outbox(suite) as jobs:
        for subject in ("done", "failed"):
            taken = jobs.lease("a", tenant="default", mode="live", rooms=["tickets"], kinds=KINDS, subject=subject)
            assert taken is not None
            jobs.finish(taken, error="" if subject == "done" else "conflict")
        assert jobs.prune(before=suite.clock.now()) == 0
        assert jobs.prune(before=suite.clock.now() + 1) == 1
    assert (state(suite, "failed")[0], state(suite, "waiting")[0]) == ("failed", "waiting")


def test_jobs_of_an_older_database_get_the_place_of_their_approval(tmp_path: Path) -> None:
    file = tmp_path / "gatebook.db"
    older = [sql for number, script in migrations("sqlite") if number < 4 for sql in statements(script)]
    approval = {
        "approval_id": "apr_1", "tenant": "acme", "server": "tickets", "mode": "dry-run", "arguments": "{}",
        "content": "{}", "rules": "[]", "state": "approved", "created_at": 1.0, "decide_by": 2.0, "changed_at": 1.0,
    }  # fmt: skip
    with closing(apsw.Connection(str(file))) as connection:
        for sql in (*LOCK_TABLE, *older, "UPDATE suite_lock SET schema_version = 3"):
            run(connection, sql, {})
        texts = ("principal", "run_id", "kind", "tool", "tool_sha256", "effect_key", "target", "operation")
        more = ("content_sha256", "fingerprint", "reason", "state_reason")
        row = {**dict.fromkeys((*texts, *more), ""), **approval}
        run(connection, f"INSERT INTO approvals ({', '.join(row)}) VALUES (:{', :'.join(row)})", row)  # noqa: S608
        run(
            connection,
            """INSERT INTO outbox (job_id, kind, subject, state, due, use_by, owner, lease_until, attempts, error,
                 created_at) VALUES ('job_1', 'execute_approved', 'apr_1', 'waiting', 1, 9e12, '', 0, 0, '', 1)""",
            {},
        )
    with closing(SqliteDatabase(file, ManualClock())) as database, database.transaction() as tx:
        job = Outbox(tx).of_subject("execute_approved", "apr_1")
    assert job is not None
    assert (job.tenant, job.mode, job.room) == ("acme", "dry-run", "tickets")


def run(connection: apsw.Connection, sql: str, parameters: Mapping[str, str | float]) -> None:
    # apsw's stubs leave the type of a bindable buffer open.
    connection.execute(sql, parameters)  # pyright: ignore[reportUnknownMemberType]
