"""The `gatebook` command over the local desk, which waits at a gate before it changes anything.

It connects to the port in GATEBOOK_TEST_GATE, says its process id in one line and goes on when a byte comes back.
GATEBOOK_DESK=gated chooses it.
"""

import os
import sys

import anyio

from gatebook_servers.cli import main
from gatebook_servers.tickets.desk import Applied, Patch, Visibility
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import DESKS


class GatedDesk(LocalDesk):
    """The local desk behind a gate."""

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        await _pass()
        return await super().comment(ref, body, visibility=visibility, head=head, marker=marker)

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        await _pass()
        return await super().update(ref, patch, base_version=base_version, marker=marker)


async def _pass() -> None:
    async with await anyio.connect_tcp("127.0.0.1", int(os.environ["GATEBOOK_TEST_GATE"])) as gate:
        await gate.send(f"{os.getpid()}\n".encode())
        await gate.receive()


if __name__ == "__main__":
    DESKS["gated"] = GatedDesk
    sys.exit(main())
