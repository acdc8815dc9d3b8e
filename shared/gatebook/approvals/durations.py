"""Lengths of time as an operator writes them: `30m`, `12h`, `3d`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_WRITTEN = re.compile(r"(\d{1,6}) ?([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_LONGEST_S = 366 * 86_400.0


def _seconds(value: object) -> float:
    written = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise ValueError('write a number and s, m, h or d, such as "30m", "12h" or "3d"')
    return int(written[1]) * _SECONDS[written[2]]


Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=_LONGEST_S)]
"""Seconds, written like `12h`; at most 366 days."""
