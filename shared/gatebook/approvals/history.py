"""What was asked before about one effect, found with one query however much of it a decision needs."""

from dataclasses import dataclass

from gatebook.approvals.models import OPEN_STATES, Approval
from gatebook.errors import ApprovalDeniedError

FREE_REASONS = ("superseded", "conflict", "edited", "tool_changed", "policy_changed", "restored")
"""Why a machine closed a request; the same content may then be asked for again."""


@dataclass(frozen=True)
class History:
    """Every request for an effect, and every one for exactly a call, whatever became of it.

    Args:
        effect_key: The identity of the effect.
        fingerprint: What a yes to the call is bound to.
        requests: What was found, in no order.
    """

    effect_key: str
    fingerprint: str
    requests: tuple[Approval, ...]

    @property
    def exact(self) -> Approval | None:
        """The open request with the fingerprint, of which there is at most one, or else the newest."""
        same = (request for request in self.requests if request.fingerprint == self.fingerprint)
        return max(same, key=lambda one: (one.state in OPEN_STATES, one.created_at, one.approval_id), default=None)

    @property
    def undecided_or_unused(self) -> list[Approval]:
        """The requests for the effect that are pending or approved."""
        return [request for request in self._of_effect if request.state in ("pending", "approved")]

    @property
    def changed(self) -> list[Approval]:
        """The requests for the effect in whose place a person's change stands."""
        return [request for request in self._of_effect if (request.state, request.state_reason) == _EDITED]

    def refusal_of(self, content_sha256: str) -> Approval | None:
        """Return the denial, or the cancellation by an agent or a person, that sticks to this content.

        A further effect that would do exactly the same has the same fingerprint, and what was refused is refused there.
        """
        sticking = (
            request
            for request in self.requests
            if (request.effect_key, request.content_sha256) == (self.effect_key, content_sha256)
            or request.fingerprint == self.fingerprint
            if request.state == "denied" or (request.state == "cancelled" and request.state_reason not in FREE_REASONS)
        )
        return max(sticking, key=lambda request: request.changed_at, default=None)

    def require_undenied(self, content_sha256: str, *, next_step: str) -> None:
        """Refuse what a person said no to, or what was withdrawn.

        Raises:
            ApprovalDeniedError: With `next_step`, the request and its reason.
        """
        refused = self.refusal_of(content_sha256)
        if refused is not None:
            raise ApprovalDeniedError(
                f"exactly this was {refused.state}.",
                next_step=next_step,
                details={"approval_id": refused.approval_id, "reason": refused.state_reason},
            )

    @property
    def _of_effect(self) -> list[Approval]:
        return [request for request in self.requests if request.effect_key == self.effect_key]


_EDITED = ("cancelled", "edited")
