"""Which Zendesk account is open, and with what credentials."""

from gatebook.errors import ConfigurationError
from gatebook.http import Credentials, FixedCredentials
from gatebook.runtime import Runtime
from gatebook_servers.tickets.connections import oauth_credentials, zendesk_account
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.desk import ZendeskDesk


def open_zendesk(runtime: Runtime) -> ZendeskDesk:
    """Open the configured account.

    Raises:
        ConfigurationError: If the address or the credentials are missing.
    """
    settings = runtime.settings
    if not settings.zendesk_url:
        raise ConfigurationError(
            "the desk is zendesk and GATEBOOK_ZENDESK_URL is missing.", next_step="Set it to https://NAME.zendesk.com."
        )
    api = ZendeskApi(settings.zendesk_url, credentials=_credentials(runtime))
    return ZendeskDesk(runtime, api, account=zendesk_account(settings), incremental=settings.zendesk_incremental)


def _credentials(runtime: Runtime) -> Credentials:
    settings = runtime.settings
    if settings.zendesk_oauth_client_id and settings.zendesk_oauth_client_secret:
        return oauth_credentials(runtime, "zendesk")
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
    return FixedCredentials.basic(f"{address}/token", token)
