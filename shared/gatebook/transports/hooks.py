"""What a host asks by itself over HTTP, outside MCP."""

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue


class Hook(Protocol):
    """Answers one question of a host."""

    async def __call__(self, body: bytes, *, principal: str) -> dict[str, JsonValue]:
        """Return the answer to a request's body. One that is too long comes cut, so it is no JSON any more."""
        ...


NO_HOOKS: Mapping[str, Hook] = {}
