"""`gatebook classifier evaluate`."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gatebook.errors import ConfigurationError
from gatebook_servers.classifier.models import Category
from gatebook_servers.commands.context import Commands
from gatebook_servers.commands.files import text_from
from gatebook_servers.commands.output import emit, say, table


class LabelledTicket(BaseModel):
    """A row of the file: what a person said that this ticket is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    category: Category
    subject: str = ""
    body: str = ""


def add(commands: Commands) -> None:
    """Declare the command."""
    classifier = commands.add_parser("classifier", help="the classifier").add_subparsers(
        required=True, metavar="ACTION"
    )
    evaluate = classifier.add_parser("evaluate", help="compare with your labels: JSONL of category, subject, body")
    evaluate.add_argument("file", type=Path)
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=evaluate_command)


def evaluate_command(options: argparse.Namespace) -> int:
    """Print how the shipped model does on labelled tickets."""
    # Imported here: numpy is needed by no other command.
    from gatebook_servers.classifier.evaluation import evaluate  # noqa: PLC0415
    from gatebook_servers.classifier.model import TicketClassifier  # noqa: PLC0415

    rows = list(_rows(options.file))
    predictions = TicketClassifier.load_shipped().predict_many([(row.subject, row.body) for row in rows])
    found = evaluate([(row.category, one) for row, one in zip(rows, predictions, strict=True)])
    if options.json:
        emit(found.model_dump(mode="json"))
        return 0
    say(
        f"{found.count} tickets, macro F1 {found.macro_f1:.3f}, accuracy {found.accuracy:.3f}, "
        f"calibration error {found.expected_calibration_error:.3f}"
    )
    table(
        "by category",
        ["category", "precision", "recall", "F1", "labelled"],
        [
            (name, f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}", score.labelled)
            for name, score in found.categories.items()
        ],
    )
    return 0


def _rows(path: Path) -> Iterator[LabelledTicket]:
    # Windows' programs begin a text with a mark.
    lines = text_from(path).removeprefix("\ufeff").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield LabelledTicket.model_validate(json.loads(line))
        except (ValueError, ValidationError):
            raise ConfigurationError(
                f"line {number} is no JSON object with a category of Bug, Feature, Support or Spam.",
                next_step="Correct the file.",
            ) from None
