"""Files with a secret, made when they are first needed, for their owner alone."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from gatebook.errors import ConfigurationError

KEY_BYTES = 32


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


def read_key(path: Path, *, of: str, unreadable: str, wrong: str) -> bytes:
    """Return the 32 random bytes of a key's file, made when it is first needed and not there.

    Args:
        path: The file.
        of: Whose key it is, for people.
        unreadable: What to do when the file cannot be read or made.
        wrong: What to do when it holds no key.

    Raises:
        ConfigurationError: If it cannot be read or made, or is no key.
    """
    try:
        if not path.exists():
            create_once(path, os.urandom(KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the key of {of} cannot be read or made.", next_step=unreadable) from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"the key of {of} is no key.", next_step=wrong)
    return key
