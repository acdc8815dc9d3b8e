"""What an authorisation server is asked for a token, and what its answer means (OAuth 2.0, RFC 6749).

The request is JSON, as Zendesk (https://developer.zendesk.com/api-reference/ticketing/oauth/grant_type_tokens/) and
Atlassian (https://developer.atlassian.com/cloud/oauth/getting-started/refresh-tokens) take it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, StringConstraints, ValidationError

from gatebook.errors import GatebookError, UnauthenticatedError
from gatebook.http import Answer, HttpClient
from gatebook.retry import Operation, TransientError

UNSAID_LIFE_S = 3_600.0
"""How long an access token is taken to be good where the server does not say (RFC 6749, section 5.1)."""
INVALID_GRANT = "invalid_grant"
UNUSABLE = "unusable_answer"
_REFUSALS = {400, 401, 403}
_WORDS = {
    INVALID_GRANT: "the desk's authorisation ended: its refresh token was revoked, used up or too old",
    "invalid_client": "the authorisation server does not accept the client's id or secret",
    "unauthorized_client": "the client may not ask for tokens in this way",
    "unsupported_grant_type": "the authorisation server does not know this way to ask for tokens",
    "invalid_scope": "the client may not have these scopes",
    "access_denied": "the authorisation server does not accept the client's id or secret",
    UNUSABLE: "the authorisation server gave no usable token",
}
"""What is known of a refusal (RFC 6749, section 5.2; Atlassian has access_denied of its own). Nothing else is told."""
_OTHER = "the authorisation server refused to give a token"

Printable = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,8192}$")]
"""What can stand in a header."""


class GrantType(Enum):
    """How a token is asked for."""

    CLIENT_CREDENTIALS = "client_credentials"
    """The client itself, as often as it likes."""
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a word of the protocol
    """A person's authorisation. The server may give another refresh token and take the old one no more."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Which tokens an account of a desk gets, and from where.

    Args:
        account: Under which name they are kept, one for each account of a desk.
        token_url: Where they are asked for; https, or http on this machine.
        kind: How.
        client_id: The client.
        client_secret: Its secret; None for a public client.
        scope: What they are asked for, separated by spaces; empty leaves it to the server.
        life_s: How long the access token should be good, seconds; None leaves it to the server (Zendesk takes 300 to
            172,800, Atlassian none).
        needed: The scopes that the desk's work takes, separated by spaces; for who looks whether a token has them.
        mend: What the operator does when no token is to be had, one sentence.
    """

    account: str
    token_url: str
    kind: GrantType
    client_id: str
    client_secret: SecretStr | None = None
    scope: str = ""
    life_s: int | None = None
    needed: str = ""
    mend: str

    @property
    def client(self) -> str:
        """Which client of which server this is: the tokens of one are never shown to another."""
        own = self.scope if self.kind is GrantType.CLIENT_CREDENTIALS else ""
        named = [self.token_url, self.client_id, self.kind.value, own]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    @property
    def operation(self) -> Operation:
        """What asking twice may do.

        Another token for the client's own credentials takes nothing from anybody. A refresh uses the refresh token up,
        and when its reply is lost, so may be all that the desk had.
        """
        return Operation.READ if self.kind is GrantType.CLIENT_CREDENTIALS else Operation.EFFECT

    def body(self, refresh: str) -> dict[str, JsonValue]:
        """Return what is asked."""
        fields: dict[str, JsonValue] = {
            "grant_type": self.kind.value,
            "client_id": self.client_id,
            "client_secret": self.client_secret.get_secret_value() if self.client_secret else None,
            "refresh_token": refresh if self.kind is GrantType.REFRESH_TOKEN else None,
            "scope": self.scope or None,
            "expires_in": self.life_s,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Granted(BaseModel):
    """What the server gave. Without a refresh token the old one stays good (RFC 6749, section 6)."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    access_token: Printable = Field(repr=False)
    refresh_token: Printable | None = Field(default=None, repr=False)
    expires_in: float | None = Field(default=None, gt=0, le=10 * 365 * 86_400)
    scope: str = Field(default="", max_length=4_000)

    @property
    def life_s(self) -> float:
        """How long the access token is good, seconds."""
        return self.expires_in or UNSAID_LIFE_S


class RefusedGrantError(UnauthenticatedError):
    """The authorisation server gives no token, and would not if it were asked again.

    Args:
        why: Its code, one of those that are known, or empty.
        mend: What the operator does.
    """

    def __init__(self, why: str, *, mend: str) -> None:
        super().__init__(f"{_WORDS.get(why, _OTHER)}.", next_step=f"Tell the operator: {mend}")
        self.why = why if why in _WORDS else ""


class AuthorisationServer:
    """Gives tokens.

    Args:
        grant: Which ones.
        headers: Sent with every request.
    """

    def __init__(self, grant: Grant, *, headers: Mapping[str, str] | None = None) -> None:
        self._grant = grant
        self._http = HttpClient(grant.token_url, headers=headers, refusal=self._refusal)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, refresh: str) -> Granted:
        """Ask for a token.

        Raises:
            RefusedGrantError: If there is none to be had.
            RateLimitedError, UpstreamUnavailableError: If surely nothing was done, or nothing that matters.
            AmbiguousError: If a refresh token may have been used up.
        """
        grant = self._grant
        answer = await self._http.request("POST", grant.token_url, operation=grant.operation, body=grant.body(refresh))
        try:
            return Granted.model_validate(answer)
        except ValidationError:
            # The cause would quote the answer.
            raise RefusedGrantError(UNUSABLE, mend=grant.mend) from None

    def _refusal(self, answer: Answer) -> TransientError | GatebookError | None:
        if answer.status not in _REFUSALS:
            return None
        said = answer.body.get("error") if isinstance(answer.body, dict) else None
        return RefusedGrantError(said if isinstance(said, str) else "", mend=self._grant.mend)
