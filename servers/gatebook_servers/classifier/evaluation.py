"""How good predictions are, compared with the labels that people gave."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from gatebook_servers.classifier.models import CATEGORIES, Category, Prediction, Share

_BINS = 15
_COVERAGE_THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

LabelledPrediction = tuple[Category, Prediction]


class CategoryScore(BaseModel):
    """How one category fared. A share whose divisor is zero is 0.

    Attributes:
        precision: The share of the predictions of this category that are right.
        recall: The share of the tickets of this category that were found.
        f1: The harmonic mean of the two.
        labelled: How many tickets have this label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Share
    recall: Share
    f1: Share
    labelled: int


class CoverageRow(BaseModel):
    """What is left, and how good it is, when only predictions of at least `threshold` confidence are accepted.

    Attributes:
        threshold: The lowest confidence accepted.
        coverage: The share of all tickets that is accepted.
        accuracy: The share of the accepted ones that are right; None when none is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Share
    coverage: Share
    accuracy: Share | None


class Evaluation(BaseModel):
    """Figures over labelled predictions.

    Attributes:
        count: How many tickets.
        accuracy: The share that is right.
        macro_f1: The mean F1 of the categories that occur among labels or predictions.
        expected_calibration_error: The mean distance of confidence and accuracy, over 15 bins of equal width,
            weighted by their size (Guo et al., On Calibration of Modern Neural Networks, 2017).
        automatic: The share of the tickets with the decision `auto`.
        automatic_accuracy: The share of those that are right; None when there are none.
        categories: Figures for each category.
        confusion: For each label, how often each category was predicted.
        coverage: The trade between how much is accepted and how often it is right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=1)
    accuracy: Share
    macro_f1: Share
    expected_calibration_error: Share
    automatic: Share
    automatic_accuracy: Share | None
    categories: dict[Category, CategoryScore]
    confusion: dict[Category, dict[Category, int]]
    coverage: tuple[CoverageRow, ...]


def evaluate(pairs: Sequence[LabelledPrediction]) -> Evaluation:
    """Compare labels with predictions.

    Raises:
        ValueError: `pairs` is empty.
    """
    if not pairs:
        raise ValueError("There is nothing to evaluate.")
    counted = Counter((label, prediction.category) for label, prediction in pairs)
    confusion: dict[Category, dict[Category, int]] = {
        label: {guess: counted[label, guess] for guess in CATEGORIES} for label in CATEGORIES
    }
    categories: dict[Category, CategoryScore] = {category: _score(category, confusion) for category in CATEGORIES}
    # Only what occurs, as scikit-learn does; otherwise a file without spam could never score well.
    occurring = [categories[name].f1 for name in CATEGORIES if any(name in pair for pair in counted)]
    automatic = [pair for pair in pairs if pair[1].decision == "auto"]
    return Evaluation(
        count=len(pairs),
        accuracy=_accuracy(pairs) or 0.0,
        macro_f1=sum(occurring) / len(occurring),
        expected_calibration_error=_calibration_error(pairs),
        automatic=len(automatic) / len(pairs),
        automatic_accuracy=_accuracy(automatic),
        categories=categories,
        confusion=confusion,
        coverage=tuple(_coverage(pairs, threshold) for threshold in _COVERAGE_THRESHOLDS),
    )


def _score(category: Category, confusion: dict[Category, dict[Category, int]]) -> CategoryScore:
    right = confusion[category][category]
    labelled = sum(confusion[category].values())
    predicted = sum(row[category] for row in confusion.values())
    return CategoryScore(
        precision=right / predicted if predicted else 0.0,
        recall=right / labelled if labelled else 0.0,
        f1=2 * right / (labelled + predicted) if labelled + predicted else 0.0,
        labelled=labelled,
    )


def _accuracy(pairs: Sequence[LabelledPrediction]) -> float | None:
    return sum(label == prediction.category for label, prediction in pairs) / len(pairs) if pairs else None


def _calibration_error(pairs: Sequence[LabelledPrediction]) -> float:
    bins: dict[int, list[LabelledPrediction]] = {}
    for pair in pairs:
        bins.setdefault(min(int(pair[1].confidence * _BINS), _BINS - 1), []).append(pair)
    gaps = (
        abs(sum(prediction.confidence for _, prediction in members) - sum(label == p.category for label, p in members))
        for _, members in sorted(bins.items())
    )
    return sum(gaps) / len(pairs)


def _coverage(pairs: Sequence[LabelledPrediction], threshold: float) -> CoverageRow:
    accepted = [pair for pair in pairs if pair[1].confidence >= threshold]
    return CoverageRow(threshold=threshold, coverage=len(accepted) / len(pairs), accuracy=_accuracy(accepted))
