"""How a request has to be decided: as policy said when it was asked for, or as it says now, whichever is stricter."""

from collections.abc import Collection

from gatebook.approvals.models import Approval, Decision, Reviewer
from gatebook.approvals.verdicts import Demand, Outcome, Verdict, reviewed


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
    """Return the review that demands what either of two does."""
    rules = {*then.rules, *(now.rules if now.outcome is Outcome.REVIEW else ())}
    return reviewed(tuple(sorted(rules)), [_demand(then), _demand(now)], edit=())


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


def _demand(verdict: Verdict) -> Demand:
    return Demand(
        risk=verdict.risk,
        quorum=verdict.quorum,
        roles=verdict.roles,
        four_eyes=verdict.four_eyes,
        decide_within_s=verdict.decide_within_s,
        use_within_s=verdict.use_within_s,
        edit=verdict.editable,
        batch=verdict.batch,
    )
