"""How a request has to be decided: as policy said when it was asked for, or as it says now, whichever is stricter."""

from collections.abc import Collection

from gatebook.approvals.models import Approval, Decision, Reviewer
from gatebook.approvals.policy import Outcome, Risk, Verdict

_RISKS: tuple[Risk, ...] = ("low", "normal", "high", "critical")


def terms_of(request: Approval) -> Verdict:
    """Return what policy said when a request was asked for."""
    return Verdict(
        outcome=Outcome.REVIEW,
        rules=request.rules,
        risk=request.risk,
        quorum=request.quorum,
        roles=request.roles,
        four_eyes=request.four_eyes,
        use_within_s=request.use_within_s,
        editable=request.editable,
        batch=request.batch,
    )


def strictest(then: Verdict, now: Verdict) -> Verdict:
    """Return the verdict that demands what either of two does; where their roles exclude each other, those of now."""
    return Verdict(
        outcome=max(then.outcome, now.outcome),
        rules=tuple(sorted({*then.rules, *(now.rules if now.outcome is Outcome.REVIEW else ())})),
        risk=_RISKS[max(_RISKS.index(then.risk), _RISKS.index(now.risk))],
        quorum=max(then.quorum, now.quorum),
        roles=_roles(then.roles, now.roles),
        four_eyes=then.four_eyes or now.four_eyes,
        decide_within_s=now.decide_within_s,
        use_within_s=_least(then.use_within_s, now.use_within_s),
        editable=tuple(name for name in then.editable if name in now.editable),
        batch=then.batch and now.batch,
    )


def outgrown(request: Approval, now: Verdict) -> bool:
    """Whether policy demands more of a decision now than when it was asked for."""
    then = terms_of(request)
    both = strictest(then, now)
    return (both.risk, both.quorum, both.four_eyes, set(both.roles)) != (
        then.risk,
        then.quorum,
        then.four_eyes,
        set(then.roles),
    )


def satisfied(request: Approval, votes: Collection[Decision], now: Verdict) -> bool:
    """Whether a quorum of distinct persons said yes to exactly this, whom then and now allow to."""
    both = strictest(terms_of(request), now)
    persons = {
        vote.person
        for vote in votes
        if vote.verdict == "approve"
        and (vote.revision, vote.fingerprint) == (request.revision, request.fingerprint)
        and not (both.four_eyes and vote.person == request.edited_by)
        and all(
            Reviewer(person=vote.person, roles=vote.roles).may_decide(roles) for roles in (request.roles, both.roles)
        )
    }
    return len(persons) >= both.quorum


def _roles(then: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    if not then or not now:
        return then or now
    return tuple(role for role in then if role in now) or now


def _least(then: float | None, now: float | None) -> float | None:
    return min((time for time in (then, now) if time is not None), default=None)
