"""Reads a policy as it is written, and says where it does not fit and what to write instead."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import cast

from pydantic import BaseModel, ValidationError

from gatebook.approvals.conditions import AmountOver, Keywords, Rate, Recipient, Time
from gatebook.approvals.rules import PolicyFile, Rule, Then, When
from gatebook.errors import ConfigurationError

NEXT_STEP = "Correct the policy file and look with `gatebook approvals policy check`."
_RULE = re.compile(r"\s*\[\[\s*rule\s*\]\]")
_MODELS: tuple[type[BaseModel], ...] = (
    PolicyFile,
    Rule,
    When,
    Then,
    Keywords,
    AmountOver,
    Recipient,
    Time,
    Rate,
)
_NAMES = sorted({field.alias or name for model in _MODELS for name, field in model.model_fields.items()})


def read_policy(source: str) -> PolicyFile:
    """Return the policy that a text means.

    Raises:
        ConfigurationError: If it does not fit; names the line, the rule and what to write instead.
    """
    try:
        return PolicyFile.model_validate(tomllib.loads(source))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the policy is not valid TOML: {error}.", next_step=NEXT_STEP) from error
    except RecursionError as error:
        raise ConfigurationError("the policy is nested too deeply.", next_step=NEXT_STEP) from error
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        location = faults[0]["loc"]
        instead = _instead(faults[0]["type"], location, faults[0]["msg"])
        more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        raise ConfigurationError(
            f"the policy does not fit: {_place(source, location)}: {instead}.{more}", next_step=NEXT_STEP
        ) from None


def _place(source: str, location: Sequence[int | str]) -> str:
    line = _line(source, location)
    where = [f"line {line}"] if line else []
    where += [f'rule "{identifier}"' for identifier in _rule_id(source, location)]
    inside = location[2:] if len(location) > 1 and location[0] == "rule" else location
    place = ".".join(str(part) for part in inside)
    return " at ".join(filter(None, (", ".join(where), place)))


def _instead(kind: str, location: Sequence[int | str], message: str) -> str:
    if kind == "extra_forbidden":
        near = get_close_matches(str(location[-1]), _NAMES, n=1)
        return f"no such key; write {near[0]}" if near else "no such key; leave it out"
    if kind == "missing":
        return "missing; write version = 1" if location == ("version",) else "missing; write it"
    return message.removeprefix("Value error, ")


def _rule_id(source: str, location: Sequence[int | str]) -> Iterator[str]:
    if len(location) > 1 and location[0] == "rule" and isinstance(location[1], int):
        rule = cast("list[object]", tomllib.loads(source)["rule"])[location[1]]
        identifier = cast("dict[str, object]", rule).get("id") if isinstance(rule, dict) else None
        yield identifier[:60] if isinstance(identifier, str) else str(location[1] + 1)


def _line(source: str, location: Sequence[int | str]) -> int:
    """Return the line of the fault, or of its rule; 0 when the text names it nowhere."""
    lines = list(enumerate(source.splitlines(), start=1))
    wanted = location[1] if len(location) > 1 and location[0] == "rule" else None
    headers = [number for number, line in lines if _RULE.match(line)]
    start, end = 1, headers[0] if headers else len(lines) + 1
    if isinstance(wanted, int):
        if wanted >= len(headers):
            return 0
        start, end = headers[wanted], [*headers, len(lines) + 1][wanted + 1]
    keys = [part for part in location if isinstance(part, str) and part != "rule"]
    block = [(number, line) for number, line in lines if start <= number < end]
    for key in reversed(keys):
        named = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])\s*[\].=]")
        for number, line in block:
            if named.search(line.partition("#")[0]):
                return number
    return start if isinstance(wanted, int) else 0
