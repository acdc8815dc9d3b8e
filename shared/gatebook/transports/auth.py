"""The bearer token of the HTTP transports: one secret in a file only its owner can read."""

import hmac
import os
import re
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from mcp.server.auth.provider import AccessToken, TokenVerifier

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What can stand after `Bearer` (RFC 6750, section 2.1)."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TokenFileError(PermissionError):
    """The token file is open to others, or holds no token."""


def ensure_token(path: Path) -> str:
    """Return the bearer token in `path`; create the file, mode 0600, with a new token if there is none.

    Processes that start at the same time all get the same token.

    Raises:
        TokenFileError: Others can read or change the file, or it holds no token.
        OSError: The file can be neither read nor created.
    """
    try:
        return _read_token(path)
    except FileNotFoundError:
        _create_token(path)
        return _read_token(path)


def _read_token(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        # On Windows the mode says nothing; there the directory of the user protects the file.
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & _OTHERS:
            raise TokenFileError(
                f"{path} can be read by others; run `chmod 600` on it, or delete it to get a new token"
            )
        token = file.read().strip()
    if not _TOKEN.fullmatch(token):
        raise TokenFileError(f"{path} holds no bearer token; delete it to get a new one")
    return token


def _create_token(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        # A link appears with its content and never replaces a file: of two processes the first wins.
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()


class StaticTokenVerifier(TokenVerifier):
    """Accepts one token, compared in constant time, for one principal.

    Args:
        token: The secret; never empty.
        principal: Who its bearer is; the `client_id` that handlers see.

    Raises:
        ValueError: The token is empty.
    """

    def __init__(self, token: str, *, principal: str) -> None:
        if not token:
            raise ValueError("an empty bearer token would let everybody in")
        self._expected = token.encode()
        self._principal = principal

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._expected):
            return None
        # Handlers need to know who calls, not the secret.
        return AccessToken(token="", client_id=self._principal, scopes=[])
