"""What most commands need: the settings, the open runtime, and who is at the keyboard."""

import argparse
import getpass
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

from gatebook.approvals.models import EVERY_ROLE, Reviewer
from gatebook.database.port import Transaction
from gatebook.guard import Guard
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings, load_settings
from gatebook.switches import PAUSE, Switches
from gatebook.toolset import merged
from gatebook.worker import Worker
from gatebook_servers.catalogue import SERVERS, catalogue


class Commands(Protocol):
    """Where a part declares its commands."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002 - argparse's own word
        """Declare a command."""
        ...


@contextmanager
def opened(settings: Settings | None = None) -> Generator[Runtime]:
    """Open the runtime for one command.

    Raises:
        ConfigurationError: If the settings or the database do not fit.
    """
    runtime = open_runtime(settings or load_settings())
    try:
        yield runtime
    finally:
        runtime.close()


def worker_of(runtime: Runtime, rooms: Sequence[str] | None = None) -> Worker:
    """Return a worker for the jobs of these rooms, of every room when none is named."""
    specs = catalogue() if rooms is None else merged([SERVERS[room] for room in rooms])
    return Worker(runtime, Guard(runtime, specs))


def pause_in(tx: Transaction) -> str:
    """Return by whom and why the suite is paused, and what ends that; empty while it is not."""
    who, why = Switches(tx).by(PAUSE), Switches(tx).reason(PAUSE)
    if who is None:
        return ""
    return f"paused by {who}{f' ({why})' if why else ''}: run `gatebook resume` to end that"


def reviewer() -> Reviewer:
    """Return who decides at this command line: its user, who can do whatever the machine's owner can."""
    return Reviewer(person=person(), roles=(EVERY_ROLE,))


def person() -> str:
    """Return who decides: the user of this session."""
    return f"person:{getpass.getuser()}"
