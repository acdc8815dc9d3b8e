"""Calls to tools that are not ours: a host asks before it lets its model have them.

The guard cannot stand in front of such a tool, the host does. A person's yes is bound to who calls which tool with
exactly which input, lets one call pass, and is never a grant for an effect of ours: fingerprints of both never meet.
Where a person changed the input, the host is told to make the call with theirs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue

from gatebook.admission import Admission
from gatebook.approvals.models import OPEN_STATES, Approval, Origin
from gatebook.approvals.policy import Outcome, Verdict
from gatebook.approvals.requests import Approvals
from gatebook.approvals.terms import outgrown
from gatebook.database.port import Transaction
from gatebook.errors import (
    ApprovalDeniedError,
    ApprovalRequiredError,
    CeilingReachedError,
    ConflictError,
    ForbiddenError,
    PolicyBlockedError,
)
from gatebook.injection import Broker, Caller
from gatebook.intents import Facts, Intent, Passage, Value, digest, effect_key, fingerprint
from gatebook.judging import judged
from gatebook.reach import Reach
from gatebook.runtime import Runtime
from gatebook.switches import RESTORED, Switches

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

    async def require(self, call: ForeignCall, *, counted: bool) -> ToolInput:
        """Let a call pass, once.

        A tool of ours passes: its own guard asks. What needs a person passes once a person said yes; the same call
        asked again, by its id, gets the same answer as long as the yes could have been used.

        Args:
            call: What the host asks about.
            counted: Whether the caller's calls of the day already have it.

        Returns:
            The input with which the call is to be made: its own, or what a person made of it.

        Raises:
            ApprovalRequiredError: If a person has not decided yet; there is a request now.
            ApprovalDeniedError: If a person said no.
            PolicyBlockedError: If policy never allows it.
            PausedError, ForbiddenError: If nothing is done at all now.
            GatebookError: If it cannot be told.
        """
        if self._is_ours(call.tool_name):
            return call.tool_input
        asked = self._asked(call)
        return await self._runtime.transact(lambda tx: self._decide(tx, asked, counted=counted), keep_on_refusal=True)

    def edit(self, tx: Transaction, request: Approval, changes: Mapping[str, str], *, editor: str) -> Approval:
        """Put a person's input in the place of what a pending request asks for; it is judged as the call itself is.

        Args:
            tx: A transaction; it must be left to roll back when this raises.
            request: The pending request, of this caller.
            changes: The new texts of fields of the input that may be changed.
            editor: The person.

        Raises:
            ApprovalDeniedError: If a person said no to exactly this.
            ConflictError: If another request asks for exactly this.
            InvalidArgumentsError: If it cannot be bound exactly.
            PolicyBlockedError: If policy never allows it.
        """
        asked = self._asked(
            ForeignCall(
                tool_name=request.tool,
                tool_input={**request.fields, **changes},
                tool_use_id=str(request.arguments["tool_use_id"]),
            )
        )
        verdict = self._verdict(tx, asked)
        if verdict.outcome is Outcome.DENY:
            raise _blocked(verdict)
        approvals = Approvals(tx)
        known = self._known(approvals, asked)
        if known is not None and self._is_denied(tx, known):
            raise _denied(known)
        if known is not None and known.state in OPEN_STATES:
            raise ConflictError(
                "another request asks for exactly this.", next_step=f"Decide {known.approval_id}, and deny this one."
            )
        approvals.void(request, reason="edited")
        origin = Origin(revision=request.revision + 1, edited_by=editor, edited_from=request.approval_id)
        return self._ask(approvals, asked, verdict, origin)

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

    def _decide(self, tx: Transaction, asked: _Asked, *, counted: bool) -> ToolInput:
        if not counted:
            Admission(self._runtime.settings).count(tx, self._caller.principal)
        standing = self._instead(tx, asked)
        verdict = self._verdict(tx, standing)
        if verdict.outcome is Outcome.DENY:
            raise _blocked(verdict)
        self._require_live(tx)
        # What a person put in the place of the call needs a yes of its own, however harmless policy finds it.
        if verdict.outcome is Outcome.REVIEW or standing is not asked:
            self._require_yes(tx, standing, verdict)
        return standing.call.tool_input

    def _instead(self, tx: Transaction, asked: _Asked) -> _Asked:
        """Return what a person put in the place of the call, as long as that stands; else the call itself."""
        approvals, tenant, call = Approvals(tx), self._runtime.settings.tenant, asked.call
        edits = approvals.edits_of(tenant=tenant, fingerprint=asked.fingerprint)
        standing = [edited for edited in edits if self._stands(tx, edited, call)]
        if not standing or self._passed(approvals, asked) is not None:
            return asked
        edited = max(standing, key=lambda one: (one.state == "used", one.created_at))
        return self._asked(call.model_copy(update={"tool_input": edited.fields}))

    def _stands(self, tx: Transaction, edited: Approval, call: ForeignCall) -> bool:
        """Whether a call is still answered by what came of a person's change: one that was used, by its own call."""
        if edited.state == "used":
            return edited.state_reason == call.used and tx.now < (edited.use_by or 0)
        return edited.state in ("pending", "approved") or self._is_denied(tx, edited)

    def _passed(self, approvals: Approvals, asked: _Asked) -> Approval | None:
        """Return the yes that already let this very call pass."""
        return approvals.used_for(
            tenant=self._runtime.settings.tenant,
            effect_key=asked.key,
            fingerprint=asked.fingerprint,
            reason=asked.call.used,
        )

    def _known(self, approvals: Approvals, asked: _Asked) -> Approval | None:
        tenant = self._runtime.settings.tenant
        return approvals.history(tenant=tenant, effect_key=asked.key, fingerprint=asked.fingerprint).exact

    def _verdict(self, tx: Transaction, asked: _Asked) -> Verdict:
        call = asked.call
        texts = Passage(where="input", text="\n".join(_texts(call.tool_input)))
        return judged(
            tx,
            self._runtime,
            name=f"{ROOM}.{call.tool_name}",
            reach=Reach.SEND,
            # It may notify anybody: no rule for quiet calls lets it pass.
            facts=Facts(target=call.tool_name, passages=(texts,), notifies=True),
            content=call.tool_input,
            principal=self._caller.principal,
            effect_key=asked.key,
        )

    def _require_live(self, tx: Transaction) -> None:
        """Nobody here knows what a foreign tool does, so it counts as one that cannot be undone."""
        Switches(tx).require_running()
        if self._runtime.settings.mode != "live":
            raise ForbiddenError("in a dry run nothing is done outside.", next_step="Do without it.")

    def _require_yes(self, tx: Transaction, asked: _Asked, verdict: Verdict) -> None:
        approvals = Approvals(tx)
        passed = self._passed(approvals, asked)
        if passed is not None and not _is_forgotten(tx, passed):
            return
        known = self._known(approvals, asked)
        if known is not None and self._is_denied(tx, known):
            raise _denied(known)
        reason = _why_void(tx, known, verdict) if known is not None else ""
        if known is not None and reason:
            approvals.void(known, reason=reason)
        granted = approvals.consume(known) if known is not None else None
        if granted is not None:
            approvals.settle(granted, state="used", reason=asked.call.used)
            return
        if known is not None and known.state == "pending" and not reason:
            raise undecided(known)
        self._require_room(approvals)
        raise undecided(self._ask(approvals, asked, verdict, _origin(known)))

    def _is_denied(self, tx: Transaction, request: Approval) -> bool:
        """Whether a person said no, which stands as long as a yes may be used."""
        return request.state == "denied" and tx.now < request.changed_at + self._runtime.settings.use_within_s

    def _require_room(self, approvals: Approvals) -> None:
        pending = approvals.pending_of(tenant=self._runtime.settings.tenant, principal=self._caller.principal)
        if pending >= MOST_PENDING:
            raise CeilingReachedError(
                "too many of your requests wait for a person.", next_step="Go on with what needs nobody."
            )

    def _ask(self, approvals: Approvals, asked: _Asked, verdict: Verdict, origin: Origin) -> Approval:
        settings, intent = self._runtime.settings, asked.intent
        texts = {name for name, value in asked.call.tool_input.items() if isinstance(value, str)}
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
            editable=tuple(name for name in verdict.editable if name in texts),
            origin=origin,
        )


def input_of(request: Approval) -> list[tuple[str, str, str]]:
    """Return the exact input of a foreign call as names, labels and texts.

    Texts are as they are; everything else is JSON, and its label says so.
    """
    return [
        (name, _label(name), value) if isinstance(value, str) else (name, f"{_label(name)} (JSON)", json.dumps(value))
        for name, value in request.fields.items()
    ] or [("", "input (JSON)", "{}")]


def _label(name: str) -> str:
    plain = name.isascii() and name.isidentifier()
    return f"input.{name if plain else json.dumps(name)}"


def _why_void(tx: Transaction, known: Approval, verdict: Verdict) -> str:
    """Return why what people said, or were asked, counts no more; empty when it does."""
    if outgrown(known, verdict):
        return "policy_changed"
    return "restored" if _is_forgotten(tx, known) else ""


def _is_forgotten(tx: Transaction, request: Approval) -> bool:
    """Whether a yes was said before the database was put back from a copy: it may have been used since then.

    Nobody here can look up what a foreign tool did.
    """
    restored = Switches(tx).since(RESTORED)
    if restored is None:
        return False
    votes = Approvals(tx).decisions(request.approval_id)
    return any(vote.verdict == "approve" and vote.decided_at <= restored for vote in votes)


def _origin(known: Approval | None) -> Origin:
    """Return whose revision a new request for the same input is; what takes an open one's place is its next form."""
    if known is None:
        return Origin()
    replaced = known.state in OPEN_STATES
    return Origin(revision=known.revision, edited_by=known.edited_by, edited_from=known.edited_from if replaced else "")


def undecided(request: Approval) -> ApprovalRequiredError:
    """Return the refusal of a call that nobody said yes to so far."""
    return ApprovalRequiredError(
        f"approval {request.approval_id} is {request.state}: a person has to allow exactly this call.",
        next_step="Go on with other work; the same call asks again.",
        details={"approval_id": request.approval_id, "rules": ", ".join(request.rules)},
    )


def _blocked(verdict: Verdict) -> PolicyBlockedError:
    return PolicyBlockedError(
        "the operator's policy does not allow this tool, or not so.",
        next_step="Do without it; do not try another way.",
        details={"rules": ", ".join(verdict.rules)},
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
