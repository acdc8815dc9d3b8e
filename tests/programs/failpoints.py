"""Where a process of the suite ends, chosen from outside while it runs. The product knows nothing of it.

A test arms one failpoint in a directory that the servers share. The process that passes the point often enough takes
it, which only one can, and sends itself the signal.
"""

import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from programs.processes import stands_still

DIRECTORY = "GATEBOOK_TEST_FAILPOINTS"
"""The environment variable that names the directory."""
RECALL = "GATEBOOK_TEST_RECALL"
"""The environment variable that, set to `off`, lets the suite forget every effect: the control of the crash proof."""

Point = Literal["mid_claim", "after_claim", "after_effect", "before_complete", "mid_checkpoint"]


class Failpoint(BaseModel):
    """A point of the code, on which passing of one process, and whether it stops there (SIGSTOP) instead of dying."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: Point
    passing: int = 1
    stops: bool = False


class Failpoints:
    """The failpoints of one installation, in a directory."""

    def __init__(self, directory: Path) -> None:
        self._armed = directory / "armed"
        self._taken = directory / "taken"
        self._passings: Counter[str] = Counter()
        self._lock = Lock()

    def arm(self, failpoint: Failpoint) -> None:
        """Let a process end at this point from now on."""
        self._armed.parent.mkdir(parents=True, exist_ok=True)
        self._taken.unlink(missing_ok=True)
        new = self._armed.with_suffix(".new")
        # The first line tells one arming from the next, for passings are counted anew.
        new.write_text(f"{uuid4().hex}\n{failpoint.model_dump_json()}", encoding="utf-8")
        new.replace(self._armed)

    def taken(self) -> int | None:
        """Return the process that took the failpoint armed last, None while nobody has."""
        try:
            return int(self._taken.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def stopped(self) -> int | None:
        """Return the process that stands still at the failpoint armed last, None as long as none does."""
        pid = self.taken()
        return pid if pid is not None and stands_still(pid) else None

    def passed(self, point: Point) -> bool:
        """End this process if it is its turn; True if it has to stand still instead."""
        try:
            arming, _, text = self._armed.read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return False
        failpoint = Failpoint.model_validate_json(text)
        with self._lock:
            self._passings[arming] += failpoint.point == point
            due = failpoint.point == point and self._passings[arming] == failpoint.passing
        if not due or not self._take():
            return False
        if not failpoint.stops:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def _take(self) -> bool:
        mine = self._taken.with_suffix(f".{os.getpid()}")
        mine.write_text(str(os.getpid()), encoding="utf-8")
        with suppress(FileNotFoundError):
            # Of two processes that pass at the same moment one removes the file, and the other finds none.
            self._armed.unlink()
            mine.replace(self._taken)
            return True
        mine.unlink()
        return False
