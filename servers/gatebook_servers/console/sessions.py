"""Who is signed in, and how often a sign-in may fail."""

import hashlib
import hmac
import secrets

from gatebook.approvals.audit import SYSTEM, Audit
from gatebook.clock import new_id
from gatebook.database.port import Transaction
from gatebook.errors import NotFoundError, RateLimitedError
from gatebook_servers.console.people import People, Person, actor_of

IDLE_S = 30 * 60.0
"""A session ends this long after its last page, seconds."""
LONGEST_S = 12 * 3600.0
"""A session ends this long after the sign-in, seconds."""
WINDOW_S = 15 * 60.0
"""Over how many seconds failed sign-ins are counted."""
MOST_BY_NAME = 10
MOST_BY_ADDRESS = 30
NOBODY = "nobody"
"""The subject of a refused sign-in under a name that nobody has: what was typed may be anything, a password even."""

_SEEN_EVERY_S = 60.0
"""How exactly the last page's time is kept: not every page has to write."""


def new_token() -> str:
    """Return a fresh secret for a cookie, 256 random bits."""
    return secrets.token_urlsafe(32)


def form_token(cookie: str) -> str:
    """Return what every form of the holder of this cookie carries. Whoever lacks the cookie cannot know it."""
    return _keyed(cookie, "form")


def seen_token(cookie: str, fingerprint: str) -> str:
    """Return what only a page carries that showed all of the content with this fingerprint to the cookie's holder."""
    return _keyed(cookie, f"seen {fingerprint}")


class Sessions:
    """The tables of sessions and failed sign-ins, inside one transaction. The audit log is told of both."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def begin(self, person: Person) -> str:
        """Begin a session and return its secret, which is kept nowhere; forget those that ended by themselves."""
        token = new_token()
        over = self._tx.all(
            "DELETE FROM sessions WHERE seen_at <= :idle OR begun_at <= :old RETURNING name",
            idle=self._tx.now - IDLE_S,
            old=self._tx.now - LONGEST_S,
        )
        for row in over:
            self._tell_of_end(str(row["name"]), actor=SYSTEM, why="clock")
        self._tx.execute(
            "INSERT INTO sessions (token_sha256, name, begun_at, seen_at) VALUES (:token, :name, :now, :now)",
            token=_sha256(token),
            name=person.name,
            now=self._tx.now,
        )
        Audit(self._tx).record("session.begun", actor=person.actor, subject=person.actor, body={})
        return token

    def person(self, token: str, *, active: bool = True) -> Person | None:
        """Return who holds the session of this secret, if it goes on.

        Args:
            token: The cookie.
            active: Whether somebody did something. What a page asks for by itself keeps no session alive.
        """
        now = self._tx.now
        row = self._tx.one(
            """SELECT name, seen_at FROM sessions
               WHERE token_sha256 = :token AND seen_at > :idle AND begun_at > :old""",
            token=_sha256(token),
            idle=now - IDLE_S,
            old=now - LONGEST_S,
        )
        if row is None:
            return None
        if active and now - float(row["seen_at"] or 0) > _SEEN_EVERY_S:
            self._tx.execute(
                "UPDATE sessions SET seen_at = :now WHERE token_sha256 = :token", now=now, token=_sha256(token)
            )
        return _enabled(self._tx, str(row["name"]))

    def end(self, token: str) -> None:
        """End a session, if this is one."""
        row = self._tx.one("DELETE FROM sessions WHERE token_sha256 = :token RETURNING name", token=_sha256(token))
        if row is not None:
            name = str(row["name"])
            self._tell_of_end(name, actor=actor_of(name), why="signed_out")

    def attempt(self, *, name: str, address: str) -> str:
        """Count a sign-in as failed before its password is looked at; what `succeeded` takes back.

        Raises:
            RateLimitedError: If too many failed lately, for this name or from this address. The transaction must be
                kept all the same: the audit log is told.
        """
        self._tx.execute("DELETE FROM login_attempts WHERE tried_at <= :old", old=self._tx.now - WINDOW_S)
        row = self._tx.one(
            """SELECT COALESCE(SUM(CASE WHEN name_sha256 = :name THEN 1 ELSE 0 END), 0) AS by_name,
                 COALESCE(SUM(CASE WHEN address = :address THEN 1 ELSE 0 END), 0) AS by_address
               FROM login_attempts WHERE name_sha256 = :name OR address = :address""",
            name=_sha256(name),
            address=address,
        )
        if row and (int(row["by_name"] or 0) >= MOST_BY_NAME or int(row["by_address"] or 0) >= MOST_BY_ADDRESS):
            self._tell_once("sign_in.locked", name)
            raise RateLimitedError(
                "too many sign-ins failed.", next_step="Wait a quarter of an hour.", retry_after_s=WINDOW_S
            )
        attempt_id = new_id("try")
        self._tx.execute(
            """INSERT INTO login_attempts (attempt_id, name_sha256, address, tried_at)
               VALUES (:id, :name, :address, :now)""",
            id=attempt_id,
            name=_sha256(name),
            address=address,
            now=self._tx.now,
        )
        return attempt_id

    def succeeded(self, attempt_id: str) -> None:
        """Take back what `attempt` counted."""
        self._tx.execute("DELETE FROM login_attempts WHERE attempt_id = :id", id=attempt_id)

    def failed(self, attempt_id: str, *, name: str) -> None:
        """Tell of a sign-in with a wrong name or password.

        It counts from now on. That is written whether or not the log is told, for the answer's time to tell no names.
        """
        self._tx.execute(
            "UPDATE login_attempts SET tried_at = :now WHERE attempt_id = :id", now=self._tx.now, id=attempt_id
        )
        self._tell_once("sign_in.refused", name)

    def _tell_once(self, event: str, name: str) -> None:
        """Tell the audit log, once per person and window: who guesses passwords must not be able to flood it."""
        known = self._tx.one("SELECT 1 AS one FROM people WHERE name = :name", name=name)
        subject = actor_of(name) if known else NOBODY
        told = self._tx.one(
            "SELECT at FROM audit_events WHERE subject = :subject AND event = :event ORDER BY seq DESC LIMIT 1",
            subject=subject,
            event=event,
        )
        if told is None or float(told["at"] or 0) <= self._tx.now - WINDOW_S:
            Audit(self._tx).record(event, actor=SYSTEM, subject=subject, body={})

    def _tell_of_end(self, name: str, *, actor: str, why: str) -> None:
        Audit(self._tx).record("session.ended", actor=actor, subject=actor_of(name), body={"why": why})


def _enabled(tx: Transaction, name: str) -> Person | None:
    try:
        person = People(tx).get(name)
    except NotFoundError:
        return None
    return None if person.disabled else person


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _keyed(cookie: str, purpose: str) -> str:
    return hmac.new(cookie.encode("utf-8", "replace"), purpose.encode(), hashlib.sha256).hexdigest()
