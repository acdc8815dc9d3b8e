"""The records of the approval broker."""

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, JsonValue

from gatebook.intents import Value

ApprovalState = Literal[
    "pending", "approved", "claimed", "used", "denied", "expired", "cancelled", "lapsed", "in_doubt"
]
OPEN_STATES: tuple[ApprovalState, ...] = ("pending", "approved", "claimed")

ApprovalKind = Literal["effect", "hold", "limit", "foreign"]


def _decoded(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Approval(Value):
    """One request for a person's yes.

    It is to an `effect`, to release the texts of a `hold`, to raise a run's `limit`, or to let one call to a tool pass
    that is not ours (`foreign`).
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

    @property
    def shown(self) -> str:
        """The first six characters of the fingerprint, which a decision has to repeat."""
        return self.fingerprint[:6]


class Decision(Value):
    """What a person said."""

    approval_id: str
    person: str
    verdict: Literal["approve", "deny"]
    reason: str
    channel: str
    shown: str
    decided_at: float
