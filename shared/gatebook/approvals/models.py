"""The records of the approval broker."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field, JsonValue

from gatebook.approvals.verdicts import Risk
from gatebook.intents import Briefing, Value

ApprovalState = Literal[
    "pending", "approved", "claimed", "used", "denied", "expired", "cancelled", "lapsed", "in_doubt"
]
OPEN_STATES: tuple[ApprovalState, ...] = ("pending", "approved", "claimed")

ApprovalKind = Literal["effect", "hold", "limit", "foreign"]

Act = Literal["approve", "deny", "edit", "settle"]

Card = tuple[str, str, str, tuple[str, ...]]

EVERY_ROLE = "*"
"""The role of who may decide everything: the owner, and who sits at the command line."""


class Reviewer(Value):
    """A person who decides, and the roles in which they may. No agent is one."""

    person: str = Field(pattern=r"^person:.")
    roles: tuple[str, ...] = ()

    def may_decide(self, roles: tuple[str, ...]) -> bool:
        """Whether they have one of these roles; where none is named every reviewer may."""
        return not roles or EVERY_ROLE in self.roles or bool(set(roles) & set(self.roles))


def _decoded(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _lines(text: JsonValue) -> JsonValue:
    return text.replace("\r\n", "\n") if isinstance(text, str) else text


class Approval(Value):
    """One request for a person's yes.

    It is to an `effect`, to release the texts of a `hold`, to raise a run's `limit`, or to let one call pass to a tool
    that is not ours (`foreign`). It is one revision: its content never changes. A person's edit makes a new request,
    `edited_from` this one.

    `quorum` distinct persons with one of `roles` (empty: any reviewer) have to say yes; with `four_eyes`, others than
    `edited_by`. `editable` names the fields of the content that a person may change. `facts` is what the server fetched
    for the person; nothing in it is the agent's summary.
    """

    approval_id: str
    tenant: str
    principal: str
    run_id: str
    kind: ApprovalKind
    server: str
    tool: str
    tool_sha256: str
    arguments: Annotated[dict[str, JsonValue], BeforeValidator(_decoded)]
    effect_key: str
    target: str
    operation: str
    content: Annotated[dict[str, JsonValue], BeforeValidator(_decoded)]
    content_sha256: str
    fingerprint: str
    mode: str
    rules: Annotated[tuple[str, ...], BeforeValidator(_decoded)]
    reason: str
    state: ApprovalState
    state_reason: str
    created_at: float
    decide_by: float
    use_by: float | None
    changed_at: float
    risk: Risk
    quorum: int
    roles: Annotated[tuple[str, ...], BeforeValidator(_decoded)]
    four_eyes: bool
    editable: Annotated[tuple[str, ...], BeforeValidator(_decoded)]
    batch: bool
    use_within_s: float | None
    policy_sha256: str
    revision: int
    edited_by: str
    edited_from: str
    facts: Annotated[Briefing, BeforeValidator(_decoded)]

    @property
    def fields(self) -> dict[str, JsonValue]:
        """What a yes is to, by name; of a foreign call, the fields of its input."""
        return cast("dict[str, JsonValue]", self.content["input"]) if self.kind == "foreign" else self.content

    def changed_by(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return those of the new texts of its fields that differ from what is there, not only in how lines end."""
        return {name: text for name, text in texts.items() if _lines(text) != _lines(self.fields.get(name))}

    @property
    def batchable(self) -> bool:
        """Whether it may be decided together with others of its kind."""
        return self.kind == "effect" and self.batch and self.risk != "critical"

    @property
    def card(self) -> Card:
        """What requests have in common that may be decided on one card: the tool, and the rules that asked."""
        return (self.server, self.tool, self.mode, self.rules)

    @property
    def shown(self) -> str:
        """The first six characters of the fingerprint, which a decision has to repeat."""
        return self.fingerprint[:6]


class Origin(Value):
    """Whose revision of which request a new one is: `edited_by` wrote it, in the place of `edited_from`."""

    revision: int = 1
    edited_by: str = ""
    edited_from: str = ""


class Decision(Value):
    """What a person did with one revision; only `approve` and `deny` are votes.

    `roles` are those that the person had then, `fingerprint` is the whole of what they were shown.
    """

    approval_id: str
    revision: int
    person: str
    roles: Annotated[tuple[str, ...], BeforeValidator(_decoded)]
    verdict: Act
    reason: str
    channel: str
    shown: str
    fingerprint: str
    decided_at: float
