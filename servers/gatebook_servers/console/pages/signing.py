"""Signing in and out, and the first person."""

import hmac
from dataclasses import replace
from pathlib import Path

import anyio
from starlette.responses import RedirectResponse, Response

from gatebook.database.port import Transaction
from gatebook.errors import ForbiddenError, GatebookError, InvalidArgumentsError, RateLimitedError
from gatebook.transports.auth import ensure_token
from gatebook_servers.console.people import People, Person, hashed, is_password
from gatebook_servers.console.sessions import Sessions, new_token
from gatebook_servers.console.visit import Visit, status_of

FIRST_RUN_FILE = "console-first-run"
"""Where the operator finds the token of the first run's link again: in the home, mode 0600."""
_WRONG = "The name or the password is wrong."
"""The one answer to every sign-in that fails, whoever exists."""


def first_run_path(home: Path) -> str:
    """Return the path that lets one person be the first, until there is one; the same for every process.

    Raises:
        TokenFileError: If the token's file is open to others.
        OSError: If it can be neither read nor made.
    """
    return f"/first-run?token={ensure_token(home / FIRST_RUN_FILE)}"


async def sign_in_page(visit: Visit) -> Response:
    """The form to sign in with."""
    if visit.signed_in:
        return RedirectResponse("/", 303)
    if not await visit.transact(lambda tx: People(tx).any()):
        return RedirectResponse("/first-run", 303)
    return await visit.page("sign_in.html", next=_own_path(visit.asked("next")), error="")


async def sign_in(visit: Visit) -> Response:
    """Begin a session with a fresh secret. Whatever was wrong, the answer is the same."""
    name, password = visit.form.text("name").strip().lower(), visit.form.text("password")
    onward = _own_path(visit.form.text("next"))

    def begin(tx: Transaction) -> tuple[str, str]:
        return Sessions(tx).attempt(name=name, address=visit.address), People(tx).password_hash(name)

    try:
        attempt, password_hash = await visit.runtime.transact(begin, keep_on_refusal=True)
    except RateLimitedError as refusal:
        error = f"{refusal.message.capitalize()} {refusal.next_step}"
        return await visit.page("sign_in.html", status=status_of(refusal), next=onward, error=error)
    if not await anyio.to_thread.run_sync(is_password, password, password_hash):
        await visit.transact(lambda tx: Sessions(tx).failed(attempt, name=name))
        return await visit.page("sign_in.html", status=403, next=onward, error=_WRONG)

    def succeed(tx: Transaction) -> Person:
        Sessions(tx).succeeded(attempt)
        return People(tx).get(name)

    return await _signed_in(visit, await visit.transact(succeed), onward=onward)


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    await visit.transact(lambda tx: Sessions(tx).end(visit.cookie))
    return replace(visit, cookie=new_token()).with_cookie(visit.to("/sign-in", done="signed-out"))


async def first_run_page(visit: Visit) -> Response:
    """The form for the first person: with the link's token, or where that can be typed."""
    if await visit.transact(lambda tx: People(tx).any()):
        return RedirectResponse("/sign-in", 303)
    return await visit.page("first_run.html", token=visit.asked("token"), name="", error="")


async def first_run(visit: Visit) -> Response:
    """Make the first person, and the link void."""
    token, name = visit.form.text("token").strip(), visit.form.text("name").strip().lower()
    try:
        _require_link(visit, token)
        password = visit.form.text("password")
        if password != visit.form.text("again"):
            raise InvalidArgumentsError("the two passwords differ.", next_step="Type the same one twice.")
        password_hash = await anyio.to_thread.run_sync(hashed, password)
        person = await visit.transact(lambda tx: People(tx).add_first(name, password_hash=password_hash))
    except GatebookError as refusal:
        error = f"{refusal.message.capitalize()} {refusal.next_step}"
        return await visit.page("first_run.html", status=status_of(refusal), token=token, name=name, error=error)
    (visit.runtime.settings.home / FIRST_RUN_FILE).unlink(missing_ok=True)
    return await _signed_in(visit, person, onward="/")


def _require_link(visit: Visit, token: str) -> None:
    path = visit.runtime.settings.home / FIRST_RUN_FILE
    # A link that was never made is not made here, of all places.
    known = ensure_token(path) if path.exists() else ""
    if not known or not hmac.compare_digest(token.encode("utf-8", "replace"), known.encode()):
        raise ForbiddenError(
            "this link is not, or no longer, the one of the first run.",
            next_step=f"Take the token from {FIRST_RUN_FILE} in the home directory, or start the console anew.",
        )


async def _signed_in(visit: Visit, person: Person, *, onward: str) -> Response:
    def rotate(tx: Transaction) -> str:
        Sessions(tx).end(visit.cookie)
        return Sessions(tx).begin(person)

    token = await visit.transact(rotate)
    return replace(visit, cookie=token).with_cookie(RedirectResponse(onward, 303))


def _own_path(path: str) -> str:
    """Return a path of ours to go on to, whatever the address says."""
    fits = path.startswith("/") and not path.startswith("//") and path.isascii() and path.isprintable()
    return path if fits and "\\" not in path else "/"
