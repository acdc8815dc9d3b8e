"""`gatebook desk connect`, `disconnect` and `wait`, and what `gatebook doctor` finds at the desk."""

import argparse
import getpass
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
from pydantic import TypeAdapter, ValidationError

from gatebook.errors import ConfigurationError, GatebookError
from gatebook.grants import Grant, GrantType, Printable
from gatebook.runtime import Runtime
from gatebook.settings import load_settings
from gatebook.tokens import RenewingCredentials
from gatebook_servers.commands.context import Commands, opened
from gatebook_servers.commands.output import say
from gatebook_servers.tickets.checking import Checked, Finding
from gatebook_servers.tickets.connections import CONNECTIONS
from gatebook_servers.tickets.ports import configured_desk
from gatebook_servers.tickets.waking import woken

NOTHING_NEW = 3
"""Exit code of a wait whose time was over."""
CHECK_S = 10.0
"""How long a desk may take to check itself, seconds."""
_MOST_BYTES = 10_000
_TOKEN = TypeAdapter[str](Printable)


def add(commands: Commands) -> None:
    """Declare the commands."""
    desk = commands.add_parser("desk", help="the desk's credentials and webhooks").add_subparsers(
        required=True, metavar="ACTION"
    )
    connect = desk.add_parser("connect", help="begin with a refresh token, from a pipe, a file or at a prompt")
    connect.add_argument("desk", choices=sorted(CONNECTIONS))
    connect.add_argument("--file", type=Path, help="where the refresh token stands, alone")
    connect.set_defaults(run=connect_command)
    disconnect = desk.add_parser("disconnect", help="forget the desk's tokens; revoke them there as well")
    disconnect.add_argument("desk", choices=sorted(CONNECTIONS))
    disconnect.set_defaults(run=disconnect_command)
    wait = desk.add_parser("wait", help="end when a webhook told of something new; the exit code is 3 when none did")
    wait.add_argument("--within", type=float, default=3_600, metavar="SECONDS")
    wait.set_defaults(run=wait_command)


def connect_command(options: argparse.Namespace) -> int:
    """Store a refresh token, sealed, once it is known to work."""
    with opened() as runtime:
        grant = CONNECTIONS[options.desk](runtime.settings)
        if grant.kind is not GrantType.REFRESH_TOKEN:
            raise ConfigurationError(
                "this desk gets its tokens by the client's own credentials.",
                next_step=f"There is nothing to connect, unless GATEBOOK_{options.desk.upper()}_OAUTH_GRANT says so.",
            )
        anyio.run(_connect, runtime, grant, _refresh_token(options.file))
    say(f"{grant.account} is connected; its tokens renew by themselves")
    return 0


def disconnect_command(options: argparse.Namespace) -> int:
    """Forget the tokens."""
    with opened() as runtime:
        grant = CONNECTIONS[options.desk](runtime.settings)
        forgotten = anyio.run(RenewingCredentials(runtime, grant).disconnect)
    say(f"{grant.account} {'is disconnected; revoke the tokens there as well' if forgotten else 'was not connected'}")
    return 0


def wait_command(options: argparse.Namespace) -> int:
    """Wait for a webhook. What was told while nobody waited ends the next wait at once."""
    with opened() as runtime:
        return 0 if anyio.run(partial(woken, runtime, within_s=options.within)) else NOTHING_NEW


def desk_findings() -> Sequence[Finding]:
    """Let the configured desk check itself; nothing where it cannot, or where the settings do not even fit."""
    try:
        settings = load_settings()
    except GatebookError:
        return []
    try:
        with opened(settings) as runtime:
            return anyio.run(_checked, runtime)
    except GatebookError as error:
        return [Finding.failed("desk", error)]


async def _connect(runtime: Runtime, grant: Grant, token: str) -> None:
    credentials = RenewingCredentials(runtime, grant)
    await credentials.connect(token)
    await credentials.aclose()


async def _checked(runtime: Runtime) -> Sequence[Finding]:
    desk = configured_desk(runtime)
    if not isinstance(desk, Checked):
        return []
    try:
        with anyio.fail_after(CHECK_S):
            return await desk.check()
    except TimeoutError:
        return [Finding.of("desk", f"did not answer within {CHECK_S:.0f} s", ok=False)]


def _refresh_token(file: Path | None) -> str:
    """Read the token; never from an argument, which every process of the machine can see."""
    try:
        return _TOKEN.validate_python(_given(file).strip())
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError("the file cannot be read.", next_step="Give another file.") from None
    except ValidationError:
        # The cause would quote it.
        raise ConfigurationError("this is no refresh token.", next_step="Give the token alone, in one line.") from None


def _given(file: Path | None) -> str:
    if file is not None:
        with file.open(encoding="ascii") as stream:
            return stream.read(_MOST_BYTES)
    if sys.stdin.isatty():
        return getpass.getpass("refresh token: ")
    return sys.stdin.read(_MOST_BYTES)
