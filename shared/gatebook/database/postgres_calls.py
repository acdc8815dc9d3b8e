"""Functions of the server, called by the event loop itself: one statement need not cross to a thread and back."""

import asyncio
import select
from threading import Lock

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow
from pydantic import SecretStr

from gatebook.database.port import Value

LONGEST_S = 10.0
"""How long connecting and every answer may take; waiting for other transactions ends after a second."""

SOON_MS = 1
"""How long the event loop stands still for an answer before it turns to others: a server near by has committed then."""

_SESSION = "SET lock_timeout = 1000"


class PostgresCalls:
    """A connection beside the transactions', for one call at a time; opened at the first one, and when it is gone.

    Whatever fails is only not done here: a transaction does it then, and tells what is wrong. The calls go to libpq as
    they are, because psycopg's cursors take a quarter of what a small commit takes (benchmarks/checkpoints.py).
    """

    def __init__(self, address: SecretStr) -> None:
        self._address = address
        self._calling = Lock()
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._prepared: set[str] = set()

    async def call(self, function: str, parameters: dict[str, Value]) -> int | None:
        """Call a function that returns a whole number; None when it returned null, or nobody knows."""
        if not self._calling.acquire(blocking=False):
            return None
        try:
            pgconn = self._connection.pgconn if self._connection else await self._opened()
            if function not in self._prepared:
                await self._prepare(pgconn, function, parameters)
            pgconn.send_query_prepared(function.encode(), [_text(value) for value in parameters.values()])
            value = (await _Answer(pgconn).whole()).get_value(0, 0)
        except BaseException as error:
            # What is under way on it is not waited for.
            self.close()
            if isinstance(error, psycopg.Error | TimeoutError):
                return None
            raise
        finally:
            self._calling.release()
        return None if value is None else int(value)

    def close(self) -> None:
        """Put the connection away; a call that is under way fails."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    async def _opened(self) -> PGconn:
        """Open the connection."""
        self._prepared.clear()
        async with asyncio.timeout(LONGEST_S):
            self._connection = await psycopg.AsyncConnection.connect(self._address.get_secret_value(), autocommit=True)
            await self._connection.execute(_SESSION)
        return self._connection.pgconn

    async def _prepare(self, pgconn: PGconn, function: str, parameters: dict[str, Value]) -> None:
        """Let the server plan the call once."""
        named = ", ".join(f"{name} => ${number}" for number, name in enumerate(parameters, 1))
        pgconn.send_prepare(function.encode(), f"SELECT {function}({named})".encode())
        await _Answer(pgconn).whole()
        self._prepared.add(function)


class _Answer:
    """The answer to what was sent, as it arrives."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._results: list[PGresult] = []

    async def whole(self) -> PGresult:
        """Send the rest, and return the result when it is certain.

        Raises:
            psycopg.Error: If the call failed, or the connection was lost.
            TimeoutError: If it takes too long.
        """
        if not self._is_here_soon():
            await self._end_of_all()
        if [result.status for result in self._results] not in ([ExecStatus.TUPLES_OK], [ExecStatus.COMMAND_OK]):
            raise psycopg.OperationalError("the call failed")
        return self._results[0]

    def _is_here_soon(self) -> bool:
        """Stand still for the answer of a server that is near, which takes less time than to be woken by it."""
        if self._pgconn.flush():
            return False
        arriving = select.poll()
        arriving.register(self._pgconn.socket, select.POLLIN)
        return bool(arriving.poll(SOON_MS)) and self._is_here()

    def _is_here(self) -> bool:
        """Take what has arrived; whether that is all."""
        self._pgconn.consume_input()
        # The commit is behind the first result: only the end of all tells that it went well.
        while not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                return True
            self._results.append(result)
        return False

    async def _end_of_all(self) -> None:
        """Let the event loop go on meanwhile."""
        socket = self._pgconn.socket
        late = self._loop.call_later(LONGEST_S, self._ended, TimeoutError())
        self._loop.add_reader(socket, self._go_on)
        self._loop.add_writer(socket, self._go_on)
        try:
            await self._end
        finally:
            late.cancel()
            self._loop.remove_reader(socket)
            self._loop.remove_writer(socket)

    def _go_on(self) -> None:
        try:
            if not self._pgconn.flush():
                self._loop.remove_writer(self._pgconn.socket)
            if self._is_here():
                self._ended()
        except psycopg.Error as error:
            self._ended(error)

    def _ended(self, error: Exception | None = None) -> None:
        if self._end.done():
            return
        if error:
            self._end.set_exception(error)
        else:
            self._end.set_result(None)


def _text(value: Value) -> bytes | None:
    """Return a value as the server reads it; bytes are a text already."""
    return value if value is None or isinstance(value, bytes) else str(value).encode()
