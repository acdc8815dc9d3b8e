"""Every server of the suite. To add one: a folder with a `tools.py`, and a row here."""

from gatebook.toolset import Toolset
from gatebook.toolspec import ToolSpec
from gatebook_servers.approvals.tools import tools as approvals
from gatebook_servers.classifier.tools import tools as classifier
from gatebook_servers.memory.tools import tools as memory
from gatebook_servers.runs.tools import tools as runs
from gatebook_servers.tickets.tools import tools as tickets

SERVERS: dict[str, Toolset] = {toolset.name: toolset for toolset in (tickets, classifier, memory, approvals, runs)}


def catalogue() -> dict[str, ToolSpec]:
    """Return every tool of the suite by its global name."""
    return {name: spec for toolset in SERVERS.values() for name, spec in toolset.specs.items()}
