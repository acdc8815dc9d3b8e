"""What the tools of the measured servers return."""

from pydantic import BaseModel


class Item(BaseModel):
    """An item."""

    item: str
    outcome: str


class Commits(BaseModel):
    """Transactions that wrote, since the server began: those that waited for the disk, and the others."""

    durable: int
    relaxed: int
