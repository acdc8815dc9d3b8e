"""Jira's HTTP API: what its refusals mean, and which calls a rate limit stops.

Three limits hold at once, and the answer names which was reached (`RateLimit-Reason`,
https://developer.atlassian.com/cloud/jira/platform/build-an-app-that-respects-rate-limits/): one stops an endpoint, one
the writes to an issue, one everything.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import anyio
from pydantic import BaseModel, JsonValue, ValidationError

from gatebook.errors import (
    ConflictError,
    Detail,
    ForbiddenError,
    GatebookError,
    InvalidArgumentsError,
    RateLimitedError,
    TooLargeError,
    UnsupportedError,
    UpstreamUnavailableError,
)
from gatebook.http import Answer, Credentials, HttpClient, retry_after
from gatebook.retry import THROTTLED_S, AmbiguousError, Operation, TransientError

T = TypeVar("T", bound=BaseModel)

_API = "/rest/api/3"
_DESK_API = "/rest/servicedeskapi"
_THROTTLED = 429
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")


@dataclass(frozen=True)
class Call:
    """One call: the method and path, and what its limits are counted by.

    Args:
        method: The HTTP method.
        path: Behind the API's root.
        endpoint: The path without its ids.
        issue: The issue that it writes to, empty for a read.
        desk: Whether it is one of the service desk API.
    """

    method: str
    path: str
    endpoint: str
    issue: str = ""
    desk: bool = False

    @property
    def address(self) -> str:
        """The path behind the site's address."""
        return f"{_DESK_API if self.desk else _API}{self.path}"


class _ThrottledError(TransientError):
    """A 429 and why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(applied=False, throttled=True, retry_after_s=retry_after(answer.headers))
        self.reason = answer.headers.get("ratelimit-reason", "")


class Backoffs:
    """Which calls are not to be made until when, so that a limit on one kind of call does not stop the others.

    Args:
        now: Returns seconds of a clock that never goes back.
    """

    def __init__(self, *, now: Callable[[], float] = anyio.current_time) -> None:
        self._now = now
        self._until: dict[str, float] = {}

    def require(self, call: Call) -> None:
        """Refuse a call that Jira asked to wait with.

        Raises:
            RateLimitedError: Nothing was sent; `retry_after_s` is what is left.
        """
        now = self._now()
        self._until = {scope: until for scope, until in self._until.items() if until > now}
        left = max((self._until.get(scope, now) - now for scope in _scopes(call)), default=0.0)
        if left > 0:
            raise RateLimitedError(
                "Jira asked to wait with calls of this kind.",
                next_step="Go on with other work and repeat this call later.",
                retry_after_s=left,
            )

    def note(self, call: Call, reason: str, wait_s: float) -> None:
        """Record that Jira refused a call because of a limit."""
        everything, endpoint, issue = _EVERYTHING, f"{call.method} {call.endpoint}", f"issue {call.issue}"
        scope = everything if "quota" in reason else issue if "per-issue" in reason and call.issue else endpoint
        self._until[scope] = max(self._until.get(scope, 0.0), self._now() + wait_s)


_EVERYTHING = "everything"


def _scopes(call: Call) -> tuple[str, ...]:
    own = (f"issue {call.issue}",) if call.issue else ()
    return (_EVERYTHING, f"{call.method} {call.endpoint}", *own)


class JiraClient:
    """Jira's API at one address.

    Args:
        base_url: The site, or `https://api.atlassian.com/ex/jira/CLOUD-ID`.
        credentials: Who asks.
    """

    def __init__(self, base_url: str, credentials: Credentials) -> None:
        self._http = HttpClient(base_url, credentials=credentials, refusal=_refusal)
        self._backoffs = Backoffs()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def anything(self) -> Answer:
        """Ask for something harmless."""
        return await self._http.ask("GET", f"{_API}/myself", operation=Operation.READ)

    async def read(
        self, kind: type[T], call: Call, *, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> T:
        """Ask for something, with retries.

        Raises:
            UpstreamUnavailableError: If the answer is not what Jira's API answers.
            GatebookError: As `HttpClient.ask`, and what `_refusal` says.
        """
        try:
            return kind.model_validate(await self._asked(call, Operation.READ, query=query, body=body))
        except ValidationError:
            raise UpstreamUnavailableError(
                "Jira's answer has another form than its API.", next_step="Tell the operator."
            ) from None

    async def write(self, kind: type[T], call: Call, body: JsonValue) -> T:
        """Change something, once, and return what Jira says of it.

        Raises:
            AmbiguousError: If it may have been applied, or was and the answer cannot be read.
            GatebookError: If it surely was not.
        """
        answer = await self._asked(call, Operation.EFFECT, body=body)
        try:
            return kind.model_validate(answer)
        except ValidationError:
            raise AmbiguousError from None

    async def change(self, call: Call, body: JsonValue) -> None:
        """Change something, once, where Jira answers nothing of use.

        Raises:
            AmbiguousError: If it may have been applied.
            GatebookError: If it surely was not.
        """
        await self._asked(call, Operation.EFFECT, body=body)

    async def _asked(
        self, call: Call, operation: Operation, *, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> JsonValue:
        self._backoffs.require(call)
        try:
            return await self._http.request(call.method, call.address, operation=operation, query=query, body=body)
        except RateLimitedError as error:
            reason = error.__cause__.reason if isinstance(error.__cause__, _ThrottledError) else ""
            self._backoffs.note(call, reason, error.retry_after_s or THROTTLED_S)
            raise


def _refusal(answer: Answer) -> TransientError | GatebookError | None:
    """Say what a refusal of Jira's means; nothing was applied in any of these cases."""
    if answer.status == _THROTTLED:
        return _ThrottledError(answer)
    made = _REFUSALS.get(answer.status)
    return made(_faults(answer.body)) if made else None


_Faults = dict[str, Detail]
_REFUSALS: dict[int, Callable[[_Faults], GatebookError]] = {
    400: lambda faults: InvalidArgumentsError(
        "Jira does not accept a field of this.",
        next_step="Leave the named fields out, or tell the operator.",
        details=faults,
    ),
    403: lambda _: ForbiddenError("Jira does not let this account do that.", next_step="Tell the operator."),
    409: lambda _: ConflictError("Jira is changing the issue already.", next_step="Read it again and decide anew."),
    413: lambda _: TooLargeError("this is larger than Jira takes.", next_step="Shorten it."),
    422: lambda faults: UnsupportedError(
        "the workflow does not let this happen now.", next_step="Read the ticket again.", details=faults
    ),
}


def _faults(body: JsonValue) -> _Faults:
    """Return the names of the fields that Jira found fault with; what it says of them may quote anybody's text."""
    errors = body.get("errors") if isinstance(body, dict) else None
    names = sorted(name for name in errors if _FIELD.fullmatch(name)) if isinstance(errors, dict) else []
    return {"fields": ",".join(names[:10])} if names else {}
