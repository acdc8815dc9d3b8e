"""Every server of the suite. To add one: a folder with a `tools.py`, and a row here.

A room is loaded when it is looked up: a host that starts one server does not wait for the others.
"""

from collections.abc import Callable, Iterator, Mapping

from gatebook.toolset import Toolset
from gatebook.toolspec import ToolSpec

# ruff: noqa: PLC0415 - each row loads its room when it is looked up


def _tickets() -> Toolset:
    from gatebook_servers.tickets.tools import tools

    return tools


def _classifier() -> Toolset:
    from gatebook_servers.classifier.tools import tools

    return tools


def _memory() -> Toolset:
    from gatebook_servers.memory.tools import tools

    return tools


def _approvals() -> Toolset:
    from gatebook_servers.approvals.tools import tools

    return tools


def _runs() -> Toolset:
    from gatebook_servers.runs.tools import tools

    return tools


class _OnDemand(Mapping[str, Toolset]):
    def __init__(self, rooms: Mapping[str, Callable[[], Toolset]]) -> None:
        self._rooms = rooms

    def __getitem__(self, name: str) -> Toolset:
        return self._rooms[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._rooms)

    def __len__(self) -> int:
        return len(self._rooms)


SERVERS: Mapping[str, Toolset] = _OnDemand(
    {
        "tickets": _tickets,
        "classifier": _classifier,
        "memory": _memory,
        "approvals": _approvals,
        "runs": _runs,
    }
)


class Catalogue(Mapping[str, ToolSpec]):
    """Every tool of the suite by its global name; the rooms are loaded at the first look."""

    def __init__(self) -> None:
        self._specs: dict[str, ToolSpec] = {}

    def _loaded(self) -> dict[str, ToolSpec]:
        if not self._specs:
            self._specs = {name: spec for toolset in SERVERS.values() for name, spec in toolset.specs.items()}
        return self._specs

    def __getitem__(self, name: str) -> ToolSpec:
        return self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())


def catalogue() -> Catalogue:
    """Return every tool of the suite."""
    return Catalogue()
