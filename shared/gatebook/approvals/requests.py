"""Requests and decisions: the only place that changes an approval's state.

pending -> approved | denied | expired | cancelled; approved -> claimed -> used | in_doubt, or lapsed; claimed ->
approved again when the effect surely did not happen. A timeout is never an approval and never a denial.
"""

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from gatebook.approvals.audit import SYSTEM, Audit
from gatebook.approvals.models import OPEN_STATES, Act, Approval, ApprovalKind, ApprovalState, Origin, Reviewer
from gatebook.approvals.records import Records
from gatebook.approvals.verdicts import Verdict
from gatebook.clock import new_id
from gatebook.errors import ConflictError, ForbiddenError, InvalidArgumentsError
from gatebook.intents import Briefing, canonical, digest

_NOTHING_FETCHED = Briefing()
_FIRST = Origin()


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
        verdict: Verdict,
        reason: str,
        decide_within_s: float,
        policy_sha256: str = "",
        editable: Sequence[str] = (),
        facts: Briefing = _NOTHING_FETCHED,
        origin: Origin = _FIRST,
    ) -> Approval:
        """Create a pending request; the caller has looked for an open one in the same transaction.

        Args:
            tenant: Whose it is.
            principal: Who asks.
            run_id: In which run, without its epoch.
            kind: What a yes means.
            server: The tool's room.
            tool: The tool.
            tool_sha256: The form of the tool that the yes relies on.
            arguments: The validated arguments.
            effect_key: The identity of the effect.
            target: What it is about.
            operation: What is done to it.
            content: Everything that would leave.
            fingerprint: What the yes is bound to.
            mode: `live` or `dry-run`.
            verdict: Why a person is asked, and how they have to decide.
            reason: The agent's words.
            decide_within_s: Longest wait for a decision, seconds; the verdict may say less.
            policy_sha256: The policy that said so.
            editable: The fields of the content that a person may change.
            facts: What the server fetched for the person.
            origin: Whose revision of which request it is.
        """
        approval_id = new_id("apr")
        now = self._tx.now
        self._tx.execute(
            """INSERT INTO approvals (approval_id, tenant, principal, run_id, kind, server, tool, tool_sha256,
                 arguments, effect_key, target, operation, content, content_sha256, fingerprint, mode, rules, reason,
                 state, state_reason, created_at, decide_by, use_by, changed_at, risk, quorum, roles, four_eyes,
                 editable, batch, use_within_s, policy_sha256, revision, edited_by, edited_from, facts)
               VALUES (:id, :tenant, :principal, :run_id, :kind, :server, :tool, :tool_sha,
                 :arguments, :effect_key, :target, :operation, :content, :sha, :fingerprint, :mode, :rules, :reason,
                 'pending', '', :now, :decide_by, NULL, :now, :risk, :quorum, :roles, :four_eyes,
                 :editable, :batch, :use_within_s, :policy, :revision, :edited_by, :edited_from, :facts)""",
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
            rules=json.dumps(verdict.rules),
            reason=reason,
            now=now,
            decide_by=now + min(decide_within_s, verdict.decide_within_s or decide_within_s),
            risk=verdict.risk,
            quorum=verdict.quorum,
            roles=json.dumps(verdict.roles),
            four_eyes=int(verdict.four_eyes),
            editable=json.dumps(list(editable)),
            batch=int(verdict.batch),
            use_within_s=verdict.use_within_s,
            policy=policy_sha256,
            revision=origin.revision,
            edited_by=origin.edited_by,
            edited_from=origin.edited_from,
            facts=facts.model_dump_json(exclude_defaults=True),
        )
        made = self.get(approval_id)
        Audit(self._tx).made(made)
        return made

    def approve(
        self,
        approval_id: str,
        *,
        reviewer: Reviewer,
        channel: str,
        shown: str,
        use_within_s: float,
        reason: str = "",
    ) -> Approval:
        """Record a person's yes to the fingerprint they were shown; the quorum's last one approves the request.

        Args:
            approval_id: The request.
            reviewer: Who decides.
            channel: Where, for the record.
            shown: The fingerprint that the person was shown, or at least its first six characters.
            use_within_s: How long an approval may be used, seconds; the request may say less.
            reason: The person's words.

        Raises:
            NotFoundError: If there is no such request.
            ForbiddenError: If this person may not decide it, or changed its content where another one has to decide.
            ConflictError: If it is no longer pending, the person was shown something else or voted already.
        """
        request = self._decidable(approval_id, reviewer, shown)
        if request.four_eyes and request.edited_by == reviewer.person:
            raise ForbiddenError("you changed this; another person has to approve it.", next_step="Ask somebody else.")
        before = [vote.person for vote in self.decisions(approval_id) if vote.verdict == "approve"]
        if reviewer.person in before:
            raise ConflictError(
                "you approved this already.",
                next_step=f"{request.quorum} different persons have to approve it.",
                details={"quorum": request.quorum},
            )
        self._record(request, reviewer, act="approve", channel=channel, shown=shown, reason=reason)
        if len(before) + 1 >= request.quorum:
            use_by = self._tx.now + min(use_within_s, request.use_within_s or use_within_s)
            self._move(request, "approved", reason="", use_by=None if request.kind == "hold" else use_by)
        return self.get(approval_id)

    def deny(self, approval_id: str, *, reviewer: Reviewer, channel: str, shown: str, reason: str) -> Approval:
        """Record a person's no, with the reason that the agent will read. One no denies.

        Raises:
            NotFoundError: If there is no such request.
            ForbiddenError: If this person may not decide it.
            ConflictError: If it is no longer pending, or the person was shown something else.
        """
        request = self._decidable(approval_id, reviewer, shown)
        self._record(request, reviewer, act="deny", channel=channel, shown=shown, reason=reason)
        self._move(request, "denied", reason=reason)
        return self.get(approval_id)

    def require_editable(
        self, approval_id: str, *, reviewer: Reviewer, shown: str, changes: Mapping[str, str]
    ) -> Approval:
        """Return a pending request whose content this person may change like this.

        Raises:
            NotFoundError: If there is no such request.
            ForbiddenError: If this person may not decide it, or one of the fields may not be changed.
            ConflictError: If it is no longer pending, or the person was shown something else.
            InvalidArgumentsError: If nothing changes.
        """
        request = self._decidable(approval_id, reviewer, shown)
        if not request.changed_by(changes):
            raise unchanged()
        if not changes.keys() <= set(request.editable):
            named = f"only {' and '.join(request.editable)}" if request.editable else "nothing"
            raise ForbiddenError(
                f"{named} can be changed in this request.",
                next_step="Deny it with a reason, and the agent can redo it.",
            )
        return request

    def record_edit(self, request: Approval, *, reviewer: Reviewer, channel: str, shown: str) -> None:
        """Record that a person changed the content of a request. That is no vote."""
        self._record(request, reviewer, act="edit", channel=channel, shown=shown, reason="")

    def settle_doubt(
        self, approval_id: str, *, reviewer: Reviewer, channel: str, happened: bool, note: str
    ) -> Approval:
        """Record what a person found out about an effect in doubt; its grant can be used again if it did not happen.

        Raises:
            NotFoundError: If there is no such request.
            ForbiddenError: If this person may not decide it.
            ConflictError: If it is not in doubt.
        """
        request = self.get(approval_id)
        if request.state != "in_doubt":
            raise ConflictError(
                f"the request is {request.state}; there is no doubt to settle.",
                next_step="Run `gatebook attention` for what is in doubt.",
                details={"state": request.state},
            )
        _require_role(request, reviewer)
        self._record(request, reviewer, act="settle", channel=channel, shown="", reason=note)
        usable = request.use_by is not None and self._tx.now < request.use_by
        state: ApprovalState = "used" if happened else "approved" if usable else "lapsed"
        self._move(request, state, reason=f"a person settled it: {note}", use_by=request.use_by)
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
        words = f"withdrawn: {reason}" if reason else "withdrawn by the agent"
        self._move(request, "cancelled", reason=words, actor=principal)
        return self.get(approval_id)

    def consume(self, request: Approval) -> str | None:
        """Take the grant that a request became, once; the approval's id, or None when there is none to take."""
        if request.kind == "hold":
            return None
        taken = self._tx.execute(
            """UPDATE approvals SET state = 'claimed', changed_at = :now
               WHERE approval_id = :id AND state = 'approved' AND use_by > :now""",
            id=request.approval_id,
            now=self._tx.now,
        )
        if not taken:
            return None
        Audit(self._tx).moved(request.approval_id, "claimed")
        return request.approval_id

    def settle(self, approval_id: str, *, state: ApprovalState, reason: str = "") -> None:
        """End a claimed grant: used, in doubt, lapsed, or approved again when surely nothing happened."""
        ended = self._tx.execute(
            """UPDATE approvals SET state = :state, state_reason = :reason, changed_at = :now
               WHERE approval_id = :id AND state = 'claimed'""",
            id=approval_id,
            state=state,
            reason=reason,
            now=self._tx.now,
        )
        if ended:
            Audit(self._tx).settled(approval_id, state, reason=reason)

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

    def _decidable(self, approval_id: str, reviewer: Reviewer, shown: str) -> Approval:
        request = self.get(approval_id)
        if request.state != "pending":
            raise _settled(request)
        _require_role(request, reviewer)
        if len(shown) < 6 or not request.fingerprint.startswith(shown.lower()):  # noqa: PLR2004 - six are shown
            raise ConflictError(
                "the fingerprint is not the one of this request.",
                next_step=f"Run `gatebook approvals show {approval_id}` and decide on what it shows.",
            )
        return request

    def _record(
        self,
        request: Approval,
        reviewer: Reviewer,
        *,
        act: Act,
        channel: str,
        shown: str,
        reason: str,
    ) -> None:
        self._tx.execute(
            """INSERT INTO decisions (approval_id, revision, person, roles, verdict, reason, channel, shown,
                 fingerprint, decided_at)
               VALUES (:id, :revision, :person, :roles, :verdict, :reason, :channel, :shown, :fingerprint, :now)
               ON CONFLICT (approval_id, revision, person, verdict) DO UPDATE SET roles = excluded.roles,
                 reason = excluded.reason, channel = excluded.channel, shown = excluded.shown,
                 decided_at = excluded.decided_at""",
            id=request.approval_id,
            revision=request.revision,
            person=reviewer.person,
            roles=json.dumps(reviewer.roles),
            verdict=act,
            reason=reason,
            channel=channel,
            shown=shown,
            fingerprint=request.fingerprint,
            now=self._tx.now,
        )
        Audit(self._tx).voted(request, reviewer, verdict=act, channel=channel, reason=reason)

    def _move(
        self,
        request: Approval,
        state: ApprovalState,
        *,
        reason: str,
        use_by: float | None = None,
        actor: str = SYSTEM,
    ) -> None:
        moved = self._tx.execute(
            """UPDATE approvals SET state = :state, state_reason = :reason, use_by = :use_by, changed_at = :now
               WHERE approval_id = :id AND state = :before""",
            id=request.approval_id,
            before=request.state,
            state=state,
            reason=reason,
            use_by=use_by,
            now=self._tx.now,
        )
        if moved:
            Audit(self._tx).moved(request.approval_id, state, reason=reason, actor=actor)


def unchanged() -> InvalidArgumentsError:
    """A person's change that changes nothing."""
    return InvalidArgumentsError("nothing would change.", next_step="Change the text, or approve it as it is.")


def _require_role(request: Approval, reviewer: Reviewer) -> None:
    if not reviewer.may_decide(request.roles):
        raise ForbiddenError(
            f"only {' or '.join(request.roles)} may decide this.", next_step="Leave it to somebody with that role."
        )


def _settled(request: Approval) -> ConflictError:
    state = "open" if request.state in OPEN_STATES else "closed"
    return ConflictError(
        f"the request is {request.state} ({state}); it cannot be decided or cancelled any more.",
        next_step="Run `gatebook approvals show` to see what became of it.",
        details={"state": request.state},
    )
