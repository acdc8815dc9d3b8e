"""What a call means to do outside, and what policy must see of it."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import cast

import rfc8785
from pydantic import BaseModel, ConfigDict, JsonValue

from gatebook.errors import InvalidArgumentsError

MAX_CONTENT_BYTES = 256 * 1024
_dumps = cast("Callable[[JsonValue], bytes]", rfc8785.dumps)
"""The library's own type is narrower than what it takes."""


class Value(BaseModel):
    """An immutable record that crosses a boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Intent(Value):
    """One effect on the outside, resolved from validated arguments.

    `target`, `operation` and `subject` are its identity: the same draft in two runs, or with the run forgotten, is one
    effect. `content` is everything that will leave.
    """

    target: str
    operation: str
    subject: str
    content: dict[str, JsonValue]

    @cached_property
    def content_sha256(self) -> str:
        """Return the hash of what will leave."""
        return hashlib.sha256(self.canonical_content).hexdigest()

    @cached_property
    def canonical_content(self) -> bytes:
        """Return the RFC 8785 form of what will leave."""
        return canonical(self.content)


class Passage(Value):
    """A text that policy looks at, and where it stands (`ticket`, `comment`, `draft`)."""

    where: str
    text: str


class Amount(Value):
    """An amount of money. `currency` is its ISO 4217 code, empty when unknown."""

    value: Decimal
    currency: str = ""


class Briefing(Value):
    """What a person is shown beside a request, as the server fetched it when it was asked for. Texts are raw.

    `previous` is the earlier form of what would leave, to compare it with, and `previous_from` whose it was. `origins`
    are the places of the texts that policy looked at.
    """

    desk: str = ""
    ref: str = ""
    subject: str = ""
    newest: str = ""
    newest_from: str = ""
    newest_at: datetime | None = None
    recipients: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    previous: str = ""
    previous_from: str = ""


class Facts(Value):
    """What the server itself fetched about an intent; policy never sees the agent's summary.

    Attributes:
        target: What it is about.
        passages: The texts that are involved.
        recipients: The addresses of those outside who would read it.
        notifies: Whether somebody would be told.
        amounts: Amounts that are known otherwise than from the texts.
        category: What the classifier last said of the target; empty when unknown.
        first_contact: Whether nobody wrote to the recipients before from this desk; None when unknown.
        author: Who wrote what would leave, where the room knows.
        briefing: For the person who decides; policy does not look at it.
    """

    target: str = ""
    passages: tuple[Passage, ...] = ()
    recipients: tuple[str, ...] = ()
    notifies: bool = False
    amounts: tuple[Amount, ...] = ()
    category: str = ""
    first_contact: bool | None = None
    author: str = ""
    briefing: Briefing = Briefing()


def canonical(value: JsonValue) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Raises:
        InvalidArgumentsError: If the value has no canonical form (numbers beyond 2^53, lone surrogates) or is larger
            than 256 KiB.
    """
    try:
        data = _dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise InvalidArgumentsError(
            "an argument has no canonical JSON form.", next_step="Use plain text and numbers below 2^53."
        ) from error
    if len(data) > MAX_CONTENT_BYTES:
        raise InvalidArgumentsError("the content is larger than 256 KiB.", next_step="Shorten it.")
    return data


def digest(value: JsonValue) -> str:
    """Return the SHA-256 of a value's canonical form, hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def effect_key(intent: Intent, *, tenant: str, mode: str) -> str:
    """Return the global identity of an effect; it does not expire. A dry run never stands for the live effect."""
    return _effect_key(tenant, mode, intent.target, intent.operation, intent.subject)


@lru_cache(maxsize=64)
def _effect_key(tenant: str, mode: str, target: str, operation: str, subject: str) -> str:
    """Return the key; one call needs it several times."""
    return digest(["effect/1", tenant, target, operation, subject, *(["dry-run"] if mode != "live" else [])])


MARK = "gb-"
"""How every marker begins."""


def marker_of(key: str) -> str:
    """Return the short mark that travels with the effect and is looked up before anything is repeated."""
    return f"{MARK}{key[:26]}"


def fingerprint(
    intent: Intent, *, tenant: str, principal: str, mode: str, server: str, tool: str, tool_sha256: str
) -> str:
    """Return the hash that a person's yes is bound to: who, with which tool, does exactly what."""
    others = canonical(
        {
            "v": 1,
            "tenant": tenant,
            "principal": principal,
            "mode": mode,
            "server": server,
            "tool": tool,
            "schema": tool_sha256,
            "target": intent.target,
            "operation": intent.operation,
        }
    )
    # The canonical form of all with the content, whose name sorts before the others: it is not written a second time.
    return hashlib.sha256(b'{"content":' + intent.canonical_content + b"," + others[1:]).hexdigest()
