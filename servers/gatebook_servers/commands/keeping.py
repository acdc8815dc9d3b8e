"""`gatebook backup`, `gatebook restore` and `gatebook move`."""

import argparse
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio

from gatebook.database.moving import move
from gatebook.database.sqlite import SqliteDatabase, put_back
from gatebook.errors import ConfigurationError
from gatebook.jobs.restoring import restored
from gatebook.settings import load_settings
from gatebook.switches import PAUSE, Switches
from gatebook_servers.commands.context import Commands, opened, person
from gatebook_servers.commands.output import say


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
    with opened(settings) as runtime:
        checkpoints = anyio.run(partial(restored, runtime, person=person()))
    if checkpoints:
        say(f"the audit log is shorter than what was signed of it; its checkpoints are kept as {checkpoints}")
    say("restored: every effect is looked up at the desk before it is performed")
    return 0


def move_command(options: argparse.Namespace) -> int:
    """Copy the file's rows to the server, and stop whoever still works with the file."""
    del options
    settings = load_settings()
    if settings.database_url is None or not settings.database_path.exists():
        raise ConfigurationError(
            "there is no file to move, or no PostgreSQL to move it to.", next_step="Set GATEBOOK_DATABASE_URL."
        )
    with closing(SqliteDatabase(settings.database_path)) as file, opened(settings) as runtime:
        copied = move(file, runtime.database)
        with file.transaction() as tx:
            Switches(tx).set(PAUSE, reason="moved to PostgreSQL", person=person())
    say(f"{sum(copied.values())} rows moved; the file stays as it was, paused")
    return 0
