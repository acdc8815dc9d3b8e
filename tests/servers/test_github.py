"""The GitHub desk, beyond what every desk promises (`contracts/test_desk.py`)."""

import json
import os
import re
from collections.abc import AsyncGenerator, Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import JsonValue

from fakes.github import GitHubService, configured, opened, passing, running_github
from gatebook.clock import moment
from gatebook.errors import (
    ConfigurationError,
    InvalidArgumentsError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    UnsupportedError,
    UpstreamUnavailableError,
)
from gatebook.retry import AmbiguousError, without_waiting
from gatebook_servers.tickets.desk import NewTicket, Patch, Window
from gatebook_servers.tickets.desks.github import looking
from gatebook_servers.tickets.desks.github.desk import GitHubDesk
from gatebook_servers.tickets.desks.github.pace import Pace
from gatebook_servers.tickets.desks.github.reading import ALL_SAID, ISSUE, comment_of, parsed, ticket_of
from gatebook_servers.tickets.ports import open_desk
from suite import REPLY, Json, Suite, ticket

pytestmark = pytest.mark.anyio

SHARED_DATA = Path(os.environ.get("GATEBOOK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
RECORDED = SHARED_DATA.parent / "fixtures" / "github"
CALL_S = 20.0
LOST_BEFORE: Json = {"kind": "lost", "when": "before"}
LOST_AFTER: Json = {"kind": "lost", "when": "after"}


@pytest.fixture(scope="module", name="running")
def _running() -> Generator[GitHubService]:
    with running_github() as service:
        yield service


@pytest.fixture
def github(running: GitHubService) -> Generator[GitHubService]:
    running.reset()
    with without_waiting():
        yield running


@pytest.fixture
async def desk(suite: Suite, github: GitHubService) -> AsyncGenerator[GitHubDesk]:
    made = opened(suite, github)
    yield made
    await made.aclose()


def at(minute: int) -> str:
    return f"2026-11-21T{20 + minute // 60}:{minute % 60:02}:00Z"


def put(github: GitHubService, count: int = 1, **fields: JsonValue) -> list[str]:
    """Issues a minute apart, or as the fields say; their refs."""
    names = [f"AB-{number:03}" for number in range(count)]
    github.tickets([{**ticket(name, created_at=at(number)), **fields} for number, name in enumerate(names)])
    return [f"github:{github.number(name)}" for name in names]


async def pages(desk: GitHubDesk, window: Window, *, limit: int) -> list[str]:
    refs: list[str] = []
    position, complete = "", False
    while not complete:
        found = await desk.page(window, position=position, limit=limit)
        refs += [one.ref for one in found.tickets]
        position, complete = found.position, found.complete
    return refs


def posts(github: GitHubService) -> int:
    return sum(line.startswith(("POST", "PATCH")) for line in github.lines())


# Lists


@pytest.mark.parametrize("until", ["2026-11-22T06:00:00Z", None])
async def test_a_page_that_holds_only_pull_requests_leads_on(
    suite: Suite, github: GitHubService, until: str | None
) -> None:
    runtime = configured(suite, github)
    runtime.ports[open_desk] = desk = GitHubDesk(runtime, pause=passing(suite, github))
    for minute in range(6):
        github.control("pull_requests", {"count": 100, "created_at": at(minute)})
    github.tickets([ticket("AB-1", created_at=at(30))])
    window: Json = {"subscription": "night", "since": "2026-11-21T18:00:00Z", **({"until": until} if until else {})}
    async with suite.agent("tickets", runtime=runtime) as agent:
        first = await agent.ok("pull_tickets", window)
        again = await agent.ok("pull_tickets", window)
        rest, found = first, list[object]()
        while not rest["complete"]:
            rest = await agent.ok("pull_tickets", window, cursor=rest["next_cursor"])
            found += [one["ref"] for one in cast("list[Json]", rest["tickets"])]
    await desk.aclose()
    assert (first["tickets"], first["complete"], first) == ([], False, again)
    assert found == ["github:601"]


@pytest.mark.parametrize("limit", [7, 50])
async def test_however_many_changed_in_one_second_each_comes_once(
    desk: GitHubDesk, github: GitHubService, limit: int
) -> None:
    refs = put(github, 230, created_at=at(0))
    assert sorted(await pages(desk, Window(), limit=limit)) == sorted(refs)
    assert sorted(await pages(desk, Window(until=datetime(2026, 11, 22, tzinfo=UTC)), limit=limit)) == sorted(refs)


async def test_what_changes_while_it_is_read_is_not_missed(desk: GitHubDesk, github: GitHubService) -> None:
    refs = put(github, 150)
    first = await desk.page(Window(), position="", limit=20)
    for number in range(1, 11):
        github.change(number, title="changed")
    rest = [one.ref for one in first.tickets]
    position, complete = first.position, False
    while not complete:
        found = await desk.page(Window(), position=position, limit=50)
        rest += [one.ref for one in found.tickets]
        position, complete = found.position, found.complete
    assert rest == refs + refs[:10]


async def test_what_changed_in_the_second_of_the_answer_comes_with_the_next_call(
    desk: GitHubDesk, github: GitHubService
) -> None:
    (ref,) = put(github)
    seen = await desk.page(Window(), position="", limit=5)
    github.advance(10)
    now = cast("float", github.state()["now"])
    # The service answers a second later, and says that second.
    github.change(1, title="changed", updated_at=moment(now + 1).strftime("%Y-%m-%dT%H:%M:%SZ"))
    during = await desk.page(Window(), position=seen.position, limit=5)
    after = await desk.page(Window(), position=during.position, limit=5)
    assert (during.tickets, during.complete) == ((), True)
    assert [one.ref for one in after.tickets] == [ref]


@pytest.mark.parametrize("removed", [90, 140])
async def test_a_closed_window_misses_nothing_where_issues_are_deleted(
    desk: GitHubDesk, github: GitHubService, removed: int
) -> None:
    refs = put(github, 220)
    window = Window(since=datetime(2026, 11, 21, 20, tzinfo=UTC), until=datetime(2026, 11, 22, tzinfo=UTC))
    found: list[str] = []
    position, complete = "", False
    while not complete:
        page = await desk.page(window, position=position, limit=50)
        found += [one.ref for one in page.tickets]
        position, complete = page.position, page.complete
        if len(found) == 150:
            github.control("remove", {"numbers": list[JsonValue](range(1, removed + 1))})
    assert found == refs


async def test_a_page_that_github_no_longer_has_is_replaced_by_the_start_of_the_list(
    desk: GitHubDesk, github: GitHubService
) -> None:
    refs = put(github, 30)
    window = Window(until=datetime(2026, 11, 22, tzinfo=UTC))
    first = await desk.page(window, position="", limit=10)
    gone = re.sub(r"\|[^|]*$", "|after=Y3Vyc29yOnYyOpHOAAE=", first.position)
    rest = await desk.page(window, position=gone, limit=50)
    assert [one.ref for one in rest.tickets] == refs[10:]


async def test_a_link_to_another_host_is_not_followed(desk: GitHubDesk, github: GitHubService) -> None:
    put(github, 120)
    github.set(url="http://127.0.0.1:9")
    with pytest.raises(Exception, match="another address"):
        await desk.page(Window(until=datetime(2026, 11, 22, tzinfo=UTC)), position="", limit=110)
    github.set(url=github.url)


async def test_a_search_that_ran_out_of_time_is_not_taken_for_all(desk: GitHubDesk, github: GitHubService) -> None:
    put(github)
    github.set(incomplete=True)
    with pytest.raises(UpstreamUnavailableError):
        await desk.search("board", position="", limit=5)


async def test_what_did_not_change_costs_nothing_of_the_limit(desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github)
    first = await desk.get(ref)
    left = github.state()["remaining"]
    assert [await desk.get(ref) for _ in range(5)] == [first] * 5
    assert github.state()["remaining"] == left
    github.change(1, title="Something else")
    assert (await desk.get(ref)).subject == "Something else"


# Who and what


async def test_a_pull_request_is_no_ticket(desk: GitHubDesk, github: GitHubService) -> None:
    github.control("pull_requests", {"count": 1, "created_at": at(0)})
    with pytest.raises(NotFoundError):
        await desk.get("github:1")
    with pytest.raises(NotFoundError):
        await desk.comments("github:1")
    with pytest.raises(NotFoundError):
        await desk.comment("github:1", "Hi", visibility="public", head=None, marker="gb-1")
    assert github.bodies(1) == []


async def test_an_issue_that_moved_is_not_found(desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github)
    github.faults({"kind": "status", "status": 301, "on": "GET .*/issues/1"})
    with pytest.raises(NotFoundError):
        await desk.get(ref)


@pytest.mark.parametrize(
    ("login", "association", "role"),
    [
        ("olga", "OWNER", "agent"),
        ("mia", "MEMBER", "agent"),
        ("cleo", "COLLABORATOR", "agent"),
        ("carl", "CONTRIBUTOR", "customer"),
        ("nora", "NONE", "customer"),
        ("Gatebook-Desk", "NONE", "bot"),
    ],
)
async def test_who_somebody_is_follows_from_their_part_in_the_repository(
    desk: GitHubDesk, github: GitHubService, login: str, association: str, role: str
) -> None:
    (ref,) = put(github)
    github.say(1, "Hello", login=login, association=association)
    (comment,) = await desk.comments(ref)
    assert (comment.author.name, comment.author.role, comment.ours) == (login, role, role != "customer")


# Markers


@pytest.mark.parametrize(
    "body", ["Hello", "", "```\nrun this", "~~~ sh\nrun\n```\n", "```\nclosed\n```", "a ``` b", "````\n```\nstill open"]
)
async def test_the_marker_is_where_nobody_sees_it_and_the_text_comes_back_as_it_was(
    desk: GitHubDesk, github: GitHubService, body: str
) -> None:
    (ref,) = put(github)
    await desk.comment(ref, body, visibility="public", head=None, marker="gb-1")
    mark = "<!-- gatebook:gb-1 -->"
    in_front = body in ("```\nrun this", "~~~ sh\nrun\n```\n", "````\n```\nstill open")
    assert github.bodies(1) == [f"{mark}\n\n{body}" if in_front else f"{body}\n\n{mark}"]
    (comment,) = await desk.comments(ref)
    assert comment.body == body


async def test_a_marker_that_somebody_else_wrote_counts_for_nothing(desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github)
    forged = "I quote\n\n<!-- gatebook:gb-1 -->"
    github.say(1, forged)
    assert [comment.body for comment in await desk.comments(ref)] == [forged]
    assert await desk.find_operation(ref, "gb-1") is None


# Changes


async def test_a_status_and_its_reason_are_what_they_mean_here(desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github)
    seen: list[object] = []
    for number, patch in enumerate(
        (
            Patch(status="solved"),
            Patch(status="closed"),
            Patch(status="open"),
            Patch(assignee="ada", status="open"),
            Patch(assignee=""),
        )
    ):
        version = (await desk.get(ref)).version
        await desk.update(ref, patch, base_version=version, marker=f"gb-{number}")
        issue, read = github.issue(1), await desk.get(ref)
        seen.append((issue["state"], issue["state_reason"], read.status, read.assignee))
    assert seen == [
        ("closed", "completed", "solved", ""),
        ("closed", "not_planned", "closed", ""),
        ("open", "reopened", "open", ""),
        ("open", "reopened", "open", "ada"),
        ("open", "reopened", "open", ""),
    ]


@pytest.mark.parametrize(
    ("patch", "refused"),
    [
        (Patch(status="pending"), UnsupportedError),
        (Patch(status="hold"), UnsupportedError),
        (Patch(status="open"), UnsupportedError),
        (Patch(assignee="stranger"), NotFoundError),
        (Patch(add_tags=("x" * 51,)), InvalidArgumentsError),
    ],
)
async def test_what_github_cannot_express_is_refused_and_nothing_is_sent(
    desk: GitHubDesk, github: GitHubService, patch: Patch, refused: type[Exception]
) -> None:
    (ref,) = put(github)
    before = await desk.get(ref)
    with pytest.raises(refused):
        await desk.update(ref, patch, base_version=before.version, marker="gb-1")
    assert (await desk.get(ref), posts(github)) == (before, 0)


async def test_without_labels_for_priorities_only_the_ordinary_one_can_be_had(
    suite: Suite, github: GitHubService
) -> None:
    (ref,) = put(github, tags=["priority: high"])
    desk = opened(suite, github, github_priority_prefix="")
    before = await desk.get(ref)
    assert (before.priority, before.tags) == (None, ("priority: high",))
    with pytest.raises(UnsupportedError, match="labels"):
        await desk.update(ref, Patch(priority="High"), base_version=before.version, marker="gb-1")
    with pytest.raises(UnsupportedError, match="labels"):
        await desk.create(NewTicket(project="OPS", title="Full", description="", priority="High"), marker="gb-2")
    new = await desk.create(NewTicket(project="OPS", title="Full", description="", priority="Medium"), marker="gb-3")
    assert (await desk.get(new.ref)).tags == ("OPS",)
    await desk.aclose()


async def test_a_priority_is_one_label_and_others_stay(desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github, tags=["Bug", "Priority: Low", "priority: none"])
    read = await desk.get(ref)
    assert (read.priority, read.tags) == ("Low", ("Bug", "priority: none"))
    patch = Patch(priority="Critical", add_tags=("bug", "ui"), remove_tags=("PRIORITY: none",))
    await desk.update(ref, patch, base_version=read.version, marker="gb-1")
    assert github.issue(1)["labels"] == [{"name": name} for name in ("Bug", "priority: critical", "ui")]


# Answers that were lost


@pytest.mark.parametrize("applied", [True, False])
async def test_a_change_whose_answer_was_lost_is_judged_by_the_issue(
    desk: GitHubDesk, github: GitHubService, *, applied: bool
) -> None:
    (ref,) = put(github)
    version = (await desk.get(ref)).version
    github.faults(LOST_AFTER if applied else LOST_BEFORE)
    with pytest.raises(AmbiguousError):
        await desk.update(ref, Patch(status="solved", add_tags=("x",)), base_version=version, marker="gb-1")
    found = await desk.find_operation(ref, "gb-1")
    assert (found is not None) == applied
    assert found is None or found.version == (await desk.get(ref)).version


async def test_where_the_issue_changed_otherwise_nobody_can_tell_what_became_of_a_change(
    desk: GitHubDesk, github: GitHubService
) -> None:
    (ref,) = put(github)
    version = (await desk.get(ref)).version
    github.faults(LOST_AFTER)
    with pytest.raises(AmbiguousError):
        await desk.update(ref, Patch(status="solved"), base_version=version, marker="gb-1")
    github.change(1, state="open", state_reason="reopened")
    with pytest.raises(OutcomeUnknownError):
        await desk.find_operation(ref, "gb-1")


async def test_a_change_that_github_accepts_and_does_not_make_is_in_doubt(
    desk: GitHubDesk, github: GitHubService
) -> None:
    (ref,) = put(github)
    version = (await desk.get(ref)).version
    github.set(ignores=["labels"])
    with pytest.raises(AmbiguousError):
        await desk.update(ref, Patch(status="solved", add_tags=("x",)), base_version=version, marker="gb-1")
    with pytest.raises(OutcomeUnknownError):
        await desk.find_operation(ref, "gb-1")


@pytest.mark.parametrize("ahead_s", [0.0, 60 * 86_400.0, -60 * 86_400.0])
@pytest.mark.parametrize("applied", [True, False])
async def test_a_comment_and_a_new_issue_whose_answers_were_lost_are_found_by_their_markers(
    suite: Suite, desk: GitHubDesk, github: GitHubService, *, applied: bool, ahead_s: float
) -> None:
    """Whatever our clock says."""
    suite.clock.jump(ahead_s)
    (ref,) = put(github)
    new = NewTicket(project="OPS", title="Disk is full", description="On two hosts.", priority="Low")
    github.faults({**(LOST_AFTER if applied else LOST_BEFORE), "times": 2})
    with pytest.raises(AmbiguousError):
        await desk.comment(ref, "Hi", visibility="public", head="", marker="gb-1")
    with pytest.raises(AmbiguousError):
        await desk.create(new, marker="gb-2")
    # It may have been set meanwhile.
    suite.clock.jump(-3_600)
    found = [await desk.find_operation(ref, "gb-1"), await desk.find_operation("", "gb-2")]
    assert [one is not None for one in found] == [applied] * 2
    assert not applied or found[1] is not None
    assert found[1] is None or found[1].ref == "github:2"


@pytest.mark.parametrize(("older_s", "told"), [(0.0, False), (looking.MARGIN_S + 10.0, True)])
async def test_in_a_conversation_too_long_to_read_a_comment_is_missing_only_where_the_reading_went_back_far_enough(
    suite: Suite, github: GitHubService, monkeypatch: pytest.MonkeyPatch, *, older_s: float, told: bool
) -> None:
    monkeypatch.setattr(looking, "MOST_SAID", 2)
    desk, (ref,) = opened(suite, github), put(github)
    for text in ("One", "Two"):
        github.say(1, text)
    suite.clock.advance(older_s)
    github.advance(older_s)
    github.faults(LOST_BEFORE)
    with pytest.raises(AmbiguousError):
        await desk.comment(ref, "Hi", visibility="public", head=None, marker="gb-1")
    suite.clock.jump(10 * older_s)
    if told:
        assert await desk.find_operation(ref, "gb-1") is None
    else:
        with pytest.raises(OutcomeUnknownError):
            await desk.find_operation(ref, "gb-1")
    await desk.aclose()


async def test_an_approved_reply_whose_answer_was_lost_is_sent_once(suite: Suite, github: GitHubService) -> None:
    (ref,) = put(github)
    runtime = configured(suite, github, ceiling="send")
    runtime.ports[open_desk] = desk = GitHubDesk(runtime, pause=passing(suite, github))
    async with suite.agent("tickets", runtime=runtime) as agent:
        draft = await agent.ok("draft_reply", ref=ref, body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
        suite.approve(suite.requests()[0].approval_id)
        github.faults(LOST_AFTER)
        await suite.execute(runtime=runtime)
        sent = await agent.ok("send_reply", send)
        assert (await agent.call("send_reply", {**send, "visibility": "internal"})).code != ""
    await desk.aclose()
    (body,) = github.bodies(1)
    assert body.startswith(f"{REPLY}\n\n<!-- gatebook:gb-")
    assert (sent["outcome"], sent["comment_id"]) == ("replayed", "9000")


# Limits


async def test_writes_of_two_processes_are_a_second_apart(suite: Suite, github: GitHubService) -> None:
    refs = put(github, 3)
    desks = [opened(suite, github), opened(suite, github)]
    for number, ref in enumerate(refs * 2):
        await desks[number % 2].comment(ref, "Hi", visibility="public", head=None, marker=f"gb-{number}")
    for desk in desks:
        await desk.aclose()
    # The service refuses what comes sooner, and its time passes only by what the desks wait.
    assert posts(github) == 6
    assert cast("float", github.state()["now"]) == suite.clock.now()


async def test_a_write_whose_turn_comes_too_late_is_refused_at_once(suite: Suite) -> None:
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    pace = Pace(suite.runtime, "github/one", pause=pause)

    async def four_turns() -> None:
        for _ in range(4):
            await pace.turn()

    with anyio.fail_after(2.5), pytest.raises(RateLimitedError) as refused:
        await four_turns()
    assert waited == [1.0, 2.0][: len(waited)]
    assert refused.value.retry_after_s == len(waited) + 1
    await Pace(suite.runtime, "github/another", pause=pause).turn()


async def test_who_waits_for_a_turn_waits_longer_when_the_write_before_ends_late(suite: Suite) -> None:
    before = Pace(suite.runtime, "github/one")
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        suite.clock.advance(seconds)
        if len(waited) == 1:
            await before.rest()

    await before.turn()
    await Pace(suite.runtime, "github/one", pause=pause).turn()
    assert waited == [1.0, 1.0]


async def test_the_secondary_limit_keeps_everybodys_writes_back(suite: Suite, github: GitHubService) -> None:
    (ref,) = put(github)
    first, second = opened(suite, github), opened(suite, github)
    github.faults({"kind": "status", "status": 403, "retry_after": "90", "on": "POST .*", "when": "before"})
    with anyio.fail_after(CALL_S), pytest.raises(RateLimitedError) as limited:
        await first.comment(ref, "Hi", visibility="public", head=None, marker="gb-1")
    assert limited.value.retry_after_s == 90
    before = suite.clock.now()
    with anyio.fail_after(CALL_S), pytest.raises(RateLimitedError):
        await second.comment(ref, "Hi", visibility="public", head=None, marker="gb-2")
    assert posts(github) == 0
    await second.comment(ref, "Hi", visibility="public", head=None, marker="gb-2")
    assert suite.clock.now() - before == 90
    for desk in (first, second):
        await desk.aclose()


@pytest.mark.parametrize(
    ("headers", "waits"),
    [({"x-ratelimit-remaining": "0"}, 3_600.0), ({"retry-after": "7200"}, 7_200.0), ({}, 60.0)],
)
async def test_a_limit_says_how_long_to_wait(
    suite: Suite, desk: GitHubDesk, github: GitHubService, headers: Mapping[str, str], waits: float
) -> None:
    (ref,) = put(github)
    now = datetime.fromtimestamp(suite.clock.now(), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    reset = {"x-ratelimit-reset": str(int(suite.clock.now() + 3_600)), "date": now}
    github.faults({"kind": "status", "status": 429, "on": "GET .*", "headers": {**reset, **headers}, "times": None})
    with anyio.fail_after(CALL_S), pytest.raises(RateLimitedError) as limited:
        await desk.get(ref)
    assert limited.value.retry_after_s == waits


async def test_the_primary_limit_ends_when_it_says(suite: Suite, desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github)
    await desk.get(ref)
    github.set(remaining=0, reset_at=suite.clock.now() + 60)
    with anyio.fail_after(CALL_S), pytest.raises(RateLimitedError) as limited:
        await desk.comments(ref)
    assert limited.value.retry_after_s is not None
    github.advance(limited.value.retry_after_s)
    assert list(await desk.comments(ref)) == []


# Credentials


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def as_app(suite: Suite, github: GitHubService, key: rsa.RSAPrivateKey, **more: object) -> GitHubDesk:
    numbers = key.public_key().public_numbers()
    github.set(key=[numbers.n, numbers.e])
    suite.home.mkdir(exist_ok=True)
    file = suite.home / "app.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    app: dict[str, object] = {"github_app_id": "12", "github_installation_id": 34, "github_app_key_file": file}
    return opened(suite, github, **{"github_token_file": None, **app, **more})


def tokens_made(github: GitHubService) -> int:
    return sum("access_tokens" in line for line in github.lines())


async def test_an_app_signs_for_tokens_that_are_renewed_before_they_end_and_by_one_call(
    suite: Suite, github: GitHubService, key: rsa.RSAPrivateKey
) -> None:
    (ref,) = put(github)
    desk = as_app(suite, github, key)
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(desk.get, ref)
        suite.clock.advance(3_400)
        github.advance(3_400)
    assert tokens_made(github) == 2
    await desk.comment(ref, "Hi", visibility="public", head=None, marker="gb-1")
    (comment,) = await desk.comments(ref)
    assert (comment.author.name, comment.author.role, comment.body) == ("gatebook[bot]", "bot", "Hi")
    assert await desk.find_operation(ref, "gb-1") is not None
    await desk.aclose()


@pytest.mark.parametrize(
    ("permissions", "levels"), [({"issues": "write"}, ["ok"]), ({"issues": "read"}, ["warning"]), ({}, [])]
)
async def test_doctor_says_when_an_app_may_not_write(
    suite: Suite, github: GitHubService, key: rsa.RSAPrivateKey, permissions: Json, levels: list[str]
) -> None:
    desk = as_app(suite, github, key)
    github.set(permissions=permissions)
    assert [finding.level for finding in await desk.check() if finding.check == "scopes"] == levels
    await desk.aclose()


async def test_a_token_that_was_revoked_is_renewed_once_for_all(
    suite: Suite, github: GitHubService, key: rsa.RSAPrivateKey
) -> None:
    (ref,) = put(github)
    desk = as_app(suite, github, key)
    await desk.get(ref)
    github.set(tokens={})
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(desk.get, ref)
    assert tokens_made(github) == 2
    await desk.aclose()


async def test_an_app_that_github_does_not_know_is_told_apart_from_a_missing_ticket(
    suite: Suite, github: GitHubService, key: rsa.RSAPrivateKey
) -> None:
    (ref,) = put(github)
    for more in ({"github_installation_id": 35}, {"github_app_id": "13"}):
        desk = as_app(suite, github, key, **more)
        with pytest.raises(Exception, match="unauthenticated"):
            await desk.get(ref)
        await desk.aclose()


async def test_what_is_missing_is_named_and_what_is_secret_is_not(suite: Suite, github: GitHubService) -> None:
    suite.home.mkdir(exist_ok=True)
    secret = suite.home / "secret"
    secret.write_text("two words of canary")
    app: dict[str, object] = {"github_app_id": "12", "github_installation_id": 34}
    for settings, named in (
        ({"github_repository": ""}, "GATEBOOK_GITHUB_REPOSITORY"),
        ({"github_token_file": None}, "GATEBOOK_GITHUB_TOKEN_FILE"),
        ({"github_token_file": None, **app}, "GATEBOOK_GITHUB_APP_KEY_FILE"),
        ({"github_token_file": suite.home / "nothing"}, "GATEBOOK_GITHUB_TOKEN_FILE"),
        ({"github_token_file": secret}, "GATEBOOK_GITHUB_TOKEN_FILE"),
        ({"github_token_file": None, **app, "github_app_key_file": secret}, "GATEBOOK_GITHUB_APP_KEY_FILE"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            opened(suite, github, **settings)
        assert named in refused.value.as_text()
        assert "canary" not in refused.value.as_text()


async def test_a_refused_token_is_the_operators_matter(suite: Suite, desk: GitHubDesk, github: GitHubService) -> None:
    (ref,) = put(github)
    github.set(tokens={"another": "x"})
    with pytest.raises(Exception, match="unauthenticated"):
        await desk.get(ref)
    assert (await desk.page(Window(status="pending"), position="", limit=5)).complete
    del suite


# What GitHub really answered


def recorded(answer: JsonValue) -> list[JsonValue]:
    """The objects of a recorded answer: of a search, of a list, or one."""
    if isinstance(answer, dict):
        items = answer.get("items", [answer])
        return items if isinstance(items, list) else []
    return answer if isinstance(answer, list) else []


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not here")
def test_every_recorded_issue_and_comment_can_be_read() -> None:
    read = 0
    for file in sorted(RECORDED.rglob("*.json")):
        exchanges = cast("list[Json]", json.loads(file.read_text(encoding="utf-8")))
        for item in [item for exchange in exchanges for item in recorded(exchange["response"])]:
            if isinstance(item, dict) and "title" in item:
                made = ticket_of(parsed(ISSUE, item), login="somebody-else", prefix="priority: ")
                assert (made.ref, made.requester.role) == (f"github:{item['number']}", _role(item))
                read += 1
            elif isinstance(item, dict) and "issue_url" in item:
                said = parsed(ALL_SAID, [item])[0]
                assert comment_of(said, login="somebody-else").comment_id == str(item["id"])
                read += 1
    assert read >= 10


def _role(issue: Json) -> str:
    return "agent" if issue["author_association"] in ("OWNER", "MEMBER", "COLLABORATOR") else "customer"
