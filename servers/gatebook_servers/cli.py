"""The `gatebook` command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import cast

from gatebook.errors import GatebookError
from gatebook_servers.commands import serving
from gatebook_servers.commands.context import Commands
from gatebook_servers.commands.output import complain

INTERRUPTED = 130
REFUSED = 1
"""Exit code of a command that could not be done; argparse uses 2 for its own complaints."""


_NEXT = {
    "no run has this id.": "Look at `gatebook runs list`.",
    "no approval has this id.": "Look at `gatebook approvals list --state all`.",
    "no note has this key.": "Check the key; `gatebook memory put` writes a note.",
}
"""What a person does next at this command line, where a refusal names the tools that an agent has."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser(given[0] if given else "").parse_args(given)
    run = cast("Callable[[argparse.Namespace], int]", options.run)
    try:
        return run(options)
    except GatebookError as error:
        complain(f"{error.code}: {error.message} {_NEXT.get(error.message, error.next_step)}")
        return REFUSED
    except BrokenPipeError:
        return REFUSED
    except KeyboardInterrupt:
        complain("interrupted; nothing is lost, the same command goes on where it can")
        return INTERRUPTED


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of every command, or of no more than `command` needs."""
    root = argparse.ArgumentParser(prog="gatebook", description="MCP servers that make any agent fit for production.")
    root.add_argument("--version", action="version", version=version("gatebook"))
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for add in _parts(command):
        add(commands)
    return root


def _parts(command: str) -> Sequence[Callable[[Commands], None]]:
    if command in serving.COMMANDS:
        # A host starts servers often and waits for them: the other commands would cost them a third of the start.
        return (serving.add,)
    from gatebook_servers.commands import (  # noqa: PLC0415
        connecting,
        console,
        data,
        deciding,
        hosts,
        judging,
        keeping,
        ledger,
        night,
    )

    return (
        night.add,
        serving.add,
        console.add,
        deciding.add,
        ledger.add,
        data.add,
        connecting.add,
        keeping.add,
        judging.add,
        hosts.add,
    )


if __name__ == "__main__":
    sys.exit(main())
