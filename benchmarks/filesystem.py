"""A figure about durable writes means nothing on a file system in memory."""

import sys
from pathlib import Path

from gatebook.database.filesystem import IN_MEMORY, kind_of


def require_disk(directory: Path) -> str:
    """Return the file system's name, or end the program where nothing is written to a disk."""
    kind = kind_of(directory)
    if kind in IN_MEMORY:
        sys.exit(f"{directory} is on {kind}: a commit there waits for no disk. Choose another with --directory.")
    return kind
