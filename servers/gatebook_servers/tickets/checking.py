"""How a desk checks itself for `gatebook doctor`, and the findings that most desks share.

A finding holds no text of the other side: what is printed there would else be the first place where it is believed.
"""

import email.utils
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Literal, Protocol, runtime_checkable

from pydantic import computed_field

from gatebook.clock import moment
from gatebook.errors import GatebookError
from gatebook.http import Answer, Credentials
from gatebook.intents import Value
from gatebook.retry import AmbiguousError
from gatebook.runtime import Runtime
from gatebook.tokens import RenewingCredentials

SKEW_S = 60.0
"""By how much our clock may differ from the desk's, seconds, before a person should look."""
WORST_SKEW_S = 300.0
"""And before times and signatures mean something else."""
FEW_LEFT = 0.1
"""Which part of a rate limit is few."""
ENDING_SOON_D = 180
"""How many days before something ends it is told."""


class Finding(Value):
    """What one check found. `warning` is for a person to look at; `wrong` is a failure."""

    check: str
    level: Literal["ok", "warning", "wrong"] = "ok"
    detail: str

    @computed_field
    @property
    def ok(self) -> bool:
        """Whether it works."""
        return self.level != "wrong"

    @classmethod
    def of(cls, check: str, detail: str, *, ok: bool) -> "Finding":
        """Return a finding that is right or wrong."""
        return cls(check=check, level="ok" if ok else "wrong", detail=detail)

    @classmethod
    def failed(cls, check: str, error: GatebookError) -> "Finding":
        """Return what a refusal says."""
        return cls(check=check, level="wrong", detail=f"{error.message} {error.next_step}")


@runtime_checkable
class Checked(Protocol):
    """A desk that can check itself."""

    async def check(self) -> Sequence[Finding]:
        """Return whether it can be reached with these credentials, and what a person should know; changes nothing.

        Raises:
            GatebookError: As any call of the desk; it is told as a finding.
        """
        ...


async def checked(
    runtime: Runtime,
    account: str,
    credentials: Credentials,
    ask: Callable[[], Awaitable[Answer]],
    *,
    limit: str = "x-ratelimit-limit",
    left: str = "x-ratelimit-remaining",
) -> list[Finding]:
    """Say what can be said of most desks: their tokens, whether they answer, their clock and their limit.

    Args:
        runtime: The process's ports.
        account: The desk's.
        credentials: Who asks.
        ask: Asks for something harmless.
        limit: The header with the most requests of a while.
        left: The header with those that are left.
    """
    found: list[Finding] = []
    if isinstance(credentials, RenewingCredentials):
        now, steady = await runtime.transact(lambda tx: (tx.now, tx.steady), durable=False)
        found += await renewing(credentials, now=now, steady=steady)
    answer, findings = await reached(account, ask(), now=runtime.clock.now())
    return [*found, *findings, *(rate(answer.headers, limit=limit, left=left) if answer else [])]


async def reached(account: str, asking: Awaitable[Answer], *, now: float) -> tuple[Answer | None, list[Finding]]:
    """Await a harmless request and say whether the desk lets us in, and whether its clock is ours.

    Args:
        account: The desk's.
        asking: The request.
        now: Our time, seconds since the epoch.
    """
    try:
        answer = await asking
    except GatebookError as error:
        return None, [Finding.failed("desk", error)]
    except AmbiguousError:
        return None, [Finding.of("desk", f"{account} did not answer", ok=False)]
    return answer, [Finding.of("desk", f"{account} answers", ok=True), *clock(answer.headers, now=now)]


def clock(headers: Mapping[str, str], *, now: float) -> list[Finding]:
    """Compare our time with the Date of an answer (RFC 9110, section 6.6.1); nothing where it has none."""
    try:
        ahead = now - email.utils.parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return []
    detail = f"ours is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the desk's"
    if abs(ahead) >= WORST_SKEW_S:
        return [Finding(check="clock", level="wrong", detail=f"{detail}; set it by NTP")]
    return [Finding(check="clock", level="warning" if abs(ahead) >= SKEW_S else "ok", detail=detail)]


def rate(headers: Mapping[str, str], *, limit: str, left: str) -> list[Finding]:
    """Say how much of a rate limit is left, by the names of the headers; nothing where they are missing."""
    most, rest = headers.get(limit, ""), headers.get(left, "")
    if not (most.isdecimal() and rest.isdecimal() and int(most)):
        return []
    few = int(rest) < int(most) * FEW_LEFT
    return [Finding(check="rate limit", level="warning" if few else "ok", detail=f"{int(rest)} of {int(most)} left")]


def scopes(held: Collection[str], needed: Collection[str]) -> list[Finding]:
    """Say which scopes are missing; nothing where it is not known which there are, or are needed.

    A general scope stands for those of every kind: Zendesk's `read` for `tickets:read`.
    """
    if not held or not needed:
        return []
    missing = [scope for scope in needed if scope not in held and scope.rpartition(":")[2] not in held]
    detail = f"missing, unless others do the same: {', '.join(missing)}" if missing else "all that is needed"
    return [Finding(check="scopes", level="warning" if missing else "ok", detail=detail)]


def ending(what: str, last: date, *, today: date) -> Finding:
    """Say when something of the desk ends for good."""
    left = (last - today).days
    level = "wrong" if left < 0 else "warning" if left <= ENDING_SOON_D else "ok"
    return Finding(check="ends", level=level, detail=f"{what} {'ended' if left < 0 else 'end'} on {last:%d %B %Y}")


async def renewing(credentials: RenewingCredentials, *, now: float, steady: float) -> list[Finding]:
    """Say whether there is a token, and what for; whatever was refused is tried once more: a person may have mended it.

    Args:
        credentials: Those of the desk.
        now: Our time, seconds since the epoch.
        steady: The same moment on the clock of leases.
    """
    try:
        held = await credentials.tried_anew()
    except GatebookError as error:
        return [Finding.failed("credentials", error)]
    until = f"good until {moment(now + held.expires_at - steady):%H:%M:%S} UTC"
    if held.refused:
        token = Finding(check="credentials", level="warning", detail=f"{until}, and were not renewed")
    else:
        token = Finding.of("credentials", f"a token, {until} and renewed before", ok=True)
    return [token, *scopes(held.tokens.scope.split(), credentials.needed.split())]
