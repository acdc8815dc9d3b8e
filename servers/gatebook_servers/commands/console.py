"""`gatebook console`: the pages where people decide, and who may sign in to them."""

import argparse
import getpass
import sys
from collections.abc import Callable, Coroutine
from functools import partial

import anyio
from starlette.types import ASGIApp

from gatebook.clock import moment
from gatebook.errors import ConfigurationError
from gatebook.guard import Guard
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import load_settings
from gatebook.telemetry import configure_logging
from gatebook.transports.ending import Background
from gatebook.transports.serving import Underway, run_app
from gatebook.worker import Worker
from gatebook_servers.catalogue import catalogue
from gatebook_servers.commands.context import Commands, opened, person
from gatebook_servers.commands.lookups import RoomLookups
from gatebook_servers.commands.output import complain, emit, say, table
from gatebook_servers.commands.serving import port, stopping
from gatebook_servers.console.app import build_app, build_console
from gatebook_servers.console.pages.signing import FIRST_RUN_FILE, first_run_path
from gatebook_servers.console.people import REVIEWER, People, hashed
from gatebook_servers.console.security import Address
from gatebook_servers.console.visit import Console

DRAIN_S = 10.0
"""Seconds that requests and the job it is at have once it is told to end."""


def add(commands: Commands) -> None:
    """Declare the commands."""
    console = commands.add_parser("console", help="the web pages where people decide")
    console.add_argument("--host", default=Address.host, help="default %(default)s")
    console.add_argument("--port", type=port, default=Address.port, help="default %(default)s; 0 takes a free one")
    console.add_argument("--public-url", default="", help="the https:// address that browsers show, if not this one")
    console.set_defaults(run=console_command)
    actions = console.add_subparsers(metavar="people")
    people = actions.add_parser("people", help="who may sign in").add_subparsers(required=True, metavar="ACTION")
    listing = people.add_parser("list", help="everybody")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=list_command)
    adding = people.add_parser("add", help="let somebody sign in; asks for a password, or reads it from a pipe")
    adding.add_argument("name")
    adding.add_argument("--role", action="append", default=[], help="admin, reviewer, a role of the policy; several")
    adding.add_argument("--looks-on", action="store_true", help="no role: sees everything, decides nothing")
    adding.set_defaults(run=add_command)
    disable = people.add_parser("disable", help="let somebody in no more, at once")
    disable.add_argument("name")
    disable.set_defaults(run=disable_command)
    password = people.add_parser("password", help="set somebody's password, and end their sessions")
    password.add_argument("name")
    password.set_defaults(run=password_command)


def console_command(options: argparse.Namespace) -> int:
    """Serve the pages, and do what is approved, until a signal comes."""
    address = Address(host=options.host, port=options.port, public_url=options.public_url)
    settings = load_settings()
    configure_logging(settings.log_level)
    runtime = open_runtime(settings)
    guard = Guard(runtime, catalogue())
    console = build_console(runtime, guard, lookups=RoomLookups(runtime), address=address)
    with runtime.database.transaction() as tx:
        first = not People(tx).any()

    def compose(_underway: Underway, work: Callable[[], Coroutine[object, object, None]]) -> ASGIApp:
        return build_app(console, work)

    try:
        return run_app(
            compose,
            host=address.host,
            port=address.port,
            drain_s=DRAIN_S,
            on_stop=stopping(runtime),
            announce=partial(_announce, runtime, address, first=first),
            background=background_of(console),
        )
    except OSError as error:
        raise ConfigurationError(f"{error}.", next_step="Choose a free address and port.") from error


def list_command(options: argparse.Namespace) -> int:
    """Print who may sign in."""
    with opened() as runtime, runtime.database.transaction() as tx:
        found = People(tx).all()
    if options.json:
        emit([one.model_dump(mode="json") for one in found])
        return 0
    table(
        f"{len(found)} people",
        ["name", "roles", "", "since"],
        [
            (
                one.name,
                ", ".join(one.roles) or "looks on",
                "disabled" if one.disabled else "",
                moment(one.created_at).isoformat(timespec="minutes"),
            )
            for one in found
        ],
    )
    return 0


def add_command(options: argparse.Namespace) -> int:
    """Let somebody sign in."""
    roles = () if options.looks_on else tuple(options.role) or (REVIEWER,)
    password_hash = hashed(_password())
    with opened() as runtime, runtime.database.transaction() as tx:
        added = People(tx, by=person()).add(options.name, password_hash=password_hash, roles=roles)
    say(f"{added.name} may sign in: {', '.join(added.roles) or 'looks on'}")
    return 0


def disable_command(options: argparse.Namespace) -> int:
    """Let somebody in no more."""
    with opened() as runtime, runtime.database.transaction() as tx:
        People(tx, by=person()).disable(options.name)
    say(f"{options.name} is disabled; their sessions are over")
    return 0


def password_command(options: argparse.Namespace) -> int:
    """Set somebody's password."""
    password_hash = hashed(_password())
    with opened() as runtime, runtime.database.transaction() as tx:
        People(tx, by=person()).set_password(options.name, password_hash=password_hash)
    say(f"{options.name} has a new password; their sessions are over")
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != password:
        raise ConfigurationError("the two passwords differ.", next_step="Type the same one twice.")
    return password


def background_of(console: Console) -> Background:
    """Return what runs beside the pages: the look at what changed, and the outbox of every room."""

    async def work(ended: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(console.pulse.run, ended)
            tasks.start_soon(Worker(console.runtime, console.guard).run, ended)

    return work


def _announce(runtime: Runtime, address: Address, url: str, *, first: bool) -> None:
    shown = address.public_url.rstrip("/") or url
    complain(f"console: {shown}")
    if first:
        home = runtime.settings.home
        complain(f"nobody may sign in yet. Make the first person, once, at:\n  {shown}{first_run_path(home)}")
        complain(f"the link's token is in {home / FIRST_RUN_FILE} too")
