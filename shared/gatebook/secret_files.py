"""Files with a secret, made when they are first needed, for their owner alone."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def create_once(path: Path, content: bytes) -> None:
    """Make a file with mode 0600, whole and on the disk or not at all; one that is there stays as it is.

    Of processes that do so at the same time the first wins, and all find the same content afterwards.

    Raises:
        OSError: If it can be neither found nor made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link appears with its content and never replaces a file.
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()
