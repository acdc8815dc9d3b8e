"""Retries: what may be repeated by its class, how often, how long; and the HTTP client against a real server."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from math import inf
from time import time

import anyio
import pytest
from pydantic import JsonValue

from fakes.listening import listening
from gatebook import http
from gatebook.errors import (
    ConflictError,
    ForbiddenError,
    GatebookError,
    NotFoundError,
    RateLimitedError,
    UnauthenticatedError,
    UpstreamUnavailableError,
)
from gatebook.http import HttpClient
from gatebook.retry import (
    ATTEMPTS,
    AmbiguousError,
    Operation,
    TransientError,
    counting_attempts,
    with_retries,
    without_waiting,
)

pytestmark = pytest.mark.anyio

SURELY_NOT = TransientError(applied=False)
MAYBE = TransientError(applied=True)
GONE = NotFoundError("not there.", next_step="Look elsewhere.")


@dataclass
class Work:
    """Fails as told, then succeeds."""

    faults: list[Exception]
    attempts: int = 0

    async def __call__(self) -> str:
        self.attempts += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def _at_once(request: pytest.FixtureRequest) -> Generator[None]:
    if "waits" in request.node.name:
        yield
        return
    with without_waiting():
        yield


@pytest.mark.parametrize("operation", list(Operation))
async def test_what_surely_did_nothing_is_tried_four_times(operation: Operation) -> None:
    work = Work([SURELY_NOT] * (ATTEMPTS - 1))
    assert await with_retries(work, operation=operation) == "done"
    assert work.attempts == ATTEMPTS == 4
    work = Work([SURELY_NOT] * 10)
    with pytest.raises(UpstreamUnavailableError) as caught:
        await with_retries(work, operation=operation)
    assert work.attempts == 4
    assert caught.value.as_dict()["retryable"] is False


@pytest.mark.parametrize("operation", [Operation.READ, Operation.FENCED])
async def test_reads_and_fenced_operations_are_repeated_although_they_may_have_been_applied(
    operation: Operation,
) -> None:
    work = Work([MAYBE, MAYBE])
    assert await with_retries(work, operation=operation) == "done"
    assert work.attempts == 3


async def test_an_effect_that_may_have_been_applied_is_never_repeated() -> None:
    work = Work([MAYBE])
    with pytest.raises(AmbiguousError):
        await with_retries(work, operation=Operation.EFFECT)
    assert work.attempts == 1
    work = Work([SURELY_NOT, MAYBE])
    with pytest.raises(AmbiguousError):
        await with_retries(work, operation=Operation.EFFECT)
    assert work.attempts == 2


@pytest.mark.parametrize(
    ("faults", "raised"),
    [
        ([MAYBE] * 4, AmbiguousError),
        ([MAYBE, SURELY_NOT, SURELY_NOT, SURELY_NOT], AmbiguousError),
        ([MAYBE, ConflictError("changed.", next_step="Read it.")], AmbiguousError),
        ([SURELY_NOT, ConflictError("changed.", next_step="Read it.")], ConflictError),
    ],
)
async def test_a_fenced_operation_that_may_have_been_applied_is_never_reported_as_not_applied(
    faults: list[Exception], raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        await with_retries(Work(list(faults)), operation=Operation.FENCED)


async def test_a_read_that_fails_is_unavailable_whatever_happened() -> None:
    with pytest.raises(UpstreamUnavailableError):
        await with_retries(Work([MAYBE] * 4), operation=Operation.READ)


@pytest.mark.parametrize("fault", [GONE, KeyError("a defect")])
async def test_an_answer_and_a_defect_are_not_retried(fault: Exception) -> None:
    work = Work([fault])
    with pytest.raises(type(fault)):
        await with_retries(work, operation=Operation.READ)
    assert work.attempts == 1


async def test_attempts_are_counted_for_each_work_inside_the_block() -> None:
    retries: list[int] = []
    with counting_attempts(retries):
        await with_retries(Work([SURELY_NOT, SURELY_NOT]), operation=Operation.READ)
        await with_retries(Work([]), operation=Operation.READ)
        with pytest.raises(UpstreamUnavailableError):
            await with_retries(Work([SURELY_NOT] * 4), operation=Operation.READ)
    await with_retries(Work([SURELY_NOT]), operation=Operation.READ)
    assert retries == [2, 0, 3]


async def test_a_wait_that_does_not_fit_the_deadline_is_handed_back_at_once() -> None:
    work = Work([TransientError(applied=False, retry_after_s=30, throttled=True)])
    with anyio.fail_after(20), pytest.raises(RateLimitedError) as caught:
        await with_retries(work, operation=Operation.EFFECT)
    assert (work.attempts, caught.value.retry_after_s) == (1, 30)
    work = Work([TransientError(applied=False, retry_after_s=30, throttled=True)])
    with anyio.fail_after(40):
        assert await with_retries(work, operation=Operation.EFFECT) == "done"


async def test_a_rate_limit_without_a_time_still_says_when_to_come_back() -> None:
    with pytest.raises(RateLimitedError) as caught:
        await with_retries(Work([TransientError(applied=False, throttled=True)] * 4), operation=Operation.READ)
    assert caught.value.as_dict()["retryable"] is True


async def test_it_waits_as_long_as_the_upstream_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    work = Work([TransientError(applied=False, retry_after_s=7), SURELY_NOT, SURELY_NOT])
    assert await with_retries(work, operation=Operation.READ) == "done"
    assert slept[0] >= 7
    assert 0 <= slept[1] <= 2
    assert 0 <= slept[2] <= 4


async def test_the_test_mode_ends_with_its_outermost_block_and_then_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def asked_to_wait() -> None:
        await with_retries(Work([TransientError(applied=False, retry_after_s=7)]), operation=Operation.READ)

    monkeypatch.setattr(anyio, "sleep", sleep)
    with without_waiting():
        with without_waiting():
            await asked_to_wait()
        await asked_to_wait()
    await asked_to_wait()
    assert (slept[:2], slept[2] >= 7) == ([0, 0], True)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_rate_limit_that_fits_waits_at_least_as_long_as_was_asked(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    asked_at = int(time()) + 9
    after = "7" if form == "seconds" else formatdate(asked_at, usegmt=True)
    slept: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        slept.append((time(), seconds))

    with serving((429, {"retry-after": after}, b""), (200, {}, b"7")) as upstream:
        begun = time()
        monkeypatch.setattr(anyio, "sleep", sleep)
        assert await request(upstream, Operation.EFFECT, within_s=20) == 7
    [(at, seconds)] = slept
    assert seconds >= 7 if form == "seconds" else at + seconds >= asked_at
    assert begun + seconds < asked_at + 1


@dataclass
class Upstream:
    """A server that answers as it is told, in order, and remembers what it was asked."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list[tuple[int, dict[str, str], bytes]])
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list[tuple[str, str, str, bytes]])
    url: str = ""


@contextmanager
def serving(*answers: tuple[int, dict[str, str], bytes]) -> Generator[Upstream]:
    upstream = Upstream(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            upstream.asked.append((self.command, self.path, self.headers.get("authorization", ""), body))
            status, headers, content = upstream.answers.pop(0)
            if status == 0:  # ends the connection without an answer
                return
            self.send_response_only(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the standard library's names

    with listening(Handler) as url:
        upstream.url = f"{url}/api"
        yield upstream


async def request(
    upstream: Upstream, operation: Operation = Operation.READ, *, path: str = "/tickets", within_s: float = inf
) -> JsonValue:
    client = HttpClient(upstream.url, headers={"authorization": "Bearer secret"})
    method = "GET" if operation is Operation.READ else "POST"
    body: JsonValue = None if operation is Operation.READ else {"text": "\u00e9"}
    try:
        with anyio.fail_after(None if within_s == inf else within_s):
            return await client.request(method, path, operation=operation, query={"q": "a b"}, body=body)
    finally:
        await client.aclose()


async def test_a_request_carries_query_body_and_credentials_and_returns_json() -> None:
    with serving((200, {}, b'{"id": 1}'), (204, {}, b"")) as upstream:
        assert await request(upstream) == {"id": 1}
        assert await request(upstream, Operation.EFFECT) is None
    assert upstream.asked[0] == ("GET", "/api/tickets?q=a+b", "Bearer secret", b"")
    assert json.loads(upstream.asked[1][3]) == {"text": "\u00e9"}


@pytest.mark.parametrize(
    ("status", "raised"),
    [(400, NotFoundError), (404, NotFoundError), (410, NotFoundError), (422, NotFoundError),
     (401, UnauthenticatedError), (403, UnauthenticatedError), (409, ConflictError), (412, ConflictError)],
)  # fmt: skip
async def test_an_answer_that_will_not_change_is_not_asked_for_again(status: int, raised: type[GatebookError]) -> None:
    with serving((status, {}, b"<b>an outsider's text</b>")) as upstream:
        with pytest.raises(raised) as caught:
            await request(upstream, Operation.EFFECT)
        assert len(upstream.asked) == 1
    assert "outsider" not in json.dumps(caught.value.as_dict())


@pytest.mark.parametrize("answer", [(503, {}, b""), (500, {}, b""), (0, {}, b""), (200, {}, b"<html>")])
async def test_a_lost_answer_is_repeated_for_reads_and_looked_up_for_effects(
    answer: tuple[int, dict[str, str], bytes],
) -> None:
    with serving(answer, (200, {}, b"7")) as upstream:
        assert await request(upstream) == 7
    with serving(answer) as upstream:
        with pytest.raises(AmbiguousError):
            await request(upstream, Operation.EFFECT)
        assert len(upstream.asked) == 1


async def test_an_upstream_that_is_not_there_surely_did_nothing() -> None:
    with serving() as upstream:
        pass
    with pytest.raises(UpstreamUnavailableError):
        await request(upstream, Operation.EFFECT)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_rate_limit_that_does_not_fit_is_handed_back(form: str) -> None:
    after = "30" if form == "seconds" else formatdate(time() + 3_600, usegmt=True)
    with serving((429, {"retry-after": after}, b"")) as upstream:
        with pytest.raises(RateLimitedError) as caught:
            await request(upstream, Operation.EFFECT, within_s=20)
        assert len(upstream.asked) == 1
    assert caught.value.retry_after_s is not None
    assert 29 <= caught.value.retry_after_s <= 3_600


@pytest.mark.parametrize("ahead_s", [3_600, -3_600])
async def test_a_rate_limit_until_a_date_is_one_by_the_clock_of_who_answers(ahead_s: int) -> None:
    theirs = time() + ahead_s
    said = {"date": formatdate(theirs, usegmt=True), "retry-after": formatdate(theirs + 300, usegmt=True)}
    with serving((429, said, b"")) as upstream:
        with pytest.raises(RateLimitedError) as caught:
            await request(upstream, Operation.EFFECT, within_s=20)
        assert (caught.value.retry_after_s, len(upstream.asked)) == (300.0, 1)


@pytest.mark.parametrize("after", ["0", "-5", "soon", "", "1e3", "Wed, 99 Foo 2026 99:99:99 GMT", "\u0663"])
async def test_a_rate_limit_is_waited_out_where_it_fits(after: str) -> None:
    with serving((429, {"retry-after": after.encode().decode("latin-1")}, b""), (200, {}, b"7")) as upstream:
        assert await request(upstream, Operation.EFFECT, within_s=20) == 7


async def test_credentials_stay_with_their_origin() -> None:
    with serving((200, {}, b"1")) as other, serving() as upstream:
        upstream.answers.append((302, {"location": f"{other.url}/x"}, b""))
        with pytest.raises(AmbiguousError):
            await request(upstream, Operation.EFFECT)
        for path in (f"{other.url}/x", "//elsewhere.example/x"):
            with pytest.raises(ForbiddenError):
                await request(upstream, path=path)
        assert other.asked == []


async def test_an_upstream_that_trickles_ends_with_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ATTEMPT_S", 0.1)
    with serving((200, {"content-length": "5"}, b"1")) as upstream, pytest.raises(AmbiguousError):
        await request(upstream, Operation.EFFECT, within_s=5)
