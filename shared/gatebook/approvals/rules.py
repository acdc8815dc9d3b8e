"""A policy as it is written: rules with conditions, and the words for what does not fit."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gatebook.approvals.cases import Case, matches
from gatebook.approvals.conditions import AmountOver, Holds, Keywords, Rate, Recipient, Time, both
from gatebook.approvals.durations import Duration
from gatebook.approvals.verdicts import Demand, Outcome, Risk
from gatebook.intents import Value
from gatebook.reach import Reach

OutcomeName = Literal["allow", "review", "deny"]
Category = Literal["Bug", "Feature", "Support", "Spam"]
"""The classifier's categories; a misspelt one would never match."""
_CLAIMED = ("keywords", "amount", "category", "rate")
"""Conditions on which no rule may allow: what a customer or an agent writes decides them."""


def _tool(glob: str) -> str:
    if "." not in glob and "*" not in glob:
        raise ValueError('write the tool with its server, such as "tickets.send_reply", or a glob, such as "tickets.*"')
    return glob


def _principal(glob: str) -> str:
    if not glob.startswith(("agent:", "*")):
        raise ValueError('write the principal as "agent:NAME"; * matches anything')
    return glob


def _field(name: str) -> str:
    if not name.isidentifier():
        raise ValueError('write the name of a field alone, such as "body"')
    return name


Tools = tuple[Annotated[str, AfterValidator(_tool)], ...]
Fields = tuple[Annotated[str, AfterValidator(_field)], ...]


class When(Value):
    """The conditions of a rule; all that are given must hold."""

    keywords: Keywords | None = None
    amount: AmountOver | None = None
    category: tuple[Category, ...] | None = Field(default=None, min_length=1)
    recipient: Recipient | None = None
    time: Time | None = None
    rate: Rate | None = None
    principal: tuple[Annotated[str, AfterValidator(_principal)], ...] | None = Field(default=None, min_length=1)
    mode: Literal["live", "dry-run"] | None = None
    notifies: bool | None = None

    def hold(self, case: Case, tools: tuple[str, ...]) -> Holds:
        """Whether all conditions hold; what costs most is looked at last, and only when nothing else failed."""
        said: Holds = True
        for condition in self._conditions(case, tools):
            said = both(said, condition)
            if said is False:
                break
        return said

    def _conditions(self, case: Case, tools: tuple[str, ...]) -> Iterator[Holds]:
        if self.mode is not None:
            yield self.mode == case.mode
        if self.notifies is not None:
            yield self.notifies is case.facts.notifies
        if self.principal is not None:
            yield matches(self.principal, case.principal)
        if self.category is not None:
            yield case.facts.category in self.category if case.facts.category else None
        for condition in (self.recipient, self.time, self.amount, self.keywords):
            if condition is not None:
                yield condition.hold(case)
        if self.rate is not None:
            yield self.rate.hold(case, tools)


class Then(Value):
    """What a matching rule asks for; all but the outcome is about a person's yes."""

    outcome: OutcomeName
    risk: Risk = "normal"
    quorum: int = Field(default=1, ge=1, le=10)
    roles: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ()
    four_eyes: bool = False
    decide_within: Duration | None = None
    use_within: Duration | None = None
    edit: Fields | None = None
    batch: bool = True

    @model_validator(mode="after")
    def _fit(self) -> "Then":
        extra = self.model_fields_set - {"outcome"}
        if self.outcome != "review" and extra:
            raise ValueError(f'write outcome = "review", which asks a person, or leave out {", ".join(sorted(extra))}')
        return self

    @property
    def demand(self) -> Demand:
        """What the rule wants of a person's yes."""
        return Demand(
            risk=self.risk,
            quorum=self.quorum,
            roles=tuple(sorted(self.roles)),
            four_eyes=self.four_eyes,
            decide_within_s=self.decide_within,
            use_within_s=self.use_within,
            edit=self.edit,
            batch=self.batch,
        )


class Rule(Value):
    """One rule of the operator; with `shadow` it is on trial: counted, and applied to nothing."""

    id: str = Field(min_length=1, max_length=60)
    tools: Tools = Field(min_length=1)
    when: When = When()
    then: Then
    shadow: bool = False

    @model_validator(mode="after")
    def _rest_on_no_words(self) -> "Rule":
        claimed = [name for name in _CLAIMED if getattr(self.when, name) is not None]
        if self.then.outcome == "allow" and claimed:
            raise ValueError(f'no rule allows because of {", ".join(claimed)}; write outcome = "review" or "deny"')
        return self

    @property
    def outcome(self) -> Outcome:
        """What it asks for."""
        return Outcome[self.then.outcome.upper()]

    def applies(self, case: Case) -> bool:
        """Whether it says something of this call.

        Where that cannot be told, a rule that asks or denies does so of what reaches outside, and no other rule.
        """
        if not matches(self.tools, case.name):
            return False
        said = self.when.hold(case, self.tools)
        return said is True or (said is None and self.outcome is not Outcome.ALLOW and case.reach >= Reach.WRITE)


def _distinct(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if len({rule.id for rule in rules}) != len(rules):
        raise ValueError("two rules have the same id; write another")
    return rules


class PolicyFile(Value):
    """A policy as it is written."""

    version: Literal[1]
    default: OutcomeName = "review"
    edit: Fields = ("body",)
    always_allow: Tools = ()
    always_review: Tools = ()
    never: Tools = ()
    rule: Annotated[tuple[Rule, ...], AfterValidator(_distinct)] = ()
