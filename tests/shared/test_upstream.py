"""One upstream's retry tokens and circuit breaker: what is still asked of it, when, and how a refusal is told."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from gatebook.errors import (
    GatebookError,
    NotFoundError,
    RateLimitedError,
    UpstreamUnavailableError,
)
from gatebook.http import HttpClient
from gatebook.retry import (
    AmbiguousError,
    Operation,
    TransientError,
    counting_attempts,
    with_retries,
    without_waiting,
)
from gatebook.upstream import (
    FEWEST_ATTEMPTS,
    FIRSTS_PER_TOKEN,
    MOST_TOKENS,
    OPEN_S,
    WINDOW_S,
    CircuitBreaker,
    Upstream,
)
from suite import under_way

pytestmark = pytest.mark.anyio

SURELY_NOT = TransientError(applied=False)
MAYBE = TransientError(applied=True)
THROTTLED = TransientError(applied=False, throttled=True)
GONE = NotFoundError("not there.", next_step="Look elsewhere.")


@dataclass
class Outside:
    """An upstream that answers every attempt as it is told, seen through one client's state; time moves by hand."""

    fault: Exception | None = None
    attempts: int = 0
    seconds: float = 1_000.0
    upstream: Upstream = field(init=False)

    def __post_init__(self) -> None:
        self.upstream = Upstream(breaker=CircuitBreaker(now=lambda: self.seconds))

    async def attempt(self) -> str:
        self.attempts += 1
        if self.fault is not None:
            raise self.fault
        return "done"

    async def call(self, operation: Operation = Operation.READ) -> str:
        return await with_retries(self.attempt, operation=operation, upstream=self.upstream)

    async def calls(self, count: int, *, fault: Exception | None, apart_s: float = 0.0) -> list[int]:
        """Call `count` times with the same fault, and return how many attempts each made."""
        self.fault = fault
        made: list[int] = []
        for _ in range(count):
            before = self.attempts
            try:
                await self.call()
            except GatebookError:
                assert fault is not None
            made.append(self.attempts - before)
            self.seconds += apart_s
        return made

    async def open(self) -> None:
        """Fail until the breaker is open."""
        while not self.upstream.breaker.refuses_for():
            await self.calls(1, fault=SURELY_NOT)
        self.attempts = 0

    @asynccontextmanager
    async def one_under_way(self) -> AsyncGenerator[None]:
        """Keep an attempt under way during the block; it is answered at the end."""
        begun, answered = anyio.Event(), anyio.Event()

        async def slow() -> str:
            begun.set()
            await answered.wait()
            return "done"

        async with under_way(lambda: with_retries(slow, operation=Operation.READ, upstream=self.upstream)):
            await begun.wait()
            yield
            answered.set()

    async def refused(self, operation: Operation = Operation.READ) -> UpstreamUnavailableError:
        """Call, and expect that nothing is sent."""
        before = self.attempts
        with pytest.raises(UpstreamUnavailableError) as caught:
            await self.call(operation)
        assert self.attempts == before
        return caught.value


@pytest.fixture(autouse=True)
def _at_once() -> Generator[None]:
    with without_waiting():
        yield


async def test_retries_end_with_the_tokens_and_every_sixth_first_attempt_earns_one() -> None:
    outside = Outside()
    # So far apart that the breaker never sees enough.
    made = await outside.calls(14, fault=SURELY_NOT, apart_s=WINDOW_S)
    assert made == [4, 4, 4, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert (MOST_TOKENS, FIRSTS_PER_TOKEN) == (10, 6)


async def test_in_an_outage_too_rare_for_the_breaker_retries_with_the_first_ten_add_a_fifth_at_most() -> None:
    outside = Outside()
    made = await outside.calls(2_000, fault=SURELY_NOT, apart_s=WINDOW_S)
    assert sum(made) <= 1.2 * 2_000


async def test_a_rested_upstream_gets_ten_retries_and_no_more() -> None:
    outside = Outside()
    await outside.calls(1_000, fault=None, apart_s=WINDOW_S)
    made = await outside.calls(5, fault=SURELY_NOT, apart_s=WINDOW_S)
    assert sum(made) - 5 == MOST_TOKENS


@pytest.mark.parametrize(
    ("operation", "fault", "raised"),
    [
        (Operation.READ, MAYBE, UpstreamUnavailableError),
        (Operation.READ, THROTTLED, RateLimitedError),
        (Operation.FENCED, MAYBE, AmbiguousError),
        (Operation.EFFECT, SURELY_NOT, UpstreamUnavailableError),
        (Operation.EFFECT, THROTTLED, RateLimitedError),
        (Operation.EFFECT, MAYBE, AmbiguousError),
    ],
)
async def test_without_a_token_a_call_fails_as_its_class_and_its_only_attempt_say(
    operation: Operation, fault: Exception, raised: type[Exception]
) -> None:
    outside = Outside()
    await outside.calls(4, fault=SURELY_NOT, apart_s=WINDOW_S)
    outside.attempts, outside.fault = 0, fault
    with pytest.raises(raised):
        await outside.call(operation)
    assert outside.attempts == 1


async def test_half_of_twenty_failed_attempts_open_the_breaker_which_refuses_at_once() -> None:
    outside = Outside()
    await outside.calls(10, fault=None)
    outside.fault = SURELY_NOT
    for _ in range(3):
        with pytest.raises(UpstreamUnavailableError):
            await outside.call()
    assert outside.attempts == 20, "the third call's retries end with the twentieth attempt"
    assert (await outside.refused()).retry_after_s == OPEN_S


async def test_fewer_than_twenty_attempts_or_fewer_failures_than_half_never_open_it() -> None:
    outside = Outside()
    assert sum(await outside.calls(8, fault=SURELY_NOT)) == FEWEST_ATTEMPTS - 1
    assert outside.upstream.breaker.refuses_for() == 0
    outside = Outside()
    await outside.calls(100, fault=None)
    made = await outside.calls(30, fault=SURELY_NOT)
    assert 0 not in made
    assert outside.upstream.breaker.refuses_for() == 0


async def test_attempts_older_than_thirty_seconds_are_forgotten() -> None:
    outside = Outside()
    await outside.calls(8, fault=SURELY_NOT)
    outside.seconds += WINDOW_S
    await outside.calls(8, fault=SURELY_NOT)
    outside.seconds += WINDOW_S
    await outside.calls(FEWEST_ATTEMPTS, fault=None)
    assert outside.upstream.breaker.refuses_for() == 0
    outside = Outside()
    await outside.calls(1_000, fault=None)
    outside.seconds += WINDOW_S
    await outside.open()
    assert await outside.refused()


@pytest.mark.parametrize("answer", [THROTTLED, GONE])
async def test_a_rate_limit_and_a_refusal_are_answers_and_never_open_it(answer: Exception) -> None:
    outside = Outside()
    made = await outside.calls(200, fault=answer)
    assert 0 not in made


@pytest.mark.parametrize("operation", list(Operation))
async def test_what_the_open_breaker_refuses_surely_did_nothing(operation: Operation) -> None:
    outside = Outside()
    await outside.open()
    outside.seconds += 5.04
    error = await outside.refused(operation)
    assert error.as_dict() == {
        "code": "upstream_unavailable",
        "message": error.message,
        "retryable": False,
        "retry_after_s": 10.0,
        "next": error.next_step,
    }


async def test_a_fenced_operation_that_may_have_been_applied_stays_ambiguous_when_the_breaker_opens() -> None:
    outside = Outside()
    retries: list[int] = []

    async def meanwhile() -> str:
        # Others fail while this attempt is under way, so that its retry would meet an open breaker.
        await outside.open()
        raise MAYBE

    with counting_attempts(retries), pytest.raises(AmbiguousError):
        await with_retries(meanwhile, operation=Operation.FENCED, upstream=outside.upstream)
    assert retries[-1] == 0


async def test_a_retry_that_waited_while_the_breaker_opened_is_refused_too() -> None:
    outside = Outside()
    attempts = 0

    async def opening() -> str:
        nonlocal attempts
        attempts += 1
        raise MAYBE

    async def others_fail(_: float) -> None:
        await outside.open()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "sleep", others_fail)
        with pytest.raises(UpstreamUnavailableError) as caught:
            await with_retries(opening, operation=Operation.READ, upstream=outside.upstream)
        assert (attempts, caught.value.retry_after_s) == (1, OPEN_S)
        outside.seconds += OPEN_S
        await outside.calls(1, fault=None)
        with pytest.raises(AmbiguousError):
            await with_retries(opening, operation=Operation.FENCED, upstream=outside.upstream)


async def test_a_probe_that_succeeds_closes_it_and_the_past_is_forgotten() -> None:
    outside = Outside()
    await outside.open()
    outside.seconds += OPEN_S - 0.5
    assert (await outside.refused()).retry_after_s == 0.5
    outside.seconds += 0.5
    assert await outside.calls(1, fault=None) == [1]
    breaker = outside.upstream.breaker
    await outside.calls(FEWEST_ATTEMPTS, fault=None)
    assert breaker.refuses_for() == 0
    outside.seconds += WINDOW_S
    for _ in range(FEWEST_ATTEMPTS):
        assert breaker.refuses_for() == 0
        breaker.end(probe=breaker.admit(), failed=True)
    assert breaker.refuses_for() == OPEN_S


async def test_a_probe_that_is_answered_with_a_refusal_closes_it_too() -> None:
    outside = Outside()
    await outside.open()
    outside.seconds += OPEN_S
    assert await outside.calls(2, fault=GONE) == [1, 1]
    assert not outside.upstream.breaker.admit(), "no longer probing"


async def test_a_probe_that_fails_is_not_repeated_and_opens_it_for_as_long_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outside = Outside()
    await outside.open()
    outside.seconds += OPEN_S
    for _ in range(FIRSTS_PER_TOKEN):
        outside.upstream.tokens.earn()
    monkeypatch.setattr(anyio, "sleep", None)  # nothing waits for a retry that would be refused
    assert await outside.calls(2, fault=SURELY_NOT) == [1, 0]
    outside.seconds += OPEN_S
    breaker = outside.upstream.breaker
    probe = breaker.admit()
    outside.seconds += 3
    breaker.end(probe=probe, failed=True)
    assert (await outside.refused()).retry_after_s == OPEN_S


async def test_only_one_probe_is_under_way_at_a_time() -> None:
    outside = Outside()
    await outside.open()
    outside.seconds += OPEN_S
    async with outside.one_under_way():
        await outside.refused()
        outside.seconds += OPEN_S - 1
        assert (await outside.refused()).retry_after_s == 1
    assert await outside.calls(2, fault=None) == [1, 1]


async def test_a_probe_whose_caller_goes_away_leaves_its_place_to_the_next() -> None:
    outside = Outside()
    await outside.open()
    outside.seconds += OPEN_S
    with anyio.move_on_after(0):
        await with_retries(anyio.sleep_forever, operation=Operation.READ, upstream=outside.upstream)
    assert await outside.calls(2, fault=SURELY_NOT) == [1, 0]


async def test_failures_of_attempts_from_before_the_opening_do_not_prolong_it() -> None:
    outside = Outside()
    breaker = outside.upstream.breaker
    for begun in [breaker.admit() for _ in range(2 * FEWEST_ATTEMPTS)]:
        outside.seconds += 0.25
        breaker.end(probe=begun, failed=True)
    assert breaker.refuses_for() == OPEN_S - 0.25 * FEWEST_ATTEMPTS


async def test_an_answer_to_a_question_from_before_the_opening_does_not_close_it() -> None:
    outside = Outside()
    async with outside.one_under_way():
        await outside.open()
    await outside.refused()


async def test_calls_at_the_same_time_share_the_tokens_and_the_breaker() -> None:
    outside = Outside(fault=SURELY_NOT)

    async def one() -> None:
        with pytest.raises(UpstreamUnavailableError):
            await outside.call()

    async with anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(one)
    assert outside.attempts <= 500
    assert await outside.refused()


async def test_each_client_has_a_state_of_its_own_and_its_time_is_the_event_loops() -> None:
    clients = [HttpClient("http://one.example"), HttpClient("http://one.example")]
    for client in clients:
        await client.aclose()
    first, second = (client._upstream for client in clients)
    while not first.breaker.refuses_for():
        first.breaker.end(probe=first.breaker.admit(), failed=True)
    with pytest.raises(UpstreamUnavailableError) as caught:
        await clients[0].request("GET", "/", operation=Operation.READ)
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= OPEN_S
    assert second.breaker.refuses_for() == 0
