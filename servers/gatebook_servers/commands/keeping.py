"""`gatebook backup`, `gatebook restore` and `gatebook move`."""

import argparse
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import anyio

from gatebook.database.moving import move
from gatebook.database.port import Database
from gatebook.database.sqlite import SqliteDatabase
from gatebook.database.sqlite_copies import put_back
from gatebook.errors import ConfigurationError, GatebookError
from gatebook.jobs.restoring import restored
from gatebook.settings import load_settings
from gatebook.switches import PAUSE, Switches
from gatebook_servers.commands.context import Commands, opened, person
from gatebook_servers.commands.output import complain, say

MOVING = "being moved to PostgreSQL by gatebook move"
"""Why the file is paused while it is copied; tells the move's own pause from a person's, which goes along."""
MOVED = "moved to PostgreSQL"


def add(commands: Commands) -> None:
    """Declare the commands."""
    backup = commands.add_parser("backup", help="copy the database into a new file, while servers run")
    backup.add_argument("file", type=Path)
    backup.set_defaults(run=backup_command)
    restore = commands.add_parser("restore", help="put a copy back; what was done since then is looked up outside")
    restore.add_argument("file", type=Path, nargs="?", help="left out where PostgreSQL's own tools put it back")
    restore.set_defaults(run=restore_command)
    move = commands.add_parser("move", help="copy everything into the empty PostgreSQL of GATEBOOK_DATABASE_URL")
    move.set_defaults(run=move_command)


def backup_command(options: argparse.Namespace) -> int:
    """Write the copy."""
    with opened() as runtime:
        runtime.database.back_up(options.file)
    say(f"copied to {options.file}; keep recordings.key too, without which the recordings stay closed")
    return 0


def restore_command(options: argparse.Namespace) -> int:
    """Put the copy back and have every effect looked up from now on before it is performed."""
    settings = load_settings()
    if options.file is not None:
        if settings.database_url is not None:
            raise ConfigurationError(
                "the database is PostgreSQL.", next_step="Use pg_restore, then `gatebook restore` without a file."
            )
        aside = put_back(options.file, settings.database_path)
        if aside:
            say(f"what was there is kept as {aside}")
    try:
        with opened(settings) as runtime:
            checkpoints = anyio.run(partial(restored, runtime, person=person()))
    except GatebookError:
        complain("the copy is in place, but what was sent since then could be sent again; start nothing yet:")
        complain("when the cause below is mended, run `gatebook restore` without a file")
        raise
    if checkpoints:
        say(f"the audit log is shorter than what was signed of it; its checkpoints are kept as {checkpoints}")
    say("restored: every effect is looked up at the desk before it is performed")
    return 0


def move_command(options: argparse.Namespace) -> int:
    """Stop whoever still works with the file, copy its rows to the server, and let go on there what went on here."""
    del options
    settings = load_settings()
    if settings.database_url is None or not settings.database_path.exists():
        raise ConfigurationError(
            "there is no file to move, or no PostgreSQL to move it to.", next_step="Set GATEBOOK_DATABASE_URL."
        )
    with closing(SqliteDatabase(settings.database_path)) as file, opened(settings) as runtime:
        with _paused(file):
            copied = move(file, runtime.database)
        with file.transaction() as tx:
            Switches(tx).set(PAUSE, reason=MOVED, person=person())
        # The pause came along with the copy; until here neither of the two acts, whatever dies.
        _let_go(runtime.database)
    say(f"{sum(copied.values())} rows moved; the file stays as it was, paused")
    return 0


@contextmanager
def _paused(file: Database) -> Generator[None]:
    """Pause the file's suite for good, unless the block fails; whoever kills the process leaves it paused."""
    with file.transaction() as tx:
        was_running = Switches(tx).reason(PAUSE) is None
        if was_running:
            Switches(tx).set(PAUSE, reason=MOVING, person=person())
    say("the file is paused; if this is cut off, move again, or `gatebook resume` without GATEBOOK_DATABASE_URL")
    try:
        yield
    except BaseException:
        if was_running:
            _let_go(file)
        complain("the move failed; the file is as it was")
        raise


def _let_go(database: Database) -> None:
    """End the pause that a move made, and no other."""
    with database.transaction() as tx:
        if Switches(tx).reason(PAUSE) == MOVING:
            Switches(tx).clear(PAUSE, person=person())
