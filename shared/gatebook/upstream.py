"""What is known of one upstream: whether retries are left, and whether asking it makes sense at all.

A retry helps against a fault that passes and makes an outage worse. Tokens bound what retries may add to the load;
the breaker ends the asking while most attempts fail. Both live in the process, beside the client whose attempts
they judge, and are used from its event loop alone: no method awaits, so calls cannot interleave inside one.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from gatebook.errors import UpstreamUnavailableError

logger = logging.getLogger(__name__)

MOST_TOKENS = 10
"""Retries that a rested upstream gets in a row."""
FIRSTS_PER_TOKEN = 6
"""First attempts that earn one retry: retries add a sixth to the load, with a full bucket at most a fifth."""
WINDOW_S = 30.0
"""How long the breaker remembers an attempt, seconds."""
FEWEST_ATTEMPTS = 20
"""With fewer attempts in the window the breaker never opens."""
OPEN_S = 15.0
"""How long an open breaker refuses, seconds; also the longest it waits for a probe to end."""


class RetryTokens:
    """A bucket of retries, full at first."""

    def __init__(self) -> None:
        # Counted in first attempts, as parts of a token do not add up in binary.
        self._earned = MOST_TOKENS * FIRSTS_PER_TOKEN

    def earn(self) -> None:
        """A first attempt begins."""
        self._earned = min(self._earned + 1, MOST_TOKENS * FIRSTS_PER_TOKEN)

    def take(self) -> bool:
        """Take the token of one retry; False when none is left."""
        if self._earned < FIRSTS_PER_TOKEN:
            return False
        self._earned -= FIRSTS_PER_TOKEN
        return True


class CircuitBreaker:
    """Refuses at once while the upstream is down.

    It opens when at least half of at least `FEWEST_ATTEMPTS` attempts of the last `WINDOW_S` seconds failed. After
    `OPEN_S` seconds one attempt at a time is let through; one that does not fail closes it.

    Args:
        now: Returns seconds of a clock that never goes back.
    """

    def __init__(self, *, now: Callable[[], float] = anyio.current_time) -> None:
        self._now = now
        self._attempts: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._refuses_until: float | None = None

    def admit(self) -> bool:
        """Let an attempt begin; True when it is the probe of an open breaker. `end` must follow.

        Raises:
            UpstreamUnavailableError: If the breaker is open. Nothing was sent. `retry_after_s` is what is left.
        """
        if self._refuses_until is None:
            return False
        left = self.refuses_for()
        if left > 0:
            raise _refusal(left)
        # Keeps the others out while the probe is under way.
        self._refuses_until = self._now() + OPEN_S
        return True

    def refuses_for(self) -> float:
        """Return for how many seconds nothing is let through, 0 when `admit` would not raise."""
        return 0.0 if self._refuses_until is None else max(self._refuses_until - self._now(), 0.0)

    def end(self, *, probe: bool, failed: bool | None) -> None:
        """Judge an attempt that `admit` let through.

        Args:
            probe: What `admit` returned.
            failed: None when its end says nothing of the upstream, as when the caller was cancelled.
        """
        if probe:
            self._end_probe(failed=failed)
        elif self._refuses_until is None and failed is not None:
            # While it is open, an attempt from before the opening has nothing new to tell.
            self._remember(failed=failed)

    def _end_probe(self, *, failed: bool | None) -> None:
        if failed is None:
            self._refuses_until = self._now()
        elif failed:
            self._refuses_until = self._now() + OPEN_S
        else:
            self._refuses_until = None
            logger.info("the upstream answers again")

    def _remember(self, *, failed: bool) -> None:
        now = self._now()
        self._attempts.append((now, failed))
        self._failures += failed
        while self._attempts[0][0] <= now - WINDOW_S:
            self._failures -= self._attempts.popleft()[1]
        if len(self._attempts) < FEWEST_ATTEMPTS or 2 * self._failures < len(self._attempts):
            return
        logger.warning("most attempts at the upstream failed; it is left alone for a while", extra={"open_s": OPEN_S})
        self._refuses_until = now + OPEN_S
        self._attempts.clear()
        self._failures = 0


@dataclass(frozen=True)
class Upstream:
    """One upstream, as its client has seen it so far."""

    tokens: RetryTokens = field(default_factory=RetryTokens)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)


def _refusal(left_s: float) -> UpstreamUnavailableError:
    return UpstreamUnavailableError(
        "the upstream failed too often just now and is left alone; nothing was sent.",
        next_step="Go on with other work; do not repeat this call at once.",
        retry_after_s=math.ceil(left_s * 10) / 10,
        # The time is for whoever waits anyway, as the outbox does; it is no invitation to repeat.
        details={"retryable": False},
    )
