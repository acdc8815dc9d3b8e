"""The bearer token of the HTTP transports: one secret in a file only its owner can read."""

import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from mcp.server.auth.provider import AccessToken, TokenVerifier

from gatebook.secret_files import create_once

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
        create_once(path, f"{secrets.token_urlsafe(32)}\n".encode())
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
