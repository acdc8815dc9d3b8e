"""Training the classifier. `python -m gatebook_servers.classifier.training` makes the shipped model from its corpus.

The temperature comes from predictions for tickets whose whole domain was held out, because the tickets of a new desk
are unlike all of the corpus; folds that mix domains would promise too much.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from gatebook_servers.classifier.artifact import Manifest, Metrics, Parameters, digest, pack, write_model
from gatebook_servers.classifier.corpus import CORPUS_FILE, GRAMMAR_FILE, LabelledTicket, read_corpus
from gatebook_servers.classifier.evaluation import evaluate
from gatebook_servers.classifier.features import (
    SPEC_VERSION,
    Floats,
    Integers,
    count_features,
    rarity_of,
    weigh,
    word_key,
)
from gatebook_servers.classifier.models import CATEGORIES, Category, Prediction
from gatebook_servers.classifier.regression import fit, log_softmax
from gatebook_servers.classifier.text import PLACEHOLDERS, TicketText, read_ticket

LEXICON_WEIGHT = 1.0
"""30 / (30 + n) with n labels of the desk's own, of which the shipped model has none."""

_STRENGTH = 20.0
_FOLDS = 6
_PATTERN_ROW_WEIGHT = 0.5
# Tickets written as examples are clearer than real ones, so their verdict may lower confidence but never raise it.
_TEMPERATURES = np.geomspace(1.5, 8.0, 121)
_FEWEST_KNOWN_WORDS = 4
# On a desk spam is rarer than the rest, and it should take more to be called so.
_SHARES: dict[Category, float] = {"Bug": 1.0, "Feature": 1.0, "Support": 1.0, "Spam": 0.3}
# A real ticket thrown away as spam costs more than spam that a person looks at.
_THRESHOLDS: dict[Category, float] = {"Bug": 0.6, "Feature": 0.6, "Support": 0.6, "Spam": 0.8}


@dataclass(frozen=True, slots=True)
class _Example:
    ticket: TicketText
    counts: Counter[int]
    category: int
    domain: str
    weight: float


def train_parameters(corpus: Sequence[LabelledTicket]) -> Parameters:
    """Fit the model on all of `corpus`. Takes about 2 s for 800 rows."""
    return _fit(_examples(corpus))


def train(folder: Traversable) -> tuple[bytes, Manifest]:
    """Train on the corpus in `folder` and measure, out of fold, how far the result can be trusted.

    Returns:
        The array file and the manifest that belongs to it.

    Raises:
        pydantic.ValidationError: The corpus is not what it should be.
    """
    corpus = read_corpus(folder)
    examples = _examples(corpus)
    scores = _held_out_scores(examples)
    wanted = np.array([example.category for example in examples])
    temperature = _best_temperature(scores, wanted, weights=np.array([example.weight for example in examples]))
    arrays = pack(_fit(examples))
    manifest = Manifest(
        feature_spec=SPEC_VERSION,
        categories=CATEGORIES,
        corpus_sha256=digest(folder.joinpath(CORPUS_FILE).read_bytes()),
        grammar_sha256=digest(folder.joinpath(GRAMMAR_FILE).read_bytes()),
        label_count=len(corpus),
        lexicon_weight=LEXICON_WEIGHT,
        temperature=temperature,
        thresholds=_THRESHOLDS,
        fewest_known_words=_FEWEST_KNOWN_WORDS,
        metrics=_metrics(corpus, np.exp(log_softmax(scores / temperature))),
        arrays_sha256=digest(arrays),
    )
    return arrays, manifest


def _examples(corpus: Sequence[LabelledTicket]) -> list[_Example]:
    examples: list[_Example] = []
    for row in corpus:
        ticket = read_ticket(subject=row.subject, body=row.body)
        examples.append(
            _Example(
                ticket=ticket,
                counts=count_features(ticket),
                category=CATEGORIES.index(row.label),
                domain=row.domain,
                # Rows of one pattern repeat each other.
                weight=_PATTERN_ROW_WEIGHT if row.id.startswith("pattern-") else 1.0,
            )
        )
    return examples


def _fit(examples: Sequence[_Example]) -> Parameters:
    counts = [example.counts for example in examples]
    classes = np.array([example.category for example in examples])
    weights = np.array([example.weight for example in examples])
    of_class = np.bincount(classes, weights=weights, minlength=len(CATEGORIES))
    shares = np.array([_SHARES[category] for category in CATEGORIES])
    rarity = rarity_of(counts)
    linear = fit(
        weigh(counts, rarity=rarity),
        classes,
        class_count=len(CATEGORIES),
        # How much a category counts does not depend on how many rows it has.
        row_weights=weights * (shares * weights.sum() / shares.sum() / np.maximum(of_class, 1))[classes],
        strength=_STRENGTH,
    )
    words = {word for example in examples for word in example.ticket.words} - PLACEHOLDERS
    return Parameters(linear=linear, rarity=rarity, known_words=frozenset(map(word_key, words)))


def _held_out_scores(examples: Sequence[_Example]) -> Floats:
    domains = sorted({example.domain for example in examples})
    fold_of = {domain: number % _FOLDS for number, domain in enumerate(domains)}
    folds = np.array([fold_of[example.domain] for example in examples])
    scores = np.zeros((len(examples), len(CATEGORIES)))
    for fold in range(_FOLDS):
        held_out = [example for example, own in zip(examples, folds, strict=True) if own == fold]
        parameters = _fit([example for example, own in zip(examples, folds, strict=True) if own != fold])
        scores[folds == fold] = parameters.fused_scores(
            [example.ticket for example in held_out],
            [example.counts for example in held_out],
            lexicon_weight=LEXICON_WEIGHT,
        )
    return scores


def _best_temperature(scores: Floats, wanted: Integers, *, weights: Floats) -> float:
    rows = np.arange(len(wanted))
    losses = [
        -float(np.sum(weights * log_softmax(scores / temperature)[rows, wanted])) for temperature in _TEMPERATURES
    ]
    return round(float(_TEMPERATURES[int(np.argmin(losses))]), 4)


def _metrics(corpus: Sequence[LabelledTicket], probabilities: Floats) -> Metrics:
    pairs: list[tuple[Category, Prediction]] = []
    for row, shares in zip(corpus, probabilities, strict=True):
        best = int(shares.argmax())
        prediction = Prediction(
            category=CATEGORIES[best],
            confidence=min(1.0, float(shares[best])),
            probabilities={name: min(1.0, float(share)) for name, share in zip(CATEGORIES, shares, strict=True)},
            decision="auto",
            reasons=(),
            model_version="held-out",
        )
        pairs.append((row.label, prediction))
    figures = evaluate(pairs)
    return Metrics(
        accuracy=round(figures.accuracy, 3),
        macro_f1=round(figures.macro_f1, 3),
        expected_calibration_error=round(figures.expected_calibration_error, 3),
    )


def main() -> None:
    """Train on the starter corpus beside this module and replace the model there."""
    folder = Path(__file__).with_name("starter")
    arrays, manifest = train(folder)
    write_model(folder, arrays=arrays, manifest=manifest)
    sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    main()
