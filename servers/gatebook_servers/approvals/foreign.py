"""Calls to tools that are not ours: a host asks before it lets its model have them.

The guard cannot stand in front of such a tool, the host does. A person's yes is bound to who calls which tool with
exactly which input, lets one call pass, and is never a grant for an effect of ours: fingerprints of both never meet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue

from gatebook.admission import Admission
from gatebook.approvals.cases import Case, Earlier
from gatebook.approvals.models import Approval
from gatebook.approvals.policy import Outcome, Verdict
from gatebook.approvals.requests import Approvals
from gatebook.approvals.terms import outgrown
from gatebook.clock import moment
from gatebook.database.port import Transaction
from gatebook.errors import (
    ApprovalDeniedError,
    ApprovalRequiredError,
    CeilingReachedError,
    ForbiddenError,
    PolicyBlockedError,
)
from gatebook.injection import Broker, Caller
from gatebook.intents import Facts, Intent, Passage, Value, digest, effect_key, fingerprint
from gatebook.reach import Reach
from gatebook.runtime import Runtime
from gatebook.switches import Switches
from gatebook.telemetry import count_shadow

ROOM = "foreign"
"""The server that these tools have in requests and in policy: `foreign.Bash`, `foreign.mcp__forge__open_issue`."""

MOST_PENDING = 100
"""Requests of one caller, of every kind, beyond which no foreign call is put before a person."""

ToolName = Annotated[
    str, Field(description="The tool, as the host calls it.", min_length=1, pattern=r"^[A-Za-z0-9_.-]{1,128}$")
]
ToolInput = Annotated[dict[str, JsonValue], Field(description="Its exact input.")]
ToolUseId = Annotated[str, Field(description="The call's id.", min_length=1, max_length=128)]


class ForeignCall(Value):
    """One call that a host asks about."""

    tool_name: ToolName
    tool_input: ToolInput
    tool_use_id: ToolUseId

    @property
    def used(self) -> str:
        """Why a request is used that let this call pass."""
        return f"call {self.tool_use_id}"


@dataclass(frozen=True)
class _Asked:
    """A call and what a yes to it is bound to."""

    call: ForeignCall
    intent: Intent
    key: str
    fingerprint: str


class ForeignCalls:
    """Decides what becomes of foreign calls of one caller.

    Args:
        runtime: The process's ports.
        broker: Knows which tools are not foreign.
        caller: Who calls.
    """

    def __init__(self, runtime: Runtime, broker: Broker, caller: Caller) -> None:
        self._runtime = runtime
        self._broker = broker
        self._caller = caller

    async def require(self, call: ForeignCall, *, counted: bool) -> None:
        """Let a call pass, once.

        A tool of ours passes: its own guard asks. What needs a person passes once a person said yes; the same call
        asked again, by its id, gets the same answer as long as the yes could have been used.

        Args:
            call: What the host asks about.
            counted: Whether the caller's calls of the day already have it.

        Raises:
            ApprovalRequiredError: If a person has not decided yet; there is a request now.
            ApprovalDeniedError: If a person said no.
            PolicyBlockedError: If policy never allows it.
            PausedError, ForbiddenError: If nothing is done at all now.
            GatebookError: If it cannot be told.
        """
        if self._is_ours(call.tool_name):
            return
        asked = self._asked(call)
        await self._runtime.transact(lambda tx: self._decide(tx, asked, counted=counted), keep_on_refusal=True)

    def _is_ours(self, tool_name: str) -> bool:
        prefix, _, rest = tool_name.partition("__")
        server, _, tool = rest.partition("__")
        return prefix == "mcp" and self._broker.offers(server, tool)

    def _asked(self, call: ForeignCall) -> _Asked:
        settings = self._runtime.settings
        intent = Intent(
            target=call.tool_name, operation="call", subject=digest(call.tool_input), content={"input": call.tool_input}
        )
        print_ = fingerprint(
            intent,
            tenant=settings.tenant,
            principal=self._caller.principal,
            mode=settings.mode,
            server=ROOM,
            tool=call.tool_name,
            tool_sha256="",
        )
        return _Asked(call, intent, effect_key(intent, tenant=settings.tenant, mode=settings.mode), print_)

    def _decide(self, tx: Transaction, asked: _Asked, *, counted: bool) -> None:
        if not counted:
            Admission(self._runtime.settings).count(tx, self._caller.principal)
        verdict = self._verdict(tx, asked)
        if verdict.outcome is Outcome.DENY:
            raise PolicyBlockedError(
                "the operator's policy does not allow this tool, or not so.",
                next_step="Do without it; do not try another way.",
                details={"rules": ", ".join(verdict.rules)},
            )
        self._require_live(tx)
        if verdict.outcome is Outcome.REVIEW:
            self._require_yes(tx, asked, verdict)

    def _verdict(self, tx: Transaction, asked: _Asked) -> Verdict:
        settings, principal = self._runtime.settings, self._caller.principal
        name = f"{ROOM}.{asked.call.tool_name}"
        texts = Passage(where="input", text="\n".join(_texts(asked.call.tool_input)))
        case = Case(
            name=name,
            reach=Reach.SEND,
            # It may notify anybody: no rule for quiet calls lets it pass.
            facts=Facts(target=asked.call.tool_name, passages=(texts,), notifies=True),
            content=asked.call.tool_input,
            principal=principal,
            mode=settings.mode,
            at=moment(tx.now).astimezone(settings.zone),
            earlier=Earlier(tx, name, principal, settings.tenant, settings.mode, asked.key),
        )
        verdict = self._runtime.policy(Reach.SEND).judge(case)
        for rule in verdict.shadow:
            count_shadow(rule, tool=name, outcome=verdict.outcome.name.lower())
        return verdict

    def _require_live(self, tx: Transaction) -> None:
        """Nobody here knows what a foreign tool does, so it counts as one that cannot be undone."""
        Switches(tx).require_running()
        if self._runtime.settings.mode != "live":
            raise ForbiddenError("in a dry run nothing is done outside.", next_step="Do without it.")

    def _require_yes(self, tx: Transaction, asked: _Asked, verdict: Verdict) -> None:
        approvals, tenant = Approvals(tx), self._runtime.settings.tenant
        same = approvals.used_for(
            tenant=tenant, effect_key=asked.key, fingerprint=asked.fingerprint, reason=asked.call.used
        )
        if same is not None:
            return
        known = approvals.of_fingerprint(tenant=tenant, fingerprint=asked.fingerprint)
        if known is not None and known.state == "denied" and self._still(tx, known):
            raise _denied(known)
        if known is not None and outgrown(known, verdict):
            approvals.void(known, reason="policy_changed")
        granted = approvals.consume(tenant=tenant, fingerprint=asked.fingerprint)
        if granted is not None:
            approvals.settle(granted, state="used", reason=asked.call.used)
            return
        waiting = known is not None and known.state == "pending" and not outgrown(known, verdict)
        raise undecided(known if known is not None and waiting else self._ask(approvals, asked, verdict))

    def _still(self, tx: Transaction, denied: Approval) -> bool:
        """Whether a no still stands: as long as a yes may be used."""
        return tx.now < denied.changed_at + self._runtime.settings.use_within_s

    def _ask(self, approvals: Approvals, asked: _Asked, verdict: Verdict) -> Approval:
        settings, intent = self._runtime.settings, asked.intent
        pending = approvals.select(
            tenant=settings.tenant, principal=self._caller.principal, state="pending", limit=MOST_PENDING
        )
        if len(pending) == MOST_PENDING:
            raise CeilingReachedError(
                "too many of your requests wait for a person.", next_step="Go on with what needs nobody."
            )
        return approvals.ask(
            tenant=settings.tenant,
            principal=self._caller.principal,
            run_id=self._caller.run,
            kind="foreign",
            server=ROOM,
            tool=asked.call.tool_name,
            tool_sha256="",
            arguments={"tool_use_id": asked.call.tool_use_id},
            effect_key=asked.key,
            target=intent.target,
            operation=intent.operation,
            content=intent.content,
            fingerprint=asked.fingerprint,
            mode=settings.mode,
            verdict=verdict,
            reason="",
            decide_within_s=settings.decide_within_s,
        )


def undecided(request: Approval) -> ApprovalRequiredError:
    """Return the refusal of a call that nobody said yes to so far."""
    return ApprovalRequiredError(
        f"approval {request.approval_id} is {request.state}: a person has to allow exactly this call.",
        next_step="Go on with other work; the same call asks again.",
        details={"approval_id": request.approval_id, "rules": ", ".join(request.rules)},
    )


def _denied(request: Approval) -> ApprovalDeniedError:
    return ApprovalDeniedError(
        "a person said no to exactly this call.",
        next_step="Do without it; do not try another way.",
        details={"approval_id": request.approval_id, "reason": request.state_reason},
    )


def _texts(value: JsonValue) -> Iterator[str]:
    """Yield every text of an input, names of fields included: what a rule's keywords are looked for in."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
