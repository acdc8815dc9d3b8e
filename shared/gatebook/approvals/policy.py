"""Policy: whether a call is allowed, needs a person, or is never done. TOML; the strictest outcome wins."""

from importlib import resources

from gatebook.approvals.cases import Case, matches
from gatebook.approvals.reading import read_policy
from gatebook.approvals.rules import PolicyFile, Rule
from gatebook.approvals.verdicts import Outcome, Risk, Verdict, reviewed
from gatebook.intents import text_digest
from gatebook.reach import Reach

__all__ = ["Case", "Outcome", "Policy", "Risk", "Verdict"]

_Said = tuple[Outcome, str]


class Policy:
    """The rules in force. Tools are named `server.tool`; `*` matches any run of characters.

    Args:
        source: The policy as TOML.

    Raises:
        ConfigurationError: If it does not fit.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha256 = text_digest(source)
        self.file: PolicyFile = read_policy(source)

    @classmethod
    def shipped(cls) -> "Policy":
        """Return the policy that applies where the operator wrote none."""
        return cls(resources.files(__package__ or "").joinpath("policy.toml").read_text(encoding="utf-8"))

    def judge(self, case: Case) -> Verdict:
        """Judge a call on what the server itself found out. The order of the rules does not matter.

        Where neither a list nor a rule that allows names the tool, the default counts beside the rules, so that no
        rule that asks or denies makes the outcome milder.
        """
        applying = [rule for rule in self.file.rule if rule.applies(case)]
        rules = [rule for rule in applying if not rule.shadow]
        lists = self._lists(case.name)
        said = [*lists, *((rule.outcome, rule.id) for rule in rules)]
        strictest = max((outcome for outcome, _ in said), default=Outcome.ALLOW)
        if not lists and not any(rule.outcome is Outcome.ALLOW for rule in rules):
            outcome, name = self._unnamed(case)
            said += [(outcome, name)] if outcome > strictest or not said else []
            strictest = max(strictest, outcome)
        verdict = self._verdict(strictest, said, rules)
        on_trial = tuple(sorted(rule.id for rule in applying if rule.shadow))
        return verdict.model_copy(update={"shadow": on_trial}) if on_trial else verdict

    def _verdict(self, strictest: Outcome, said: list[_Said], rules: list[Rule]) -> Verdict:
        names = tuple(sorted(name for outcome, name in said if outcome is strictest))
        if strictest is not Outcome.REVIEW:
            return Verdict(outcome=strictest, rules=names)
        demands = [rule.then.demand for rule in rules if rule.outcome is Outcome.REVIEW]
        return reviewed(names, demands, edit=self.file.edit)

    def _lists(self, name: str) -> list[_Said]:
        lists = (
            (Outcome.ALLOW, "always_allow", self.file.always_allow),
            (Outcome.REVIEW, "always_review", self.file.always_review),
            (Outcome.DENY, "never", self.file.never),
        )
        return [(outcome, label) for outcome, label, globs in lists if matches(globs, name)]

    def _unnamed(self, case: Case) -> _Said:
        if case.reach <= Reach.STAGE:
            return Outcome.ALLOW, "changes nothing outside"
        default = Outcome[self.file.default.upper()]
        if case.reach is Reach.SEND and default < Outcome.DENY:
            return Outcome.REVIEW, "cannot be undone"
        if case.facts.notifies and default < Outcome.DENY:
            return Outcome.REVIEW, "notifies someone"
        return default, "default"
