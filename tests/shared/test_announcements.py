"""People are told, where they are, that something waits: signed, without its content, and not once for each of many."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import cast

import pytest
from pydantic import SecretBytes

from fakes.listening import listening
from gatebook.approvals.channels.webhook import read_secret, sign
from gatebook.errors import ConfigurationError
from gatebook.guard import Guard
from gatebook.outbox import Job, Outbox
from gatebook.retry import without_waiting
from gatebook.runtime import Runtime
from gatebook.worker import Worker
from gatebook_servers.catalogue import catalogue
from suite import Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

KEY = b"an invented key of 32 letters..."
HOUR_S = 3_600.0
WORDS = "Open the board menu, Robin."
REASON = "It answers the question."


@dataclass
class Receiver:
    """Somebody's webhook: it answers as it is told, `ok` when it is not, and checks every signature."""

    answers: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    attempts: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """The id and the time of each."""
    bodies: list[str] = field(default_factory=list[str])
    url: str = ""

    def take(self, message: str, timestamp: str, signature: str, body: bytes) -> tuple[int, bytes]:
        signed = message.encode() + b"." + timestamp.encode() + b"." + body
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        if signature != f"v1,{expected}":
            return 401, b""
        self.attempts.append((message, int(timestamp)))
        status, answer = self.answers.pop(0) if self.answers else (200, b"ok")
        if status == 200:
            self.bodies.append(body.decode())
        return status, answer

    @property
    def events(self) -> list[tuple[str, list[Json], int]]:
        """The type, the requests and the number of all that wait, of each event that was accepted."""
        decoded = [json.loads(body) for body in self.bodies]
        return [(one["type"], one["data"]["approvals"], one["data"]["waiting"]) for one in decoded]

    @property
    def types(self) -> list[str]:
        return [event[0] for event in self.events]


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as made:
        yield made


@contextmanager
def receiving() -> Generator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            message, timestamp, signature = (
                self.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
            )
            fits = (self.path, self.headers["content-type"]) == ("/hook?team=a%20b", "application/json")
            status, answer = made.take(message, timestamp, signature, body) if fits else (404, b"")
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with listening(Handler) as url, without_waiting():
        made.url = f"{url}/hook?team=a%20b"
        yield made


def telling(suite: Suite, receiver: Receiver, **overrides: object) -> Callable[[], Worker]:
    """Return workers of a process that knows the webhook; each looks for news at once."""
    suite.home.mkdir(exist_ok=True)
    (suite.home / "notify-secret").write_text(f"whsec_{base64.b64encode(KEY).decode()}\n", encoding="utf-8")
    runtime = suite.another_process(notify_url=receiver.url, **overrides)
    return lambda: worker_of(runtime)


def worker_of(runtime: Runtime) -> Worker:
    return Worker(runtime, Guard(runtime, catalogue()))


async def ask(suite: Suite, *tickets: str, runtime: Runtime | None = None) -> list[str]:
    """Ask for a reply to each ticket; the requests' ids."""
    suite.tickets([ticket(one) for one in tickets])
    ids: list[str] = []
    async with suite.agent("tickets", "approvals", runtime=runtime) as agent:
        for one in tickets:
            draft = await agent.ok("draft_reply", ref=f"local:{one}", body=WORDS)
            send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
            asked = await agent.ok("request_approval", tool="send_reply", arguments=send, reason=REASON)
            ids.append(str(asked["approval_id"]))
    return ids


def ids_of(requests: list[Json]) -> list[str]:
    return [str(request["approval_id"]) for request in requests]


def the_message(suite: Suite) -> Job:
    with suite.runtime.database.transaction() as tx:
        [row] = tx.all("SELECT subject FROM outbox WHERE kind = 'notify'")
        found = Outbox(tx).of_subject("notify", str(row["subject"]))
    assert found is not None
    return found


def test_the_signature_is_the_one_of_the_specifications_example() -> None:
    key = SecretBytes(base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_request_is_told_at_once_with_what_it_is_and_never_with_what_it_says(
    suite: Suite, receiver: Receiver
) -> None:
    [approval_id] = await ask(suite, "AB-1")
    await telling(suite, receiver)().run_due()
    [request] = suite.requests()
    [body] = receiver.bodies
    assert json.loads(body) == {
        "type": "approval.requested",
        "timestamp": "2026-11-22T06:30:00Z",
        "data": {
            "tenant": "default",
            "mode": "live",
            "waiting": 1,
            "approvals": [
                {
                    "approval_id": approval_id,
                    "kind": "effect",
                    "tool": "send_reply",
                    "target": "local:AB-1",
                    "rules": ["always_review"],
                    "state": "pending",
                    "decide_by": "2026-11-25T06:30:00Z",
                    "fingerprint": request.shown,
                }
            ],
        },
    }
    for kept in (WORDS, REASON, "Robin", "customer.example", request.fingerprint):
        assert kept not in body


async def test_a_flood_is_told_in_two_messages_and_no_request_twice(suite: Suite, receiver: Receiver) -> None:
    worker = telling(suite, receiver)
    first = await ask(suite, "AB-1")
    await worker().run_due()
    flood = await ask(suite, *(f"CD-{number}" for number in range(1, 6)))
    for _ in range(3):
        suite.clock.advance(19)
        await worker().run_due()
    assert len(receiver.events) == 1
    suite.clock.advance(3)
    await worker().run_due()
    assert [(ids_of(requests), waiting) for _, requests, waiting in receiver.events] == [(first, 1), (sorted(flood), 6)]
    suite.clock.advance(HOUR_S)
    await worker().run_due()
    assert len(receiver.events) == 2


async def test_more_than_one_message_can_hold_are_told_a_minute_later(
    suite: Suite, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatebook.approvals.announcements.MOST_AT_ONCE", 2)
    worker = telling(suite, receiver)
    asked = await ask(suite, "AB-1", "AB-2", "AB-3")
    for _ in range(3):
        await worker().run_due()
        suite.clock.advance(60)
    told = [ids_of(requests) for _, requests, _ in receiver.events]
    assert [len(each) for each in told] == [2, 1]
    assert sorted([*told[0], *told[1]]) == sorted(asked)


async def test_half_of_the_time_later_there_is_one_reminder_and_at_its_end_the_news(
    suite: Suite, receiver: Receiver
) -> None:
    worker = telling(suite, receiver)
    [approval_id] = await ask(suite, "AB-1")
    for hours in (0, 35, 1.1, 1, 34, 1, 1, 10):
        suite.clock.advance(hours * HOUR_S)
        await worker().run_due()
    told = [(kind, ids_of(requests), requests[0]["state"], waiting) for kind, requests, waiting in receiver.events]
    assert told == [
        ("approval.requested", [approval_id], "pending", 1),
        ("approval.reminder", [approval_id], "pending", 1),
        ("approval.expired", [approval_id], "expired", 0),
    ]


async def test_an_approval_that_was_not_used_in_time_is_told_too(suite: Suite, receiver: Receiver) -> None:
    worker = telling(suite, receiver)
    [approval_id] = await ask(suite, "AB-1")
    suite.approve(approval_id)
    with suite.runtime.database.transaction() as tx:
        tx.execute("DELETE FROM outbox")
    for hours in (73, 1):
        suite.clock.advance(hours * HOUR_S)
        await worker().run_due()
    [(kind, [request], _)] = receiver.events
    assert (kind, request["state"]) == ("approval.expired", "lapsed")


async def test_what_a_new_draft_replaced_or_expired_long_ago_is_not_told(suite: Suite, receiver: Receiver) -> None:
    await ask(suite, "AB-1")
    suite.clock.advance(1)
    async with suite.agent("tickets") as agent:
        await agent.ok("draft_reply", ref="local:AB-1", body="Other words.")
    await ask(suite, "AB-2")
    suite.clock.advance(72 * HOUR_S)
    assert len(suite.requests("expired")) == 1
    suite.clock.advance(25 * HOUR_S)
    await telling(suite, receiver)().run_due()
    assert receiver.events == []


async def test_a_request_told_only_in_its_second_half_needs_no_reminder(suite: Suite, receiver: Receiver) -> None:
    await ask(suite, "AB-1")
    suite.clock.advance(40 * HOUR_S)
    worker = telling(suite, receiver)
    for _ in range(3):
        await worker().run_due()
        suite.clock.advance(2 * HOUR_S)
    assert receiver.types == ["approval.requested"]


async def test_what_was_decided_before_it_could_be_told_is_not_told(suite: Suite, receiver: Receiver) -> None:
    worker = telling(suite, receiver)
    one, two = await ask(suite, "AB-1", "AB-2")
    receiver.answers = [(503, b"")] * 4
    await worker().run_due()
    suite.deny(one)
    suite.clock.advance(5)
    await worker().run_due()
    assert [ids_of(requests) for _, requests, _ in receiver.events] == [[two]]
    [later] = await ask(suite, "AB-3")
    receiver.answers = [(503, b"")] * 4
    suite.clock.advance(60)
    await worker().run_due()
    suite.deny(later)
    suite.clock.advance(60)
    await worker().run_due()
    assert len(receiver.events) == 1


@pytest.mark.parametrize("status", [500, 503, 429, 404, 401, 301])
async def test_a_receiver_that_fails_gets_the_same_message_again_until_it_accepts_it(
    suite: Suite, receiver: Receiver, status: int
) -> None:
    worker = telling(suite, receiver)
    await ask(suite, "AB-1")
    receiver.answers = [(status, b"")] * 4
    await worker().run_due()
    tried = len(receiver.attempts)
    receiver.answers = []
    assert (the_message(suite).state, receiver.events) == ("waiting", [])
    suite.clock.advance(HOUR_S)
    await worker().run_due()
    assert (the_message(suite).state, receiver.types) == ("done", ["approval.requested"])
    assert {message for message, _ in receiver.attempts} == {the_message(suite).subject}
    moments = [int(at - receiver.attempts[0][1]) for _, at in receiver.attempts]
    assert moments == [0] * tried + [3_600]


async def test_what_could_not_be_told_for_a_day_needs_a_person(suite: Suite, receiver: Receiver) -> None:
    worker = telling(suite, receiver)
    await ask(suite, "AB-1")
    receiver.answers = [(404, b"")] * 2
    await worker().run_due()
    suite.clock.advance(24 * HOUR_S)
    await worker().run_due()
    with suite.runtime.database.transaction() as tx:
        assert [(job.kind, job.error) for job in Outbox(tx).failed(tenant="default")] == [("notify", "not_found")]


async def test_without_a_webhook_there_is_nothing_to_do(suite: Suite) -> None:
    await ask(suite, "AB-1")
    await worker_of(suite.runtime).run_due()
    assert suite.count("announcements") == 0
    with suite.runtime.database.transaction() as tx:
        assert tx.all("SELECT 1 FROM outbox WHERE kind = 'notify'") == []


async def test_a_message_is_left_to_who_knows_the_webhook_of_the_same_tenant(suite: Suite, receiver: Receiver) -> None:
    await ask(suite, "AB-1")
    receiver.answers = [(404, b"")]
    await telling(suite, receiver)().run_due()
    suite.clock.advance(HOUR_S)
    await worker_of(suite.another_process()).run_due()
    await telling(suite, receiver, tenant="other")().run_due()
    await telling(suite, receiver, mode="dry-run")().run_due()
    assert (the_message(suite).state, receiver.events) == ("waiting", [])
    await telling(suite, receiver)().run_due()
    assert receiver.types == ["approval.requested"]


@pytest.mark.parametrize("secret", [None, "", "whsec_", "whsec_short", "whsec_" + "A" * 100, "not base64 at all", "ü"])
async def test_a_secret_that_is_none_is_said_and_never_shown(
    suite: Suite, receiver: Receiver, secret: str | None
) -> None:
    worker = telling(suite, receiver)
    file = suite.home / "notify-secret"
    if secret is None:
        file.unlink()
    else:
        file.write_text(secret, encoding="utf-8")
    await ask(suite, "AB-1")
    await worker().run_due()
    assert (the_message(suite).error, receiver.attempts) == ("configuration", [])
    with pytest.raises(ConfigurationError) as refused:
        read_secret(file)
    assert not secret or secret == "whsec_" or secret not in f"{refused.value} {refused.value.next_step}"


def test_a_secret_may_come_without_its_mark_and_from_any_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(base64.b64encode(KEY).decode(), encoding="utf-8")
    assert read_secret(file).get_secret_value() == KEY
    assert KEY.decode() not in repr(cast("object", read_secret(file)))
