"""The conditions of a rule. Each holds, does not hold, or cannot be told (None).

What cannot be told makes no rule laxer: of a write or a send, a rule that asks or denies then applies, and a rule that
allows does not.
"""

import re
from datetime import datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from gatebook.approvals.amounts import amounts_in, decimal_of
from gatebook.approvals.cases import Case, Counted, matches
from gatebook.approvals.durations import Duration
from gatebook.intents import Amount, Value
from gatebook.lookalikes import fold, readings
from gatebook.sensitive import SensitiveTerms

Holds = bool | None
_KEYWORD = "keyword"
"""The matcher's category for a rule's own phrases; it also finds the built-in terms, which are no rule's business."""
_LETTERS = re.compile(r"[^\W_]+")
_ARGUMENT = re.compile(r"args(\.[A-Za-z_][\w]{0,39}){1,5}")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PLACES = ("subject", "body", "comment", "draft", "title", "description", "reason", "note", "tags")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _place(name: str) -> str:
    if name not in _PLACES and name != "args.*" and not _ARGUMENT.fullmatch(name):
        raise ValueError(f"write one of {', '.join(_PLACES)}, args.NAME or args.*")
    return name


def _argument(path: str) -> str:
    if not _ARGUMENT.fullmatch(path):
        raise ValueError('write the name of an argument, such as "args.amount"')
    return path


def _currency_or_argument(currency: str) -> str:
    return currency if re.fullmatch(r"[A-Z]{3}", currency) else _argument(currency)


def _decimal(value: object) -> Decimal:
    number = decimal_of(value) if isinstance(value, (str, int)) else None
    if number is None:
        raise ValueError('write the amount as a text, such as USD = "100.00"')
    return number


Place = Annotated[str, AfterValidator(_place)]
Argument = Annotated[str, AfterValidator(_argument)]


class Keywords(Value):
    """Literal phrases that make a rule match, also when they are disguised; inflections have to be listed.

    Attributes:
        any: The phrases.
        places: Where they are looked for (`in`): in every text unless given.
        match: `word` finds whole words. `inside` also finds the letters within longer words and across words.
    """

    any: tuple[str, ...] = Field(min_length=1)
    places: tuple[Place, ...] = Field(default=(), alias="in")
    match: Literal["word", "inside"] = "word"

    @field_validator("any")
    @classmethod
    def _have_letters(cls, phrases: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_letters, phrases)):
            raise ValueError("a keyword needs a letter or a digit")
        return phrases

    @cached_property
    def _terms(self) -> SensitiveTerms:
        return SensitiveTerms({_KEYWORD: list(self.any)})

    @cached_property
    def _glued(self) -> tuple[str, ...]:
        return tuple(_letters(phrase) for phrase in self.any)

    def hold(self, case: Case) -> Holds:
        """Whether a phrase stands in one of the texts."""
        texts = {passage.text for passage in case.passages if self._covers(passage.where)}
        return any(self._found(text) for text in texts)

    def _covers(self, where: str) -> bool:
        name = where.partition(" ")[0]
        return not self.places or any(
            place == name or name.startswith(f"{place}.") or (place == "args.*" and name.startswith("args."))
            for place in self.places
        )

    def _found(self, text: str) -> bool:
        if self.match == "inside" and any(
            phrase in letters
            for letters in ("".join(_LETTERS.findall(reading.text)) for reading in readings(text))
            for phrase in self._glued
        ):
            return True
        return any(hit.category == _KEYWORD for hit in self._terms.find(text))


class AmountOver(Value):
    """An amount of money above a limit; one in a currency without a limit cannot be told.

    Attributes:
        over: The limits by currency.
        path: The argument that is the amount; without it every amount in the texts counts.
        currency: The argument that names its currency, or the currency itself.
    """

    over: dict[Annotated[str, Field(pattern="^[A-Z]{3}$")], Annotated[Decimal, BeforeValidator(_decimal)]] = Field(
        min_length=1
    )
    path: Argument | None = None
    currency: Annotated[str, AfterValidator(_currency_or_argument)] | None = None

    @model_validator(mode="after")
    def _fit(self) -> "AmountOver":
        if self.currency is not None and self.path is None:
            raise ValueError("write also path, the argument that is the amount, or leave currency out")
        return self

    def hold(self, case: Case) -> Holds:
        """Whether an amount is above its limit."""
        amounts = self._amounts(case)
        if amounts is None:
            return None
        said = {self._above(amount) for amount in amounts}
        return True if True in said else None if None in said else False

    def _amounts(self, case: Case) -> tuple[Amount, ...] | None:
        if self.path is None:
            texts = {passage.text for passage in case.passages}
            return (*case.facts.amounts, *(amount for text in sorted(texts) for amount in amounts_in(text)))
        value = decimal_of(case.argument(self.path))
        if value is None:
            return None
        named = self.currency or ""
        if named.startswith("args."):
            named = str(case.argument(named)).strip().upper()
        return (Amount(value=value, currency=named),)

    def _above(self, amount: Amount) -> Holds:
        limit = self.over.get(amount.currency)
        return None if limit is None else amount.value > limit


class Recipient(Value):
    """Who would read it.

    Attributes:
        domain: Globs of domains. Holds when all recipients are in them, not when none is; else it cannot be told.
        first_contact: Whether nobody wrote to them before from this desk.
    """

    domain: tuple[str, ...] | None = Field(default=None, min_length=1)
    first_contact: bool | None = None

    @field_validator("domain")
    @classmethod
    def _are_domains(cls, globs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if any("@" in glob for glob in globs or ()):
            raise ValueError('write the domain alone, such as "*.customer.example"')
        return globs and tuple(glob.lower() for glob in globs)

    @model_validator(mode="after")
    def _ask_something(self) -> "Recipient":
        if self.domain is None and self.first_contact is None:
            raise ValueError("write domain or first_contact")
        return self

    def hold(self, case: Case) -> Holds:
        """Whether the recipients are such."""
        return both(self._domain(case), self._contact(case))

    def _domain(self, case: Case) -> Holds:
        if self.domain is None:
            return True
        said = {self._is_in(self.domain, address) for address in case.facts.recipients}
        return next(iter(said)) if len(said) == 1 else None if said else False

    def _contact(self, case: Case) -> Holds:
        if self.first_contact is None:
            return True
        if not case.facts.recipients:
            return False
        known = case.facts.first_contact
        return None if known is None else known is self.first_contact

    @staticmethod
    def _is_in(globs: tuple[str, ...], address: str) -> Holds:
        _, at, domain = address.strip().lower().rpartition("@")
        return matches(globs, domain.rstrip(".")) if at else None


def _hours(value: object) -> tuple[time, time]:
    written = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise ValueError('write the hours as "09:00-17:30"')
    start, end = time(int(written[1]), int(written[2])), time(int(written[3]), int(written[4]))
    if start == end:
        raise ValueError("write an end that differs from the start")
    return start, end


Hours = Annotated[tuple[time, time], BeforeValidator(_hours)]


class Time(Value):
    """Within or outside some hours of some days, in the operator's time zone.

    Attributes:
        within: The hours in which it holds; past midnight when they end before they begin.
        outside: The hours outside of which it holds.
        weekdays: The days whose hours are meant; a night belongs to the day on which it begins.
    """

    within: Hours | None = None
    outside: Hours | None = None
    weekdays: tuple[Day, ...] = Field(default=_DAYS, min_length=1)

    @model_validator(mode="after")
    def _are_one(self) -> "Time":
        if (self.within is None) is (self.outside is None):
            raise ValueError("write either within or outside")
        return self

    def hold(self, case: Case) -> Holds:
        """Whether it is such a time."""
        if case.at is None:
            return None
        hours = self.within or self.outside
        assert hours is not None
        return self._is_within(hours, case.at) is (self.within is not None)

    def _is_within(self, hours: tuple[time, time], at: datetime) -> bool:
        (start, end), now = hours, at.time()
        if start < end:
            return start <= now < end and self._is_meant(at)
        return (now >= start and self._is_meant(at)) or (now < end and self._is_meant(at - timedelta(days=1)))

    def _is_meant(self, day: datetime) -> bool:
        return _DAYS[day.weekday()] in self.weekdays


class Rate(Value):
    """More writes and sends of late than so many, this one included.

    Attributes:
        more_than: So many are in order.
        per: In so much time.
        by: Whose count: this principal's with the rule's tools, or everybody's with this tool.
    """

    more_than: int = Field(ge=0, le=1_000_000)
    per: Duration
    by: Counted = "principal"

    def hold(self, case: Case, tools: tuple[str, ...]) -> Holds:
        """Whether this one is too many."""
        return None if case.earlier is None else case.earlier(tools, self.per, self.by) + 1 > self.more_than


def both(*said: Holds) -> Holds:
    """Whether all hold: no when one does not, unknown when one is unknown."""
    return False if False in said else None if None in said else True


def _letters(text: str) -> str:
    return "".join(_LETTERS.findall(fold(text).text))
