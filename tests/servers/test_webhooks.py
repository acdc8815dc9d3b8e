"""Signed webhooks that wake who waits, over real HTTP (`gatebook_servers/tickets/waking.py`)."""

import base64
import hashlib
import hmac
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from gatebook.clock import moment
from gatebook.toolset import build_server
from gatebook.transports.http import MAX_DELIVERY_BYTES, HttpOptions, build_app
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.tickets.waking import FRESH_S, ZendeskWebhook, woken
from programs.processes import COMMAND, environment, gatebook, start
from suite import Suite, under_way

SECRET = b"an-invented-signing-secret"
BODY = b'{"ticket": 35436}'


def signed(at: float, body: bytes = BODY, *, secret: bytes = SECRET) -> dict[str, str]:
    """The headers of a delivery, as Zendesk makes them."""
    stamp = moment(at).isoformat().replace("+00:00", "Z")
    signature = base64.b64encode(hmac.digest(secret, stamp.encode() + body, hashlib.sha256)).decode()
    return {"X-Zendesk-Webhook-Signature": signature, "X-Zendesk-Webhook-Signature-Timestamp": stamp}


async def told(suite: Suite, headers: dict[str, str], body: bytes = BODY) -> int:
    """Deliver to the app; its status."""
    servers = {"tickets": build_server([SERVERS["tickets"]], suite.runtime, catalogue=catalogue())}
    webhooks = {"zendesk": ZendeskWebhook(suite.runtime, SECRET)}
    app = build_app(servers, HttpOptions(token="an-invented-token"), webhooks=webhooks)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8420") as client:
        return (await client.post("/webhooks/zendesk", content=body, headers=headers)).status_code


@pytest.mark.anyio
@pytest.mark.any_database
async def test_a_signed_delivery_wakes_who_waits_once(suite: Suite) -> None:
    async with under_way(lambda: woken(suite.another_process(), within_s=20)) as answers:
        await anyio.sleep(0.1)
        assert await told(suite, signed(suite.clock.now())) == 204
    assert answers == [True]
    assert await woken(suite.runtime, within_s=0.1) is False


@pytest.mark.anyio
async def test_what_was_told_while_nobody_waited_is_not_lost(suite: Suite) -> None:
    for seconds in (0, 1, 2):
        assert await told(suite, signed(suite.clock.now() + seconds)) == 204
    assert await woken(suite.runtime, within_s=5) is True
    assert await woken(suite.runtime, within_s=0.1) is False


@pytest.mark.anyio
@pytest.mark.any_database
async def test_a_delivery_is_believed_once(suite: Suite) -> None:
    headers = signed(suite.clock.now())
    assert [await told(suite, headers) for _ in range(3)] == [204, 403, 403]
    assert await woken(suite.runtime, within_s=1) is True
    assert await woken(suite.runtime, within_s=0.1) is False


@pytest.mark.anyio
@pytest.mark.parametrize("late", [-FRESH_S - 1, FRESH_S + 1])
async def test_a_delivery_that_is_not_fresh_is_refused(suite: Suite, late: float) -> None:
    assert await told(suite, signed(suite.clock.now() - late)) == 403
    assert suite.count("desk_wakes") == 0


@pytest.mark.anyio
async def test_a_delivery_is_not_heard_again_when_it_is_forgotten_here(suite: Suite) -> None:
    headers = signed(suite.clock.now())
    assert await told(suite, headers) == 204
    suite.clock.advance(2 * FRESH_S + 1)
    assert await told(suite, signed(suite.clock.now())) == 204
    assert suite.count("desk_deliveries") == 1
    assert await told(suite, headers) == 403


@pytest.mark.anyio
async def test_what_is_not_signed_as_it_should_be_is_refused(suite: Suite) -> None:
    now = suite.clock.now()
    good = signed(now)
    stamp = "X-Zendesk-Webhook-Signature-Timestamp"
    for headers in (
        {},
        {stamp: good[stamp]},
        signed(now, secret=b"another-signing-secret"),
        signed(now, b"another body"),
        {**good, stamp: moment(now + 1).isoformat()},
        {**good, "X-Zendesk-Webhook-Signature": good["X-Zendesk-Webhook-Signature"].rstrip("=")},
        {**good, "X-Zendesk-Webhook-Signature": ""},
    ):
        assert await told(suite, headers) == 403
    assert suite.count("desk_wakes") == 0


@pytest.mark.anyio
async def test_a_delivery_that_is_too_long_is_refused_before_it_is_looked_at(suite: Suite) -> None:
    body = b"x" * (MAX_DELIVERY_BYTES + 1)
    assert await told(suite, signed(suite.clock.now(), body), body) == 413
    assert await told(suite, signed(suite.clock.now(), body[1:]), body[1:]) == 204
    assert await told(suite, signed(suite.clock.now(), b""), b"") == 204, "a body may be empty"


@contextmanager
def serving(home: Path, **settings: str) -> Generator[str]:
    """Run the tickets server over HTTP in a process of its own; its address."""
    process = start(home, "serve", "tickets", "--transport", "http", "--port", "0", **settings)
    try:
        assert process.stderr is not None
        parts = urlsplit(str(process.stderr.readline()).split(" ")[1].strip())
        yield f"{parts.scheme}://{parts.netloc}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_over_http_a_webhook_ends_a_wait_and_is_off_without_a_secret(tmp_path: Path) -> None:
    import time  # noqa: PLC0415 - the processes' own time

    home, file = tmp_path / "home", tmp_path / "secret"
    file.write_bytes(SECRET)
    headers = signed(time.time())
    with serving(home) as url:
        assert httpx.post(f"{url}/webhooks/zendesk", content=BODY, headers=headers, trust_env=False).status_code == 404
    with serving(home, GATEBOOK_ZENDESK_WEBHOOK_SECRET_FILE=str(file)) as url:
        gatebook(home, "desk", "wait", "--within", "0.1", code=3)
        waiting = subprocess.Popen([*COMMAND, "desk", "wait", "--within", "60"], env=environment(home))
        headers = signed(time.time())
        assert httpx.post(f"{url}/webhooks/zendesk", content=BODY, headers=headers, trust_env=False).status_code == 204
        assert waiting.wait(timeout=120) == 0
        assert httpx.get(f"{url}/webhooks/zendesk", trust_env=False).status_code == 405


def test_a_secret_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"short\n")
    arguments = ("serve", "tickets", "--transport", "http", "--port", "0")
    gatebook(tmp_path / "home", *arguments, code=1, GATEBOOK_ZENDESK_WEBHOOK_SECRET_FILE=str(file))
