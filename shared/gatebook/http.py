"""The one HTTP client: timeouts, no redirects, credentials for one origin only, answers classed for `retry`."""

import base64
import email.utils
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import anyio
import httpx
from pydantic import JsonValue

from gatebook.errors import ConflictError, ForbiddenError, GatebookError, NotFoundError, UnauthenticatedError
from gatebook.retry import ATTEMPT_S, Operation, TransientError, with_retries
from gatebook.upstream import Upstream

_Build = Callable[[Mapping[str, str]], httpx.Request]
"""Builds a request that carries these credentials."""

_UNCHANGED = 304
_UNAUTHENTICATED = 401
_THROTTLED = 429
_CONFLICTS = {409, 412}
_MAX_RETRY_AFTER_S = 86_400.0
_SURELY_REFUSED = {400, 404, 405, 410, 413, 415, 422}


@dataclass(frozen=True)
class Answer:
    """What an upstream answered.

    Args:
        status: The status, 304 included.
        headers: By name in small letters.
        body: The JSON, None where there was none or it was not asked for.
        links: The addresses of the Link header by relation (RFC 8288).
    """

    status: int
    headers: Mapping[str, str]
    body: JsonValue
    links: Mapping[str, str]


class Credentials(Protocol):
    """What proves to an upstream who asks."""

    async def headers(self) -> Mapping[str, str]:
        """Return the headers to send.

        Raises:
            UnauthenticatedError: If there are none to be had.
        """
        ...

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return others in place of headers that were answered with 401; None where there are no others.

        Raises:
            UnauthenticatedError: If there are no more to be had.
        """
        ...


class FixedCredentials:
    """Credentials that never change, such as an API token."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = dict(headers or {})

    @classmethod
    def basic(cls, user: str, password: str) -> "FixedCredentials":
        """Return those of a user (RFC 7617)."""
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return cls({"authorization": f"Basic {pair}"})

    async def headers(self) -> Mapping[str, str]:
        return self._headers

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        del refused
        return None


class HttpClient:
    """JSON over HTTP to one origin.

    Args:
        base_url: The origin and path prefix; requests never leave the origin, redirects are not followed.
        headers: Sent with every request.
        credentials: Sent with every request, and renewed once when the upstream refuses them.
        upstream: The retries left for this origin and its breaker; of this client alone unless given.
        refusal: Says what an answer without success means where this upstream differs from the others; None for
            what it does not know.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        upstream: Upstream | None = None,
        refusal: Callable[[Answer], TransientError | GatebookError | None] = lambda _: None,
    ) -> None:
        self._upstream = upstream or Upstream()
        self._credentials = credentials or FixedCredentials()
        self._refusal = refusal
        self._origin = _origin(httpx.URL(base_url))
        self._client = httpx.AsyncClient(
            base_url=base_url, headers=headers, timeout=ATTEMPT_S, follow_redirects=False, trust_env=False
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        operation: Operation,
        query: Mapping[str, str] | None = None,
        body: JsonValue = None,
    ) -> JsonValue:
        """Send a request as `ask` does, and return the JSON of the answer.

        Raises:
            GatebookError, AmbiguousError: As `ask`.
        """
        return (await self.ask(method, path, operation=operation, query=query, body=body)).body

    async def ask(
        self,
        method: str,
        path: str,
        *,
        operation: Operation,
        query: Mapping[str, str] | None = None,
        body: JsonValue = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, with retries as its class allows, and return the answer.

        Args:
            method: The HTTP method.
            path: Behind the base address, or a whole address of the same origin, as links in answers are.
            operation: What repeating the request may do.
            query: The query's parameters.
            body: The JSON to send.
            headers: Of this request alone, such as an idempotency key.

        Raises:
            NotFoundError: On 404 and 410, and on what else was surely refused.
            UnauthenticatedError: On 401 and 403.
            ForbiddenError: If `path` is an address of another origin.
            ConflictError: On 409 and 412.
            RateLimitedError: If the upstream asks to wait longer than the call may take.
            UpstreamUnavailableError: If surely nothing was applied and no attempt succeeded, or the breaker is open.
            AmbiguousError: If an effect may have been applied.
        """
        self._require_own(path)

        def build(credentials: Mapping[str, str]) -> httpx.Request:
            sent = {**(headers or {}), **credentials}
            return self._client.build_request(method, path, params=query, json=body, headers=sent, extensions=_TRACED)

        return await self._answered(build, operation=operation, read=True)

    async def post(self, path: str, content: bytes, *, headers: Mapping[str, str], operation: Operation) -> None:
        """Send bytes exactly as they are, as a signature over them demands; what is answered is not read.

        Raises:
            GatebookError, AmbiguousError: As `ask`.
        """
        self._require_own(path)

        def build(credentials: Mapping[str, str]) -> httpx.Request:
            sent = {**headers, **credentials}
            return self._client.build_request("POST", path, content=content, headers=sent, extensions=_TRACED)

        await self._answered(build, operation=operation, read=False)

    def _require_own(self, path: str) -> None:
        url = httpx.URL(path)
        if (url.scheme or url.host) and _origin(url) != self._origin:
            # A link in an answer may name another host, which must not see our credentials.
            raise ForbiddenError("the upstream points to another address.", next_step="Tell the operator.")

    async def _answered(self, build: _Build, *, operation: Operation, read: bool) -> Answer:
        async def attempt() -> Answer:
            answer = await self._authenticated(build, read=read)
            self._require_success(answer)
            return answer

        return await with_retries(attempt, operation=operation, upstream=self._upstream)

    async def _authenticated(self, build: _Build, *, read: bool) -> Answer:
        credentials = await self._credentials.headers()
        answer = await self._sent(build(credentials), read=read)
        if answer.status != _UNAUTHENTICATED:
            return answer
        renewed = await self._credentials.renew(credentials)
        return answer if renewed is None else await self._sent(build(renewed), read=read)

    async def _sent(self, request: httpx.Request, *, read: bool) -> Answer:
        try:
            # httpx limits each wait for bytes, which an upstream that trickles never exceeds.
            with anyio.fail_after(ATTEMPT_S):
                response = await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TransientError(applied=False) from error
        except (httpx.RequestError, TimeoutError) as error:
            raise TransientError(applied=True) from error
        return Answer(
            status=response.status_code,
            headers=dict(response.headers),
            body=_json(response) if read else None,
            links={name: link["url"] for name, link in response.links.items() if name and "url" in link},
        )

    def _require_success(self, answer: Answer) -> None:
        if httpx.codes.is_success(answer.status) or answer.status == _UNCHANGED:
            return
        raise self._refusal(answer) or _refusal(answer)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


@contextmanager
def sending_while(in_time: Callable[[], bool]) -> Generator[None]:
    """Send nothing inside the block once `in_time` says no: deadlines stand still while the machine sleeps."""
    token = _in_time.set(in_time)
    try:
        yield
    finally:
        _in_time.reset(token)


async def _require_time(event: str, _: object) -> None:
    """Send nothing after the deadline: a process that stood still goes on before it hears of the cancellation."""
    if not event.endswith(_BEFORE_SENDING):
        return
    if anyio.current_time() >= anyio.current_effective_deadline() or not _in_time.get()():
        raise TimeoutError


_BEFORE_SENDING = ("send_request_headers.started", "send_request_body.started")
_TRACED = {"trace": _require_time}
_in_time: ContextVar[Callable[[], bool]] = ContextVar("gatebook_in_time", default=lambda: True)


def _json(response: httpx.Response) -> JsonValue:
    try:
        return response.json() if response.content else None
    except ValueError as error:
        if not response.is_success:
            return None  # the status says enough; proxies answer with pages
        raise TransientError(applied=True) from error


def _refusal(answer: Answer) -> TransientError | GatebookError:
    status = answer.status
    if status == _THROTTLED:
        return TransientError(applied=False, throttled=True, retry_after_s=retry_after(answer.headers))
    if status in _CONFLICTS:
        return ConflictError("the object changed in the meantime.", next_step="Read it again and decide anew.")
    if status in (_UNAUTHENTICATED, 403):
        return UnauthenticatedError("the upstream refused the credentials.", next_step="Tell the operator.")
    if status in _SURELY_REFUSED:
        return NotFoundError("the upstream does not know or accept this.", next_step="Check the id.")
    return TransientError(applied=True, retry_after_s=retry_after(answer.headers))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After in both its forms (RFC 9110, section 10.2.3), in seconds up to a day; None for anything else.

    A date is taken by the clock of who answers, where the answer tells it.
    """
    value = headers.get("retry-after", "").strip()
    try:
        asked = float(value) if value.isdecimal() else _moment(value) - _answered_at(headers)
    except (ValueError, OverflowError):
        return None
    return min(max(asked, 0.0), _MAX_RETRY_AFTER_S)


def _answered_at(headers: Mapping[str, str]) -> float:
    try:
        return _moment(headers.get("date", ""))
    except (ValueError, OverflowError):
        return time.time()


def _moment(value: str) -> float:
    return email.utils.parsedate_to_datetime(value).timestamp()
