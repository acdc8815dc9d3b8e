"""The one retry policy. Retries happen here and at no other layer, so that attempts never multiply.

A first try and three retries, full jitter, a Retry-After respected where the call has time for it, as long as the
upstream has tokens left and its breaker is closed. What may be repeated depends on the class of the operation, never on
the HTTP verb: a PUT that adds a comment is not safe to repeat.
"""

import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Generic, TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from gatebook.errors import GatebookError, RateLimitedError, UpstreamUnavailableError
from gatebook.upstream import Upstream

ATTEMPTS = 4
"""First try plus three retries."""
ATTEMPT_S = 8.0
"""Longest time of one attempt, seconds."""
BASE_S = 0.5
CAP_S = 20.0
THROTTLED_S = 60.0
"""When to come back to an upstream that refused every attempt because of a rate limit and did not say for how long."""

T = TypeVar("T")


class Operation(Enum):
    """What repeating an operation may do."""

    READ = "read"
    """Changes nothing: always repeatable."""
    FENCED = "fenced"
    """The upstream recognises a repetition (idempotency key, optimistic version): repeatable."""
    EFFECT = "effect"
    """Repeatable only when the last attempt surely did nothing."""


class TransientError(Exception):
    """One attempt failed and another may succeed.

    Args:
        applied: False when the upstream surely did nothing; True when that cannot be told.
        retry_after_s: Seconds the upstream asked to wait.
        throttled: Whether the upstream refused because of a rate limit.
    """

    def __init__(self, *, applied: bool, retry_after_s: float | None = None, throttled: bool = False) -> None:
        super().__init__("the attempt failed")
        self.applied = applied
        self.retry_after_s = retry_after_s
        self.throttled = throttled


class AmbiguousError(Exception):
    """Whether an effect was applied cannot be told: look its marker up before anything else."""


_attempts: ContextVar[list[int] | None] = ContextVar("gatebook_attempts", default=None)
_waiting = True


@contextmanager
def counting_attempts(retries: list[int]) -> Generator[None]:
    """Append to `retries`, for each work inside the block, its attempts beyond the first."""
    token = _attempts.set(retries)
    try:
        yield
    finally:
        _attempts.reset(token)


@contextmanager
def without_waiting() -> Generator[None]:
    """Retry at once inside the block. For tests: counts and classes of errors stay what they are."""
    global _waiting  # noqa: PLW0603 - the one switch of the test mode
    before, _waiting = _waiting, False
    try:
        yield
    finally:
        _waiting = before


async def with_retries(
    work: Callable[[], Awaitable[T]], *, operation: Operation, upstream: Upstream | None = None
) -> T:
    """Await `work` until it succeeds, the attempts are used up, or the call's deadline leaves no room.

    Args:
        work: One attempt.
        operation: What repeating it may do.
        upstream: Whom it asks, with what earlier calls have learned of it; without, the call knows nothing.

    Raises:
        RateLimitedError: If the upstream asks to wait longer than the call may take.
        UpstreamUnavailableError: If no attempt succeeded and surely nothing was applied; at once while the breaker
            of the upstream is open.
        AmbiguousError: If an attempt may have applied a change and none succeeded. A refusal after such an attempt
            counts too: a fence refuses the repetition of what it let through.
    """
    call = _Call(work, operation=operation, upstream=upstream or Upstream())
    # `may_repeat` counts the attempts: a token must not be taken for a retry that is not made.
    retrying = AsyncRetrying(wait=_wait, retry=retry_if_exception(call.may_repeat), sleep=anyio.sleep, reraise=True)
    try:
        return await retrying(call.attempt)
    except (TransientError, GatebookError) as error:
        if call.maybe_applied and operation is not Operation.READ:
            raise AmbiguousError from error
        if isinstance(error, TransientError):
            raise _translated(error) from error
        raise
    finally:
        _note(call.attempts)


class _Call(Generic[T]):
    """The attempts of one call."""

    def __init__(self, work: Callable[[], Awaitable[T]], *, operation: Operation, upstream: Upstream) -> None:
        self._work = work
        self._operation = operation
        self._upstream = upstream
        self.attempts = 0
        self.maybe_applied = False

    async def attempt(self) -> T:
        probe = self._upstream.breaker.admit()
        self.attempts += 1
        if self.attempts == 1:
            self._upstream.tokens.earn()
        failed: bool | None = None
        try:
            result = await self._work()
        except TransientError as error:
            self.maybe_applied = self.maybe_applied or error.applied
            failed = not error.throttled
            raise
        except GatebookError:
            failed = False  # a refusal is an answer
            raise
        else:
            failed = False
            return result
        finally:
            self._upstream.breaker.end(probe=probe, failed=failed)

    def may_repeat(self, error: BaseException) -> bool:
        """Decide whether another attempt follows, and take its token."""
        if not isinstance(error, TransientError) or self.attempts == ATTEMPTS:
            return False
        if (error.applied and self._operation is Operation.EFFECT) or not _fits(_wait_of(error)):
            return False
        return not self._upstream.breaker.refuses_for() and self._upstream.tokens.take()


def _note(attempts: int) -> None:
    counter = _attempts.get()
    if counter is not None:
        counter.append(max(attempts - 1, 0))


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = _wait_of(error)
    if not _waiting:
        return 0.0
    jitter = random.uniform(0, min(CAP_S, BASE_S * 2**state.attempt_number))  # noqa: S311 - jitter, not a secret
    return max(asked, jitter) if _fits(max(asked, jitter)) else asked


def _wait_of(error: BaseException | None) -> float:
    return error.retry_after_s or 0.0 if isinstance(error, TransientError) else 0.0


def _fits(wait_s: float) -> bool:
    return anyio.current_time() + wait_s < anyio.current_effective_deadline()


def _translated(error: TransientError) -> GatebookError:
    if error.throttled:
        return RateLimitedError(
            "the upstream asks to wait.",
            next_step="Go on with other work and repeat this call later.",
            retry_after_s=THROTTLED_S if error.retry_after_s is None else error.retry_after_s,
        )
    return UpstreamUnavailableError(
        "the upstream did not answer within the attempts and the time of one call.",
        next_step="Go on with other work; do not repeat this call at once.",
    )
