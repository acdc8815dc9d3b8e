"""The one HTTP client, beyond what `test_retry.py` shows of its retries."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from fakes.listening import listening
from gatebook.errors import ConflictError, ForbiddenError, GatebookError, RateLimitedError, UnauthenticatedError
from gatebook.http import Answer, HttpClient
from gatebook.retry import Operation, TransientError, without_waiting

pytestmark = pytest.mark.anyio

Asked = list[tuple[str, dict[str, str]]]


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Generator[tuple[str, Asked]]:
    """A server that gives these answers, the last one for ever, and notes what it was asked."""
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as url:
        yield url, asked


@pytest.fixture(autouse=True)
def _at_once() -> Generator[None]:
    with without_waiting():
        yield


class Tokens:
    """Credentials whose first token is no longer good."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    async def headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self._tokens[0]}"}

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str]:
        assert refused == await self.headers()
        if len(self._tokens) == 1:
            raise UnauthenticatedError("there is no other.", next_step="Tell the operator.")
        del self._tokens[0]
        return await self.headers()


async def test_an_answer_has_its_status_its_headers_and_its_links() -> None:
    headers = {"ETag": '"7"', "Link": '<https://other.example/a?page=2>; rel="next", </b>; rel="last"'}
    with answering((200, headers, b'{"a": 1}')) as (url, _):
        client = HttpClient(url)
        answer = await client.ask("GET", "/a", operation=Operation.READ)
        await client.aclose()
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, {"a": 1}, '"7"')
    assert answer.links == {"next": "https://other.example/a?page=2", "last": "/b"}


async def test_what_did_not_change_is_an_answer() -> None:
    with answering((304, {"etag": '"7"'}, b"")) as (url, asked):
        client = HttpClient(url)
        answer = await client.ask("GET", "/a", operation=Operation.READ, headers={"if-none-match": '"7"'})
        await client.aclose()
    assert (answer.status, answer.body) == (304, None)
    assert asked[0][1]["if-none-match"] == '"7"'


async def test_a_link_of_the_same_origin_is_followed_and_one_elsewhere_never() -> None:
    with answering((200, {}, b"{}")) as (url, asked), answering((200, {}, b"{}")) as (elsewhere, strangers):
        client = HttpClient(f"{url}/api/v2", headers={"authorization": "Bearer canary"})
        await client.ask("GET", f"{url}/api/v2/next?page=2", operation=Operation.READ)
        for link in (
            f"{elsewhere}/next",
            url.replace("http:", "https:"),
            "//other.example/x",
            "http://127.0.0.1@evil.example/",
        ):
            with pytest.raises(ForbiddenError):
                await client.ask("GET", link, operation=Operation.READ)
        await client.aclose()
    assert [path for path, _ in asked] == ["/api/v2/next?page=2"]
    assert strangers == []


async def test_a_redirect_is_not_followed() -> None:
    with (
        answering((200, {}, b"{}")) as (elsewhere, strangers),
        answering((302, {"location": elsewhere}, b"")) as (url, _),
    ):
        client = HttpClient(url, headers={"authorization": "Bearer canary"})
        with pytest.raises(GatebookError):
            await client.ask("GET", "/a", operation=Operation.READ)
        await client.aclose()
    assert strangers == []


async def test_refused_credentials_are_renewed_once() -> None:
    with answering((401, {}, b""), (200, {}, b"7")) as (url, asked):
        client = HttpClient(url, credentials=Tokens("old", "new"))
        assert await client.request("GET", "/a", operation=Operation.EFFECT) == 7
        await client.aclose()
    assert [headers["authorization"] for _, headers in asked] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("tokens", [("old",), ("old", "new", "newer")])
async def test_credentials_that_stay_refused_are_told(tokens: tuple[str, ...]) -> None:
    with answering((401, {}, b"")) as (url, asked):
        client = HttpClient(url, credentials=Tokens(*tokens))
        with pytest.raises(UnauthenticatedError):
            await client.request("GET", "/a", operation=Operation.READ)
        await client.aclose()
    assert len(asked) == min(len(tokens), 2)


async def test_an_upstream_may_mean_something_else_by_an_answer() -> None:
    def means(answer: Answer) -> TransientError | GatebookError | None:
        if answer.status == 403 and answer.headers.get("x-remaining") == "0":
            return TransientError(applied=False, throttled=True, retry_after_s=90)
        return ConflictError("changed.", next_step="Read it.") if answer.body == {"why": "stale"} else None

    cases: list[tuple[tuple[int, dict[str, str], bytes], type[GatebookError]]] = [
        ((403, {"x-remaining": "0"}, b"{}"), RateLimitedError),
        ((403, {"x-remaining": "1"}, b"{}"), UnauthenticatedError),
        ((400, {}, json.dumps({"why": "stale"}).encode()), ConflictError),
    ]
    for given, raised in cases:
        with answering(given) as (url, _):
            client = HttpClient(url, refusal=means)
            with pytest.raises(raised):
                await client.request("GET", "/a", operation=Operation.EFFECT)
            await client.aclose()
