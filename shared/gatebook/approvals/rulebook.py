"""The operator's policy file: read when it changed, and never trusted half."""

from functools import cached_property
from pathlib import Path

from gatebook.approvals.policy import Policy
from gatebook.approvals.reading import NEXT_STEP
from gatebook.errors import ConfigurationError
from gatebook.reach import Reach

_Stat = tuple[int, int, int] | None
_UNREAD: _Stat = (0, -1, 0)


class Rulebook:
    """The policy in force, from a file that may change, break or vanish at any time.

    Args:
        path: The operator's file; where it does not exist, the shipped policy applies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stat: _Stat = _UNREAD
        self._known: Policy | ConfigurationError | None = None

    def in_force(self, reach: Reach = Reach.SEND) -> Policy:
        """Return the policy for a call of this reach. A change of the file counts from the next call on.

        Raises:
            ConfigurationError: If the file cannot be read or does not fit. Nothing is written or sent then; reads and
                stages go on by the shipped policy.
        """
        known = self._current()
        if isinstance(known, Policy):
            return known
        if reach < Reach.WRITE:
            return self._shipped
        raise ConfigurationError(known.message, next_step=known.next_step)

    def _current(self) -> Policy | ConfigurationError:
        try:
            stat = _stat(self._path)
            if self._known is None or stat != self._stat:
                # The stat before the text: what is written in between is read at the next call.
                self._known, self._stat = self._shipped if stat is None else _read(self._path), stat
        except OSError:
            return _unreadable()
        return self._known

    @cached_property
    def _shipped(self) -> Policy:
        return Policy.shipped()


def _stat(path: Path) -> _Stat:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> Policy | ConfigurationError:
    try:
        return Policy(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return _unreadable()
    except ConfigurationError as error:
        return error


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "the policy file cannot be read.", next_step=f"Check its permissions; it is UTF-8 text. {NEXT_STEP}"
    )
