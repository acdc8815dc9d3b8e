"""Notices on PostgreSQL that requests or decisions changed: triggers send NOTIFY, this listens."""

from typing import Self

import anyio
import psycopg
from psycopg.rows import TupleRow

CONNECT_S = 5.0


class PostgresWatch:
    """A connection of its own while somebody waits.

    Where it cannot be had, is lost, or leads through a pooler that keeps no LISTEN, nothing is noticed.
    """

    def __init__(self, connection: psycopg.AsyncConnection[TupleRow] | None) -> None:
        self._connection = connection

    @classmethod
    async def opened(cls, address: str) -> Self:
        """Connect and listen.

        Args:
            address: What libpq connects to; no error repeats it.
        """
        connection = None
        try:
            with anyio.fail_after(CONNECT_S):
                connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
                await connection.execute("LISTEN gatebook_approvals")
        except BaseException as error:
            if connection is not None:
                await connection.close()
            if isinstance(error, psycopg.Error | TimeoutError):
                return cls(None)
            raise
        return cls(connection)

    async def changed(self) -> None:
        if self._connection is not None:
            try:
                # Read to its end, or else it keeps the connection's lock.
                if [notice async for notice in self._connection.notifies(stop_after=1)]:
                    return
            except psycopg.Error:
                # Who waits looks by itself now and then.
                await self.close()
        await anyio.sleep_forever()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
