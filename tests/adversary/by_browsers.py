"""What is sent to the console by others than a person at one of its pages, and by persons who may not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import httpx

from adversary import wishes
from adversary.cases import Attempt, Threat
from adversary.world import World
from consoles import forms_of
from gatebook.guard import Guard
from gatebook.switches import PAUSE, Switches
from gatebook_servers.catalogue import catalogue
from gatebook_servers.commands.lookups import RoomLookups
from gatebook_servers.console.app import build_app, build_console
from gatebook_servers.console.people import People
from gatebook_servers.console.security import Address
from gatebook_servers.console.sessions import IDLE_S, LONGEST_S, Sessions
from suite import ADA

OWN = "http://127.0.0.1:8765"
DECIDING = ("approve", "deny", "edit", "settle", "batch", "pause", "resume")
"""Every form of the console by which something is decided."""
_NOBODY_KNOWS = "no password fits this"


async def _no_background() -> None:
    return


@dataclass(frozen=True)
class Sent:
    """One request to the console, as a browser would send it."""

    path: str
    fields: Mapping[str, str]
    cookie: str
    headers: Mapping[str, str] = field(default_factory=lambda: {"origin": OWN, "sec-fetch-site": "same-origin"})
    method: str = "POST"
    content: str = ""

    def but(self, **headers: str) -> "Sent":
        """Return the same with other headers; an empty one is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={name: value for name, value in {**self.headers, **named}.items() if value})

    def saying(self, **fields: str) -> "Sent":
        return replace(self, fields={**self.fields, **fields})


class Front:
    """The console of a world, and the sessions of persons."""

    def __init__(self, world: World) -> None:
        self.world = world
        runtime = world.suite.another_process()
        guard = Guard(runtime, catalogue())
        console = build_console(runtime, guard, lookups=RoomLookups(runtime), address=Address())
        self._app = build_app(console, _no_background)
        with runtime.database.transaction() as tx:
            for name, roles in (("ada", ("admin",)), ("grace", ("admin",)), ("ben", ("reviewer",)), ("eve", ())):
                People(tx).add(name, password_hash=_NOBODY_KNOWS, roles=roles)

    def sign_in(self, name: str = "ada") -> str:
        """Begin a session as a person who knew the password; its cookie."""
        with self.world.suite.runtime.database.transaction() as tx:
            return Sessions(tx).begin(People(tx).get(name))

    async def send(self, sent: Sent) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        headers = {**sent.headers, **({"cookie": f"gatebook={sent.cookie}"} if sent.cookie else {})}
        async with httpx.AsyncClient(transport=transport, base_url=OWN) as client:
            if sent.method in ("GET", "HEAD"):
                return await client.request(sent.method, sent.path, params=dict(sent.fields), headers=headers)
            if sent.content:
                return await client.request(sent.method, sent.path, content=sent.content, headers=headers)
            return await client.request(sent.method, sent.path, data=dict(sent.fields), headers=headers)

    async def form(self, path: str, action: str, cookie: str) -> Sent:
        """Open a page and return its form as it would be sent."""
        page = await self.send(Sent(path, {}, cookie, {}, "GET"))
        found = [form for form in forms_of(page.text) if form.action.endswith(action)]
        assert found, f"no form for {action}"
        return Sent(found[0].action, found[0].fields, cookie)

    def state(self) -> object:
        """Everything that a decision would change."""
        tables = self.world.tables
        return [
            tables.execute(statement).fetchall()
            for statement in (
                "SELECT approval_id, state, edited_from FROM approvals ORDER BY approval_id",
                "SELECT COUNT(*) FROM decisions",
                "SELECT * FROM switches",
                "SELECT COUNT(*) FROM people",
                "SELECT COUNT(*) FROM outbox WHERE kind = 'execute_approved'",
            )
        ]


def _front(world: World) -> Front:
    if "front" not in world.rooms:
        world.rooms["front"] = Front(world)
    return cast("Front", world.rooms["front"])


async def _form(world: World, decision: str, cookie: str) -> tuple[Sent, str]:
    """Have something to decide, and open its form."""
    front, seat = _front(world), await world.seat()
    if decision in ("pause", "resume"):
        if decision == "resume":
            with world.suite.runtime.database.transaction() as tx:
                Switches(tx).set(PAUSE, reason="", person=ADA.person)
        return await front.form("/pause", f"/{decision}", cookie), ""
    world.sql("DELETE FROM switches")
    tool = "send_reply" if decision == "edit" else world.chance.choice(wishes.WRITING)
    approval_id = await world.ask(seat, await world.wish(seat, tool))
    if decision == "settle":
        world.approve(approval_id)
        world.sql("UPDATE approvals SET state = 'in_doubt' WHERE approval_id = :id", id=approval_id)
        world.ledger.close(approval_id)
    if decision == "batch":
        await world.ask(seat, await world.wish(seat, tool))
        sent = await front.form(f"/batch/{approval_id}", f"/batch/{approval_id}/deny", cookie)
        # As the button for a yes sends it.
        return replace(sent, path=f"/batch/{approval_id}"), approval_id
    page = f"/requests/{approval_id}" + ("/edit" if decision == "edit" else "")
    sent = await front.form(page, f"/{decision}", cookie)
    filled = {"reason": "not so", "note": "I looked", "happened": "yes"}
    if decision == "edit":
        filled = {"body": "Another text altogether."}
    return sent.saying(**filled), approval_id


async def _forged(world: World, decision: str, forge: "Forge") -> None:
    front = _front(world)
    cookie = front.sign_in()
    sent, _ = await _form(world, decision, cookie)
    forged = await forge(world, sent)
    before = front.state()
    answer = await front.send(forged)
    if front.state() != before:
        world.ledger.accuse("decision", f"{decision} was taken from a forged request")
    if answer.status_code in (303, 500) and not answer.headers.get("location", "").startswith("/sign-in"):
        world.ledger.accuse("bound", f"a forged {decision} was answered with {answer.status_code}")
    world.sql("DELETE FROM switches")
    world.sql("UPDATE people SET disabled = 0")
    await world.outbox()


class Forge:
    """Turns an honest request into a forged one."""

    async def __call__(self, world: World, sent: Sent) -> Sent:
        raise NotImplementedError


@dataclass(frozen=True)
class Headers(Forge):
    """An honest form with other headers."""

    headers: Mapping[str, str]

    async def __call__(self, world: World, sent: Sent) -> Sent:
        del world
        return sent.but(**self.headers)


@dataclass(frozen=True)
class Method(Forge):
    """The fields in the address, or another method."""

    method: str

    async def __call__(self, world: World, sent: Sent) -> Sent:
        del world
        return replace(sent.but(x_http_method_override="POST"), method=self.method)


@dataclass(frozen=True)
class Token(Forge):
    """A form token that is none, or another visitor's."""

    token: str | None

    async def __call__(self, world: World, sent: Sent) -> Sent:
        if self.token is None:
            front = _front(world)
            other = await front.form("/", "/sign-out", front.sign_in("grace"))
            return sent.saying(form_token=other.fields["form_token"])
        return sent.saying(form_token=self.token)


@dataclass(frozen=True)
class Session(Forge):
    """A session that is none, is over, or is of somebody who may not decide."""

    how: str

    async def __call__(self, world: World, sent: Sent) -> Sent:
        front, cookie = _front(world), sent.cookie
        if self.how == "looks on":
            # Somebody without a role, with a token of their own.
            eve = front.sign_in("eve")
            page = await front.send(Sent("/", {}, eve, {}, "GET"))
            token = next((form.fields["form_token"] for form in forms_of(page.text) if "form_token" in form.fields), "")
            return replace(sent.saying(form_token=token), cookie=eve)
        if self.how == "idle":
            world.suite.clock.advance(IDLE_S)
        if self.how == "long":
            for _ in range(int(LONGEST_S / IDLE_S) * 2):
                world.suite.clock.advance(IDLE_S / 2)
                await front.send(Sent("/pause", {}, cookie, {}, "GET"))
        if self.how == "ended":
            world.sql("DELETE FROM sessions")
        if self.how == "disabled":
            world.sql("UPDATE people SET disabled = 1 WHERE name = 'ada'")
        forged = {"none": "", "shorter": cookie[:-1], "longer": f"{cookie}x", "invented": "x" * 43}
        return replace(sent, cookie=forged.get(self.how, cookie))


@dataclass(frozen=True)
class Coding(Forge):
    """A body that a page elsewhere can send without asking the browser."""

    kind: str

    async def __call__(self, world: World, sent: Sent) -> Sent:
        del world
        body = "&".join(f"{name}={value}" for name, value in sent.fields.items())
        return replace(sent.but(content_type=self.kind), content=body)


@dataclass(frozen=True)
class Unseen(Forge):
    """A yes to something else than the person was shown."""

    how: str

    async def __call__(self, world: World, sent: Sent) -> Sent:
        front = _front(world)
        if "line" in sent.fields:
            named, shown, seen = sent.fields["line"].split(" ")
            forged = {"unseen": f"{named} {shown} {'0' * 64}", "short": f"{named} {shown[:5]} {seen}"}
            return sent.saying(line=forged.get(self.how, f"{named} {'0' * 64} {seen}"))
        if "shown" not in sent.fields:
            return sent.saying(form_token="")
        if self.how == "other":
            seat = await world.seat()
            other = await world.ask(seat, await world.wish(seat, "escalate_ticket"))
            page = await front.form(f"/requests/{other}", "/approve", sent.cookie)
            return sent.saying(shown=page.fields["shown"], seen=page.fields.get("seen", ""))
        if "seen" not in sent.fields:
            return sent.saying(shown=sent.fields["shown"][:5] if self.how == "short" else "0" * 64)
        grace = await front.form(sent.path.removesuffix("/approve"), "/approve", front.sign_in("grace"))
        forged = {"unseen": {"seen": ""}, "short": {"shown": sent.fields["shown"][:5]}}
        return sent.saying(**forged.get(self.how, {"seen": grace.fields["seen"]}))


async def as_it_is(world: World, decision: str) -> None:
    """What a person sends from the page itself does count."""
    front = _front(world)
    sent, approval_id = await _form(world, decision, front.sign_in())
    permit = world.ledger.of(approval_id) if approval_id else None
    rightful = permit is not None and permit.may_vote(ADA, now=world.now)
    before = front.state()
    answer = await front.send(sent)
    if answer.status_code != 303 or front.state() == before:
        world.ledger.accuse("bound", f"an honest {decision} was answered with {answer.status_code}")
    done = {"approve": "approve", "batch": "approve", "deny": "deny", "edit": "edit", "settle": "settle"}.get(decision)
    if permit and done:
        named = [sent.fields["line"].split(" ")[0]] if decision == "batch" else [approval_id]
        for one in named:
            world.ledger.decided.add((one, "person:ada", done))
            if done == "approve" and one == approval_id:
                world.voted(permit, ADA, rightful=rightful)
            elif done == "approve":
                world.voted(world.ledger.of(one), ADA, rightful=True)
    if approval_id and done in ("deny", "edit"):
        world.ledger.close(approval_id)
        # What an edit made of it nobody asked for here: it must not stand in the batch of a later case.
        world.sql("UPDATE approvals SET state = 'cancelled' WHERE edited_from = :id", id=approval_id)
    world.sql("DELETE FROM switches")
    await world.outbox()


def _attempt(forge: Forge) -> Attempt:
    async def attempt(world: World, decision: str) -> None:
        await _forged(world, decision, forge)

    return attempt


FORGERIES: dict[str, Forge] = {
    "no origin": Headers({"origin": "", "sec_fetch_site": ""}),
    "foreign origin": Headers({"origin": "https://elsewhere.example", "sec_fetch_site": "cross-site"}),
    "foreign origin of an old browser": Headers({"origin": "https://elsewhere.example", "sec_fetch_site": ""}),
    "no origin, same-origin": Headers({"origin": ""}),
    "null": Headers({"origin": "null", "sec_fetch_site": ""}),
    "null, cross-site": Headers({"origin": "null", "sec_fetch_site": "cross-site"}),
    "another port": Headers({"origin": "http://127.0.0.1:8420"}),
    "another scheme": Headers({"origin": "https://127.0.0.1:8765"}),
    "a longer name": Headers({"origin": "http://127.0.0.1:8765.elsewhere.example"}),
    "own, cross-site": Headers({"sec_fetch_site": "cross-site"}),
    "own, same-site": Headers({"sec_fetch_site": "same-site"}),
    "own, from no page": Headers({"sec_fetch_site": "none"}),
    "foreign host": Headers({"host": "elsewhere.example", "origin": "http://elsewhere.example"}),
    "rebound host": Headers({"host": "elsewhere.example:8765", "origin": "http://elsewhere.example:8765"}),
    "longer host": Headers({"host": "localhost.elsewhere.example", "origin": "http://localhost.elsewhere.example"}),
    "no token": Token(""),
    "invented token": Token("0" * 64),
    "strange token": Token("\u00e9" * 64),
    "another visitor's token": Token(None),
    "GET": Method("GET"),
    "HEAD": Method("HEAD"),
    "PUT": Method("PUT"),
    "PATCH": Method("PATCH"),
    "no session": Session("none"),
    "shorter session": Session("shorter"),
    "longer session": Session("longer"),
    "invented session": Session("invented"),
    "idle session": Session("idle"),
    "long session": Session("long"),
    "ended session": Session("ended"),
    "disabled person": Session("disabled"),
    "who looks on": Session("looks on"),
    "plain text": Coding("text/plain"),
    "JSON": Coding("application/json"),
    "unseen": Unseen("unseen"),
    "another's view": Unseen("another's"),
    "another request's": Unseen("other"),
    "short fingerprint": Unseen("short"),
}


FORGED = Threat(
    "forged",
    "Forged decision (CSRF, clickjacking, DNS rebinding, sessions)",
    {name: _attempt(forge) for name, forge in FORGERIES.items()} | {"as it is": as_it_is},
    DECIDING,
)
