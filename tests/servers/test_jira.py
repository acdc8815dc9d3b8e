"""The Jira desk, beyond what every desk promises: what Jira has no fence for, and what its search does not know yet."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import anyio
import pytest

from fakes.jira import CLOUD, CUSTOMER, US, JiraService, jira_desk, running_jira, settings_of
from fakes.services import Json
from gatebook.errors import (
    ConfigurationError,
    ConflictError,
    ForbiddenError,
    GatebookError,
    InvalidArgumentsError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    UnauthenticatedError,
    UnsupportedError,
    UpstreamUnavailableError,
)
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.desk import NewTicket, Patch, Window, newest_from_customer
from gatebook_servers.tickets.desks.jira import finding, reading
from gatebook_servers.tickets.desks.jira.desk import JiraDesk
from gatebook_servers.tickets.desks.jira.finding import INDEX_LAG_S
from gatebook_servers.tickets.ports import open_desk
from suite import REPLY, Suite

pytestmark = pytest.mark.anyio

SINCE = datetime(2026, 9, 20, 18, tzinfo=UTC)
CHANGES = Window(since=SINCE)
REF = "jira:AB-1"
NEW = NewTicket(project="OPS", title="Disk is full", description="On two hosts.", priority="High")
LOST: Json = {"kind": "lost"}


@pytest.fixture(scope="module", name="running")
def _running() -> Generator[JiraService]:
    with running_jira() as service:
        yield service


@pytest.fixture
def jira(running: JiraService) -> JiraService:
    running.reset()
    return running


@pytest.fixture
async def desk(suite: Suite, jira: JiraService) -> AsyncGenerator[JiraDesk]:
    async with opened(suite, jira) as made:
        yield made


@asynccontextmanager
async def opened(suite: Suite, jira: JiraService, **more: object) -> AsyncGenerator[JiraDesk]:
    """The desk as another process opens it, with other settings."""
    runtime = suite.another_process()
    runtime.settings = runtime.settings.model_copy(update=more)
    made = jira_desk(runtime, jira)
    yield made
    await made.aclose()


def put(jira: JiraService, *keys: str, **fields: str) -> None:
    requester: Json = {"name": "Robin Reyes", "email": "robin@customer.example"}
    bare: Json = {"subject": "Question", "body": "How?", "created_at": "2026-09-20T20:00:00Z", "requester": requester}
    jira.tickets([{**bare, "id": key, **fields} for key in keys])


async def pulled(desk: JiraDesk, position: str = "", *, limit: int = 50) -> tuple[list[str], str]:
    found = await desk.page(CHANGES, position=position, limit=limit)
    return [ticket.ref for ticket in found.tickets], found.position


def outcome(suite: Suite, marker: str) -> str:
    with suite.runtime.database.transaction() as tx:
        row = tx.one("SELECT outcome FROM desk_writes WHERE marker = :marker", marker=marker)
    return str(row["outcome"]) if row else ""


def on(path: str, **fault: object) -> Json:
    """Something that goes wrong with a request."""
    return cast("Json", {"on": path, **fault})


# Who asks -------------------------------------------------------------------------------------------------------------


class Tokens:
    """Bearer tokens, the first of which is no longer good."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    async def headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self._tokens[0]}"}

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        del refused
        self._tokens.pop(0)
        return await self.headers()


async def test_the_site_is_reached_through_the_gateway_with_a_token_that_is_renewed(
    suite: Suite, jira: JiraService
) -> None:
    jira.takes("second")
    suite.runtime.settings = suite.runtime.settings.model_copy(update=settings_of(jira))
    desk = JiraDesk(suite.runtime, base_url=f"{jira.url}{CLOUD}", credentials=Tokens("first", "second"))
    put(jira, "AB-1")
    assert (await desk.get(REF)).subject == "Question"
    assert [path for path in jira.asked() if CLOUD not in path] == []
    await desk.aclose()


async def test_another_ones_token_is_refused(suite: Suite, jira: JiraService) -> None:
    desk = jira_desk(suite.runtime, jira, credentials=Tokens("a", "b"))
    with pytest.raises(UnauthenticatedError):
        await desk.get(REF)
    await desk.aclose()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"jira_url": ""}, "GATEBOOK_JIRA_URL"),
        ({"jira_email": ""}, "GATEBOOK_JIRA_EMAIL"),
        ({"jira_api_token": None}, "GATEBOOK_JIRA_API_TOKEN"),
        ({"jira_projects": "SUP,;drop"}, "GATEBOOK_JIRA_PROJECTS"),
        ({"jira_oauth_client_id": "client"}, "GATEBOOK_JIRA_CLOUD_ID"),
        ({"jira_oauth_client_id": "client", "jira_cloud_id": "a1b2"}, "GATEBOOK_JIRA_OAUTH_CLIENT_SECRET"),
    ],
)
def test_what_is_missing_is_named(suite: Suite, jira: JiraService, settings: dict[str, object], named: str) -> None:
    given = {"desk": "jira", **settings_of(jira), **settings}
    suite.runtime.settings = suite.runtime.settings.model_copy(update=given)
    with pytest.raises(ConfigurationError, match=named):
        open_desk(suite.runtime)


@pytest.mark.parametrize("cloud", ["", "a1b2"])
def test_an_account_has_one_name_however_it_is_reached(suite: Suite, jira: JiraService, cloud: str) -> None:
    given = {**settings_of(jira), "desk": "jira", "jira_url": "https://acme.atlassian.net/", "jira_cloud_id": cloud}
    suite.runtime.settings = suite.runtime.settings.model_copy(update=given)
    assert open_desk(suite.runtime).account == "jira/acme"


def test_the_token_is_shown_nowhere(suite: Suite, jira: JiraService) -> None:
    settings = suite.runtime.settings.model_copy(update=settings_of(jira))
    assert "token'" not in repr(settings)
    assert '"token"' not in settings.model_dump_json()


# Reading --------------------------------------------------------------------------------------------------------------


async def test_a_position_outlives_the_process_and_fits_a_cursor(suite: Suite, jira: JiraService) -> None:
    put(jira, *(f"AB-{number}" for number in range(1, 61)))
    async with opened(suite, jira) as first:
        names, position = await pulled(first)
    assert len(names) == 50
    assert len(position) <= 200
    async with opened(suite, jira) as second:
        rest, _ = await pulled(second, position)
    assert sorted(names + rest) == sorted(f"jira:AB-{number}" for number in range(1, 61))


async def test_a_page_token_that_expired_loses_and_repeats_nothing(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, *(f"AB-{number}" for number in range(1, 9)), created_at="2026-09-20T20:00:30Z")
    names, position = await pulled(desk, limit=2)
    for _ in range(3):
        jira.expire_tokens(1, cap=2)
        more, position = await pulled(desk, position, limit=2)
        names += more
    assert names == [f"jira:AB-{number}" for number in range(1, 9)]


async def test_a_token_that_is_always_refused_is_an_error(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, *(f"AB-{number}" for number in range(1, 9)))
    _, position = await pulled(desk, limit=2)
    jira.expire_tokens(99, cap=2)
    with pytest.raises(InvalidArgumentsError):
        await pulled(desk, position, limit=2)


async def test_a_change_that_the_search_learns_of_late_is_handed_out_once(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1", "AB-2")
    _, position = await pulled(desk)
    jira.lags()
    jira.customer_writes("AB-1", "Any news?")
    jira.customer_writes("AB-2", "Hello?")
    jira.index("AB-2")
    names, position = await pulled(desk, position)
    assert names == ["jira:AB-2"]
    jira.lags(on=False)
    names, position = await pulled(desk, position)
    assert names == ["jira:AB-1"]
    assert await pulled(desk, position) == ([], position)


async def test_our_own_writes_are_seen_at_once_also_by_another_process(
    suite: Suite, desk: JiraDesk, jira: JiraService
) -> None:
    put(jira, "AB-1")
    _, position = await pulled(desk)
    jira.lags()
    await desk.comment(REF, "Hi", visibility="public", head="", marker="gb-1")
    async with opened(suite, jira) as other:
        names, position = await pulled(other, position)
        assert names == [REF]
        jira.removes("AB-1")
        await pulled(other, position)


async def test_a_page_that_looks_in_vain_ends_and_goes_on(
    desk: JiraDesk, jira: JiraService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_LOOKED_AT", 3)
    put(jira, *(f"AB-{number}" for number in range(1, 8)))
    put(jira, "AB-8", status="solved")
    names: list[str] = []
    position, pages, complete = "", 0, False
    while not complete:
        found = await desk.page(Window(status="solved"), position=position, limit=2)
        names += [ticket.ref for ticket in found.tickets]
        position, complete, pages = found.position, found.complete, pages + 1
    assert (names, pages) == (["jira:AB-8"], 3)


async def test_only_the_projects_of_the_desk_are_there(suite: Suite, jira: JiraService) -> None:
    put(jira, "AB-1", "SUP2-1", "HR_X-1")
    async with opened(suite, jira, jira_projects="AB, SUP2") as desk:
        assert (await pulled(desk))[0] == [REF, "jira:SUP2-1"]
        assert (await desk.search("question", position="", limit=9)).tickets[1].ref == "jira:SUP2-1"
        with pytest.raises(NotFoundError):
            await desk.get("jira:HR_X-1")
        with pytest.raises(ForbiddenError):
            await desk.create(NEW, marker="gb-1")
    assert "POST /rest/api/3/issue" not in jira.asked()


async def test_a_ticket_that_moved_has_its_new_ref_only(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.moves("AB-1", "SUP-7")
    with pytest.raises(NotFoundError):
        await desk.get(REF)
    assert (await desk.get("jira:SUP-7")).subject == "Question"


async def test_files_are_named_and_never_fetched(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    file: Json = {"filename": "log.txt", "mimeType": "text/plain", "size": 12, "content": "https://files.example/1"}
    jira.sets("AB-1", {"attachment": [file, {"filename": "x"}]})
    body = (await desk.get(REF)).body
    assert body == "How?\n\n[file: log.txt, text/plain, 12 bytes]\n\n[file: x, unknown type, 0 bytes]"


async def test_the_sites_own_words_mean_what_the_operator_says(suite: Suite, jira: JiraService) -> None:
    put(jira, "AB-1", status="hold")
    put(jira, "AB-2", status="closed")
    given = {
        "jira_statuses": {"on hold": "pending", "Closed": "solved"},
        "jira_priorities": {"Critical": "Urgent", "High": ""},
    }
    async with opened(suite, jira, **given) as desk:
        ticket = await desk.get(REF)
        assert (ticket.status, (await desk.get("jira:AB-2")).status) == ("pending", "solved")
        await desk.update(REF, Patch(priority="Critical"), base_version=ticket.version, marker="gb-1")
        assert (await desk.get(REF)).priority == "Critical"
        await desk.create(NEW, marker="gb-2")
        with pytest.raises(UnsupportedError):
            await changed(desk, Patch(priority="High"), marker="gb-3")
    assert cast("Json", jira.issue("OPS-1")["fields"])["priority"] is None
    assert cast("Json", jira.issue("AB-1")["fields"])["priority"] == {"name": "Urgent"}


async def test_the_customer_is_who_reported_it_or_has_a_portal_account_and_never_us(
    desk: JiraDesk, jira: JiraService
) -> None:
    created = (await desk.create(NEW, marker="gb-1")).ref
    key = created.removeprefix("jira:")
    colleague: Json = {"accountId": "k", "displayName": "Kim", "accountType": "atlassian"}
    for author in (US, colleague, {**colleague, "accountType": "customer"}):
        jira.says(key, "text", author, public=True)
    assert [(said.author.role, said.ours) for said in await desk.comments(created)] == [
        ("bot", True),
        ("agent", True),
        ("customer", False),
    ]
    jira.sets(key, {"reporter": colleague})
    assert [said.author.role for said in await desk.comments(created)] == ["bot", "customer", "customer"]


# Visibility -----------------------------------------------------------------------------------------------------------


async def test_an_internal_note_never_goes_the_way_of_a_public_message(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    await desk.comment(REF, "For us", visibility="internal", head="", marker="gb-1")
    posted = [path for path in jira.asked() if path.startswith("POST") and path.endswith("/comment")]
    assert posted == [f"POST /rest/servicedeskapi/request/{jira.issue('AB-1')['id']}/comment"]


async def test_without_a_service_desk_an_internal_note_is_refused(
    suite: Suite, desk: JiraDesk, jira: JiraService
) -> None:
    put(jira, "AB-1", "OPS-1")
    with pytest.raises(UnsupportedError):
        await desk.comment("jira:OPS-1", "For us", visibility="internal", head=None, marker="gb-1")
    async with opened(suite, jira, jira_service_management=False) as plain:
        assert not plain.capabilities.internal_notes
        with pytest.raises(UnsupportedError):
            await plain.comment(REF, "For us", visibility="internal", head=None, marker="gb-2")
    assert jira.requests("POST") == 0


@pytest.mark.parametrize("visibility", ["public", "internal"])
async def test_a_message_that_others_can_see_than_asked_is_an_alarm(
    suite: Suite, desk: JiraDesk, jira: JiraService, caplog: pytest.LogCaptureFixture, visibility: str
) -> None:
    put(jira, "AB-1")
    jira.makes(public=visibility == "internal")
    chosen = "internal" if visibility == "internal" else "public"
    with pytest.raises(OutcomeUnknownError, match="made it"):
        await desk.comment(REF, "For whom?", visibility=chosen, head="", marker="gb-1")
    assert [record.levelname for record in caplog.records if "visible" in record.message] == ["ERROR"]
    assert outcome(suite, "gb-1") == "ambiguous"


# Was it done? ---------------------------------------------------------------------------------------------------------


async def test_a_message_whose_answer_was_lost_is_found(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.faults(LOST)
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "Hi", visibility="public", head="", marker="gb-1")
    found = await desk.find_operation(REF, "gb-1")
    assert found is not None
    assert found.operation_id == (await desk.comments(REF))[0].comment_id
    assert jira.texts("AB-1") == ["Hi"]


async def test_a_message_that_never_arrived_is_surely_not_there(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.faults({**LOST, "when": "before"})
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "Hi", visibility="public", head="", marker="gb-1")
    assert await desk.find_operation(REF, "gb-1") is None


async def lost_note(desk: JiraDesk, jira: JiraService, *, when: str = "after") -> None:
    jira.faults({**LOST, "when": when})
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "For  us\nonly", visibility="internal", head=None, marker="gb-1")
    jira.faults()


async def test_a_note_whose_answer_was_lost_is_known_by_author_text_and_time(
    suite: Suite, desk: JiraDesk, jira: JiraService
) -> None:
    put(jira, "AB-1")
    jira.says("AB-1", "For us only", US, public=False)
    await lost_note(desk, jira)
    jira.says("AB-1", "For us only", CUSTOMER, public=False)
    jira.says("AB-1", "Another one", US, public=False)
    suite.clock.advance(60)
    await desk.comment(REF, "For us only", visibility="public", head=None, marker="gb-2")
    found = await desk.find_operation(REF, "gb-1")
    assert found is not None
    assert found.operation_id == (await desk.comments(REF))[1].comment_id


async def test_a_note_that_never_arrived_is_surely_not_there(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.says("AB-1", "For us only", US, public=False)
    await lost_note(desk, jira, when="before")
    assert await desk.find_operation(REF, "gb-1") is None


@pytest.mark.parametrize("visibility", ["public", "internal"])
async def test_a_message_that_is_found_is_also_looked_at_for_who_can_see_it(
    desk: JiraDesk, jira: JiraService, visibility: str
) -> None:
    put(jira, "AB-1")
    jira.makes(public=visibility == "internal")
    jira.faults(LOST)
    chosen = "internal" if visibility == "internal" else "public"
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "For whom?", visibility=chosen, head=None, marker="gb-1")
    with pytest.raises(OutcomeUnknownError, match="made it"):
        await desk.find_operation(REF, "gb-1")


async def test_the_same_note_twice_cannot_be_told_apart(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    await lost_note(desk, jira)
    jira.says("AB-1", "For us only", US, public=False)
    with pytest.raises(OutcomeUnknownError, match="more than once"):
        await desk.find_operation(REF, "gb-1")


async def test_a_note_beside_another_write_of_the_same_text_cannot_be_told(
    suite: Suite, desk: JiraDesk, jira: JiraService
) -> None:
    put(jira, "AB-1")
    await lost_note(desk, jira, when="before")
    suite.clock.advance(60)
    await desk.comment(REF, "For  us\nonly", visibility="internal", head=None, marker="gb-2")
    with pytest.raises(OutcomeUnknownError):
        await desk.find_operation(REF, "gb-1")


async def test_a_message_that_is_too_far_back_cannot_be_told(
    desk: JiraDesk, jira: JiraService, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(jira, "AB-1")
    jira.faults({**LOST, "when": "before"})
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "Hi", visibility="public", head="", marker="gb-1")
    monkeypatch.setattr(finding, "MOST_COMMENTS", 101)
    for number in range(101):
        jira.says("AB-1", f"{number}", CUSTOMER, public=True)
    with pytest.raises(OutcomeUnknownError, match="too many"):
        await desk.find_operation(REF, "gb-1")


async def test_of_a_ticket_that_is_gone_nothing_can_be_told(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.faults(LOST)
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "Hi", visibility="public", head="", marker="gb-1")
    jira.removes("AB-1")
    with pytest.raises(OutcomeUnknownError, match="gone"):
        await desk.find_operation(REF, "gb-1")


async def test_a_new_ticket_whose_answer_was_lost_is_found_once_the_search_knows_it(
    suite: Suite, desk: JiraDesk, jira: JiraService
) -> None:
    jira.lags()
    jira.faults(LOST)
    with pytest.raises(AmbiguousError):
        await desk.create(NEW, marker="gb-1")
    for jump in (0, 3_600, -7_200):
        suite.clock.jump(jump)
        with pytest.raises(UpstreamUnavailableError, match="does not know yet"):
            await desk.find_operation("", "gb-1")
    jira.lags(on=False)
    found = await desk.find_operation("", "gb-1")
    assert found is not None
    assert found.ref == "jira:OPS-1"
    jira.faults({**LOST, "when": "before"})
    with pytest.raises(AmbiguousError):
        await desk.create(NEW, marker="gb-2")
    suite.clock.advance(INDEX_LAG_S)
    assert await desk.find_operation("", "gb-2") is None


async def test_a_new_ticket_that_cannot_be_read_back_is_looked_up(desk: JiraDesk, jira: JiraService) -> None:
    jira.faults(on("GET .*/issue/.*", kind="status", status=404))
    with pytest.raises(AmbiguousError):
        await desk.create(NEW, marker="gb-1")
    jira.lags()
    found = await desk.find_operation("", "gb-1")
    assert found is not None
    assert found.ref == "jira:OPS-1"


async def test_a_marker_among_too_many_new_tickets_cannot_be_told(
    desk: JiraDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_CREATED", 2)
    for number in range(3):
        await desk.create(NEW, marker=f"gb-{number}")
    assert await desk.find_operation("", "gb-2") is not None
    with pytest.raises(OutcomeUnknownError):
        await desk.find_operation("", "gb-9")


# Updates --------------------------------------------------------------------------------------------------------------

BOTH = Patch(status="solved", priority="High")
SOLVED = Patch(status="solved")


async def changed(desk: JiraDesk, patch: Patch, *, marker: str = "gb-1") -> None:
    version = (await desk.get(REF)).version
    await desk.update(REF, patch, base_version=version, marker=marker)


async def test_a_status_changes_by_a_transition_and_the_fields_before_it(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    await changed(desk, BOTH)
    ticket = await desk.get(REF)
    assert (ticket.status, ticket.priority) == ("solved", "High")
    writes = [path.rpartition("/")[2] for path in jira.asked() if path.startswith(("PUT", "POST"))]
    assert writes == [str(jira.issue("AB-1")["id"]), "transitions"]
    assert await desk.find_operation(REF, "gb-1") is not None


async def test_a_status_that_is_there_already_needs_no_transition(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1", status="solved")
    await changed(desk, SOLVED)
    assert jira.requests("POST") == 0
    assert await desk.find_operation(REF, "gb-1") is not None


async def test_a_status_without_a_way_is_refused_before_anything_changes(suite: Suite, jira: JiraService) -> None:
    put(jira, "AB-1")
    async with opened(suite, jira, jira_statuses={"Closed": "solved"}) as desk:
        with pytest.raises(UnsupportedError, match="no way"):
            await changed(desk, Patch(status="closed", priority="High"))
        assert (await desk.get(REF)).priority is None
    assert jira.requests("PUT") == 0


@pytest.mark.parametrize(
    ("status", "kind"), [(409, ConflictError), (422, UnsupportedError), (400, InvalidArgumentsError)]
)
async def test_a_transition_that_is_refused_changed_nothing(
    suite: Suite, desk: JiraDesk, jira: JiraService, status: int, kind: type[GatebookError]
) -> None:
    put(jira, "AB-1")
    jira.faults(on("POST .*transitions", kind="status", status=status, when="before"))
    with pytest.raises(kind):
        await changed(desk, SOLVED)
    assert outcome(suite, "gb-1") == ("conflict" if status == 409 else "not_applied")
    assert await desk.find_operation(REF, "gb-1") is None


async def test_fields_without_the_status_are_said_to_be_half_done(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.faults(on("POST .*transitions", kind="status", status=422, when="before"))
    with pytest.raises(ConflictError, match="the fields changed, the status did not"):
        await changed(desk, BOTH)
    assert (await desk.get(REF)).priority == "High"


@pytest.mark.parametrize("patch", [BOTH, SOLVED])
async def test_a_transition_whose_answer_was_lost_is_found(desk: JiraDesk, jira: JiraService, patch: Patch) -> None:
    put(jira, "AB-1")
    jira.faults(on("POST .*transitions", kind="lost"))
    with pytest.raises(AmbiguousError):
        await changed(desk, patch)
    assert await desk.find_operation(REF, "gb-1") is not None


async def test_a_transition_that_never_arrived_is_surely_not_there_when_it_was_alone(
    desk: JiraDesk, jira: JiraService
) -> None:
    put(jira, "AB-1", "AB-2")
    for marker, patch in {"gb-1": SOLVED, "gb-2": BOTH}.items():
        jira.faults(on("POST .*transitions", kind="lost", when="before"))
        ref = REF if marker == "gb-1" else "jira:AB-2"
        version = (await desk.get(ref)).version
        with pytest.raises(AmbiguousError):
            await desk.update(ref, patch, base_version=version, marker=marker)
    assert await desk.find_operation(REF, "gb-1") is None
    with pytest.raises(OutcomeUnknownError, match="status"):
        await desk.find_operation("jira:AB-2", "gb-2")


async def test_an_older_update_is_found_behind_newer_ones(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    for number in range(3):
        await changed(desk, Patch(add_tags=(f"t{number}",)), marker=f"gb-{number}")
    assert await desk.find_operation(REF, "gb-0") is not None
    assert await desk.find_operation(REF, "gb-9") is None


async def test_a_refusal_names_fields_and_repeats_no_text(desk: JiraDesk, jira: JiraService) -> None:
    put(jira, "AB-1")
    jira.faults(on("PUT .*", kind="status", status=403, when="before"))
    with pytest.raises(ForbiddenError):
        await changed(desk, Patch(priority="Low"))
    with pytest.raises(InvalidArgumentsError) as refusal:
        await desk.create(NEW.model_copy(update={"priority": "Low", "title": "canary canary"}), marker="gb-canary")
    assert refusal.value.details == {"fields": "summary"}
    assert "canary" not in refusal.value.as_text()


# Limits ---------------------------------------------------------------------------------------------------------------


def throttled(path: str, reason: str) -> Json:
    headers: Json = {"ratelimit-reason": reason}
    return on(path, kind="status", status=429, when="before", retry_after="900", times=None, headers=headers)


async def tried(desk: JiraDesk, what: str) -> bool:
    """Whether something is done and not refused because of a limit."""
    try:
        with anyio.fail_after(10):
            if what == "read":
                await desk.get(REF)
            elif what == "search":
                await pulled(desk)
            else:
                await desk.comment(what, "Hi", visibility="public", head=None, marker=f"gb-{what}")
    except RateLimitedError as error:
        return not 0 < (error.retry_after_s or 0) <= 900
    return True


@pytest.mark.parametrize(
    ("reason", "goes_on"),
    [
        ("jira-per-issue-on-write", ["read", "search", "jira:AB-2"]),
        ("jira-burst-based", ["read", "search"]),
        ("jira-quota-tenant-based", []),
        ("", ["read", "search"]),
    ],
)
async def test_a_limit_stops_what_it_is_about_and_nothing_else(
    desk: JiraDesk, jira: JiraService, reason: str, goes_on: list[str]
) -> None:
    put(jira, "AB-1", "AB-2")
    jira.faults(throttled("POST .*/comment", reason))
    assert not await tried(desk, REF)
    jira.faults()
    asked = len(jira.asked())
    if reason != "jira-quota-tenant-based":
        assert not await tried(desk, REF)
        assert [path for path in jira.asked()[asked:] if path.startswith("POST")] == []
    assert [what for what in ("read", "search", "jira:AB-2") if await tried(desk, what)] == goes_on
    assert len(jira.texts("AB-2")) == ("jira:AB-2" in goes_on)


# The whole way --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", ["public", "internal"])
async def test_an_approved_reply_reaches_jira_once_though_its_answer_is_lost(
    suite: Suite, desk: JiraDesk, jira: JiraService, visibility: str
) -> None:
    put(jira, "AB-1")
    suite.runtime.ports[open_desk] = desk
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref=REF, body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": visibility}
        assert (await agent.call("send_reply", send)).code == "approval_required"
        suite.approve(suite.requests()[0].approval_id)
        jira.faults(LOST)
        sent = await agent.ok("send_reply", send)
        again = await agent.ok("send_reply", send)
    assert (sent["outcome"], again["outcome"]) == ("reconciled", "replayed")
    assert jira.texts("AB-1") == [REPLY]
    assert [said.visibility for said in await desk.comments(REF)] == [visibility]
    assert newest_from_customer(await desk.comments(REF)) == ""
