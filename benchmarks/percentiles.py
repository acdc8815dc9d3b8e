"""Percentiles, the same in every benchmark."""

from collections.abc import Sequence


def percentile(times: Sequence[float], part: float) -> float:
    """Return the value that `part` of `times` (0 to 1) do not exceed; they need no order."""
    return sorted(times)[int(part * (len(times) - 1))]
