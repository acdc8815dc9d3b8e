"""Requests and decisions: the only place that changes an approval's state.

pending -> approved | denied | expired | cancelled; approved -> claimed -> used | in_doubt, or lapsed; claimed ->
approved again when the effect surely did not happen. A timeout is never an approval and never a denial.
"""

import json
from collections.abc import Sequence

from pydantic import JsonValue

from gatebook.approvals.models import OPEN_STATES, Approval, ApprovalKind, ApprovalState
from gatebook.approvals.records import Records
from gatebook.clock import new_id
from gatebook.errors import ConflictError, ForbiddenError
from gatebook.intents import canonical, digest


class Approvals(Records):
    """The approval tables, inside one transaction. Clocks that ran out are applied before anything is read."""

    def ask(
        self,
        *,
        tenant: str,
        principal: str,
        run_id: str,
        kind: ApprovalKind,
        server: str,
        tool: str,
        tool_sha256: str,
        arguments: dict[str, JsonValue],
        effect_key: str,
        target: str,
        operation: str,
        content: dict[str, JsonValue],
        fingerprint: str,
        mode: str,
        rules: Sequence[str],
        reason: str,
        decide_within_s: float,
    ) -> Approval:
        """Create a pending request; the caller has looked for an open one in the same transaction."""
        approval_id = new_id("apr")
        now = self._tx.now
        self._tx.execute(
            """INSERT INTO approvals (approval_id, tenant, principal, run_id, kind, server, tool, tool_sha256,
                 arguments, effect_key, target, operation, content, content_sha256, fingerprint, mode, rules, reason,
                 state, state_reason, created_at, decide_by, use_by, changed_at)
               VALUES (:id, :tenant, :principal, :run_id, :kind, :server, :tool, :tool_sha,
                 :arguments, :effect_key, :target, :operation, :content, :sha, :fingerprint, :mode, :rules, :reason,
                 'pending', '', :now, :decide_by, NULL, :now)""",
            id=approval_id,
            tenant=tenant,
            principal=principal,
            run_id=run_id,
            kind=kind,
            server=server,
            tool=tool,
            tool_sha=tool_sha256,
            arguments=json.dumps(arguments),
            effect_key=effect_key,
            target=target,
            operation=operation,
            content=canonical(content).decode(),
            sha=digest(content),
            fingerprint=fingerprint,
            mode=mode,
            rules=json.dumps(list(rules)),
            reason=reason,
            now=now,
            decide_by=now + decide_within_s,
        )
        return self.get(approval_id)

    def approve(
        self, approval_id: str, *, person: str, channel: str, shown: str, use_within_s: float, reason: str = ""
    ) -> Approval:
        """Record a person's yes to the fingerprint they were shown.

        Raises:
            NotFoundError: If there is no such request.
            ConflictError: If it is no longer pending, or the person was shown something else.
        """
        request = self._decidable(approval_id, shown)
        self._decide(request, verdict="approve", person=person, channel=channel, shown=shown, reason=reason)
        use_by = None if request.kind == "hold" else self._tx.now + use_within_s
        self._move(request, "approved", reason="", use_by=use_by)
        return self.get(approval_id)

    def deny(self, approval_id: str, *, person: str, channel: str, shown: str, reason: str) -> Approval:
        """Record a person's no, with the reason that the agent will read.

        Raises:
            NotFoundError: If there is no such request.
            ConflictError: If it is no longer pending, or the person was shown something else.
        """
        request = self._decidable(approval_id, shown)
        self._decide(request, verdict="deny", person=person, channel=channel, shown=shown, reason=reason)
        self._move(request, "denied", reason=reason)
        return self.get(approval_id)

    def cancel(self, approval_id: str, *, principal: str, reason: str) -> Approval:
        """Withdraw a pending request of this principal.

        Raises:
            ForbiddenError: If it is another principal's.
            ConflictError: If it is no longer pending.
        """
        request = self.get(approval_id)
        if request.principal != principal:
            raise ForbiddenError("the request is another principal's.", next_step="Cancel only your own requests.")
        if request.state != "pending":
            raise _settled(request)
        # The words around it keep an agent from naming one of the machine's own reasons.
        self._move(request, "cancelled", reason=f"withdrawn: {reason}" if reason else "withdrawn by the agent")
        return self.get(approval_id)

    def consume(self, *, tenant: str, fingerprint: str) -> str | None:
        """Take the grant for this fingerprint, once; the approval's id, or None when there is none to take."""
        request = self.of_fingerprint(tenant=tenant, fingerprint=fingerprint)
        if request is None or request.kind == "hold":
            return None
        taken = self._tx.execute(
            """UPDATE approvals SET state = 'claimed', changed_at = :now
               WHERE approval_id = :id AND state = 'approved' AND use_by > :now""",
            id=request.approval_id,
            now=self._tx.now,
        )
        return request.approval_id if taken else None

    def settle(self, approval_id: str, *, state: ApprovalState, reason: str = "") -> None:
        """End a claimed grant: used, in doubt, lapsed, or approved again when surely nothing happened."""
        self._tx.execute(
            """UPDATE approvals SET state = :state, state_reason = :reason, changed_at = :now
               WHERE approval_id = :id AND state = 'claimed'""",
            id=approval_id,
            state=state,
            reason=reason,
            now=self._tx.now,
        )

    def void(self, request: Approval, *, reason: str) -> None:
        """Close a request that no longer fits: pending becomes cancelled, approved lapses."""
        if request.state in ("pending", "approved"):
            self._move(request, "cancelled" if request.state == "pending" else "lapsed", reason=reason)

    def supersede(self, *, tenant: str, target: str, operation: str, reason: str) -> int:
        """Void every open request for an operation on a target; how many."""
        rows = self._select(
            """tenant = :tenant AND target = :target AND operation = :operation AND kind = 'effect'
               AND state IN ('pending', 'approved')""",
            tenant=tenant,
            target=target,
            operation=operation,
        )
        for request in rows:
            self.void(request, reason=reason)
        return len(rows)

    def _decidable(self, approval_id: str, shown: str) -> Approval:
        request = self.get(approval_id)
        if request.state != "pending":
            raise _settled(request)
        if len(shown) < 6 or not request.fingerprint.startswith(shown.lower()):  # noqa: PLR2004 - six are shown
            raise ConflictError(
                "the fingerprint is not the one of this request.",
                next_step=f"Run `gatebook approvals show {approval_id}` and decide on what it shows.",
            )
        return request

    def _decide(self, request: Approval, *, verdict: str, person: str, channel: str, shown: str, reason: str) -> None:
        self._tx.execute(
            """INSERT INTO decisions (approval_id, person, verdict, reason, channel, shown, decided_at)
               VALUES (:id, :person, :verdict, :reason, :channel, :shown, :now)""",
            id=request.approval_id,
            person=person,
            verdict=verdict,
            reason=reason,
            channel=channel,
            shown=shown,
            now=self._tx.now,
        )

    def _move(self, request: Approval, state: ApprovalState, *, reason: str, use_by: float | None = None) -> None:
        self._tx.execute(
            """UPDATE approvals SET state = :state, state_reason = :reason, use_by = :use_by, changed_at = :now
               WHERE approval_id = :id AND state = :before""",
            id=request.approval_id,
            before=request.state,
            state=state,
            reason=reason,
            use_by=use_by,
            now=self._tx.now,
        )


def _settled(request: Approval) -> ConflictError:
    state = "open" if request.state in OPEN_STATES else "closed"
    return ConflictError(
        f"the request is {request.state} ({state}); it cannot be decided or cancelled any more.",
        next_step="Run `gatebook approvals show` to see what became of it.",
        details={"state": request.state},
    )
