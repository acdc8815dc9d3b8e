"""A desk that reads and never writes: what would have left is recorded with the effect, and nothing is sent."""

from collections.abc import Sequence

from gatebook.clock import Clock, moment
from gatebook_servers.tickets.desk import (
    Applied,
    Capabilities,
    Comment,
    NewTicket,
    Patch,
    Slice,
    Ticket,
    TicketDesk,
    Visibility,
    Window,
)


class DryRunDesk:
    """Reads through `desk`; every write succeeds without happening."""

    def __init__(self, desk: TicketDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    @property
    def account(self) -> str:
        return self._desk.account

    @property
    def capabilities(self) -> Capabilities:
        return self._desk.capabilities

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        return await self._desk.page(window, position=position, limit=limit)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        return await self._desk.search(text, position=position, limit=limit)

    async def get(self, ref: str) -> Ticket:
        return await self._desk.get(ref)

    async def comments(self, ref: str) -> Sequence[Comment]:
        return await self._desk.comments(ref)

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        return self._nothing(f"dry-run:{new.project}", marker)

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        del patch, base_version
        return self._nothing(ref, marker)

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        del body, visibility, head
        return self._nothing(ref, marker)

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        del ref, marker
        return None

    def _nothing(self, ref: str, marker: str) -> Applied:
        return Applied(ref=ref, operation_id=f"dry-run-{marker}", version="dry-run", at=moment(self._clock.now()))
