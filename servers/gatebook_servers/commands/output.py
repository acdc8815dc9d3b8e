"""How the command speaks: JSON for programs, tables for people, hostile text made visible."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatebook.rendering import render

T = TypeVar("T")

_WHOLE = {"id", "run", "fingerprint"}
"""Columns that are copied from the terminal and so never broken."""


def say(message: str) -> None:
    """Print a line for the person at the terminal, never interpreted as markup."""
    Console(soft_wrap=True).print(Text(render(message).plain()))


def complain(message: str) -> None:
    """Print a line on stderr."""
    Console(stderr=True, soft_wrap=True).print(Text(render(message).plain()))


def emit(value: object) -> None:
    """Print one JSON object and nothing else on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def at_most(most: int, found: Sequence[T], which: str) -> Sequence[T]:
    """Return no more of these than `most`, and say on stderr that there are more."""
    if len(found) > most:
        complain(f"there are more; these are {which}, {most:,}")
    return found[:most]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, or its title alone when it is empty; what outsiders wrote is shown as text."""
    cells = [[Text(render(str(cell)).plain()) for cell in row] for row in rows]
    if not cells:
        say(title)
        return
    shown = Table(title=title, title_justify="left", header_style="bold", show_header=any(columns))
    for column in columns:
        shown.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in cells:
        shown.add_row(*row)
    Console().print(shown)
