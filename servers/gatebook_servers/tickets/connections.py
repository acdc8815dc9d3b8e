"""Which desks get their tokens by OAuth, and where from. To add one: a function, and a row in `CONNECTIONS`."""

from collections.abc import Callable
from urllib.parse import urlsplit

from pydantic import SecretStr

from gatebook.errors import ConfigurationError
from gatebook.grants import Grant, GrantType
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook.tokens import RenewingCredentials

ATLASSIAN = "https://auth.atlassian.com/oauth/token"
JIRA_SCOPES = "read:jira-work write:jira-work read:jira-user read:servicedesk-request write:servicedesk-request"
ZENDESK_SCOPES = "read tickets:write"
ZENDESK_LIFE_S = 3_600
"""How long Zendesk's access tokens are asked to be good, seconds; it takes 300 to 172,800."""


def zendesk_account(settings: Settings) -> str:
    """Return the name of the Zendesk account, which is part of every effect's identity."""
    return _account("zendesk", settings.zendesk_url, cloud=".zendesk.com")


def jira_account(settings: Settings) -> str:
    """Return the name of the Jira site, whichever way it is reached; part of every effect's identity."""
    return _account("jira", settings.jira_url, cloud=".atlassian.net")


def zendesk_grant(settings: Settings) -> Grant:
    """Return what Zendesk is asked for.

    https://developer.zendesk.com/api-reference/ticketing/oauth/grant_type_tokens/

    Raises:
        ConfigurationError: If the settings do not name the account and the client.
    """
    _require("ZENDESK", settings.zendesk_url, settings.zendesk_oauth_client_id, settings.zendesk_oauth_client_secret)
    kind = GrantType(settings.zendesk_oauth_grant)
    by_person = "Authorise the client anew and run `gatebook desk connect zendesk`."
    by_client = "Check GATEBOOK_ZENDESK_OAUTH_CLIENT_ID, GATEBOOK_ZENDESK_OAUTH_CLIENT_SECRET and the client's scopes."
    return Grant(
        account=zendesk_account(settings),
        token_url=f"{settings.zendesk_url.rstrip('/')}/oauth/tokens",
        kind=kind,
        client_id=settings.zendesk_oauth_client_id,
        client_secret=settings.zendesk_oauth_client_secret,
        scope=settings.zendesk_oauth_scope if kind is GrantType.CLIENT_CREDENTIALS else "",
        life_s=ZENDESK_LIFE_S,
        needed=ZENDESK_SCOPES,
        mend=by_person if kind is GrantType.REFRESH_TOKEN else by_client,
    )


def jira_grant(settings: Settings) -> Grant:
    """Return what Atlassian is asked for on behalf of the person who authorised the client.

    https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/

    Raises:
        ConfigurationError: If the settings do not name the site and the client.
    """
    _require("JIRA", settings.jira_url, settings.jira_oauth_client_id, settings.jira_oauth_client_secret)
    return Grant(
        account=jira_account(settings),
        token_url=ATLASSIAN,
        kind=GrantType.REFRESH_TOKEN,
        client_id=settings.jira_oauth_client_id,
        client_secret=settings.jira_oauth_client_secret,
        needed=JIRA_SCOPES,
        mend="Authorise the client anew, with the scope offline_access, and run `gatebook desk connect jira`.",
    )


CONNECTIONS: dict[str, Callable[[Settings], Grant]] = {"jira": jira_grant, "zendesk": zendesk_grant}


def oauth_credentials(runtime: Runtime, desk: str) -> RenewingCredentials:
    """Return the credentials of a desk that gets its tokens by OAuth.

    Raises:
        ConfigurationError: If the settings do not name the account and the client.
    """
    return RenewingCredentials(runtime, CONNECTIONS[desk](runtime.settings))


def _require(desk: str, url: str, client_id: str, secret: SecretStr | None) -> None:
    given = {"URL": url, "OAUTH_CLIENT_ID": client_id, "OAUTH_CLIENT_SECRET": secret}
    missing = [f"GATEBOOK_{desk}_{name}" for name, value in given.items() if not value]
    if missing:
        raise ConfigurationError(f"missing: {', '.join(missing)}.", next_step="Set what docs/desks.md names.")


def _account(desk: str, url: str, *, cloud: str) -> str:
    return f"{desk}/{(urlsplit(url).hostname or '').removesuffix(cloud)}"
