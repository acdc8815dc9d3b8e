"""What a host asks by itself over HTTP, and what another company's server tells, outside MCP."""

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue


class Hook(Protocol):
    """Answers one question of a host."""

    async def __call__(self, body: bytes, *, principal: str) -> dict[str, JsonValue]:
        """Return the answer to a request's body. One that is too long comes cut, so it is no JSON any more."""
        ...


class Webhook(Protocol):
    """Takes what another company's server tells. It has no token of ours; its signature says whose it is."""

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Take a delivery, with its headers by name in small letters; False when it is not to be believed.

        Raises:
            GatebookError: If it cannot be taken just now.
        """
        ...


NO_WEBHOOKS: Mapping[str, Webhook] = {}
NO_HOOKS: Mapping[str, Hook] = {}
