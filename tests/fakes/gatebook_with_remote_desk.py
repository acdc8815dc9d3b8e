"""The `gatebook` command with one more ticket desk, as somebody who adds one would have it.

The service's address is in GATEBOOK_TEST_DESK_URL, and GATEBOOK_TEST_DESK_FENCED says whether it knows a marker again;
GATEBOOK_DESK=remote chooses it. With GATEBOOK_TEST_OAUTH_URL it gets its tokens there. The night shift starts its
servers with this program, too.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.oauth import grant_of
from fakes.remote_desk import RemoteDesk
from gatebook.grants import Grant
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook_servers.cli import main
from gatebook_servers.commands import hosts
from gatebook_servers.tickets.connections import CONNECTIONS, oauth_credentials
from gatebook_servers.tickets.ports import DESKS


def open_remote_desk(runtime: Runtime) -> RemoteDesk:
    fenced = os.environ.get("GATEBOOK_TEST_DESK_FENCED") == "1"
    oauth = os.environ.get("GATEBOOK_TEST_OAUTH_URL")
    credentials = oauth_credentials(runtime, "remote") if oauth else None
    return RemoteDesk(os.environ["GATEBOOK_TEST_DESK_URL"], fenced=fenced, credentials=credentials)


def server_command(name: str) -> tuple[str, ...]:
    return (sys.executable, __file__, "serve", name)


def _grant(_: Settings) -> Grant:
    return grant_of(os.environ["GATEBOOK_TEST_OAUTH_URL"])


DESKS["remote"] = open_remote_desk
CONNECTIONS["remote"] = _grant
hosts.server_command = server_command

if __name__ == "__main__":
    sys.exit(main())
