"""The `gatebook` command over the remote desk, which ends where a test says: see `failpoints`.

The desk's address is in GATEBOOK_TEST_DESK_URL, and GATEBOOK_TEST_DESK_FENCED says whether it knows a marker again.
The process id goes into the file that GATEBOOK_TEST_PID_FILE names. A server without a client on its standard input
ends with whoever holds the other side of it.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mcp.types import CallToolResult

from fakes.remote_desk import RemoteDesk
from gatebook.approvals.history import History
from gatebook.database.port import Transaction, Value
from gatebook.database.postgres import PostgresDatabase
from gatebook.database.postgres_calls import PostgresCalls
from gatebook.database.sqlite import SqliteDatabase
from gatebook.effects import Effects
from gatebook.gate import Gate
from gatebook.intents import Intent
from gatebook.ledger.checkpoints import Checkpoints
from gatebook.performing import Performance
from gatebook.runtime import Runtime
from gatebook_servers.cli import main
from gatebook_servers.tickets.ports import DESKS
from programs.failpoints import DIRECTORY, RECALL, Failpoints, Point

P = ParamSpec("P")
R = TypeVar("R")


def open_remote_desk(_: Runtime) -> RemoteDesk:
    fenced = os.environ.get("GATEBOOK_TEST_DESK_FENCED") == "1"
    return RemoteDesk(os.environ["GATEBOOK_TEST_DESK_URL"], fenced=fenced)


def fail_at(failpoints: Failpoints) -> None:
    """Look for a failpoint wherever a crash could matter."""
    effect, act = Performance.effect, Performance._act

    def passed(performance: Performance, point: Point) -> None:
        if failpoints.passed(point):
            # Amid a transaction of something else here it would keep everybody out, and nobody could take over.
            with cast("SqliteDatabase | PostgresDatabase", performance.scope.runtime.database)._lock:
                stand_still()

    async def claimed(self: Performance) -> CallToolResult:
        passed(self, "after_claim")
        return await effect(self)

    async def acted(self: Performance) -> tuple[str, object]:
        done = await act(self)
        passed(self, "after_effect")
        return done

    Performance.effect = claimed
    Performance._act = acted
    # These are inside a transaction that has not been committed; the last one may be, with nobody told.
    Effects.claim = before(failpoints, Effects.claim, "mid_claim")
    Effects.finish = behind(failpoints, Effects.finish, "before_complete")
    Checkpoints.save = behind(failpoints, Checkpoints.save, "mid_checkpoint")
    call = PostgresCalls.call

    async def called(self: PostgresCalls, function: str, parameters: dict[str, Value]) -> int | None:
        # Committed, and nobody told.
        result = await call(self, function, parameters)
        if result is not None and failpoints.passed("mid_checkpoint"):
            stand_still()
        return result

    PostgresCalls.call = called


def before(failpoints: Failpoints, method: Callable[P, R], point: Point) -> Callable[P, R]:
    def passing(*arguments: P.args, **named: P.kwargs) -> R:
        if failpoints.passed(point):
            stand_still()
        return method(*arguments, **named)

    return passing


def behind(failpoints: Failpoints, method: Callable[P, R], point: Point) -> Callable[P, R]:
    def passing(*arguments: P.args, **named: P.kwargs) -> R:
        result = method(*arguments, **named)
        if failpoints.passed(point):
            stand_still()
        return result

    return passing


def stand_still() -> None:
    """Stop until somebody lets this process go on."""
    # To this thread: sent to the process it may reach another one first, and this one goes on for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def forget_every_effect() -> None:
    """Switch the recall off: a call that is issued again is claimed anew, whatever came of the first."""

    def unknown(self: Gate, tx: Transaction, intent: Intent, history: History | None = None) -> None:
        del history
        tx.execute("DELETE FROM effects WHERE effect_key = :key", key=self._key(intent))

    Gate._known = unknown


def end_with_standard_input() -> None:
    """End this process as soon as nobody holds the other side."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    DESKS["remote"] = open_remote_desk
    fail_at(Failpoints(Path(os.environ[DIRECTORY])))
    if os.environ.get(RECALL) == "off":
        forget_every_effect()
    if "GATEBOOK_TEST_PID_FILE" in os.environ:
        Path(os.environ["GATEBOOK_TEST_PID_FILE"]).write_text(str(os.getpid()), encoding="utf-8")
    if "http" in sys.argv:
        end_with_standard_input()
    sys.exit(main())
