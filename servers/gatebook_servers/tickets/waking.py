"""Webhooks that say that something is new: nothing of them is read but their signature.

What is new is asked of the desk itself, so a delivery that was lost, late or made up costs a look and no more.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import anyio

from gatebook.database.port import Transaction
from gatebook.errors import ConfigurationError
from gatebook.runtime import Runtime

FRESH_S = 300.0
"""By how much the time of a delivery may differ from ours, seconds."""
FEWEST_BYTES = 16
"""Shortest secret."""
ZENDESK = "zendesk"
_SIGNATURE, _STAMP = "x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp"


class Wakes:
    """The desk_wakes and desk_deliveries tables, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def tell(self, source: str, signature: str) -> bool:
        """Record a delivery and wake whoever waits; False when it was heard before."""
        # What is no longer fresh is refused for that.
        self._tx.execute("DELETE FROM desk_deliveries WHERE heard_at < :then", then=self._tx.now - 2 * FRESH_S)
        heard = self._tx.execute(
            """INSERT INTO desk_deliveries (signature, heard_at) VALUES (:signature, :now)
               ON CONFLICT (signature) DO NOTHING""",
            signature=signature,
            now=self._tx.now,
        )
        if heard:
            self._tx.execute(
                """INSERT INTO desk_wakes (source, told, taken) VALUES (:source, 1, 0)
                   ON CONFLICT (source) DO UPDATE SET told = desk_wakes.told + 1""",
                source=source,
            )
        return heard > 0

    def take(self) -> bool:
        """Take whatever was told since the last time; whether there was anything."""
        return self._tx.execute("UPDATE desk_wakes SET taken = told WHERE taken < told") > 0


class ZendeskWebhook:
    """Takes deliveries of Zendesk (https://developer.zendesk.com/documentation/webhooks/verifying/).

    Args:
        runtime: The process's ports.
        secret: The webhook's signing secret.
    """

    def __init__(self, runtime: Runtime, secret: bytes) -> None:
        self._runtime = runtime
        self._secret = secret

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> bool:
        stamp, given = headers.get(_STAMP, ""), headers.get(_SIGNATURE, "")
        digest = hmac.digest(self._secret, stamp.encode("latin-1", "replace") + body, hashlib.sha256)
        due = base64.b64encode(digest)
        if not hmac.compare_digest(due, given.encode("latin-1", "replace")) or not self._is_fresh(stamp):
            return False
        signature = due.decode()
        return await self._runtime.transact(lambda tx: Wakes(tx).tell(ZENDESK, signature))

    def _is_fresh(self, stamp: str) -> bool:
        try:
            at = datetime.fromisoformat(stamp)
        except ValueError:
            return False
        return at.tzinfo is not None and abs(self._runtime.clock.now() - at.timestamp()) <= FRESH_S


def read_secret(file: Path) -> bytes:
    """Return the signing secret that stands in a file.

    Raises:
        ConfigurationError: If it cannot be read, or is too short to be one.
    """
    try:
        secret = file.read_bytes().strip()
    except OSError:
        secret = b""
    if len(secret) < FEWEST_BYTES:
        raise ConfigurationError(
            "GATEBOOK_ZENDESK_WEBHOOK_SECRET_FILE names no file with a secret.",
            next_step="Put the webhook's signing secret alone into it.",
        )
    return secret


async def woken(runtime: Runtime, *, within_s: float) -> bool:
    """Wait until a webhook told of something that nobody has waited for yet; False when the time is over."""
    async with runtime.changes.followed():
        with anyio.move_on_after(within_s) as waiting:
            while True:
                mark = runtime.changes.mark
                if await runtime.transact(lambda tx: Wakes(tx).take()):
                    return True
                await runtime.changes.after(mark, within_s=waiting.deadline - anyio.current_time())
    return False
