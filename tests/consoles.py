"""The console as tests visit it: the real app on a real socket, and a visitor who fills in its forms."""

import asyncio
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from threading import Thread

import anyio
import httpx
import pytest
import uvicorn

from gatebook.guard import Guard
from gatebook.transports.auth import ensure_token
from gatebook_servers.catalogue import catalogue
from gatebook_servers.commands.console import background_of
from gatebook_servers.commands.lookups import RoomLookups
from gatebook_servers.console.app import build_app, build_console
from gatebook_servers.console.pages.signing import FIRST_RUN_FILE
from gatebook_servers.console.people import People, hashed
from gatebook_servers.console.security import Address
from gatebook_servers.console.visit import Console
from suite import Suite

PASSWORD = "an invented password"
_HASH = hashed(PASSWORD)


@dataclass
class HtmlForm:
    """A form of a page with the values it would send as it is."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict[str, str])


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[HtmlForm] = []
        self.links: list[str] = []
        self._area = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "form":
            self.forms.append(HtmlForm(given.get("action", ""), given.get("method", "get")))
        if self.forms and tag in ("input", "textarea") and given.get("name"):
            if given.get("type") not in ("radio", "checkbox") or "checked" in given:
                self.forms[-1].fields[given["name"]] = given.get("value", "")
            self._area = given["name"] if tag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data.removeprefix("\n")


def forms_of(html: str) -> list[HtmlForm]:
    return _Page(html).forms


def links_of(html: str) -> list[str]:
    return _Page(html).links


@dataclass
class Visitor:
    """Somebody with a browser that has no script."""

    client: httpx.Client

    @property
    def origin(self) -> Mapping[str, str]:
        return {"origin": str(self.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def form(self, path: str, action: str) -> HtmlForm:
        """Open a page and return its form for an action."""
        page = self.get(path)
        found = [form for form in forms_of(page.text) if form.action.endswith(action)]
        assert found, page.text
        return found[0]

    def post(self, path: str, fields: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.client.post(path, data=dict(fields), headers=dict(self.origin if headers is None else headers))

    def submit(self, path: str, action: str, **fields: str) -> httpx.Response:
        """Fill in a form of a page and send it."""
        form = self.form(path, action)
        return self.post(form.action, {**form.fields, **fields})

    def sign_in(self, name: str = "ada", password: str = PASSWORD) -> httpx.Response:
        return self.submit("/sign-in", "/sign-in", name=name, password=password)


@dataclass
class RunningConsole:
    suite: Suite
    console: Console
    url: str

    @property
    def first_run(self) -> str:
        return f"{self.url}/first-run?token={ensure_token(self.suite.home / FIRST_RUN_FILE)}"

    def add(self, name: str = "ada", *roles: str) -> None:
        with self.suite.runtime.database.transaction() as tx:
            People(tx).add(name, password_hash=_HASH, roles=roles)

    @contextmanager
    def visitor(self, name: str = "", *roles: str) -> Generator[Visitor]:
        """Somebody who visits; with a name, somebody who exists in these roles and is signed in."""
        with httpx.Client(base_url=self.url, timeout=30) as client:
            visitor = Visitor(client)
            if name:
                self.add(name, *roles)
                assert visitor.sign_in(name).status_code == 303
            yield visitor


@contextmanager
def running_console(suite: Suite, address: Address | None = None) -> Generator[RunningConsole]:
    runtime = suite.another_process()
    console = build_console(
        runtime, Guard(runtime, catalogue()), lookups=RoomLookups(runtime), address=address or Address()
    )
    stops: list[tuple[asyncio.AbstractEventLoop, anyio.Event]] = []

    async def work() -> None:
        ended = anyio.Event()
        stops.append((asyncio.get_running_loop(), ended))
        await background_of(console)(ended)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(build_app(console, work), lifespan="on", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield RunningConsole(suite, console, f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            for loop, ended in stops:
                loop.call_soon_threadsafe(ended.set)
            server.should_exit = True
            thread.join()


@pytest.fixture
def console(tmp_path: Path) -> Generator[RunningConsole]:
    suite = Suite(tmp_path / "home")
    try:
        with running_console(suite) as running:
            yield running
    finally:
        suite.close()
