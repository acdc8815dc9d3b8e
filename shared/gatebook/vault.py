"""Encryption of what is recorded, with a key in a file that only its owner reads.

AES-256-GCM (NIST SP 800-38D) over compressed text. It keeps what customers wrote out of backups and copies of the
database; it does not keep it from who can read the key's file.
"""

import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gatebook.errors import ConfigurationError
from gatebook.secret_files import read_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_FASTEST = 1
_PLAIN, _COMPRESSED = b"\0", b"\1"
_WORTH_IT_BYTES = 1024
"""What is shorter is not compressed: setting zlib up takes longer than it saves."""


class Vault:
    """Seals and opens texts.

    Args:
        key_file: 32 random bytes, made with mode 0600 when it is first needed and not there.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    def seal(self, text: str, *, context: str) -> bytes:
        """Encrypt a text; it can be opened with the same `context` only.

        Raises:
            ConfigurationError: If the key's file cannot be read or made, or is no key.
        """
        nonce = os.urandom(_NONCE_BYTES)
        packed = _packed(text.encode("utf-8", "surrogatepass"))
        return nonce + self._cipher.encrypt(nonce, packed, context.encode())

    def open(self, sealed: bytes, *, context: str) -> str:
        """Decrypt what `seal` returned.

        Raises:
            ConfigurationError: If the key is another one, or the data were changed.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as `_cipher`

        try:
            packed = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except InvalidTag:
            raise ConfigurationError(
                "a recording cannot be opened: it was changed, or sealed with another key.",
                next_step=f"Put the key back with which it was recorded: {self._key_file.name}.",
            ) from None
        content = zlib.decompress(packed[1:]) if packed[:1] == _COMPRESSED else packed[1:]
        return content.decode("utf-8", "surrogatepass")

    @cached_property
    def _cipher(self) -> "AESGCM":
        # Imported here: most starts of a server would wait for it and record nothing for a while.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        return AESGCM(self._key())

    def _key(self) -> bytes:
        return read_key(
            self._key_file,
            of="the recordings",
            unreadable=f"Make {self._key_file.name} in GATEBOOK_HOME readable, or set GATEBOOK_RECORD_DAYS=0.",
            wrong=f"Put the right {self._key_file.name} back; without it old recordings stay closed.",
        )


def _packed(content: bytes) -> bytes:
    if len(content) < _WORTH_IT_BYTES:
        return _PLAIN + content
    return _COMPRESSED + zlib.compress(content, _FASTEST)
