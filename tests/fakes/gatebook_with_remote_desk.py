"""The `gatebook` command with one more ticket desk, as somebody who adds one would have it.

The service's address is in GATEBOOK_TEST_DESK_URL; GATEBOOK_DESK=remote chooses it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.remote_desk import RemoteDesk
from gatebook.runtime import Runtime
from gatebook_servers.cli import main
from gatebook_servers.tickets.ports import DESKS


def open_remote_desk(_: Runtime) -> RemoteDesk:
    return RemoteDesk(os.environ["GATEBOOK_TEST_DESK_URL"])


DESKS["remote"] = open_remote_desk

if __name__ == "__main__":
    sys.exit(main())
