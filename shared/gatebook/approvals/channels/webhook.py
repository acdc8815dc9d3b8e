"""Signed webhooks as Standard Webhooks 1.0 describes them (https://www.standardwebhooks.com).

The receiver checks `webhook-signature`, refuses an old `webhook-timestamp`, and recognises a repetition by
`webhook-id`: a delivery whose answer was lost is repeated with the same one.
"""

import base64
import binascii
import hashlib
import hmac
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretBytes

from gatebook.approvals.channels.events import Notification
from gatebook.errors import ConfigurationError, UpstreamUnavailableError
from gatebook.http import HttpClient
from gatebook.retry import AmbiguousError, Operation

SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, not one
SECRET_BYTES = range(24, 65)
"""How long the key may be, by the specification."""


class Webhook:
    """A receiver.

    Args:
        url: Its address.
        secret: The key that both sides know.
    """

    def __init__(self, url: str, secret: SecretBytes) -> None:
        self._url = url
        self._secret = secret

    async def deliver(self, message: str, event: Notification, *, now: float) -> None:
        """Send an event.

        Args:
            message: Identifies the event, the same at every attempt.
            event: What to tell.
            now: The time, seconds since the epoch.

        Raises:
            GatebookError: If the receiver did not accept it.
        """
        body = event.model_dump_json().encode()
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": sign(self._secret, message, int(now), body),
        }
        parts = urlsplit(self._url)
        client = HttpClient(f"{parts.scheme}://{parts.netloc}")
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        try:
            await client.post(path, body, headers=headers, operation=Operation.FENCED)
        except AmbiguousError:
            raise UpstreamUnavailableError("the receiver did not answer.", next_step="Look after it.") from None
        finally:
            await client.aclose()


def sign(secret: SecretBytes, message: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message, of the specification's version 1: HMAC-SHA256 over id, time and body."""
    signed = f"{message}.{timestamp}.".encode() + body
    mac = hmac.new(secret.get_secret_value(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


def read_secret(file: Path) -> SecretBytes:
    """Read the key from its file: `whsec_` and 24 to 64 bytes in base64.

    Raises:
        ConfigurationError: If the file cannot be read or holds something else; says nothing of what it holds.
    """
    try:
        encoded = file.read_text(encoding="ascii").strip()
        secret = base64.b64decode(encoded.removeprefix(SECRET_PREFIX), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error):
        secret = b""
    if len(secret) not in SECRET_BYTES:
        raise ConfigurationError(
            "the webhook's secret cannot be read.",
            next_step=f"Write {SECRET_PREFIX} and 24 to 64 random bytes in base64 into GATEBOOK_NOTIFY_SECRET_FILE.",
        )
    return SecretBytes(secret)
