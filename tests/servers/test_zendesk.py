"""The Zendesk desk against an account that loses answers, forgets keys and cursors, and is written to meanwhile."""

import json
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import anyio
import pytest

from fakes.zendesk import ADDRESS, KIM, TOKEN, ZendeskService, running_zendesk, zendesk_desk
from gatebook.errors import (
    ConfigurationError,
    ConflictError,
    GatebookError,
    IdempotencyConflictError,
    InvalidArgumentsError,
    OutcomeUnknownError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
    UpstreamUnavailableError,
)
from gatebook.http import FixedCredentials
from gatebook.retry import AmbiguousError, without_waiting
from gatebook.tokens import RenewingCredentials
from gatebook_servers.cli import main
from gatebook_servers.tickets.desk import Applied, NewTicket, Patch, Slice, Visibility, Window, newest_from_customer
from gatebook_servers.tickets.desks.dry_run import DryRunDesk
from gatebook_servers.tickets.desks.zendesk.desk import ZendeskDesk
from gatebook_servers.tickets.desks.zendesk.opening import open_zendesk
from gatebook_servers.tickets.ports import open_desk
from suite import Json, Suite

pytestmark = pytest.mark.anyio

REF = "zendesk:1"
CANARY = "kingfisher"
PUT, POST = "PUT /api/v2/tickets/1", "POST /api/v2/tickets"
NEW = NewTicket(project="OPS", title="Disk is full", description="On two hosts.", priority="Critical")
SINCE = datetime(2026, 9, 20, tzinfo=UTC)
CHANGES = Window(since=SINCE)


@pytest.fixture(scope="module")
def running() -> Generator[ZendeskService]:
    with running_zendesk() as service:
        yield service


@pytest.fixture
def service(running: ZendeskService) -> ZendeskService:
    running.reset()
    return running


@pytest.fixture
async def desk(suite: Suite, service: ZendeskService) -> AsyncGenerator[ZendeskDesk]:
    made = zendesk_desk(suite.runtime, service)
    with without_waiting():
        yield made
    await made.aclose()


@pytest.fixture
async def export(suite: Suite, service: ZendeskService) -> AsyncGenerator[ZendeskDesk]:
    made = zendesk_desk(suite.runtime, service, incremental=True)
    with without_waiting():
        yield made
    await made.aclose()


def row(number: int = 1, created_at: str = "2026-09-20T20:00:00Z", **fields: object) -> Json:
    bare = {"id": number, "subject": f"Question {number}", "body": "How?", "created_at": created_at}
    return cast("Json", {**bare, "requester": {"name": "Robin Reyes", "email": "robin@customer.example"}, **fields})


async def reply(desk: ZendeskDesk, marker: str = "gb-1", *, visibility: Visibility = "public") -> Applied:
    return await desk.comment(REF, "Open the menu.", visibility=visibility, head="", marker=marker)


def body_of(service: ZendeskService, line: str, nth: int = -1) -> Json:
    return cast("Json", cast("Json", service.asked(line)[nth]["body"])["ticket"])


async def every(desk: ZendeskDesk, window: Window, *, limit: int = 2, position: str = "") -> tuple[list[str], Slice]:
    """Every ticket with its version, and the last page."""
    found: list[str] = []
    while True:
        page = await desk.page(window, position=position, limit=limit)
        assert len(page.position) <= 200
        found += [f"{ticket.ref} {ticket.version[11:19]}" for ticket in page.tickets]
        position = page.position
        if page.complete:
            return found, page


# What is sent


async def test_a_reply_carries_its_marker_and_the_stamp_that_was_just_read(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row()])
    await reply(desk, visibility="internal")
    assert body_of(service, PUT) == {
        "comment": {"body": "Open the menu.", "public": False},
        "metadata": {"gatebook_marker": "gb-1", "gatebook_visibility": "internal"},
        "safe_update": True,
        "updated_stamp": "2026-09-20T20:00:00Z",
    }


async def test_a_change_replaces_the_tags_of_the_version_that_was_read(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(tags=["old", "kept"])])
    version = (await desk.get(REF)).version
    patch = Patch(status="pending", add_tags=("VIP", "kept"), remove_tags=("OLD",))
    await desk.update(REF, patch, base_version=version, marker="gb-1")
    assert body_of(service, PUT) == {
        "metadata": {"gatebook_marker": "gb-1"},
        "status": "pending",
        "tags": ["kept", "vip"],
        "safe_update": True,
        "updated_stamp": version,
    }


async def test_a_creation_carries_its_marker_as_key_and_as_external_id(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    await desk.create(NEW, marker="gb-1")
    [asked] = service.asked(POST)
    assert cast("Json", asked["headers"])["idempotency-key"] == "gb-1"
    assert body_of(service, POST) == {
        "subject": "Disk is full",
        "comment": {"body": "On two hosts.", "public": True},
        "priority": "urgent",
        "tags": ["ops"],
        "external_id": "gb-1",
        "metadata": {"gatebook_marker": "gb-1"},
    }


@pytest.mark.parametrize(
    ("assignee", "sent"),
    [
        ("kim", {"assignee_id": KIM}),
        ("2", {"assignee_id": KIM}),
        ("kim@desk.example", {"assignee_email": "kim@desk.example"}),
        ("", {"assignee_id": None}),
    ],
)
async def test_an_assignee_is_a_name_an_id_or_an_address(
    desk: ZendeskDesk, service: ZendeskService, assignee: str, sent: Json
) -> None:
    service.tickets([row()])
    version = (await desk.get(REF)).version
    await desk.update(REF, Patch(assignee=assignee), base_version=version, marker="gb-1")
    assert sent.items() <= body_of(service, PUT).items()


@pytest.mark.parametrize("assignee", ["Robin Reyes", "Nobody", "***"])
async def test_a_name_that_is_not_one_agents_assigns_nobody(
    desk: ZendeskDesk, service: ZendeskService, assignee: str
) -> None:
    service.tickets([row()])
    version = (await desk.get(REF)).version
    with pytest.raises(InvalidArgumentsError):
        await desk.update(REF, Patch(assignee=assignee), base_version=version, marker="gb-1")
    assert service.requests("PUT") == 0


# Refusals


async def test_a_message_that_comes_meanwhile_is_a_conflict(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row()])
    service.options(interrupts=True)
    with pytest.raises(ConflictError):
        await reply(desk)
    assert [said["body"] for said in service.said(1)] == ["How?", "Wait!"]
    assert await desk.find_operation(REF, "gb-1") is None


async def test_a_change_that_comes_meanwhile_is_a_conflict(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(tags=["theirs"])])
    version = (await desk.get(REF)).version
    service.options(interrupts=True)
    with pytest.raises(ConflictError):
        await desk.update(REF, Patch(add_tags=("ours",)), base_version=version, marker="gb-1")
    assert (await desk.get(REF)).tags == ("theirs",)


async def test_a_closed_ticket_takes_no_reply(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(status="closed")])
    with pytest.raises(UnsupportedError, match="does not accept") as refused:
        await reply(desk)
    assert "customer" not in str(refused.value)
    assert len(service.said(1)) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 401}, UnauthenticatedError),
        ({"status": 403}, UnauthenticatedError),
        ({"status": 413}, TooLargeError),
        ({"status": 429, "retry_after": "4000"}, RateLimitedError),
        ({"status": 503}, AmbiguousError),
    ],
)
async def test_a_refusal_means_what_it_means_at_zendesk(
    desk: ZendeskDesk, service: ZendeskService, fault: Json, error: type[Exception]
) -> None:
    service.tickets([row()])
    service.faults({"kind": "status", "when": "before", "on": "PUT .*", "times": None, **fault})
    with anyio.move_on_after(20), pytest.raises(error):
        await reply(desk)
    assert len(service.said(1)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"ratelimit-reset": "4000", "ratelimit-remaining": "0"},
        {"rate-limit-reset": "4000"},
        {"zendesk-ratelimit-tickets-update": "total=100; remaining=0; resets=4000", "ratelimit-reset": "1"},
        {"zendesk-rate-limit-tickets-update": "total=20; remaining=0; resets=4000"},
    ],
)
async def test_without_retry_after_the_limit_that_is_used_up_says_how_long_to_wait(
    desk: ZendeskDesk, service: ZendeskService, headers: Mapping[str, str]
) -> None:
    service.faults({"kind": "status", "status": 429, "when": "before", "on": "GET .*", "headers": dict(headers)})
    with anyio.move_on_after(20), pytest.raises(RateLimitedError) as refused:
        await desk.get(REF)
    assert refused.value.retry_after_s == 4000


async def test_a_key_that_created_something_else_is_told(
    suite: Suite, desk: ZendeskDesk, service: ZendeskService
) -> None:
    await desk.create(NEW, marker="gb-1")
    service.control("field", {"ticket": 35_001, "fields": {"external_id": None}})
    with suite.runtime.database.transaction() as tx:
        tx.execute("DELETE FROM desk_writes")
    with pytest.raises(IdempotencyConflictError):
        await desk.create(NEW.model_copy(update={"title": "Another"}), marker="gb-1")


async def test_an_answer_in_another_form_is_no_traceback(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row()])
    service.control("field", {"ticket": 1, "fields": {"status": CANARY}})
    with pytest.raises(UpstreamUnavailableError) as refused:
        await desk.get(REF)
    assert CANARY not in str(refused.value)
    with pytest.raises(GatebookError):
        await reply(desk)


# Answers that do not arrive


@pytest.mark.parametrize("kind", ["lost", "reset", "half", "garbled"])
async def test_a_reply_whose_answer_is_lost_is_found_and_there_once(
    desk: ZendeskDesk, service: ZendeskService, kind: str
) -> None:
    service.tickets([row()])
    service.faults({"kind": kind, "on": "PUT .*", "times": None})
    with pytest.raises(AmbiguousError):
        await reply(desk)
    found = await desk.find_operation(REF, "gb-1")
    assert found is not None
    assert [str(said["id"]) for said in service.said(1)][1:] == [found.operation_id]
    service.faults()
    assert await reply(desk) == found
    assert len(service.said(1)) == 2


async def test_a_reply_that_arrives_late_does_not_follow_its_repetition(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row()])
    service.faults({"kind": "held", "on": "PUT .*"})
    sent = await reply(desk)
    assert service.land() == 1
    assert [str(said["id"]) for said in service.said(1)][1:] == [sent.operation_id]


async def test_a_reply_that_arrives_before_its_repetition_is_found(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row()])
    service.faults({"kind": "held", "on": "PUT .*", "times": None})
    with pytest.raises(AmbiguousError):
        await reply(desk)
    service.faults()
    assert service.land() == 4
    await reply(desk)
    assert len(service.said(1)) == 2


async def test_in_the_second_of_a_change_a_reply_is_not_repeated_as_its_stamp_could_not_tell(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row()])
    service.options(ahead=0, still=True)
    service.customer_writes(1, "Hello?")
    head = newest_from_customer(await desk.comments(REF))
    service.faults({"kind": "lost", "on": "PUT .*", "times": None})
    with pytest.raises(AmbiguousError):
        await desk.comment(REF, "Hi", visibility="public", head=head, marker="gb-1")
    assert service.requests("PUT") == 1
    assert await desk.find_operation(REF, "gb-1") is not None


async def test_a_change_whose_answer_is_lost_is_found(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row()])
    version = (await desk.get(REF)).version
    service.faults({"kind": "lost", "on": "PUT .*"})
    with pytest.raises(AmbiguousError):
        await desk.update(REF, Patch(priority="High"), base_version=version, marker="gb-1")
    found = await desk.find_operation(REF, "gb-1")
    assert found is not None
    assert found.version == (await desk.get(REF)).version


async def test_a_creation_whose_answer_is_lost_is_repeated_with_its_key(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.faults({"kind": "lost", "on": "POST .*"})
    created = await desk.create(NEW, marker="gb-1")
    assert list(service.tickets_there()) == [created.ref.removeprefix("zendesk:")]
    assert [body_of(service, POST, nth) for nth in (0, 1)] == [body_of(service, POST)] * 2


async def test_a_creation_is_found_when_its_key_is_forgotten(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.faults({"kind": "lost", "on": "POST .*", "times": None})
    with pytest.raises(AmbiguousError):
        await desk.create(NEW, marker="gb-1")
    service.faults()
    service.pass_time(3 * 3_600)
    found = await desk.find_operation("", "gb-1")
    assert found == await desk.create(NEW, marker="gb-1")
    assert len(service.tickets_there()) == 1


async def test_a_marker_too_far_back_is_no_proof_that_nothing_happened(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row()])
    await reply(desk)
    service.control("noise", {"ticket": 1, "times": 999})
    assert await desk.find_operation(REF, "gb-1") is not None
    service.control("noise", {"ticket": 1, "times": 1})
    with pytest.raises(OutcomeUnknownError):
        await desk.find_operation(REF, "gb-1")


@pytest.mark.parametrize(("visibility", "hidden"), [("internal", True), ("public", False)])
async def test_a_message_that_is_not_as_visible_as_asked_is_never_accepted(
    desk: ZendeskDesk,
    service: ZendeskService,
    caplog: pytest.LogCaptureFixture,
    visibility: Visibility,
    hidden: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    service.tickets([row()])
    service.options(hidden=hidden)
    with pytest.raises(OutcomeUnknownError, match="not as visible"):
        await reply(desk, visibility=visibility)
    with pytest.raises(OutcomeUnknownError, match="not as visible"):
        await desk.find_operation(REF, "gb-1")
    assert [record.levelno for record in caplog.records if "visible" in record.message] == [logging.CRITICAL] * 2
    assert len(service.said(1)) == 2


# Order and completeness


async def test_what_the_index_does_not_have_yet_is_listed_all_the_same(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(1), row(2), row(3)])
    service.options(ahead=20, lag=250)
    service.customer_writes(2, "Hello?")
    found, _ = await every(desk, CHANGES)
    assert found == ["zendesk:1 20:00:00", "zendesk:3 20:00:00", "zendesk:2 14:13:21"]
    assert (await desk.page(CHANGES, position="", limit=9)).tickets[2].version == (await desk.get("zendesk:2")).version


async def test_a_change_of_this_very_moment_is_left_for_later(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(1), row(2)])
    service.options(ahead=2)
    service.customer_writes(2, "Hello?")
    found, last = await every(desk, CHANGES)
    assert found == ["zendesk:1 20:00:00"]
    service.options(ahead=20)
    found, _ = await every(desk, CHANGES, position=last.position)
    assert found == ["zendesk:2 14:13:21"]


async def test_a_window_that_just_ended_has_its_youngest_tickets(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(1), row(2, "2026-09-21T14:13:00Z"), row(3, "2026-09-21T14:13:20Z")])
    service.options(ahead=0, lag=250)
    window = Window(since=SINCE, until=datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC))
    found, _ = await every(desk, window, limit=1)
    assert found == ["zendesk:1 20:00:00", "zendesk:2 14:13:00"]


async def test_too_much_for_the_last_minutes_waits_for_the_index_and_is_not_cut(
    desk: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(1), *(row(number, f"2026-09-21T14:13:{number % 4:02}Z") for number in range(4, 1_104))])
    service.options(ahead=0, lag=250)
    found, last = await every(desk, CHANGES)
    assert found == ["zendesk:1 20:00:00"]
    with pytest.raises(UpstreamUnavailableError) as refused:
        await desk.page(Window(since=SINCE, until=datetime(2026, 9, 22, tzinfo=UTC)), position="", limit=9)
    assert refused.value.retry_after_s is not None
    service.options(ahead=600)
    later = await desk.page(CHANGES, position=last.position, limit=50)
    assert ([later.tickets[0].ref, len(later.tickets)], later.complete) == (["zendesk:4", 50], False)


async def test_many_tickets_of_one_second_are_all_listed_once(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(number) for number in range(1, 251)])
    service.tickets([row(number, "2026-09-20T20:00:01Z") for number in range(251, 300)])
    service.options(repeats=3)
    for window in (CHANGES, Window(since=SINCE, until=datetime(2026, 9, 21, tzinfo=UTC))):
        found, _ = await every(desk, window, limit=50)
        assert [line.split()[0] for line in found] == [f"zendesk:{number}" for number in range(1, 300)]


async def test_a_search_with_few_hits_among_many_goes_on(desk: ZendeskDesk, service: ZendeskService) -> None:
    # Zendesk finds the word in the tags, where the port does not look.
    service.tickets(
        [row(number, f"2026-09-20T20:{number // 60:02}:{number % 60:02}Z", tags=["csv"]) for number in range(1, 700)]
    )
    service.tickets([row(700, "2026-09-20T21:00:00Z", body="csv")])
    first = await desk.search("csv", position="", limit=5)
    assert (first.tickets, first.complete) == ((), False)
    second = await desk.search("csv", position=first.position, limit=5)
    assert ([ticket.ref for ticket in second.tickets], second.complete) == (["zendesk:700"], True)


async def test_deleted_tickets_are_in_no_list(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(1), row(2)])
    service.control("delete", {"ticket": 1})
    found, _ = await every(desk, CHANGES)
    assert found == ["zendesk:2 20:00:00"]
    assert (await desk.page(Window(status="deleted"), position="", limit=9)).tickets == ()


async def test_the_export_goes_on_in_another_process(
    suite: Suite, export: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(number, f"2026-09-20T20:00:0{number}Z") for number in range(1, 6)])
    first = await export.page(CHANGES, position="", limit=2)
    again = zendesk_desk(suite.another_process(), service, incremental=True)
    found, last = await every(again, CHANGES, position=first.position)
    assert found == [f"zendesk:{number} 20:00:0{number}" for number in (3, 4, 5)]
    behind, end = await every(again, CHANGES, position=last.position)
    assert (behind, end.position) == ([], last.position)
    await again.aclose()


async def test_an_expired_cursor_begins_again_before_its_watermark_and_returns_nothing_twice(
    export: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(number, f"2026-09-20T20:00:0{number}Z") for number in range(1, 8)])
    first = await export.page(CHANGES, position="", limit=3)
    service.options(epoch=1)
    service.customer_writes(1, "Any news?")
    found, _ = await every(export, CHANGES, position=first.position)
    assert found == [*(f"zendesk:{number} 20:00:0{number}" for number in (4, 5, 6, 7)), "zendesk:1 14:13:21"]


async def test_what_the_export_repeats_at_its_seams_is_returned_once(
    export: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(number, f"2026-09-20T20:00:0{number}Z") for number in range(1, 8)])
    service.options(repeats=2)
    found, _ = await every(export, CHANGES, limit=3)
    assert found == [f"zendesk:{number} 20:00:0{number}" for number in range(1, 8)]


async def test_the_export_tells_of_deleted_tickets_and_leaves_older_ones_out(
    export: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(1), row(2, "2026-09-19T20:00:00Z"), row(3, "2026-09-19T20:00:00Z")])
    service.control("delete", {"ticket": 1})
    service.control("system", {"ticket": 2})
    page = await export.page(CHANGES, position="", limit=9)
    assert [(ticket.ref, ticket.status) for ticket in page.tickets] == [("zendesk:1", "deleted")]


async def test_a_position_of_one_way_of_reading_goes_on_in_the_other(
    desk: ZendeskDesk, export: ZendeskDesk, service: ZendeskService
) -> None:
    service.tickets([row(number, f"2026-09-20T20:0{number}:00Z") for number in range(1, 5)])
    first = await desk.page(CHANGES, position="", limit=2)
    second = await export.page(CHANGES, position=first.position, limit=2)
    third = await desk.page(CHANGES, position=second.position, limit=2)
    shown = [ticket.ref for page in (first, second, third) for ticket in page.tickets]
    assert sorted(set(shown)) == [f"zendesk:{number}" for number in range(1, 5)]


# People and texts


async def test_people_are_who_they_are_on_the_ticket(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row(assignee="")])
    requester = cast("int", service.tickets_there()["1"]["requester_id"])
    service.customer_writes(1, "asks")
    service.customer_writes(1, "answers", author=KIM)
    service.customer_writes(1, "is gone", author=4_711)
    ticket = await desk.get(REF)
    assert ticket.requester.model_dump() == {
        "name": "Robin Reyes",
        "email": "robin@customer.example",
        "role": "customer",
    }
    comments = await desk.comments(REF)
    assert [(one.author.name, one.author.role, one.ours) for one in comments] == [
        ("Robin Reyes", "customer", False),
        ("Kim", "agent", True),
        ("", "unknown", False),
    ]
    # An employee who asks is the customer of that ticket.
    service.control("field", {"ticket": 1, "fields": {"requester_id": KIM}})
    assert [one.ours for one in await desk.comments(REF)] == [False, False, False]
    assert requester != KIM


async def test_attachments_are_named_and_never_fetched(desk: ZendeskDesk, service: ZendeskService) -> None:
    service.tickets([row()])
    service.customer_writes(1, "See the picture.")
    picture: Json = {
        "file_name": "a.png",
        "content_type": "image/png",
        "size": 12,
        "content_url": "https://other.example/a",
    }
    service.control("attach", {"ticket": 1, "attachments": [picture, {}]})
    [comment] = await desk.comments(REF)
    assert comment.body.splitlines() == [
        "See the picture.",
        "[attachment: a.png, image/png, 12 bytes]",
        "[attachment: unnamed, unknown type, unknown size]",
    ]


# Credentials, warnings and settings


class Renewed(FixedCredentials):
    """Credentials of which the first are refused."""

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        assert refused == {"Authorization": "Bearer old"}
        return {"Authorization": "Bearer new"}


async def test_a_bearer_token_is_renewed_when_it_is_refused(suite: Suite, service: ZendeskService) -> None:
    service.options(accepts=["Bearer new"])
    service.tickets([row()])
    desk = zendesk_desk(suite.runtime, service, credentials=Renewed({"Authorization": "Bearer old"}))
    assert (await desk.get(REF)).ref == REF
    await desk.aclose()


async def test_refused_credentials_are_told(suite: Suite, service: ZendeskService) -> None:
    desk = zendesk_desk(suite.runtime, service, credentials=FixedCredentials({"Authorization": "Bearer old"}))
    with pytest.raises(UnauthenticatedError):
        await desk.get(REF)
    await desk.aclose()


COUNTED = """
import json
import anyio
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
import sys
from contextlib import suppress
from gatebook.errors import NotFoundError
from gatebook.telemetry import configure_logging
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.opening import api_token

async def main():
    configure_logging("INFO")
    api = ZendeskApi(sys.argv[1], credentials=api_token("night@desk.example", "not-a-secret"))
    await api.ticket(1)
    with suppress(NotFoundError):
        await api.ticket(404)
    await api.aclose()

anyio.run(main)
print(reader.get_metrics_data().to_json())
"""


def test_a_warning_of_the_api_is_counted_and_logged_without_what_it_says(service: ZendeskService) -> None:
    service.tickets([row()])
    service.options(headers={"x-zendesk-api-warn": f'{{:unpermitted_keys=>["ticket.{CANARY}"]}}'})
    command = [sys.executable, "-c", COUNTED, service.url]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=100, check=True)
    [scope] = json.loads(done.stdout)["resource_metrics"][0]["scope_metrics"]
    [metric] = scope["metrics"]
    [point] = metric["data"]["data_points"]
    assert (metric["name"], point["value"]) == ("gatebook.upstream.warnings", 2)
    assert point["attributes"] == {"gatebook.upstream": "zendesk"}
    told = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert told == ["Zendesk ignored a part of a request"] * 2
    assert CANARY not in done.stdout + done.stderr


def settings(**more: object) -> dict[str, object]:
    url = "https://acme.zendesk.com"
    return {"desk": "zendesk", "zendesk_url": url, "zendesk_email": ADDRESS, "zendesk_api_token": TOKEN, **more}


async def test_the_account_is_the_one_of_the_settings(tmp_path: Path) -> None:
    suite = Suite(tmp_path / "home", overrides=settings())
    desk = open_desk(suite.runtime)
    assert isinstance(desk, ZendeskDesk)
    assert desk.account == "zendesk/acme"
    await desk.aclose()
    assert TOKEN not in repr(suite.runtime.settings)
    dry = open_desk(suite.another_process(mode="dry-run"))
    assert isinstance(dry, DryRunDesk)
    suite.close()


@pytest.mark.parametrize("missing", ["zendesk_url", "zendesk_email", "zendesk_api_token"])
def test_what_is_missing_is_told(tmp_path: Path, missing: str) -> None:
    suite = Suite(tmp_path / "home", overrides=settings(**{missing: ""}))
    with pytest.raises(ConfigurationError, match="missing"):
        open_zendesk(suite.runtime)
    suite.close()


async def test_a_real_desk_reaches_no_further_than_drafts_until_the_operator_says_so(tmp_path: Path) -> None:
    suite = Suite(tmp_path / "home", overrides=settings())
    async with suite.agent("tickets") as agent:
        offered = {tool.name for tool in (await agent.client.list_tools()).tools}
    assert "draft_reply" in offered
    assert not offered & {"send_reply", "update_ticket", "create_ticket", "escalate_ticket"}
    suite.close()


def test_doctor_says_when_api_tokens_end_and_what_is_missing(
    tmp_path: Path, service: ZendeskService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"HOME": str(tmp_path / "home"), "DESK": "zendesk", "ZENDESK_URL": service.url}
    for name, value in {**given, "ZENDESK_EMAIL": ADDRESS, "ZENDESK_API_TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"GATEBOOK_{name}", value)

    def told() -> dict[str, str]:
        main(["doctor", "--json"])
        return {check["check"]: check["detail"] for check in json.loads(capsys.readouterr().out)}

    assert "30 April 2027" in told()["ends"]
    monkeypatch.delenv("GATEBOOK_ZENDESK_EMAIL")
    assert "missing" in told()["desk"]


@pytest.mark.parametrize(("day", "level"), [("2026-10-01", "ok"), ("2027-04-30", "warning"), ("2027-05-01", "wrong")])
async def test_after_their_end_api_tokens_will_not_do(
    suite: Suite, service: ZendeskService, day: str, level: str
) -> None:
    desk = zendesk_desk(suite.runtime, service)
    suite.clock.advance(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp() - suite.clock.now())
    ends = next(finding for finding in await desk.check() if finding.check == "ends")
    assert ends.level == level
    await desk.aclose()


def test_with_an_oauth_client_the_tokens_renew(tmp_path: Path) -> None:
    suite = Suite(
        tmp_path / "home",
        overrides=settings(zendesk_oauth_client_id="night", zendesk_oauth_client_secret="kept"),
    )
    desk = open_zendesk(suite.runtime)
    assert isinstance(desk._api.credentials, RenewingCredentials)
    suite.close()


# Through the guard


@pytest.mark.parametrize("fault", ["lost", "held"])
async def test_an_approved_reply_reaches_the_customer_once_whatever_becomes_of_its_answer(
    suite: Suite, service: ZendeskService, fault: str
) -> None:
    service.tickets([row()])
    desk = zendesk_desk(suite.runtime, service)
    suite.runtime.ports[open_desk] = desk
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref=REF, body="Open the menu.")
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
        suite.approve(suite.requests()[0].approval_id)
        service.faults({"kind": fault, "on": "PUT .*", "times": None})
        with without_waiting():
            first = await agent.call("send_reply", send)
            service.faults()
            service.land()
            suite.clock.advance(200)
            second = await agent.ok("send_reply", send)
    assert first.code in ("", "in_progress")
    assert second["outcome"] in ("reconciled", "replayed")
    assert [said["body"] for said in service.said(1)] == ["How?", "Open the menu."]
    await desk.aclose()
