"""Signed checkpoints of the audit log (C2SP tlog-checkpoint: a signed note with the log's origin, size and root).

They stand in a file apart from the database. Whoever changes the database without the key cannot make them fit.
"""

import base64
import binascii
import hashlib
import os
import re
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gatebook.errors import ConfigurationError
from gatebook.intents import Value
from gatebook.secret_files import KEY_BYTES, read_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\1"
_ID_BYTES = 4
_LINES = 5
"""Ends of lines in a note that was written to its end."""
_NOTE = re.compile(
    rb"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>[1-9][0-9]*)\n(?P<root>[A-Za-z0-9+/]{43}=)\n)\n"
    rb"\xe2\x80\x94 (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/]{91}=)\n\n?"
)
_MARK = b" (not written to its end)\n\n"
"""Stands behind what a crash left of a note. That stays: a file that only takes appends is healed too."""
_TORN = re.compile(rb".{1,400}?" + re.escape(_MARK), re.DOTALL)
_TAIL_BYTES = 2_000


class Checkpoint(Value):
    """How many events there were, and the root of the tree over their hashes."""

    size: int
    root: bytes


class Notes(Value):
    """What a file of checkpoints tells.

    `damaged` is the line where the first note begins that was changed, or signed with another key; what stands behind
    it is not believed. `torn` counts the notes that a crash kept from being written to their end: they prove nothing,
    and no more is missing than when they had not been begun.
    """

    checkpoints: tuple[Checkpoint, ...] = ()
    damaged: int | None = None
    torn: int = 0


class PublicKey:
    """Checks checkpoints.

    Args:
        raw: The 32 bytes of an Ed25519 public key.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.origin = f"gatebook/{hashlib.sha256(raw).hexdigest()[:16]}"
        """The log's name, which is the key's."""

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """Read what `gatebook approvals audit key` prints.

        Raises:
            ConfigurationError: If it is no key.
        """
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != KEY_BYTES:
            raise ConfigurationError(
                "the public key is not 64 hexadecimal digits.", next_step="Take what `approvals audit key` printed."
            )
        return cls(raw)

    @property
    def key_id(self) -> bytes:
        """The four bytes before a signature (C2SP signed-note)."""
        return hashlib.sha256(self.origin.encode() + b"\n" + _ED25519 + self.raw).digest()[:_ID_BYTES]

    @property
    def verifier(self) -> str:
        """The key as other programs for signed notes read it."""
        return f"{self.origin}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.raw).decode()}"

    def read(self, notes: bytes) -> Notes:
        """Return a file's checkpoints up to the first note that is damaged or not signed with this key."""
        found: list[Checkpoint] = []
        at, torn = 0, 0
        while at < len(notes):
            note = _NOTE.match(notes, at)
            if note is not None and self._signed(note):
                found.append(Checkpoint(size=int(note["size"]), root=base64.b64decode(note["root"])))
                at = note.end()
            elif note is None and (end := self._torn(notes, at)):
                at, torn = end, torn + 1
            else:
                return Notes(checkpoints=tuple(found), damaged=notes.count(b"\n", 0, at) + 1, torn=torn)
        return Notes(checkpoints=tuple(found), torn=torn)

    def read_file(self, file: Path) -> Notes:
        """Return the checkpoints of a file; none where there is no file.

        Raises:
            ConfigurationError: If it cannot be read.
        """
        try:
            return self.read(file.read_bytes())
        except FileNotFoundError:
            return Notes()
        except OSError as error:
            raise ConfigurationError("the checkpoints cannot be read.", next_step="Name another file.") from error

    def _torn(self, notes: bytes, at: int) -> int:
        """Return where a note ends that is not whole; 0 where it is something else.

        It lacks lines, and a note that was changed has them. It is the file's last one, or the mark stands behind it.
        """
        marked = _TORN.match(notes, at)
        left = notes[at : marked.end() if marked else len(notes)]
        first = f"{self.origin}\n".encode()
        note = left.removesuffix(_MARK)
        begins = note.startswith(first) or first.startswith(note)
        return at + len(left) if begins and note.count(b"\n") < _LINES else 0

    def _signed(self, note: re.Match[bytes]) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as `AuditKey`
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

        signature = base64.b64decode(note["signature"])
        # One written form for one signature: base64 leaves the last bits of a text open.
        exact = base64.b64encode(signature) == note["signature"] and _exact(note["root"])
        origin = self.origin.encode()
        if not exact or note["origin"] != origin or note["name"] != origin:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature[_ID_BYTES:], note["text"])
        except InvalidSignature:
            return False
        return signature[:_ID_BYTES] == self.key_id


class AuditKey:
    """Signs checkpoints.

    Args:
        file: The 32 bytes of the private key, made with mode 0600 when it is first needed and not there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @cached_property
    def public(self) -> PublicKey:
        """The key that checks them.

        Raises:
            ConfigurationError: If the key's file cannot be read or made, or is no key.
        """
        return PublicKey(self._private.public_key().public_bytes_raw())

    def note(self, checkpoint: Checkpoint) -> str:
        """Return a signed checkpoint, with the empty line behind it that keeps it apart from the next one.

        Raises:
            ConfigurationError: As `public`.
        """
        root = base64.b64encode(checkpoint.root).decode()
        text = f"{self.public.origin}\n{checkpoint.size}\n{root}\n"
        signature = base64.b64encode(self.public.key_id + self._private.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.public.origin} {signature}\n\n"

    @cached_property
    def _private(self) -> "Ed25519PrivateKey":
        # Imported here: most starts of a server would wait for it and sign nothing for a while.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        key = read_key(
            self._file,
            of="the audit log",
            unreadable=f"Make {self._file.name} in GATEBOOK_HOME readable.",
            wrong=f"Put the right {self._file.name} back.",
        )
        return Ed25519PrivateKey.from_private_bytes(key)


def append(file: Path, note: str) -> None:
    """Write a checkpoint behind the others, on the disk when this returns. What a crash left of one is marked as such.

    Raises:
        ConfigurationError: If the file cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
        with os.fdopen(descriptor, "a+b") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - _TAIL_BYTES))
            mark = b"" if _ends_whole(opened.read()) else _MARK
            opened.write(mark + note.encode())
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        raise ConfigurationError(
            "the audit log's checkpoints cannot be written.", next_step="Check GATEBOOK_AUDIT_CHECKPOINT_FILE."
        ) from error


def set_aside(file: Path, notes: str) -> Path:
    """Put other checkpoints in the place of a file; where the old ones are kept.

    Raises:
        ConfigurationError: If it cannot be done.
    """
    aside = file.with_name(f"{file.name}.before-{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        file.rename(aside)
        if notes:
            append(file, notes)
    except OSError as error:
        raise ConfigurationError(
            "the audit log's old checkpoints cannot be set aside.",
            next_step="Move the file yourself, then run `gatebook restore` without a file.",
        ) from error
    return aside


def _ends_whole(tail: bytes) -> bool:
    return max((note.end() for note in _NOTE.finditer(tail)), default=0) == len(tail)


def _exact(text: bytes) -> bool:
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)) == text
    except binascii.Error:
        return False
