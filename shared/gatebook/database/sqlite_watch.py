"""Notices on SQLite that something was committed, by whatever process."""

from pathlib import Path

import anyio
import apsw

LOOK_S = 0.02
"""How often the counter is looked at, which costs microseconds and takes no lock that anybody waits for."""


class SqliteWatch:
    """A connection of its own: its `data_version` moves with every commit of any other connection.

    Source: https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._seen: object = None
        self._seen = self._version()

    async def changed(self) -> None:
        while (version := self._version()) == self._seen:  # noqa: ASYNC110 - another process sets no event
            await anyio.sleep(LOOK_S)
        self._seen = version

    async def close(self) -> None:
        self._connection.close()

    def _version(self) -> object:
        try:
            # apsw's stubs leave the type of a value open.
            version = self._connection.pragma("data_version")  # pyright: ignore[reportUnknownMemberType]
        except apsw.Error:
            # Busy for a moment, or the disk is gone: who waits looks by itself, and is told what is wrong.
            return self._seen
        return version
