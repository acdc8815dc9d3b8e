"""What stands in front of every page: addresses, origins, headers, and the size of forms."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatebook.errors import ConfigurationError, ForbiddenError, InvalidArgumentsError, TooLargeError
from gatebook.transports.serving import is_loopback

MAX_FORM_BYTES = 2 * 1024 * 1024
"""Longest form: the longest content there is, in the wasteful coding of forms."""
MAX_FIELDS = 200

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the console listens, and under which address browsers may reach it.

    Args:
        host: Loopback, unless `public_url` says how others get here.
        port: 0 takes any free port.
        public_url: `https://console.example` where something in front speaks TLS; plain http on loopback names only.

    Raises:
        ConfigurationError: If passwords could travel unencrypted, or nobody said which name is ours.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    public_url: str = ""

    def __post_init__(self) -> None:
        if not self.public_url:
            if not is_loopback(self.host):
                raise ConfigurationError(
                    "the console listens beyond this machine only under a name that it knows.",
                    next_step="Add --public-url https://..., which is what browsers will show.",
                )
            return
        parts = urlsplit(self.public_url)
        encrypted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not (parts.hostname and encrypted) or parts.path not in ("", "/") or parts.query or parts.username:
            raise ConfigurationError(
                "the public URL is not https://NAME, nor http on a loopback name.",
                next_step="Put something that speaks TLS in front of the console and name its address.",
            )

    @property
    def encrypted(self) -> bool:
        """Whether browsers reach it by HTTPS."""
        return self.public_url.startswith("https:")

    @property
    def cookie(self) -> str:
        """The name of the session's cookie; the prefix binds it to exactly this host."""
        return "__Host-gatebook" if self.encrypted else "gatebook"

    def admits(self, host: str) -> bool:
        """Whether a request with this Host header is meant for us. Else a foreign name was bound to our address."""
        if self.public_url:
            return host.lower() == urlsplit(self.public_url).netloc.lower()
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        return (name or host).lower() in _LOOPBACK_NAMES and (not name or not port or port.isdigit())

    def origin(self, host: str) -> str:
        """Return the only origin whose forms we take, for a request with this Host header."""
        return f"{'https' if self.encrypted else 'http'}://{host.lower()}"


class Gatekeeper:
    """Refuses what does not come from one of our own pages, before anything else looks at it."""

    def __init__(self, app: ASGIApp, *, address: Address) -> None:
        self._app = app
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._address.admits(host):
            return PlainTextResponse("this is not the address of the console\n", 421)
        if method not in _SAFE_METHODS and not self._is_own(headers, self._address.origin(host)):
            return PlainTextResponse("this form does not come from a page of the console\n", 403)
        return None

    def _is_own(self, headers: Headers, own: str) -> bool:
        origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
        # Our own pages say no-referrer, and so browsers give `null` as their origin; where from they do tell.
        return (origin == own and site in ("", "same-origin")) or (origin == "null" and site == "same-origin")


@dataclass(frozen=True)
class Form:
    """The fields of a form."""

    fields: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def text(self, name: str) -> str:
        """Return a field's text as it was typed, empty where there is none; line ends are those of the system."""
        return self.fields.get(name, [""])[0].replace("\r\n", "\n")

    def texts(self, name: str) -> Sequence[str]:
        """Return every value of a field that may be there several times."""
        return self.fields.get(name, [])

    def require_token(self, expected: str) -> None:
        """Refuse a form that none of our pages made for this visitor.

        Raises:
            ForbiddenError: If its token is missing or another's.
        """
        given = self.text("form_token").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected.encode()):
            raise ForbiddenError("this form has expired.", next_step="Load the page again and repeat what you did.")


async def read_form(request: Request) -> Form:
    """Read a form of at most 2 MiB and 200 fields.

    Raises:
        TooLargeError: If it is larger.
        InvalidArgumentsError: If it is none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise InvalidArgumentsError("this is not a form.", next_step="Use the console's own pages.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLargeError("the form is too large.", next_step="Shorten its texts.")
    try:
        fields = parse_qs(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError as error:
        raise InvalidArgumentsError("this is not a form.", next_step="Use the console's own pages.") from error
    return Form(fields)
