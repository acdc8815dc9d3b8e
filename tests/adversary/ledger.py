"""What persons of the harness really decided, written down beside the code under test and never read from it."""

from dataclasses import dataclass, field
from typing import Literal

from adversary.deeds import Deed
from gatebook.approvals.models import Reviewer

Outcome = Literal["allow", "review", "deny"]


@dataclass(frozen=True)
class Demand:
    """What the operator's policy of the moment wants for every write."""

    outcome: Outcome = "review"
    quorum: int = 1
    role: str = ""
    four_eyes: bool = False


@dataclass(frozen=True)
class Actor:
    """On whose behalf something is done."""

    principal: str = "agent:local"
    tenant: str = "default"
    mode: str = "live"
    ceiling: str | None = None
    """Highest reach that the operator lets this one's process have."""


@dataclass(frozen=True)
class Violation:
    """What must not be. `kind` is the column of the table in which it counts."""

    kind: Literal["execution", "decision", "bound"]
    what: str


@dataclass
class Permit:
    """One request, and what persons said to exactly the deed that they were shown."""

    approval_id: str
    deed: Deed
    actor: Actor
    demand: Demand
    decide_by: float
    editor: str = ""
    votes: list[Reviewer] = field(default_factory=list[Reviewer])
    until: float = 0.0
    used: bool = False
    closed: bool = False
    """Denied, withdrawn, superseded, or out of time: no yes counts any more."""

    def may_vote(self, reviewer: Reviewer, *, now: float) -> bool:
        """Whether this person's yes may count."""
        return (
            not self.closed
            and now < self.decide_by
            and reviewer.person not in {vote.person for vote in self.votes}
            and self._fits(reviewer, self.demand)
        )

    def _fits(self, reviewer: Reviewer, demand: Demand) -> bool:
        in_role = not demand.role or bool({demand.role, "*"} & set(reviewer.roles))
        return in_role and not (demand.four_eyes and reviewer.person == self.editor)

    def is_grant(self, demand: Demand, *, now: float) -> bool:
        """Whether this may be used now, under the stricter of the policy then and `demand`, the one now."""
        if self.used or self.closed or demand.outcome == "deny" or now >= self.until:
            return False
        fitting = [vote for vote in self.votes if self._fits(vote, self.demand) and self._fits(vote, demand)]
        return len(fitting) >= max(self.demand.quorum, demand.quorum)


@dataclass
class Ledger:
    """All that was asked, decided and done in one world."""

    demand: Demand = Demand()
    permits: list[Permit] = field(default_factory=list[Permit])
    decided: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    flagged: set[Deed] = field(default_factory=set[Deed])
    """Deeds that a person has to see although policy allows others like them."""
    violations: list[Violation] = field(default_factory=list[Violation])
    executed: int = 0

    def of(self, approval_id: str) -> Permit:
        return next(permit for permit in self.permits if permit.approval_id == approval_id)

    def close(self, approval_id: str) -> None:
        self.of(approval_id).closed = True

    def accuse(self, kind: Literal["execution", "decision", "bound"], what: str) -> None:
        self.violations.append(Violation(kind, what))

    def judge(self, deed: Deed, actor: Actor | None, *, now: float) -> None:
        """Look for the grant by which a deed was done; `actor` is None for a worker, which acts for who asked."""
        fitting = [permit for permit in self.permits if permit.deed == deed and actor in (None, permit.actor)]
        grant = next((one for one in fitting if one.is_grant(self.demand, now=now) and one.actor.mode == "live"), None)
        if grant is not None:
            grant.used = True
            self.executed += 1
        elif self.demand.outcome != "allow" or deed in self.flagged or any(one.deed == deed for one in self.permits):
            self.accuse("execution", f"{deed.kind} on {deed.ticket} without a grant")
        else:
            self.executed += 1
