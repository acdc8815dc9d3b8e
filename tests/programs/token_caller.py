"""One of several processes that call with the same credentials: `token_caller.py OAUTH_URL LEASE_S SECONDS HANDS`.

It says "ready", waits for a line on stdin, calls for so long, and prints how often it was answered what.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio

from fakes.oauth import grant_of
from gatebook.errors import GatebookError
from gatebook.http import HttpClient
from gatebook.retry import Operation
from gatebook.runtime import open_runtime
from gatebook.settings import load_settings
from gatebook.tokens import RenewingCredentials


async def main(url: str, lease_s: float, seconds: float, hands: int) -> None:
    runtime = open_runtime(load_settings())
    credentials = RenewingCredentials(runtime, grant_of(url), lease_s=lease_s)
    client = HttpClient(url, credentials=credentials)
    outcomes = Counter[str]()
    print("ready", flush=True)  # noqa: T201
    await anyio.to_thread.run_sync(sys.stdin.readline)

    async def hand() -> None:
        until = anyio.current_time() + seconds
        while anyio.current_time() < until:
            try:
                with anyio.fail_after(20):
                    await client.request("GET", "/me", operation=Operation.READ)
                outcomes["ok"] += 1
            except GatebookError as error:
                outcomes[error.code] += 1
                await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        for _ in range(hands):
            tasks.start_soon(hand)
    print(json.dumps(outcomes), flush=True)  # noqa: T201
    os._exit(0)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
