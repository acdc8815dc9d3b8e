"""Texts as a person is shown them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a rendered text."""

    text: str
    kind: Literal["text", "mark", "fold", "flag"] = "text"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know of a text before deciding on it."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text in pieces, and what is odd about it."""

    pieces: tuple[Piece, ...]
    notices: tuple[Notice, ...] = ()


def render(text: str) -> Rendered:
    """Return a text as it is."""
    return Rendered((Piece(text),))
