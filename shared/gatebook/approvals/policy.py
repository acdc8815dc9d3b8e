"""Policy: whether a call is allowed, needs a person, or is never done. TOML; the strictest outcome wins."""

import tomllib
from enum import IntEnum
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from gatebook.errors import ConfigurationError
from gatebook.intents import Facts, Value, text_digest
from gatebook.reach import Reach
from gatebook.sensitive import SensitiveTerms


class Outcome(IntEnum):
    """What policy says, from mild to strict."""

    ALLOW = 1
    REVIEW = 2
    DENY = 3


OutcomeName = Literal["allow", "review", "deny"]
_KEYWORD = "keyword"
"""The matcher's category for a rule's own phrases; it also finds the built-in terms, which are no rule's business."""


class Keywords(Value):
    """Literal phrases that make a rule match, also when they are disguised; inflections have to be listed."""

    any: tuple[str, ...] = Field(min_length=1)


class When(Value):
    """The conditions of a rule; all that are given must hold."""

    keywords: Keywords | None = None
    notifies: bool | None = None


class Then(Value):
    """What a matching rule asks for."""

    outcome: OutcomeName


class Rule(Value):
    """One rule of the operator."""

    id: str = Field(min_length=1, max_length=60)
    tools: tuple[str, ...]
    when: When = When()
    then: Then


def _distinct(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if len({rule.id for rule in rules}) != len(rules):
        raise ValueError("two rules have the same id")
    return rules


Risk = Literal["low", "normal", "high", "critical"]


class Verdict(Value):
    """What policy decided, which rules said so, and what a person's yes must be like.

    Attributes:
        outcome: The strictest that any rule says.
        rules: The rules that say it.
        risk: The highest of the rules that apply.
        quorum: How many distinct persons have to say yes.
        roles: Any of them may decide; empty: every reviewer.
        four_eyes: Whether the editor of a revision does not count as its approver.
        decide_within_s: Seconds until an undecided request expires; None: the settings' time.
        use_within_s: Seconds until an unused yes lapses; None: the settings' time.
        editable: Names of the content's fields that a person may edit.
        batch: Whether it may be decided together with others; never at critical risk.
    """

    outcome: Outcome
    rules: tuple[str, ...]
    risk: Risk = "normal"
    quorum: int = 1
    roles: tuple[str, ...] = ()
    four_eyes: bool = False
    decide_within_s: float | None = None
    use_within_s: float | None = None
    editable: tuple[str, ...] = ()
    batch: bool = True


class PolicyFile(Value):
    """A policy as it is written."""

    version: Literal[1]
    default: OutcomeName = "review"
    always_allow: tuple[str, ...] = ()
    always_review: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    rule: Annotated[tuple[Rule, ...], AfterValidator(_distinct)] = ()


class Policy:
    """The rules in force. Tools are named `server.tool`; `*` matches any run of characters."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha256 = text_digest(source)
        self._file = _parse(source)
        self._terms = {rule.id: _matcher(rule) for rule in self._file.rule}

    @classmethod
    def load(cls, path: Path, *, known: "Policy | None" = None) -> "Policy":
        """Read the operator's policy, or the shipped one where the file does not exist.

        Args:
            path: The operator's file.
            known: The policy read before; returned again while the file says the same.

        Raises:
            ConfigurationError: If the file cannot be read or does not fit. Nothing is allowed then.
        """
        source = _source(path)
        return known if known is not None and known.source == source else cls(source)

    def judge(self, *, name: str, reach: Reach, facts: Facts) -> Verdict:
        """Judge a call to the tool `name` (`server.tool`) on what the server itself found out."""
        said = [
            *self._lists(name),
            *(
                (Outcome[rule.then.outcome.upper()], rule.id)
                for rule in self._file.rule
                if self._matches(rule, name, facts)
            ),
        ]
        if not said:
            said.append(self._unnamed(reach, facts))
        strictest = max(outcome for outcome, _ in said)
        return Verdict(
            outcome=strictest, rules=tuple(rule for outcome, rule in said if outcome is strictest), editable=("body",)
        )

    def _lists(self, name: str) -> list[tuple[Outcome, str]]:
        lists = (
            (Outcome.ALLOW, "always_allow", self._file.always_allow),
            (Outcome.REVIEW, "always_review", self._file.always_review),
            (Outcome.DENY, "never", self._file.never),
        )
        return [(outcome, label) for outcome, label, globs in lists if _any_glob(globs, name)]

    def _unnamed(self, reach: Reach, facts: Facts) -> tuple[Outcome, str]:
        if reach <= Reach.STAGE:
            return Outcome.ALLOW, "changes nothing outside"
        if reach is Reach.SEND:
            return Outcome.REVIEW, "cannot be undone"
        if facts.notifies:
            return Outcome.REVIEW, "notifies someone"
        return Outcome[self._file.default.upper()], "default"

    def _matches(self, rule: Rule, name: str, facts: Facts) -> bool:
        if not _any_glob(rule.tools, name):
            return False
        if rule.when.notifies is not None and rule.when.notifies is not facts.notifies:
            return False
        terms = self._terms[rule.id]
        return terms is None or any(
            hit.category == _KEYWORD for passage in facts.passages for hit in terms.find(passage.text)
        )


def _any_glob(globs: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return resources.files(__package__ or "").joinpath("policy.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the policy file cannot be read.", next_step="Check its permissions; it is UTF-8 text."
        ) from error


def _matcher(rule: Rule) -> SensitiveTerms | None:
    if rule.when.keywords is None:
        return None
    try:
        return SensitiveTerms({_KEYWORD: list(rule.when.keywords.any)})
    except ValueError as error:
        raise ConfigurationError(
            "a keyword of the policy has no letter or digit.", next_step="Correct the policy file."
        ) from error


def _parse(source: str) -> PolicyFile:
    try:
        return PolicyFile.model_validate(tomllib.loads(source))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("the policy is not valid TOML.", next_step="Correct the policy file.") from error
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigurationError(
            f"the policy does not fit at {where}: {fault['msg']}.", next_step="Correct the policy file."
        ) from None
