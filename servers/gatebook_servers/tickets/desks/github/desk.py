"""The desk over GitHub's issues.

Everything is public here, so internal notes are refused. GitHub has neither idempotency keys nor conditional writes:
nothing is fenced, and a version is compared by a read just before the write, alone on the issue among Gatebook's own.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from pydantic import JsonValue

from gatebook.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    RateLimitedError,
    UnsupportedError,
)
from gatebook.retry import AmbiguousError
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import (
    Applied,
    Capabilities,
    Comment,
    NewTicket,
    Patch,
    Slice,
    Ticket,
    Visibility,
    Window,
    newest_from_customer,
)
from gatebook_servers.tickets.desks.github import listing, looking
from gatebook_servers.tickets.desks.github.changing import change_of, holds, labels_for, require_expressible
from gatebook_servers.tickets.desks.github.client import GitHubClient
from gatebook_servers.tickets.desks.github.lists import IssueList, SearchList, search_terms
from gatebook_servers.tickets.desks.github.marking import marked, marker_in
from gatebook_servers.tickets.desks.github.pace import Pace
from gatebook_servers.tickets.desks.github.reading import (
    ALL_SAID,
    ISSUE,
    PREFIX,
    SAID,
    Issue,
    Said,
    comment_of,
    is_own,
    not_there,
    number_of,
    parsed,
    status_of,
    ticket_of,
    version_of,
)
from gatebook_servers.tickets.desks.writing import DeskWrites, Request, Write

logger = logging.getLogger(__name__)
