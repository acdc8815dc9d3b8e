"""Which desk is open. To add one: a file in `desks/` and a row in `DESKS`.

A desk is loaded when it is opened: a host that starts the server does not wait for the desks of others.
"""

from collections.abc import Callable
from typing import Annotated

from gatebook.errors import ConfigurationError
from gatebook.injection import Port
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import TicketDesk
from gatebook_servers.tickets.desks.dry_run import DryRunDesk
from gatebook_servers.tickets.desks.local import LocalDesk

# ruff: noqa: PLC0415 - each row loads its desk when it is opened


def _github(runtime: Runtime) -> TicketDesk:
    from gatebook_servers.tickets.desks.github.desk import GitHubDesk

    return GitHubDesk(runtime)


def _jira(runtime: Runtime) -> TicketDesk:
    from gatebook_servers.tickets.desks.jira.desk import JiraDesk

    return JiraDesk(runtime)


def _zendesk(runtime: Runtime) -> TicketDesk:
    from gatebook_servers.tickets.desks.zendesk.opening import open_zendesk

    return open_zendesk(runtime)


DESKS: dict[str, Callable[[Runtime], TicketDesk]] = {
    "github": _github,
    "jira": _jira,
    "local": LocalDesk,
    "zendesk": _zendesk,
}


def open_desk(runtime: Runtime) -> TicketDesk:
    """Open the configured desk; in a dry run nothing is ever written to it.

    Raises:
        ConfigurationError: If `GATEBOOK_DESK` names no desk.
    """
    desk = configured_desk(runtime)
    return desk if runtime.settings.mode == "live" else DryRunDesk(desk, runtime.clock)


def configured_desk(runtime: Runtime) -> TicketDesk:
    """Open the configured desk as it is, also in a dry run.

    Raises:
        ConfigurationError: If `GATEBOOK_DESK` names no desk.
    """
    opener = DESKS.get(runtime.settings.desk)
    if opener is None:
        raise ConfigurationError("GATEBOOK_DESK names no desk.", next_step=f"Use one of: {', '.join(sorted(DESKS))}.")
    return opener(runtime)


Desk = Annotated[TicketDesk, Port(open_desk)]
"""The configured desk. Never part of a tool's input schema."""


def target_of(desk: TicketDesk, ref: str) -> str:
    """Return what an effect on a ticket is about: the ticket, of this account."""
    prefix, _, _ = desk.account.partition("/")
    return ref if desk.account == prefix else f"{desk.account}#{ref}"
