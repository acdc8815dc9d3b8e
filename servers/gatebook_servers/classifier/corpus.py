"""The labelled tickets that a model is trained on: rows written out, and patterns with slots that add variety."""

import json
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from zlib import crc32

from pydantic import BaseModel, ConfigDict

from gatebook_servers.classifier.models import Category

CORPUS_FILE = "corpus.jsonl"
GRAMMAR_FILE = "grammar.json"
_ROWS_PER_PATTERN = 8


class LabelledTicket(BaseModel):
    """One training row.

    Attributes:
        id: Unique in the corpus.
        label: The right category.
        domain: The kind of desk it could have come from; rows of one domain are held out together.
        subject: May be empty.
        body: May be empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    label: Category
    domain: str
    subject: str
    body: str


class Pattern(BaseModel):
    """A ticket with `{slot}` in its subject and body; the same slot has the same value in both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Category
    domain: str
    subject: str
    body: str


class Grammar(BaseModel):
    """Patterns and what may stand in their slots."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: dict[str, tuple[str, ...]]
    patterns: tuple[Pattern, ...]

    def expand(self) -> Iterator[LabelledTicket]:
        """Fill the slots of every pattern several times, always in the same way."""
        for number, pattern in enumerate(self.patterns):
            for turn in range(_ROWS_PER_PATTERN):
                filling = {
                    slot: values[crc32(f"{number}/{turn}/{slot}".encode()) % len(values)]
                    for slot, values in self.slots.items()
                }
                yield LabelledTicket(
                    id=f"pattern-{number:03d}-{turn}",
                    label=pattern.label,
                    domain=pattern.domain,
                    subject=pattern.subject.format_map(filling),
                    body=pattern.body.format_map(filling),
                )


def read_corpus(folder: Traversable) -> list[LabelledTicket]:
    """Read the rows of `folder` and expand its grammar.

    Raises:
        pydantic.ValidationError: A row or pattern is not what it should be.
    """
    lines = folder.joinpath(CORPUS_FILE).read_text(encoding="utf-8").splitlines()
    written = [LabelledTicket.model_validate(json.loads(line)) for line in lines]
    grammar = Grammar.model_validate_json(folder.joinpath(GRAMMAR_FILE).read_text(encoding="utf-8"))
    return [*written, *grammar.expand()]
