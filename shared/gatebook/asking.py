"""A call as a person is asked for it: what it is, whether it may be asked for, and the request."""

from collections.abc import Mapping
from dataclasses import dataclass

from gatebook.approvals.history import History
from gatebook.approvals.holds import HoldRequest
from gatebook.approvals.models import Approval, Origin
from gatebook.approvals.policy import Verdict
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.injection import Caller
from gatebook.intents import Briefing, Facts, Intent, effect_key, fingerprint
from gatebook.refusals import too_many
from gatebook.runtime import Runtime
from gatebook.toolspec import ToolSpec

SHOWN_ORIGINS = 50
"""Of how many texts that policy looked at a person is told where they stand."""


@dataclass(frozen=True)
class Asking:
    """One call, as a person may be asked for it.

    Args:
        runtime: The process's ports.
        spec: The tool.
        caller: Who calls.
        arguments: The validated arguments.
        reason: The agent's words, shown to a person as such.
    """

    runtime: Runtime
    spec: ToolSpec
    caller: Caller
    arguments: Mapping[str, object]
    reason: str = ""

    def _ask(
        self,
        tx: Transaction,
        intent: Intent,
        verdict: Verdict,
        facts: Facts,
        *,
        known: Approval | None,
        editor: str = "",
    ) -> Approval:
        """Create the request.

        Args:
            tx: The transaction.
            intent: What would be done.
            verdict: Why a person is asked, and how they have to decide.
            facts: What the server fetched.
            known: The newest request for the same content, or the one whose content was changed; an open one is closed.
            editor: Who changed the content of that one; nobody where it is the same.

        Raises:
            CeilingReachedError: If too much waits already.
        """
        settings = self.runtime.settings
        if known is not None and known.state in ("pending", "approved"):
            Approvals(tx).void(known, reason="edited" if editor else "policy_changed")
        else:
            self._require_room(tx)
        return Approvals(tx).ask(
            tenant=settings.tenant,
            principal=self.caller.principal,
            run_id=self.caller.run,
            kind="effect",
            server=self.spec.server,
            tool=self.spec.name,
            tool_sha256=self.spec.sha256,
            arguments=self.spec.dump(self.arguments),
            effect_key=self._key(intent),
            target=intent.target,
            operation=intent.operation,
            content=intent.content,
            fingerprint=self._fingerprint(intent),
            mode=settings.mode,
            verdict=verdict,
            reason=self.reason,
            decide_within_s=settings.decide_within_s,
            policy_sha256=self.runtime.policy(self.spec.reach).sha256,
            editable=tuple(name for name in verdict.editable if name in self.spec.editable),
            facts=briefing_of(facts),
            origin=_origin(known, facts, editor=editor),
        )

    def _require_room(self, tx: Transaction) -> None:
        settings = self.runtime.settings
        waiting = Approvals(tx).waiting(
            tenant=settings.tenant, principal=self.caller.principal, server=self.spec.server, tool=self.spec.name
        )
        if waiting.of_principal >= settings.max_pending_per_principal:
            raise too_many("of yours", settings.max_pending_per_principal)
        if waiting.of_tool >= settings.max_pending_per_tool:
            raise too_many("for this tool", settings.max_pending_per_tool)

    def _history(self, tx: Transaction, intent: Intent) -> History:
        return Approvals(tx).history(
            tenant=self.runtime.settings.tenant,
            effect_key=self._key(intent),
            fingerprint=self._fingerprint(intent),
        )

    def _require_undenied(self, history: History, intent: Intent) -> None:
        history.require_undenied(
            intent.content_sha256,
            next_step="Do not ask again for the same content; only changed content is a new request.",
        )

    def _key(self, intent: Intent) -> str:
        return effect_key(intent, tenant=self.runtime.settings.tenant, mode=self.runtime.settings.mode)

    def _fingerprint(self, intent: Intent) -> str:
        settings = self.runtime.settings
        return fingerprint(
            intent,
            tenant=settings.tenant,
            principal=self.caller.principal,
            mode=settings.mode,
            server=self.spec.server,
            tool=self.spec.name,
            tool_sha256=self.spec.sha256,
        )

    def _hold_request(self, facts: Facts) -> HoldRequest:
        settings = self.runtime.settings
        return HoldRequest(
            target=facts.target,
            tenant=settings.tenant,
            principal=self.caller.principal,
            run_id=self.caller.run,
            mode=settings.mode,
            server=self.spec.server,
            tool=self.spec.name,
            decide_within_s=settings.decide_within_s,
            most_pending=settings.max_pending_per_principal,
            facts=briefing_of(facts),
        )


def _origin(known: Approval | None, facts: Facts, *, editor: str) -> Origin:
    """Return whose revision of which request this is; what a person wrote stays theirs, whoever asks for it again."""
    author = editor or (facts.author if facts.author.startswith("person:") else "")
    if known is None:
        return Origin(edited_by=author)
    if editor:
        return Origin(revision=known.revision + 1, edited_by=author, edited_from=known.approval_id)
    return Origin(revision=known.revision, edited_by=author or known.edited_by, edited_from=known.edited_from)


def briefing_of(facts: Facts) -> Briefing:
    """Return what a person is shown: what the room fetched for them, whom it reaches, what was judged."""
    origins = tuple(passage.where for passage in facts.passages[:SHOWN_ORIGINS])
    return facts.briefing.model_copy(update={"recipients": facts.recipients, "origins": origins})
