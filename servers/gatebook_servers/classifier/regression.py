"""Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.

The problem is convex and the start is fixed, so the same rows always give the same weights.
Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.1 and 7.4.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gatebook_servers.classifier.features import FEATURES, Floats, Integers, SparseRows

_MEMORY = 10
_ITERATIONS = 200
_TOLERANCE = 1e-4
_SUFFICIENT_DECREASE = 1e-4
_SMALLEST_STEP = 1e-10

Objective = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True, slots=True)
class LinearModel:
    """One column of weights and one bias for each class."""

    weights: Floats
    bias: Floats

    def scores(self, rows: SparseRows) -> Floats:
        """Return unnormalised log-probabilities, one row for each of `rows`."""
        return rows.times(self.weights) + self.bias


def log_softmax(scores: Floats) -> Floats:
    """Normalise rows of log-probabilities."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def fit(rows: SparseRows, classes: Integers, *, class_count: int, row_weights: Floats, strength: float) -> LinearModel:
    """Fit the model that minimises the weighted log-loss plus the squared weights over twice `strength`.

    Args:
        rows: The features.
        classes: The class of each row, from 0 to `class_count` - 1.
        class_count: How many classes there are.
        row_weights: How much each row counts.
        strength: How far the data may pull the weights from zero (scikit-learn calls it C).
    """
    used, columns = np.unique(rows.columns, return_inverse=True)
    compact = SparseRows(offsets=rows.offsets, columns=columns, values=rows.values)
    shape = (len(used) + 1, class_count)
    row_of_entry = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    wanted = np.eye(class_count)[classes]

    def objective(flat: Floats) -> tuple[float, Floats]:
        parameters = flat.reshape(shape)
        weights, bias = parameters[:-1], parameters[-1]
        logs = log_softmax(compact.times(weights) + bias)
        loss = -float(np.sum(row_weights[:, None] * wanted * logs)) + float(np.sum(weights**2)) / (2 * strength)
        errors = row_weights[:, None] * (np.exp(logs) - wanted)
        spread = errors[row_of_entry] * compact.values[:, None]
        by_class = [np.bincount(columns, weights=spread[:, k], minlength=len(used)) for k in range(class_count)]
        gradient = np.vstack([np.stack(by_class, axis=1) + weights / strength, errors.sum(axis=0)])
        return loss, gradient.ravel()

    solution = _minimise(objective, np.zeros(shape[0] * shape[1])).reshape(shape)
    weights = np.zeros((FEATURES, class_count))
    weights[used] = solution[:-1]
    return LinearModel(weights=weights, bias=solution[-1])


def _minimise(objective: Objective, start: Floats) -> Floats:
    point = start
    value, gradient = objective(point)
    history: deque[tuple[Floats, Floats]] = deque(maxlen=_MEMORY)
    for _ in range(_ITERATIONS):
        if float(np.abs(gradient).max()) < _TOLERANCE:
            break
        direction = -_inverse_hessian_times(gradient, history)
        moved = _line_search(objective, point, value, slope=float(gradient @ direction), direction=direction)
        if moved is None:
            break
        new_point, value, new_gradient = moved
        change, bend = new_point - point, new_gradient - gradient
        # Without positive curvature the pair would spoil the approximation.
        if float(change @ bend) > 0:
            history.append((change, bend))
        point, gradient = new_point, new_gradient
    return point


def _inverse_hessian_times(gradient: Floats, history: deque[tuple[Floats, Floats]]) -> Floats:
    result = gradient.copy()
    factors: list[float] = []
    for change, bend in reversed(history):
        factor = float(change @ result) / float(change @ bend)
        factors.append(factor)
        result -= factor * bend
    if history:
        change, bend = history[-1]
        result *= float(change @ bend) / float(bend @ bend)
    else:
        result /= max(1.0, float(np.linalg.norm(gradient)))
    for (change, bend), factor in zip(history, reversed(factors), strict=True):
        result += change * (factor - float(bend @ result) / float(change @ bend))
    return result


def _line_search(
    objective: Objective, point: Floats, value: float, *, slope: float, direction: Floats
) -> tuple[Floats, float, Floats] | None:
    step = 1.0
    while step > _SMALLEST_STEP:
        candidate = point + step * direction
        new_value, gradient = objective(candidate)
        if new_value <= value + _SUFFICIENT_DECREASE * step * slope:
            return candidate, new_value, gradient
        step /= 2
    return None
