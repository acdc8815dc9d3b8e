"""Which Zendesk account is open, and with what credentials."""

import base64
from datetime import date
from urllib.parse import urlsplit

from gatebook.errors import ConfigurationError
from gatebook.http import Credentials, FixedCredentials
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.desk import ZendeskDesk

TOKENS_END = date(2027, 4, 30)
"""When Zendesk's API tokens end (https://developer.zendesk.com/documentation/api-basics/authentication/oauth-migration/)."""


def open_zendesk(runtime: Runtime) -> ZendeskDesk:
    """Open the configured account.

    Raises:
        ConfigurationError: If the address or the credentials are missing.
    """
    settings = runtime.settings
    _require_address(settings)
    api = ZendeskApi(settings.zendesk_url, credentials=_credentials(settings))
    account = f"zendesk/{(urlsplit(settings.zendesk_url).hostname or '').removesuffix('.zendesk.com')}"
    return ZendeskDesk(runtime, api, account=account, incremental=settings.zendesk_incremental)


def advice(settings: Settings, today: date) -> tuple[bool, str]:
    """Return whether the settings will do on a day, and what to know of the credentials."""
    try:
        _require_address(settings)
        _credentials(settings)
    except ConfigurationError as error:
        return False, f"{error.message} {error.next_step}"
    if settings.zendesk_oauth_client_id:
        return True, "OAuth"
    if today > TOKENS_END:
        return False, "Zendesk's API tokens ended on 30 April 2027: use OAuth"
    return True, "an API token, which ends on 30 April 2027 and 30 days after its last use: move to OAuth before"


def _require_address(settings: Settings) -> None:
    if not settings.zendesk_url:
        raise ConfigurationError(
            "the desk is zendesk and GATEBOOK_ZENDESK_URL is missing.", next_step="Set it to https://NAME.zendesk.com."
        )


def _credentials(settings: Settings) -> Credentials:
    if settings.zendesk_oauth_client_id and settings.zendesk_oauth_client_secret:
        # OAuth credentials (client_credentials) are plugged in here, and nowhere else.
        raise ConfigurationError(
            "OAuth for Zendesk is not part of this version.", next_step="Set an API token and no OAuth client."
        )
    if settings.zendesk_email and settings.zendesk_api_token:
        return api_token(settings.zendesk_email, settings.zendesk_api_token.get_secret_value())
    raise ConfigurationError(
        "the credentials for Zendesk are missing.",
        next_step="Set GATEBOOK_ZENDESK_OAUTH_CLIENT_ID and GATEBOOK_ZENDESK_OAUTH_CLIENT_SECRET, "
        "or GATEBOOK_ZENDESK_EMAIL and GATEBOOK_ZENDESK_API_TOKEN.",
    )


def api_token(address: str, token: str) -> FixedCredentials:
    """Return the credentials of an API token.

    https://developer.zendesk.com/api-reference/introduction/security-and-auth/#api-token
    """
    pair = base64.b64encode(f"{address}/token:{token}".encode()).decode()
    return FixedCredentials({"Authorization": f"Basic {pair}"})
