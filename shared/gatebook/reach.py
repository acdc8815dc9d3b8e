"""How far a tool reaches. Ordered: an operator's ceiling is one of these."""

from enum import IntEnum


class Reach(IntEnum):
    """The four reaches, from harmless to final."""

    READ = 1
    """Changes nothing."""
    STAGE = 2
    """Changes only Gatebook's own store: drafts, notes, labels."""
    WRITE = 3
    """Changes the outside; can be undone."""
    SEND = 4
    """Changes the outside; cannot be undone."""
