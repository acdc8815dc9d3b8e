"""One visit of one page: who is there, what they may, and how the answer is drawn."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast
from urllib.parse import quote

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gatebook.approvals.models import Approval
from gatebook.database.port import Transaction
from gatebook.errors import (
    ConflictError,
    ForbiddenError,
    GatebookError,
    InvalidArgumentsError,
    NotFoundError,
    RateLimitedError,
    StoreBusyError,
    TooLargeError,
)
from gatebook.guard import Guard
from gatebook.runtime import Runtime
from gatebook_servers.console.drawing import Moments
from gatebook_servers.console.lookups import Lookups
from gatebook_servers.console.people import Person
from gatebook_servers.console.pulse import Beat, Pulse, look
from gatebook_servers.console.queries import Cards
from gatebook_servers.console.security import Address, Form, read_form
from gatebook_servers.console.sessions import LONGEST_S, Sessions, form_token, new_token, seen_token

T = TypeVar("T")
CHANNEL = "console"
"""Where a decision was made, for the record."""

_STATUSES: dict[type[GatebookError], int] = {
    NotFoundError: 404,
    ForbiddenError: 403,
    ConflictError: 409,
    InvalidArgumentsError: 422,
    TooLargeError: 413,
    RateLimitedError: 429,
    StoreBusyError: 503,
}
_OTHERWISE = 409
"""A refusal of the broker itself: what is asked for does not fit what is."""


@dataclass(frozen=True)
class Console:
    """What every page stands on."""

    runtime: Runtime
    guard: Guard
    lookups: Lookups
    address: Address
    pulse: Pulse
    templates: jinja2.Environment


@dataclass(frozen=True)
class Visit:
    """One request of a browser. `cookie` is the visitor's secret, whether or not somebody is signed in with it."""

    console: Console
    request: Request
    cookie: str
    signed_in: Person | None = None
    form: Form = field(default_factory=Form)

    @property
    def person(self) -> Person:
        """Who is signed in; pages that anybody may see do not ask."""
        assert self.signed_in is not None
        return self.signed_in

    @property
    def runtime(self) -> Runtime:
        """The open ports."""
        return self.console.runtime

    @property
    def address(self) -> str:
        """From where the request came."""
        return self.request.client.host if self.request.client else ""

    def asked(self, name: str) -> str:
        """Return what the address says under a name, empty if nothing."""
        return self.request.query_params.get(name, "")

    def named(self, name: str) -> str:
        """Return a part of the path."""
        return cast("str", self.request.path_params[name])

    def seen(self, fingerprint: str) -> str:
        """Return what only a page carries that showed this visitor all of a request's content."""
        return seen_token(self.cookie, fingerprint)

    def request_of(self, tx: Transaction) -> Approval:
        """Return the request that the path names.

        Raises:
            NotFoundError: If there is none, or it is another tenant's.
        """
        return self.cards(tx).get(self.named("approval_id"))

    def cards(self, tx: Transaction) -> Cards:
        """Return this tenant's requests, as lists show them."""
        return Cards(tx, tenant=self.runtime.settings.tenant)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction."""
        return await self.runtime.transact(work)

    async def page(self, template: str, *, status: int = 200, **context: object) -> Response:
        """Return a page."""
        now = self.runtime.clock.now()
        settings = self.runtime.settings
        beat = Beat()
        if self.signed_in:
            beat = await self.runtime.transact(lambda tx: look(tx, tenant=settings.tenant), durable=False)
        html = self.console.templates.get_template(template).render(
            visit=self,
            me=self.signed_in,
            beat=beat,
            moments=Moments(now, settings.zone),
            zone=settings.tz,
            mode=settings.mode,
            form_token=form_token(self.cookie),
            done=self.asked("done"),
            path=self.request.url.path,
            **context,
        )
        return self.with_cookie(HTMLResponse(html, status))

    async def refused(self, refusal: GatebookError) -> Response:
        """Return the page of a refusal."""
        # What to do next where something is missing is said to agents and at terminals.
        onward = "" if isinstance(refusal, NotFoundError) else refusal.next_step
        return await self.page("message.html", status=status_of(refusal), title=refusal.message, next=onward)

    def to(self, path: str, *, done: str = "") -> Response:
        """Send the browser on after a form was taken."""
        mark = "?" if "?" not in path else "&"
        return RedirectResponse(f"{path}{mark}done={done}" if done else path, 303)

    def with_cookie(self, response: Response) -> Response:
        """Have the browser keep the visitor's secret."""
        response.set_cookie(
            self.console.address.cookie,
            self.cookie,
            max_age=int(LONGEST_S),
            path="/",
            secure=self.console.address.encrypted,
            httponly=True,
            samesite="strict",
        )
        return response


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def status_of(refusal: GatebookError) -> int:
    """Return the HTTP status of a refusal."""
    return next((status for kind, status in _STATUSES.items() if isinstance(refusal, kind)), _OTHERWISE)


def page(handler: Handler) -> Endpoint:
    """A page for who is signed in. It changes nothing."""

    async def endpoint(request: Request) -> Response:
        visit = await _arrive(request)
        if visit.signed_in is None:
            return await _to_sign_in(visit)
        return await _answer(handler, visit)

    return endpoint


def open_page(handler: Handler) -> Endpoint:
    """A page for anybody. It changes nothing."""

    async def endpoint(request: Request) -> Response:
        return await _answer(handler, await _arrive(request))

    return endpoint


def form(handler: Handler, *, roles: Sequence[str] = ()) -> Endpoint:
    """What a form of somebody who is signed in and decides does; with `roles`, of somebody who has one of them."""

    async def checked(visit: Visit) -> Response:
        person = visit.person
        if not person.decides or (roles and not set(roles) & set(person.roles)):
            raise ForbiddenError("you may look on, but not do this.", next_step="Ask who runs this installation.")
        return await handler(visit)

    async def endpoint(request: Request) -> Response:
        visit = await _arrive(request)
        if visit.signed_in is None:
            return await visit.page("sign_in.html", status=401, next="/", error="You are signed out. Sign in again.")
        return await _submitted(checked, visit)

    return endpoint


def open_form(handler: Handler) -> Endpoint:
    """What a form of anybody does."""

    async def endpoint(request: Request) -> Response:
        return await _submitted(handler, await _arrive(request))

    return endpoint


async def _arrive(request: Request) -> Visit:
    console = cast("Console", request.app.state.console)
    cookie = request.cookies.get(console.address.cookie, "")
    visit = Visit(console, request, cookie or new_token())
    if not cookie:
        return visit
    active = request.query_params.get("by") != "itself"  # what a page fetches without anybody's doing
    person = await console.runtime.transact(lambda tx: Sessions(tx).person(cookie, active=active), durable=False)
    return replace(visit, signed_in=person)


async def _submitted(handler: Handler, visit: Visit) -> Response:
    async def take(visit: Visit) -> Response:
        filled = replace(visit, form=await read_form(visit.request))
        filled.form.require_token(form_token(visit.cookie))
        return await handler(filled)

    return await _answer(take, visit)


async def _answer(handler: Handler, visit: Visit) -> Response:
    try:
        return await handler(visit)
    except GatebookError as refusal:
        return await visit.refused(refusal)


async def _to_sign_in(visit: Visit) -> Response:
    request = visit.request
    if request.headers.get("sec-fetch-site") == "cross-site" and request.headers.get("sec-fetch-mode") == "navigate":
        # A link from elsewhere brings no cookie of ours; going on from a page of ours does.
        return await visit.page("continue.html")
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return visit.with_cookie(RedirectResponse(f"/sign-in?next={quote(path, safe='/')}", 303))
