"""GitHub's REST API as the desk asks it: versioned, with entity tags, and with what its limits mean.

Limits: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

import email.utils
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

from pydantic import JsonValue

from gatebook.clock import Clock
from gatebook.errors import GatebookError, InvalidArgumentsError, NotFoundError
from gatebook.http import Answer, HttpClient, retry_after
from gatebook.retry import Operation, TransientError
from gatebook.settings import Settings
from gatebook_servers.tickets.desks.github.credentials import AppCredentials, credentials_of
from gatebook_servers.tickets.desks.github.reading import USER, parsed

API_VERSION = "2026-03-10"
UNNAMED_WAIT_S = 60.0
"""GitHub: where a limit names no time, wait at least a minute."""
_HEADERS = {"accept": "application/vnd.github+json", "x-github-api-version": API_VERSION, "user-agent": "gatebook"}
_LIMITED = {403, 429}
_MOVED = {301, 302, 307, 308}
_THROTTLED, _UNPROCESSABLE, _UNCHANGED = 429, 422, 304
_MOST_WAIT_S = 86_400.0
MOST_ANSWERS = 256
MOST_CHARS = 8_000_000


class GitHubClient:
    """One account at GitHub.

    Args:
        settings: Where GitHub is and who asks.
        clock: For the ends of an app's tokens.

    Raises:
        ConfigurationError: If there are no credentials.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        open_client = partial(HttpClient, settings.github_url, headers=_HEADERS, refusal=refusal)
        self.credentials = credentials_of(settings, open_client, clock)
        self._http = open_client(credentials=self.credentials)
        self._answers = _Answers()
        self._login = ""
        self.read_at: float | None = None
        """When the last reading was by GitHub's clock, seconds since the epoch."""

    async def aclose(self) -> None:
        """Close the connections."""
        if isinstance(self.credentials, AppCredentials):
            await self.credentials.aclose()
        await self._http.aclose()

    async def login(self) -> str:
        """Return the account as which we write."""
        if not self._login:
            if isinstance(self.credentials, AppCredentials):
                self._login = await self.credentials.login()
            else:
                self._login = parsed(USER, (await self.read("/user")).body).login
        return self._login

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Ask for what is there; what did not change costs nothing of the primary limit.

        Args:
            path: Behind the base address, or a link of an answer.
            query: The query's parameters.

        Raises:
            GatebookError: As `HttpClient.ask`; InvalidArgumentsError on 422.
        """
        key = json.dumps([path, sorted((query or {}).items())])
        known = self._answers.get(key)
        headers = {"if-none-match": known.headers["etag"]} if known else {}
        answer = await self._http.ask("GET", path, operation=Operation.READ, query=query, headers=headers)
        self.read_at = seconds_at(answer) or self.read_at
        if known and answer.status == _UNCHANGED:
            # The time is that of this answer.
            return Answer(known.status, {**known.headers, **answer.headers}, known.body, known.links)
        self._answers.keep(key, answer)
        return answer

    async def write(self, method: str, path: str, body: JsonValue) -> JsonValue:
        """Change something; GitHub does not recognise a repetition.

        Raises:
            GatebookError, AmbiguousError: As `HttpClient.ask`; InvalidArgumentsError on 422.
        """
        return await self._http.request(method, path, operation=Operation.EFFECT, body=body)


class _Answers:
    """Answers with their entity tags, the least used forgotten first; bounded in number and in characters."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Answer, int]] = OrderedDict()
        self._chars = 0

    def get(self, key: str) -> Answer | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, key: str, answer: Answer) -> None:
        self._chars -= self._kept.pop(key, (answer, 0))[1]
        if "etag" not in answer.headers:
            return
        chars = len(json.dumps(answer.body))
        self._kept[key] = (answer, chars)
        self._chars += chars
        while len(self._kept) > MOST_ANSWERS or self._chars > MOST_CHARS:
            self._chars -= self._kept.popitem(last=False)[1][1]


def refusal(answer: Answer) -> TransientError | GatebookError | None:
    """Say what GitHub means by an answer, where it differs from others."""
    if answer.status in _LIMITED:
        wait_s = _wait_of(answer)
        if wait_s is not None:
            return TransientError(applied=False, throttled=True, retry_after_s=wait_s)
    if answer.status in _MOVED:
        return NotFoundError("the repository or the issue moved.", next_step="Tell the operator.")
    if answer.status == _UNPROCESSABLE:
        return InvalidArgumentsError("GitHub does not accept this.", next_step="Change what was asked, or its texts.")
    return None


def seconds_at(answer: Answer) -> float | None:
    """Return the time of an answer by GitHub's clock, seconds since the epoch; None where it does not say."""
    try:
        return email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return None


def _wait_of(answer: Answer) -> float | None:
    """Return how long to wait for a rate limit, seconds; None where a 403 is about permissions."""
    asked = retry_after(answer.headers)
    if asked is not None:
        return asked
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        now = seconds_at(answer)
        return min(max(float(reset) - (time.time() if now is None else now), 1.0), _MOST_WAIT_S)
    return UNNAMED_WAIT_S if answer.status == _THROTTLED else None
