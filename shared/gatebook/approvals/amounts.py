"""Amounts of money in a text, read as an eye would. Where a number can be read in two ways, the larger one counts."""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from gatebook.intents import Amount
from gatebook.lookalikes import ENTITY, decode_entity

_CODES = (
    "aed|aud|bdt|bgn|brl|cad|chf|clp|cny|czk|dkk|egp|eur|gbp|ghs|hkd|huf|idr|ils|inr|isk|jpy|kes|krw|kwd|mad|mxn|myr"
    "|ngn|nok|nzd|pen|php|pkr|pln|qar|ron|rsd|rub|sar|sek|sgd|thb|tnd|twd|uah|ugx|usd|uyu|vnd|zar"
)
"""Currencies that are known by their code; codes that are English words are left out."""
_KNOWN = frozenset(_CODES.split("|"))
_SIGNS = {"$": "USD", "\u20ac": "EUR", "\u00a3": "GBP", "\u20b9": "INR"}
_WORDS = {
    "dollar": "USD",
    "dollars": "USD",
    "bucks": "USD",
    "euro": "EUR",
    "euros": "EUR",
    "pounds": "GBP",
    "rupees": "INR",
    "yen": "JPY",
    "francs": "",
    "crowns": "",
}
_DOLLARS = {"us$": "USD", "a$": "AUD", "c$": "CAD", "nz$": "NZD", "hk$": "HKD", "s$": "SGD", "r$": "BRL"}
_SIGN = (
    r"(?:us|a|c|nz|hk|s|r)?\$|[\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u0e3f\u17db\u20a0-\u20c0]"
    rf"|(?<![a-z])(?:{_CODES}|{'|'.join(_WORDS)})(?![a-z])"
)
# Possessive, and only from its first digit on: a text of nothing but digits takes linear time.
_NUMBER = r"\d(?:[ .,'_\u2019]?\d)*+"
_SCALE = r"(?:\s?(?P<scale>k|m|thousand|million)\b)?"
_MONEY = (
    re.compile(rf"(?P<sign>{_SIGN})\s{{0,3}}(?P<number>{_NUMBER}){_SCALE}"),
    re.compile(rf"(?<!\d)(?<!\d[ .,'_\u2019])(?P<number>{_NUMBER}){_SCALE}\s{{0,3}}(?P<sign>{_SIGN})"),
)
"""A sign before its number and one behind it, looked for apart: neither can hide the other."""
_CENTS = re.compile(r"[.,](\d{1,2})$")
_LONGEST = 25
_BEYOND = Decimal(10) ** _LONGEST
"""What a longer number counts as; arithmetic on any length would not be exact."""
_SCALES = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}


def amounts_in(text: str) -> Iterator[Amount]:
    """Yield the amounts that have a sign, a code or a word of a currency; an unknown one has the currency ""."""
    shown = _plain(text)
    for money in _MONEY:
        for found in money.finditer(shown):
            value = _largest(found["number"]) * _SCALES.get(found["scale"], 1)
            yield Amount(value=value, currency=_currency(found["sign"]))


def decimal_of(value: object) -> Decimal | None:
    """Return the finite number that an argument means; None when it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _plain(text: str) -> str:
    """Undo what hides a number: entities, full-width digits, characters without a shape."""
    if text.isascii() and "&" not in text:
        return text.lower()
    decoded = ENTITY.sub(lambda match: decode_entity(match.group()), text)
    shown = unicodedata.normalize("NFKC", decoded)
    return "".join(_digit(char) for char in shown if unicodedata.category(char) not in ("Cf", "Mn")).lower()


def _digit(char: str) -> str:
    return str(unicodedata.digit(char)) if char.isdigit() else char


def _largest(number: str) -> Decimal:
    cents = _CENTS.search(number)
    whole = number[: cents.start()] if cents else number
    digits = "".join(filter(str.isdigit, whole)).lstrip("0") or "0"
    if len(digits) > _LONGEST:
        return _BEYOND
    return Decimal(f"{digits}.{cents[1]}" if cents else digits)


def _currency(mark: str) -> str:
    return mark.upper() if mark in _KNOWN else _SIGNS.get(mark) or _DOLLARS.get(mark) or _WORDS.get(mark, "")
