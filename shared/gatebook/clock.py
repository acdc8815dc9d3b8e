"""Time and identifiers, in one place so that a test can hold them."""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STEP_S = 5.0
"""A clock that gains more than this between two readings was set, or this process stood still."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Steady:
    """A reading of a clock that nobody sets: `seconds` since `boot`, comparable among the processes of one boot.

    `boot` is empty where the system has no such clock; `seconds` are those of the ordinary one then.
    """

    boot: str
    seconds: float


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Return seconds since the epoch. It jumps when somebody sets the clock."""
        ...

    def steady(self) -> Steady:
        """Return the time for leases, which must not end because somebody set the clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def steady(self) -> Steady:
        boot = _boot()
        return Steady(boot, time.clock_gettime(time.CLOCK_BOOTTIME) if boot else time.time())


class Evenness:
    """How long a clock that people may set has gone on evenly, as a process sees it beside one that nobody sets."""

    def __init__(self) -> None:
        self._ahead: float | None = None
        self._since = 0.0

    def seconds(self, now: float) -> float:
        """Return for how many seconds the clock that says `now` has not been set ahead, and this process has looked."""
        own = time.monotonic()
        ahead = now - own
        if self._ahead is None or ahead > self._ahead + STEP_S:
            self._since = own
        self._ahead = ahead
        return own - self._since


@dataclass
class ManualClock:
    """A clock that a test moves."""

    seconds: float = 1_795_329_000.0
    ahead: float = 0.0

    def now(self) -> float:
        return self.seconds + self.ahead

    def steady(self) -> Steady:
        return Steady("manual", self.seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.seconds += seconds

    def jump(self, seconds: float) -> None:
        """Set the clock ahead by `seconds`, or back when negative, without any time passing."""
        self.ahead += seconds


@cache
def _boot() -> str:
    """Return the id of this boot, empty on a system that names none (other than Linux)."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def new_id(prefix: str) -> str:
    """Return a fresh identifier such as `run_7k2m9qx4t0bd`: 60 random bits, easy to read out loud."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(12))}"


def moment(seconds: float) -> datetime:
    """Return an epoch time as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def local_day(seconds: float, zone: ZoneInfo) -> str:
    """Return the calendar day (`YYYY-MM-DD`) of an epoch time in `zone`."""
    return datetime.fromtimestamp(seconds, zone).date().isoformat()
