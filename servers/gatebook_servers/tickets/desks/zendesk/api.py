"""The endpoints of Zendesk that are used, and what its refusals mean.

https://developer.zendesk.com/api-reference/ticketing/introduction/
"""

import email.utils
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from gatebook.errors import GatebookError, IdempotencyConflictError, TooLargeError, UnsupportedError
from gatebook.http import Answer, Credentials, HttpClient, retry_after
from gatebook.retry import AmbiguousError, Operation, TransientError
from gatebook.telemetry import count_upstream_warning
from gatebook.upstream import Upstream
from gatebook_servers.tickets.desks.zendesk.payloads import (
    AuditsAnswer,
    CommentsAnswer,
    ExportAnswer,
    M,
    PeopleAnswer,
    SearchAnswer,
    TicketAnswer,
    TicketsAnswer,
    parsed,
)

PAGE = 100
"""Most items of one page, of every list."""
_WARNING = "x-zendesk-api-warn"
_EXHAUSTED = re.compile(r"\bremaining=0\b.*\bresets=(\d+)")

logger = logging.getLogger(__name__)

Json = dict[str, JsonValue]


@dataclass(frozen=True)
class TicketRead:
    """A ticket with the people on it. `at` is Zendesk's time then, None where it did not say."""

    answer: TicketAnswer
    at: datetime | None


@dataclass(frozen=True)
class Found:
    """Some tickets of the index, whether more wait, and Zendesk's time."""

    answer: SearchAnswer
    at: datetime | None


class ZendeskApi:
    """One account.

    Args:
        url: The account's address.
        credentials: What proves who asks.
        upstream: The retry tokens and the breaker, of this client alone unless given.
    """

    def __init__(self, url: str, *, credentials: Credentials, upstream: Upstream | None = None) -> None:
        self.credentials = credentials
        self._http = HttpClient(url, credentials=credentials, upstream=upstream, refusal=_refusal)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def anything(self) -> Answer:
        """Ask for something harmless."""
        return await self._get("/api/v2/tickets", {"page[size]": "1"})

    async def ticket(self, number: int) -> TicketRead:
        """Return a ticket.

        Raises:
            NotFoundError: If there is none.
        """
        answer = await self._get(f"/api/v2/tickets/{number}", {"include": "users"})
        return TicketRead(parsed(TicketAnswer, answer.body), _time_of(answer))

    async def tickets(self, numbers: list[int]) -> TicketsAnswer:
        """Return tickets by number, up to 100; those that are gone are left out."""
        query = {"ids": ",".join(map(str, numbers)), "include": "users"}
        return await self._read(TicketsAnswer, "/api/v2/tickets/show_many", query)

    async def tickets_of(self, external_id: str) -> TicketsAnswer:
        """Return the tickets that were created with an id of ours."""
        return await self._read(TicketsAnswer, "/api/v2/tickets", {"external_id": external_id})

    async def changed_last(self, *, after: str | None) -> TicketsAnswer:
        """Return tickets straight from the database, those that changed last first, without archived ones."""
        query = {"sort": "-updated_at", "include": "users", **_cursor(after)}
        return await self._read(TicketsAnswer, "/api/v2/tickets", query)

    async def comments(self, number: int, *, after: str | None) -> CommentsAnswer:
        """Return messages of a ticket, the newest first."""
        query = {"sort": "-created_at", "include": "users", **_cursor(after)}
        return await self._read(CommentsAnswer, f"/api/v2/tickets/{number}/comments", query)

    async def audits(self, number: int, *, after: str | None) -> AuditsAnswer:
        """Return changes of a ticket, the newest first."""
        query = {"sort": "-created_at", **_cursor(after)}
        return await self._read(AuditsAnswer, f"/api/v2/tickets/{number}/audits", query)

    async def search(self, query: str, *, sort_by: str, page: int) -> Found:
        """Search the index for tickets, the oldest first; it lags by up to a few minutes and ends after 10 pages."""
        asked = {"query": query, "sort_by": sort_by, "sort_order": "asc", "per_page": str(PAGE), "page": str(page)}
        answer = await self._get("/api/v2/search", asked)
        return Found(parsed(SearchAnswer, answer.body), _time_of(answer))

    async def people(self, query: str) -> PeopleAnswer:
        """Search for people."""
        return await self._read(PeopleAnswer, "/api/v2/search", {"query": query})

    async def export(self, where: Mapping[str, str], *, limit: int) -> ExportAnswer:
        """Return tickets in the order of their changes; for administrators, 10 requests a minute.

        Args:
            where: `start_time`, seconds since the epoch, or `cursor`.
            limit: Most tickets.

        Raises:
            NotFoundError: If Zendesk no longer knows the cursor.
        """
        query = {**where, "per_page": str(limit), "include": "users"}
        return await self._read(ExportAnswer, "/api/v2/incremental/tickets/cursor", query)

    async def create(self, request: Json, *, key: str) -> TicketAnswer:
        """Create a ticket; within two hours the same key and request create it once.

        Raises:
            AmbiguousError: If it may have been created.
        """
        # https://developer.zendesk.com/api-reference/ticketing/introduction/#idempotency
        headers = {"Idempotency-Key": key}
        return await self._write("POST", "/api/v2/tickets", request, operation=Operation.FENCED, headers=headers)

    async def update(self, number: int, request: Json, *, operation: Operation) -> TicketAnswer:
        """Change a ticket or add a message to it.

        Raises:
            ConflictError: If it is not at the request's stamp.
            AmbiguousError: If the change may have been applied.
        """
        return await self._write("PUT", f"/api/v2/tickets/{number}", request, operation=operation)

    async def _get(self, path: str, query: Mapping[str, str]) -> Answer:
        answer = await self._http.ask("GET", path, operation=Operation.READ, query=query)
        _tell_warning(answer)
        return answer

    async def _read(self, kind: type[M], path: str, query: Mapping[str, str]) -> M:
        return parsed(kind, (await self._get(path, query)).body)

    async def _write(
        self, method: str, path: str, request: Json, *, operation: Operation, headers: Mapping[str, str] | None = None
    ) -> TicketAnswer:
        answer = await self._http.ask(method, path, operation=operation, body={"ticket": request}, headers=headers)
        _tell_warning(answer)
        try:
            return parsed(TicketAnswer, answer.body)
        except GatebookError as error:
            # It was accepted, whatever it says.
            raise AmbiguousError from error


def _cursor(after: str | None) -> dict[str, str]:
    return {"page[size]": str(PAGE), **({"page[after]": after} if after else {})}


def _tell_warning(answer: Answer) -> None:
    """Count that Zendesk ignored a part of a request: what it says of it may hold values and goes nowhere."""
    if _WARNING in answer.headers:
        count_upstream_warning("zendesk")
        logger.warning("Zendesk ignored a part of a request")


def _refusal(answer: Answer) -> TransientError | GatebookError | None:
    _tell_warning(answer)
    if answer.status == 429:  # noqa: PLR2004 - the statuses of HTTP are known by their numbers
        return TransientError(applied=False, throttled=True, retry_after_s=_wait_of(answer.headers))
    if answer.status == 400 and _error_of(answer.body) == "IdempotentRequestError":  # noqa: PLR2004 - as above
        return IdempotencyConflictError(
            "another ticket was created with this marker.", next_step="Do not repeat it; ask a person to look."
        )
    if answer.status == 413:  # noqa: PLR2004 - as above
        return TooLargeError("the text is longer than Zendesk takes.", next_step="Write a shorter one.")
    if answer.status == 422:  # noqa: PLR2004 - as above
        return UnsupportedError(
            "Zendesk does not accept this; nothing was changed.",
            next_step="Read the ticket: a closed one takes no change, and a solved one needs an assignee.",
        )
    return None


def _error_of(body: JsonValue) -> JsonValue:
    return body.get("error") if isinstance(body, dict) else None


def _wait_of(headers: Mapping[str, str]) -> float | None:
    """Return how long to wait, seconds: as Retry-After says, or until the exhausted limit is reset.

    https://developer.zendesk.com/api-reference/introduction/rate-limits/
    """
    asked = retry_after(headers)
    if asked is not None:
        return asked
    named = [
        found[1]
        for name, value in headers.items()
        if name.startswith(("zendesk-ratelimit-", "zendesk-rate-limit-")) and (found := _EXHAUSTED.search(value))
    ]
    plain = [headers[name] for name in ("ratelimit-reset", "rate-limit-reset") if name in headers]
    return max((float(value) for value in named or plain if value.isdecimal()), default=None)


def _time_of(answer: Answer) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
