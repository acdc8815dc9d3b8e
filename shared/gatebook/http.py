"""The one HTTP client: timeouts, no redirects, credentials for one origin only, answers classed for `retry`."""

import email.utils
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import anyio
import httpx
from pydantic import JsonValue

from gatebook.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError
from gatebook.retry import ATTEMPT_S, Operation, TransientError, with_retries
from gatebook.upstream import Upstream

T = TypeVar("T")

_THROTTLED = 429
_CONFLICTS = {409, 412}
_MAX_RETRY_AFTER_S = 86_400.0
_SURELY_REFUSED = {400, 404, 405, 410, 413, 415, 422}


class HttpClient:
    """JSON over HTTP to one origin.

    Args:
        base_url: The origin and path prefix; requests never leave it, redirects are not followed.
        headers: Sent with every request, credentials included.
        upstream: The retries left for this origin and its breaker; of this client alone unless given.
    """

    def __init__(
        self, base_url: str, *, headers: Mapping[str, str] | None = None, upstream: Upstream | None = None
    ) -> None:
        self._upstream = upstream or Upstream()
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
        """Send a request, with retries as its class allows, and return the JSON of the answer.

        Raises:
            NotFoundError: On 404 and 410.
            UnauthenticatedError: On 401 and 403.
            ForbiddenError: If `path` is a whole address.
            ConflictError: On 409 and 412.
            RateLimitedError: If the upstream asks to wait longer than the call may take.
            UpstreamUnavailableError: If surely nothing was applied and no attempt succeeded, or the breaker is open.
            AmbiguousError: If an effect may have been applied.
        """
        return await self._send(method, path, _json, operation=operation, params=query, json=body)

    async def post(self, path: str, content: bytes, *, headers: Mapping[str, str], operation: Operation) -> None:
        """Send bytes exactly as they are, as a signature over them demands; what is answered is not read.

        Raises:
            GatebookError, AmbiguousError: As `request`.
        """
        await self._send("POST", path, lambda _: None, operation=operation, content=content, headers=headers)

    async def _send(
        self,
        method: str,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        operation: Operation,
        params: Mapping[str, str] | None = None,
        json: JsonValue = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        if httpx.URL(path).is_absolute_url:
            # A link in an answer may name another host, which must not see our credentials.
            raise ForbiddenError("the upstream points to another address.", next_step="Tell the operator.")

        async def attempt() -> T:
            try:
                # httpx limits each wait for bytes, which an upstream that trickles never exceeds.
                with anyio.fail_after(ATTEMPT_S):
                    response = await self._client.request(
                        method,
                        path,
                        params=params,
                        json=json,
                        content=content,
                        headers=headers,
                        extensions={"trace": _require_time},
                    )
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise TransientError(applied=False) from error
            except (httpx.RequestError, TimeoutError) as error:
                raise TransientError(applied=True) from error
            _require_success(response)
            return read(response)

        return await with_retries(attempt, operation=operation, upstream=self._upstream)


async def _require_time(event: str, _: object) -> None:
    """Send no body after the deadline: a process that stood still goes on before it hears of the cancellation."""
    if event.endswith("send_request_body.started") and anyio.current_time() >= anyio.current_effective_deadline():
        raise TimeoutError


def _json(response: httpx.Response) -> JsonValue:
    try:
        return response.json() if response.content else None
    except ValueError as error:
        raise TransientError(applied=True) from error


def _require_success(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_success:
        return
    if status == _THROTTLED:
        raise TransientError(applied=False, throttled=True, retry_after_s=_retry_after(response))
    if status in _CONFLICTS:
        raise ConflictError("the object changed in the meantime.", next_step="Read it again and decide anew.")
    if status in (401, 403):
        raise UnauthenticatedError("the upstream refused the credentials.", next_step="Tell the operator.")
    if status in _SURELY_REFUSED:
        raise NotFoundError("the upstream does not know or accept this.", next_step="Check the id.")
    raise TransientError(applied=True, retry_after_s=_retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    """Read Retry-After in both its forms (RFC 9110, section 10.2.3), in seconds up to a day; None for anything else."""
    value = response.headers.get("retry-after", "").strip()
    try:
        asked = (
            float(value) if value.isdecimal() else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None
    return min(max(asked, 0.0), _MAX_RETRY_AFTER_S)
