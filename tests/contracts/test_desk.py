"""What every ticket desk promises (`gatebook_servers/tickets/desk.py`), whatever is behind it."""

from collections.abc import AsyncGenerator, Generator, Mapping
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from contracts.desks import BENCHES, Bench, Services, services
from gatebook.errors import ConflictError, GatebookError, NotFoundError, UnsupportedError
from gatebook_servers.tickets.checking import Checked
from gatebook_servers.tickets.desk import NewTicket, Patch, Status, Visibility, Window, newest_from_customer
from gatebook_servers.tickets.desks.dry_run import DryRunDesk
from gatebook_servers.tickets.ports import DESKS
from suite import Json, Suite

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

SINCE = datetime(2026, 9, 20, 18, tzinfo=UTC)
UNTIL = datetime(2026, 9, 21, 6, tzinfo=UTC)
NIGHT = Window(since=SINCE, until=UNTIL)


@pytest.fixture(scope="module", name="services")
def _services() -> Generator[Services]:
    with services() as running:
        yield running


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest, suite: Suite, services: Services) -> AsyncGenerator[Bench]:
    made = BENCHES[str(request.param)](suite, services)
    yield made
    await made.aclose()


def row(ticket_id: str, created_at: str = "2026-09-20T20:00:00Z", **fields: JsonValue) -> Json:
    return {
        "id": ticket_id,
        "subject": f"Question {ticket_id}",
        "body": "How?",
        "created_at": created_at,
        "requester": {"name": "Robin Reyes", "email": "robin@customer.example"},
        **fields,
    }


def message(comment_id: str, created_at: str, *, public: bool = True, role: str = "customer") -> Json:
    return {
        "id": comment_id,
        "body": f"text {comment_id}",
        "created_at": created_at,
        "public": public,
        "author": {"name": "Kim", "role": role},
    }


async def listed(bench: Bench, window: Window, *, limit: int = 50) -> list[str]:
    """Every ticket's id of the window, page by page."""
    names: list[str] = []
    position, complete = "", False
    while not complete:
        found = await bench.desk.page(window, position=position, limit=limit)
        assert len(found.tickets) <= limit
        names += [ticket.ref for ticket in found.tickets]
        position, complete = found.position, found.complete
    return names


def named(bench: Bench, *row_ids: str) -> list[str]:
    return [bench.ref(row_id) for row_id in row_ids]


async def refs(bench: Bench) -> list[str]:
    found = await bench.desk.page(Window(), position="", limit=50)
    return [ticket.ref for ticket in found.tickets]


async def only(bench: Bench, fields: Mapping[str, JsonValue] | None = None) -> str:
    """Put one ticket there and return its ref."""
    bench.put({**row("AB-1"), **(fields or {})})
    (ref,) = await refs(bench)
    return ref


def test_every_desk_is_under_this_contract() -> None:
    assert set(DESKS) <= set(BENCHES)


async def test_a_window_takes_its_first_moment_and_leaves_its_last_out(bench: Bench) -> None:
    times = ["2026-09-20T17:59:59.999Z", "2026-09-20T18:00:00Z", "2026-09-21T05:59:59.999Z", "2026-09-21T06:00:00Z"]
    bench.put(*(row(f"AB-{number}", created_at) for number, created_at in enumerate(times)))
    assert await listed(bench, NIGHT) == named(bench, "AB-1", "AB-2")
    assert await listed(bench, Window(until=UNTIL)) == named(bench, "AB-0", "AB-1", "AB-2")


async def test_a_window_means_moments_and_not_their_spelling(bench: Bench) -> None:
    bench.put(row("AB-1", "2026-09-20T20:00:00+02:00"), row("AB-2", "2026-09-20T19:59:59.999+02:00"))
    assert await listed(bench, NIGHT) == named(bench, "AB-1")


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_pages_are_in_order_and_miss_and_repeat_nothing(bench: Bench, limit: int) -> None:
    hours = {"AB-5": 22, "AB-1": 19, "AB-4": 20, "AB-3": 20, "AB-2": 20}
    bench.put(*(row(name, f"2026-09-20T{hour}:00:00Z") for name, hour in hours.items()))
    assert await listed(bench, NIGHT, limit=limit) == named(bench, "AB-1", "AB-2", "AB-3", "AB-4", "AB-5")


async def test_the_last_page_says_that_it_is_the_last(bench: Bench) -> None:
    bench.put(row("AB-1"), row("AB-2"))
    first = await bench.desk.page(NIGHT, position="", limit=1)
    last = await bench.desk.page(NIGHT, position=first.position, limit=1)
    behind = await bench.desk.page(NIGHT, position=last.position, limit=1)
    assert [first.complete, last.complete, behind.complete] == [False, True, True]
    assert behind.tickets == ()
    assert behind.position == last.position


async def test_a_closed_window_is_frozen_while_its_tickets_change(bench: Bench) -> None:
    bench.put(row("AB-1", "2026-09-20T19:00:00Z"), row("AB-2"), row("AB-3", "2026-09-20T21:00:00Z"))
    first = await bench.desk.page(NIGHT, position="", limit=1)
    for ticket in (first.tickets[0], await bench.desk.get(bench.ref("AB-3"))):
        await bench.desk.update(ticket.ref, Patch(add_tags=("seen",)), base_version=ticket.version, marker=ticket.ref)
    bench.customer_writes("AB-2", "Any news?")
    rest = await bench.desk.page(NIGHT, position=first.position, limit=9)
    assert [ticket.subject for ticket in rest.tickets] == ["Question AB-2", "Question AB-3"]


async def test_a_window_without_an_end_follows_changes(bench: Bench) -> None:
    bench.put(row("AB-1", "2026-09-20T19:00:00Z"), row("AB-2"), row("AB-3", "2026-09-20T17:00:00Z"))
    seen = await bench.desk.page(Window(since=SINCE), position="", limit=9)
    assert [ticket.subject for ticket in seen.tickets] == ["Question AB-1", "Question AB-2"]
    bench.customer_writes("AB-1", "Any news?")
    bench.customer_writes("AB-3", "Hello?")
    changed = await bench.desk.page(Window(since=SINCE), position=seen.position, limit=9)
    assert [ticket.subject for ticket in changed.tickets] == ["Question AB-1", "Question AB-3"]
    assert changed.complete


async def test_a_status_filters(bench: Bench) -> None:
    states: list[Status] = ["new", "open", "solved"]
    bench.put(*(row(f"AB-{state}", status=state) for state in states))
    for state in states:
        assert await listed(bench, Window(status=state)) == named(bench, f"AB-{state}")


@pytest.mark.parametrize("position", ["nonsense", "' OR 1=1 --", "nan|", "inf", "|"])
async def test_a_foreign_position_is_refused(bench: Bench, position: str) -> None:
    bench.put(row("AB-1"))
    with pytest.raises(GatebookError):
        await bench.desk.page(NIGHT, position=position, limit=5)


async def test_a_search_wants_every_word_in_subject_or_text(bench: Bench) -> None:
    bench.put(
        row("AB-1", subject="Board export", body="The CSV is empty"),
        row("AB-2", subject="Board colours", body="Which are there?"),
        row("AB-3", subject="Invoice", body="export it to csv, please"),
    )
    for text, found in {"export": ["AB-1", "AB-3"], "EXPORT board": ["AB-1"], "csv colours": [], " ": []}.items():
        tickets = (await bench.desk.search(text, position="", limit=9)).tickets
        assert [ticket.ref for ticket in tickets] == named(bench, *found)


async def test_a_search_with_many_words_leaves_none_out(bench: Bench) -> None:
    words = [f"word{number}" for number in range(18)]
    bench.put(row("AB-1", body=" ".join(words)), row("AB-2", body=" ".join(words[:-1])))
    assert len((await bench.desk.search(" ".join(words), position="", limit=9)).tickets) == 1


@pytest.mark.parametrize(
    "text", ["%", "_", "100%", "a_b", "it's", '"quoted"', "back\\slash", "wow!", "!%", "status:new"]
)
async def test_searched_text_is_data(bench: Bench, text: str) -> None:
    bench.put(row("AB-1", body=f"before {text} after"), row("AB-2", body="100 aXb its quoted backslash new"))
    if not bench.traits.finds_signs and not any(sign.isalnum() for sign in text):
        with pytest.raises(UnsupportedError):
            await bench.desk.search(text, position="", limit=9)
        return
    found = (await bench.desk.search(text, position="", limit=9)).tickets
    assert [ticket.ref for ticket in found] == named(bench, "AB-1")


@pytest.mark.parametrize("text", ["' OR 1=1 --", "x OR y", "*", "type:ticket", "%' --"])
async def test_a_search_has_no_language(bench: Bench, text: str) -> None:
    bench.put(row("AB-1"), row("AB-2"))
    try:
        assert (await bench.desk.search(text, position="", limit=9)).tickets == ()
    except UnsupportedError:
        assert not bench.traits.finds_signs


async def test_a_search_comes_in_pages(bench: Bench) -> None:
    bench.put(*(row(f"AB-{number}", body="export") for number in range(5)))
    names: list[str] = []
    position, complete = "", False
    while not complete:
        found = await bench.desk.search("export", position=position, limit=2)
        names += [ticket.subject for ticket in found.tickets]
        position, complete = found.position, found.complete
    assert names == [f"Question AB-{number}" for number in range(5)]


async def test_a_ticket_comes_back_as_it_was_written(bench: Bench) -> None:
    body = "  Zeile 1\r\n\tÜber 100 % 🙂 <b>'\"\\ \u202e  "
    ref = await only(bench, {"body": body, "tags": ["a", "b c"], "channel": "email", "status": "open"})
    ticket = await bench.desk.get(ref)
    assert (ticket.ref, ticket.body, ticket.tags, ticket.status) == (ref, body, ("a", "b c"), "open")
    known = ("Robin Reyes", "robin@customer.example") if bench.traits.addresses else ("Robin-Reyes", "")
    assert (ticket.requester.name, ticket.requester.email) == known
    assert ticket.created_at == datetime(2026, 9, 20, 20, tzinfo=UTC)


async def test_a_ticket_has_one_ref(bench: Bench) -> None:
    ref = await only(bench)
    assert ref.partition(":")[0] == bench.desk.account.partition("/")[0]
    for other in ("AB-1", ref.upper(), f"{ref} ", f"{ref}/", "other:AB-1", "", ":"):
        with pytest.raises(NotFoundError):
            await bench.desk.get(other)


async def test_what_is_not_there_is_not_found(bench: Bench) -> None:
    await only(bench)
    ref = bench.ref("AB-404")
    with pytest.raises(NotFoundError):
        await bench.desk.get(ref)
    with pytest.raises(NotFoundError):
        await bench.desk.comments(ref)
    with pytest.raises(NotFoundError):
        await bench.desk.update(ref, Patch(status="open"), base_version="1", marker="gb-1")
    with pytest.raises(NotFoundError):
        await bench.desk.comment(ref, "Hi", visibility="public", head=None, marker="gb-2")


async def test_messages_are_oldest_first_and_say_who_may_read_them(bench: Bench) -> None:
    said: list[JsonValue] = [
        message("c1", "2026-09-20T20:01:00Z"),
        message("c2", "2026-09-20T20:02:00Z", role="agent"),
        message("c3", "2026-09-20T20:03:00Z", public=False, role="agent"),
        message("c10", "2026-09-20T20:04:00Z"),
    ]
    said_as = [
        ("text c1", "public", False),
        ("text c2", "public", True),
        ("text c3", "internal", True),
        ("text c10", "public", False),
    ]
    comments = await bench.desk.comments(await only(bench, {"comments": said}))
    there = [one for one in said_as if one[1] == "public" or bench.desk.capabilities.internal_notes]
    assert [(comment.body, comment.visibility, comment.ours) for comment in comments] == there
    assert len({comment.comment_id for comment in comments}) == len(there)
    assert comments[0].author.name == "Kim"
    assert newest_from_customer(comments) == comments[-1].comment_id


async def test_a_ticket_without_messages_has_none(bench: Bench) -> None:
    assert list(await bench.desk.comments(await only(bench))) == []


async def test_of_many_messages_the_newest_come(bench: Bench) -> None:
    times = [f"2026-09-20T20:{number // 60:02}:{number % 60:02}Z" for number in range(1_002)]
    said: list[JsonValue] = [message(f"c{number}", created_at) for number, created_at in enumerate(times)]
    comments = await bench.desk.comments(await only(bench, {"comments": said}))
    assert [comments[0].body, comments[-1].body, len(comments)] == ["text c2", "text c1001", 1_000]


@pytest.mark.parametrize("visibility", ["public", "internal"])
async def test_a_message_is_as_visible_as_asked(bench: Bench, visibility: str) -> None:
    ref = await only(bench)
    if visibility == "internal" and not bench.desk.capabilities.internal_notes:
        with pytest.raises(UnsupportedError):
            await bench.desk.comment(ref, "Hi", visibility="internal", head="", marker="gb-1")
        assert list(await bench.desk.comments(ref)) == []
        return
    chosen = "internal" if visibility == "internal" else "public"
    body = " Grüße,\n\n<b>it's</b> 100 % \u2028"
    applied = await bench.desk.comment(ref, body, visibility=chosen, head="", marker="gb-1")
    (comment,) = await bench.desk.comments(ref)
    assert (comment.body, comment.visibility, comment.ours) == (body, visibility, True)
    assert (applied.ref, applied.operation_id) == (ref, comment.comment_id)


async def test_a_message_needs_the_customers_newest_one_to_be_the_known_one(bench: Bench) -> None:
    ref = await only(bench)
    bench.customer_writes("AB-1", "Forget it, I found it.")
    with pytest.raises(ConflictError):
        await bench.desk.comment(ref, "Do this", visibility="public", head="", marker="gb-1")
    assert [comment.body for comment in await bench.desk.comments(ref)] == ["Forget it, I found it."]
    head = newest_from_customer(await bench.desk.comments(ref))
    await bench.desk.comment(ref, "Fine!", visibility="public", head=head, marker="gb-2")
    note: Visibility = "internal" if bench.desk.capabilities.internal_notes else "public"
    await bench.desk.comment(ref, "Solved by itself", visibility=note, head=head, marker="gb-3")
    await bench.desk.comment(ref, "Whatever it is", visibility=note, head=None, marker="gb-4")
    assert len(await bench.desk.comments(ref)) == 4


async def test_an_update_changes_what_it_names_and_nothing_else(bench: Bench) -> None:
    ref = await only(bench, {"tags": ["old", "kept"], "status": "open"})
    before = await bench.desk.get(ref)
    patch = Patch(priority="High", add_tags=("new", "kept"), remove_tags=("old", "unknown"))
    applied = await bench.desk.update(ref, patch, base_version=before.version, marker="gb-1")
    after = await bench.desk.get(ref)
    assert applied.version == after.version != before.version
    assert after.updated_at > before.updated_at
    expected = {"priority": "High", "tags": ("kept", "new"), "version": after.version, "updated_at": after.updated_at}
    assert after == before.model_copy(update=expected)
    solved = Patch(status="solved", assignee="Kim")
    await bench.desk.update(ref, solved, base_version=after.version, marker="gb-2")
    end = await bench.desk.get(ref)
    assert (end.status, end.assignee, end.priority, end.tags) == ("solved", "Kim", "High", ("kept", "new"))


async def test_a_tag_is_added_as_it_is_or_not_at_all(bench: Bench) -> None:
    ref = await only(bench, {"tags": ["kept"]})
    before = await bench.desk.get(ref)
    patch = Patch(add_tags=("two words",))
    if bench.traits.spaced_tags:
        await bench.desk.update(ref, patch, base_version=before.version, marker="gb-1")
        assert (await bench.desk.get(ref)).tags == ("kept", "two words")
        return
    with pytest.raises(UnsupportedError):
        await bench.desk.update(ref, patch, base_version=before.version, marker="gb-1")
    assert await bench.desk.get(ref) == before


async def test_an_update_of_what_changed_meanwhile_is_a_conflict(bench: Bench) -> None:
    ref = await only(bench)
    read = await bench.desk.get(ref)
    bench.customer_writes("AB-1", "One more thing")
    with pytest.raises(ConflictError):
        await bench.desk.update(ref, Patch(status="solved"), base_version=read.version, marker="gb-1")
    assert (await bench.desk.get(ref)).status == "new"
    assert await bench.desk.find_operation(ref, "gb-1") is None


async def test_a_created_ticket_is_there_as_written(bench: Bench) -> None:
    new = NewTicket(project="OPS", title="Disk is full", description="On two hosts.", priority="Critical")
    first = await bench.desk.create(new, marker="gb-1")
    second = await bench.desk.create(new, marker="gb-2")
    assert first.ref != second.ref
    ticket = await bench.desk.get(first.ref)
    assert (ticket.subject, ticket.body, ticket.priority) == ("Disk is full", "On two hosts.", "Critical")
    assert (ticket.status, ticket.version) == ("new", first.version)
    assert "OPS" in ticket.ref if bench.traits.project == "ref" else [tag.lower() for tag in ticket.tags] == ["ops"]


async def test_an_operation_is_found_again_by_its_marker(bench: Bench) -> None:
    ref = await only(bench)
    new = NewTicket(project="OPS", title="Disk is full", description="", priority="Low")
    said = await bench.desk.comment(ref, "Hi", visibility="public", head="", marker="gb-1")
    version = (await bench.desk.get(ref)).version
    changed = await bench.desk.update(ref, Patch(priority="Low"), base_version=version, marker="gb-2")
    created = await bench.desk.create(new, marker="gb-3")
    assert await bench.desk.find_operation(ref, "gb-1") == said
    assert await bench.desk.find_operation(ref, "gb-2") == changed
    assert await bench.desk.find_operation("", "gb-3") == created
    for unknown in ("gb-4", "gb", "gb-%", ""):
        assert await bench.desk.find_operation(ref, unknown or "-") is None


async def test_a_desk_is_as_fenced_as_it_says(bench: Bench) -> None:
    ref = await only(bench)
    times = 1 if bench.desk.capabilities.fenced else 2
    new = NewTicket(project="OPS", title="Disk is full", description="", priority="Low")
    said = [await bench.desk.comment(ref, "Hi", visibility="public", head="", marker="gb-1") for _ in range(2)]
    created = [await bench.desk.create(new, marker="gb-2") for _ in range(2)]
    assert len(await bench.desk.comments(ref)) == len({done.operation_id for done in said}) == times
    assert len(await refs(bench)) - 1 == len({done.ref for done in created}) == times


async def test_a_desk_of_another_company_tells_doctor_that_it_answers(bench: Bench) -> None:
    found = {finding.check: finding for finding in await bench.desk.check()} if isinstance(bench.desk, Checked) else {}
    assert ("desk" in found) is (bench.desk.account != "local")
    assert all(finding.ok for name, finding in found.items() if name != "clock"), found


async def test_a_dry_run_reads_and_never_writes(bench: Bench, suite: Suite) -> None:
    ref = await only(bench)
    before = await bench.desk.get(ref)
    dry = DryRunDesk(bench.desk, suite.clock)
    new = NewTicket(project="OPS", title="Disk is full", description="", priority="Low")
    await dry.comment(ref, "Hi", visibility="public", head="", marker="gb-1")
    await dry.update(ref, Patch(status="solved"), base_version=before.version, marker="gb-2")
    await dry.create(new, marker="gb-3")
    assert await dry.get(ref) == before == await bench.desk.get(ref)
    assert await refs(bench) == [ref]
    assert list(await dry.comments(ref)) == list(await bench.desk.comments(ref)) == []
    assert [await bench.desk.find_operation(ref, marker) for marker in ("gb-1", "gb-2", "gb-3")] == [None] * 3
