"""The authorisation server as a test steers it, and the grants that it knows."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import cast

from pydantic import SecretStr

from fakes.services import Json, RunningService, running
from gatebook.grants import Grant, GrantType

CLIENT, SECRET = "gatebook", "canary-client-secret"
FIRST_REFRESH = "canary-refresh-0"
MEND = "Run `gatebook desk connect fake`."


@dataclass(frozen=True)
class OAuthService(RunningService):
    """The running server."""

    def grant(self, kind: GrantType = GrantType.REFRESH_TOKEN, **fields: object) -> Grant:
        """Return a grant that the server gives."""
        return replace(grant_of(self.url), kind=kind, **fields)  # pyright: ignore[reportArgumentType] - a test's own

    def configure(self, **fields: Json | str | float | bool) -> None:
        """Change what the server does from now on; see `oauth_server.py`."""
        self.control("configure", cast("Json", fields))

    def expire(self) -> None:
        """Take back every access token."""
        self.control("expire")

    def granted(self) -> int:
        """Return how many tokens were given."""
        return cast("int", self.state()["granted"])

    def asked(self) -> int:
        """Return how often a token was asked for, whatever came of it."""
        return self.requests("POST /oauth")

    def uses(self) -> dict[str, int]:
        """Return how often each refresh token was presented; more than once is a refresh too many."""
        return cast("dict[str, int]", self.state()["used"])


def grant_of(url: str) -> Grant:
    """Return what a client of the server at `url` asks for, for a person who authorised it."""
    return Grant(
        account="fake/one",
        token_url=f"{url}/oauth/tokens",
        kind=GrantType.REFRESH_TOKEN,
        client_id=CLIENT,
        client_secret=SecretStr(SECRET),
        mend=MEND,
    )


def running_oauth() -> AbstractContextManager[OAuthService]:
    """Run the server in a process of its own."""
    return running(OAuthService, "oauth_server.py")
