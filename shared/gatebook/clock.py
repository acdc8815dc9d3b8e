"""Time and identifiers, in one place so that a test can hold them."""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


@dataclass
class ManualClock:
    """A clock that a test moves."""

    seconds: float = 1_795_329_000.0

    def now(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Move the time forward (or back, when negative) by `seconds`."""
        self.seconds += seconds


def new_id(prefix: str) -> str:
    """Return a fresh identifier such as `run_7k2m9qx4t0bd`: 60 random bits, easy to read out loud."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(12))}"


def moment(seconds: float) -> datetime:
    """Return an epoch time as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def local_day(seconds: float, zone: ZoneInfo) -> str:
    """Return the calendar day (`YYYY-MM-DD`) of an epoch time in `zone`."""
    return datetime.fromtimestamp(seconds, zone).date().isoformat()
