"""`gatebook tickets import` and `gatebook memory`."""

import argparse
from importlib import resources
from pathlib import Path

from gatebook.database.port import Transaction
from gatebook.runtime import Runtime
from gatebook_servers.commands.context import Commands, opened, person
from gatebook_servers.commands.files import text_from
from gatebook_servers.commands.output import complain, emit, say
from gatebook_servers.memory.store import Notes
from gatebook_servers.tickets.importing import import_tickets

BAD_ROWS = 1
"""Exit code of an import that skipped rows."""
TEMPLATES = "templates/support/"


def add(commands: Commands) -> None:
    """Declare the commands."""
    tickets = commands.add_parser("tickets", help="the embedded desk").add_subparsers(required=True, metavar="ACTION")
    importing = tickets.add_parser("import", help="read tickets from a JSONL or CSV file")
    importing.add_argument("file", type=Path)
    importing.add_argument("--strict", action="store_true", help="import nothing when any row is bad")
    importing.add_argument("--json", action="store_true")
    importing.set_defaults(run=import_command)
    memory = commands.add_parser("memory", help="notes").add_subparsers(required=True, metavar="ACTION")
    get = memory.add_parser("get", help="print a note")
    get.add_argument("key")
    get.set_defaults(run=get_command)
    put = memory.add_parser("put", help="write a note from a file; also under templates/ and policy/")
    put.add_argument("key")
    put.add_argument("file", type=Path)
    put.set_defaults(run=put_command)


def import_command(options: argparse.Namespace) -> int:
    """Import tickets and report every bad row with its line."""
    with opened() as runtime:
        report = import_tickets(runtime.database, options.file, zone=runtime.settings.zone, strict=options.strict)
    if options.json:
        emit(report.model_dump())
    else:
        say(
            f"{report.added} added, {report.changed} changed, {report.unchanged} unchanged, {len(report.bad)} bad; "
            f"{report.naive_times} times without a zone read as {runtime.settings.tz}"
        )
        for row in report.bad:
            complain(f"line {row.line}: {row.problem}")
    return BAD_ROWS if report.bad else 0


def get_command(options: argparse.Namespace) -> int:
    """Print a note."""
    with opened() as runtime, runtime.database.transaction() as tx:
        print(Notes(tx).get(options.key).value)
    return 0


def put_command(options: argparse.Namespace) -> int:
    """Write a note as a person."""
    text = text_from(options.file)
    with opened() as runtime, runtime.database.transaction() as tx:
        Notes(tx).put(options.key, text, tags=(), actor=person(), run_id="")
    say(f"{options.key} written")
    return 0


def seed_templates(runtime: Runtime) -> None:
    """Write the shipped reply templates where no person has put any."""

    def seed(tx: Transaction) -> None:
        notes = Notes(tx)
        if notes.select(prefix=TEMPLATES, limit=1):
            return
        for file in resources.files("gatebook_servers.demo").joinpath("templates").iterdir():
            key = TEMPLATES + file.name.removesuffix(".md")
            notes.put(key, file.read_text(encoding="utf-8"), tags=(), actor=person(), run_id="")

    with runtime.database.transaction() as tx:
        seed(tx)
