"""Who may sign in, with which password and in which roles."""

import json
import re
from functools import cache
from typing import Annotated

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BeforeValidator, JsonValue

from gatebook.approvals.audit import SYSTEM, Audit
from gatebook.approvals.models import EVERY_ROLE, Reviewer
from gatebook.database.port import Transaction
from gatebook.errors import ConflictError, InvalidArgumentsError, NotFoundError
from gatebook.intents import Value

ADMIN = "admin"
"""The role of who may everything: decide whatever policy says, pause and resume."""
REVIEWER = "reviewer"
"""The role of who decides what policy leaves to every reviewer."""
MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 1_000

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,39}")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,39}")
_hasher = argon2.PasswordHasher()


def _decoded(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Person(Value):
    """Somebody who may sign in unless `disabled`. Without any role they look on and decide nothing."""

    name: str
    roles: Annotated[tuple[str, ...], BeforeValidator(_decoded)]
    disabled: bool
    created_at: float

    @property
    def is_admin(self) -> bool:
        """Whether they run this installation."""
        return ADMIN in self.roles

    @property
    def decides(self) -> bool:
        """Whether they may decide anything."""
        return bool(self.roles)

    @property
    def actor(self) -> str:
        """Who they are in the records."""
        return actor_of(self.name)

    @property
    def reviewer(self) -> Reviewer:
        """Who they are to the broker."""
        return Reviewer(person=self.actor, roles=(EVERY_ROLE,) if self.is_admin else self.roles)


class People:
    """The people table, inside one transaction. Every change of it is told to the audit log.

    Args:
        transaction: The transaction.
        by: Who changes it, `person:...`.
    """

    def __init__(self, transaction: Transaction, *, by: str = SYSTEM) -> None:
        self._tx = transaction
        self._by = by

    def add(self, name: str, *, password_hash: str, roles: tuple[str, ...]) -> Person:
        """Add somebody.

        Args:
            name: Lower-case letters, digits, dot, hyphen and underscore; at most 40.
            password_hash: From `hashed`, made before the transaction began: it takes its time.
            roles: Words such as `reviewer`, `admin` or those of the policy.

        Raises:
            InvalidArgumentsError: If the name or a role is no such word.
            ConflictError: If there is somebody of this name.
        """
        if not _NAME.fullmatch(name) or not all(_ROLE.fullmatch(role) for role in roles):
            raise InvalidArgumentsError(
                "a name or a role does not fit.",
                next_step="Use lower-case letters, digits and hyphens, beginning with a letter; at most 40.",
            )
        added = self._tx.execute(
            """INSERT INTO people (name, password, roles, disabled, created_at, changed_at)
               VALUES (:name, :password, :roles, 0, :now, :now) ON CONFLICT (name) DO NOTHING""",
            name=name,
            password=password_hash,
            roles=json.dumps(roles),
            now=self._tx.now,
        )
        if not added:
            raise ConflictError("there is somebody of this name.", next_step="Choose another name.")
        self._tell(name, "person.added", roles=list(roles))
        return self.get(name)

    def add_first(self, name: str, *, password_hash: str) -> Person:
        """Add the first person, who runs this installation.

        Raises:
            ConflictError: If there is anybody already.
            InvalidArgumentsError: As `add`.
        """
        if self.any():
            raise ConflictError("the first person exists.", next_step="Sign in.")
        self._by = actor_of(name)
        person = self.add(name, password_hash=password_hash, roles=(ADMIN,))
        self._tell(name, "first_run.used")
        return person

    def any(self) -> bool:
        """Whether there is anybody, disabled ones included."""
        return self._tx.one("SELECT 1 AS one FROM people") is not None

    def get(self, name: str) -> Person:
        """Return somebody.

        Raises:
            NotFoundError: If there is nobody of this name.
        """
        row = self._tx.one("SELECT name, roles, disabled, created_at FROM people WHERE name = :name", name=name)
        if row is None:
            raise NotFoundError("there is nobody of this name.", next_step="Run `gatebook console people list`.")
        return Person.model_validate(dict(row))

    def all(self) -> list[Person]:
        """Return everybody, by name."""
        rows = self._tx.all("SELECT name, roles, disabled, created_at FROM people ORDER BY name")
        return [Person.model_validate(dict(row)) for row in rows]

    def password_hash(self, name: str) -> str:
        """Return the hash to check a password against; empty where nobody of this name may sign in."""
        row = self._tx.one("SELECT password FROM people WHERE name = :name AND disabled = 0", name=name)
        return str(row["password"]) if row else ""

    def set_password(self, name: str, *, password_hash: str) -> None:
        """Replace a password, and end every session of this person.

        Raises:
            NotFoundError: If there is nobody of this name.
        """
        self._change(name, "person.password_set", "password = :password", password=password_hash)

    def disable(self, name: str) -> None:
        """Let somebody in no more, at once. What they decided stays.

        Raises:
            NotFoundError: If there is nobody of this name.
        """
        self._change(name, "person.disabled", "disabled = 1")

    def _change(self, name: str, event: str, change: str, **values: str) -> None:
        changed = self._tx.execute(
            f"UPDATE people SET {change}, changed_at = :now WHERE name = :name",  # noqa: S608 - constants
            name=name,
            now=self._tx.now,
            **values,
        )
        if not changed:
            raise NotFoundError("there is nobody of this name.", next_step="Run `gatebook console people list`.")
        ended = self._tx.execute("DELETE FROM sessions WHERE name = :name", name=name)
        self._tell(name, event, sessions_ended=ended)

    def _tell(self, name: str, event: str, **body: JsonValue) -> None:
        Audit(self._tx).record(event, actor=self._by, subject=actor_of(name), body=body)


def actor_of(name: str) -> str:
    """Return who somebody of this name is in the records."""
    return f"person:{name}"


def hashed(password: str) -> str:
    """Return what is kept of a password. Takes about a tenth of a second on purpose.

    Raises:
        InvalidArgumentsError: If it has fewer than 12 characters or more than 1,000.
    """
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise InvalidArgumentsError(
            f"the password has fewer than {MIN_PASSWORD_CHARS} characters, or far too many.",
            next_step="Choose a longer one; several words are good.",
        )
    return _hasher.hash(password)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the password of nobody at all")


def is_password(password: str, password_hash: str) -> bool:
    """Whether this is the password. It takes as long when there is no hash, so that time tells no names."""
    try:
        fits = _hasher.verify(password_hash or _nobodys_hash(), password[:MAX_PASSWORD_CHARS])
    except (VerificationError, InvalidHashError):
        return False
    return fits and bool(password_hash)
