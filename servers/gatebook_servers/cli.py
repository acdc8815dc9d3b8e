"""The `gatebook` command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import cast

from gatebook.errors import GatebookError
from gatebook_servers.commands import data, deciding, hosts, judging, night, serving
from gatebook_servers.commands.output import complain

REFUSED = 1
"""Exit code of a command that could not be done; argparse uses 2 for its own complaints."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    run = cast("Callable[[argparse.Namespace], int]", options.run)
    try:
        return run(options)
    except GatebookError as error:
        complain(f"{error.code}: {error.message} {error.next_step}")
        return REFUSED
    except BrokenPipeError:
        return REFUSED


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    root = argparse.ArgumentParser(prog="gatebook", description="MCP servers that make any agent fit for production.")
    root.add_argument("--version", action="version", version=version("gatebook"))
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for part in (night, serving, deciding, data, judging, hosts):
        part.add(commands)
    return root


if __name__ == "__main__":
    sys.exit(main())
