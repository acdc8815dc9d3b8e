"""Where the site is and who asks, from the settings."""

from gatebook.errors import ConfigurationError
from gatebook.http import Credentials, FixedCredentials
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook_servers.tickets.connections import jira_account, oauth_credentials
from gatebook_servers.tickets.desks.jira.site import PROJECT

_CLOUD = "https://api.atlassian.com/ex/jira"


def account_of(settings: Settings) -> str:
    """Return the name of the site, which is part of every effect's identity, whichever way it is reached.

    Raises:
        ConfigurationError: If the settings name no site.
    """
    if not settings.jira_url:
        raise ConfigurationError(
            "GATEBOOK_JIRA_URL is missing.", next_step="Set it to the site, such as https://acme.atlassian.net."
        )
    return jira_account(settings)


def address_of(settings: Settings) -> str:
    """Return the API's address: the site itself, or Atlassian's gateway, which scoped tokens and OAuth need."""
    return f"{_CLOUD}/{settings.jira_cloud_id}" if settings.jira_cloud_id else settings.jira_url.rstrip("/")


def credentials_of(runtime: Runtime) -> Credentials:
    """Return who asks.

    Raises:
        ConfigurationError: If the settings do not say.
    """
    settings = runtime.settings
    if settings.jira_oauth_client_id:
        if not settings.jira_cloud_id:
            raise ConfigurationError(
                "GATEBOOK_JIRA_CLOUD_ID is missing.",
                next_step="Set it to the site's id; OAuth reaches Jira through api.atlassian.com only.",
            )
        return oauth_credentials(runtime, "jira")
    if not settings.jira_email or settings.jira_api_token is None:
        raise ConfigurationError(
            "GATEBOOK_JIRA_EMAIL or GATEBOOK_JIRA_API_TOKEN is missing.",
            next_step="Make a token at https://id.atlassian.com/manage-profile/security/api-tokens.",
        )
    return FixedCredentials.basic(settings.jira_email, settings.jira_api_token.get_secret_value())


def projects_of(settings: Settings) -> tuple[str, ...]:
    """Return the keys of the projects that the desk has; none means all that the account sees.

    Raises:
        ConfigurationError: If one is no key.
    """
    keys = tuple(key for key in settings.jira_projects.replace(",", " ").split() if key)
    if not all(PROJECT.fullmatch(key) for key in keys):
        raise ConfigurationError(
            "GATEBOOK_JIRA_PROJECTS names no project.", next_step="Give keys with commas between, such as SUP,OPS."
        )
    return keys
