"""One of several processes that execute what people approved, on the remote desk: `grant_worker.py WORKERS`.

It says "ready" and works until it is killed.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio

from fakes.remote_desk import RemoteDesk
from gatebook.guard import Guard
from gatebook.runtime import open_runtime
from gatebook.settings import load_settings
from gatebook.worker import Worker
from gatebook_servers.catalogue import catalogue
from gatebook_servers.tickets.ports import DESKS


async def main(workers: int) -> None:
    DESKS["remote"] = lambda _: RemoteDesk(os.environ["GATEBOOK_TEST_DESK_URL"])
    runtime = open_runtime(load_settings())
    guard = Guard(runtime, catalogue())
    print("ready", flush=True)  # noqa: T201
    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(Worker(runtime, guard).run, anyio.Event())


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]))
