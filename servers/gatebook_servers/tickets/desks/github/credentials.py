"""Who asks GitHub: the holder of a fine-grained token, or an installation of a GitHub App.

An app signs a JSON Web Token with its key, and gets for it an installation token that lasts an hour
(https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app).
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import anyio
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, JsonValue, TypeAdapter

from gatebook.clock import Clock
from gatebook.errors import ConfigurationError, NotFoundError, UnauthenticatedError
from gatebook.http import FixedCredentials, HttpClient
from gatebook.retry import Operation
from gatebook.settings import Settings
from gatebook_servers.tickets.desks.github.reading import parsed

_JWT_S = 540
"""GitHub takes at most ten minutes."""
_SKEW_S = 60
_EARLY_S = 300
"""How long before its end an installation token is renewed, seconds."""


class _Token(BaseModel):
    token: str
    expires_at: datetime
    permissions: dict[str, str] = {}


class _App(BaseModel):
    slug: str


_TOKEN = TypeAdapter(_Token)
_APP = TypeAdapter(_App)


class AppCredentials:
    """Installation tokens, kept in memory, renewed by one call at a time.

    Args:
        http: GitHub, without credentials.
        app_id: The app's id or client id.
        installation_id: The installation's id.
        key: The app's private key.
        clock: For the ends of tokens.
    """

    def __init__(
        self, http: HttpClient, *, app_id: str, installation_id: int, key: RSAPrivateKey, clock: Clock
    ) -> None:
        self._http = http
        self._app_id = app_id
        self._installation_id = installation_id
        self._key = key
        self._clock = clock
        self._current: dict[str, str] = {}
        self._permissions: dict[str, str] = {}
        self._until = 0.0
        self._renewing = anyio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def headers(self) -> Mapping[str, str]:
        async with self._renewing:
            if self._clock.now() >= self._until - _EARLY_S:
                await self._obtain()
            return self._current

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        async with self._renewing:
            # Whoever waited finds what the one before it obtained.
            if self._current == refused:
                await self._obtain()
            return self._current

    async def permissions(self) -> Sequence[str]:
        """Return what the installation may do, as `issues:write`.

        Raises:
            GatebookError: If there is no token.
        """
        await self.headers()
        return [f"{name}:{level}" for name, level in self._permissions.items()]

    async def login(self) -> str:
        """Return the account as which the app writes.

        Raises:
            UnauthenticatedError: If GitHub does not know the app.
        """
        app = parsed(_APP, await self._as_app("GET", "/app"))
        return f"{app.slug}[bot]"

    async def _obtain(self) -> None:
        path = f"/app/installations/{self._installation_id}/access_tokens"
        answered = parsed(_TOKEN, await self._as_app("POST", path))
        self._current = {"authorization": f"Bearer {answered.token}"}
        self._until = answered.expires_at.timestamp()
        self._permissions = answered.permissions

    async def _as_app(self, method: str, path: str) -> JsonValue:
        headers = {"authorization": f"Bearer {self._signed()}"}
        try:
            # One token more does no harm: it ends by itself.
            return (await self._http.ask(method, path, operation=Operation.READ, headers=headers)).body
        except NotFoundError:
            raise UnauthenticatedError(
                "GitHub knows no such installation of the app.",
                next_step="Tell the operator to check GATEBOOK_GITHUB_INSTALLATION_ID.",
            ) from None

    def _signed(self) -> str:
        now = int(self._clock.now())
        claims = {"iat": now - _SKEW_S, "exp": now + _JWT_S, "iss": self._app_id}
        signing = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        return f"{signing}.{_encoded(self._key.sign(signing.encode(), PKCS1v15(), SHA256()))}"


def credentials_of(
    settings: Settings, open_client: Callable[[], HttpClient], clock: Clock
) -> FixedCredentials | AppCredentials:
    """Return the credentials that the settings name; `open_client` opens GitHub without any.

    Raises:
        ConfigurationError: If they name none, or a file holds none.
    """
    if settings.github_token_file is not None:
        token = _read(settings.github_token_file, "GATEBOOK_GITHUB_TOKEN_FILE").decode("ascii", "replace").strip()
        if not token.isprintable() or not token.isascii() or not token or " " in token:
            raise ConfigurationError(
                "the file of GATEBOOK_GITHUB_TOKEN_FILE holds no token.", next_step="Put the token alone in it."
            )
        return FixedCredentials({"authorization": f"Bearer {token}"})
    if not settings.github_app_id or settings.github_installation_id is None or settings.github_app_key_file is None:
        raise ConfigurationError(
            "the GitHub desk has no credentials.",
            next_step="Set GATEBOOK_GITHUB_TOKEN_FILE, or GATEBOOK_GITHUB_APP_ID, GATEBOOK_GITHUB_INSTALLATION_ID and "
            "GATEBOOK_GITHUB_APP_KEY_FILE.",
        )
    key = _key(settings.github_app_key_file)
    return AppCredentials(
        open_client(),
        app_id=settings.github_app_id,
        installation_id=settings.github_installation_id,
        key=key,
        clock=clock,
    )


def _key(file: Path) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(_read(file, "GATEBOOK_GITHUB_APP_KEY_FILE"), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(
            "the file of GATEBOOK_GITHUB_APP_KEY_FILE holds no RSA key.",
            next_step="Name the .pem file that GitHub gave for the app.",
        )
    return key


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the file of {setting} cannot be read.", next_step="Check its path and its permissions."
        ) from error


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
