"""Environment and `gatebook.toml`, read once into one frozen object."""

import json
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, computed_field
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gatebook.errors import ConfigurationError
from gatebook.reach import Reach
from gatebook.sensitive import SensitiveTerms

Mode = Literal["live", "dry-run"]
OAuthGrant = Literal["client_credentials", "refresh_token"]
PREFIX = "GATEBOOK_"
_OF_HOSTS = "GATEBOOK_TOKEN"
"""The one variable with our prefix that is no setting: what a host sends as the bearer token."""


def default_home() -> Path:
    """Return the directory for the database, keys and configuration: `GATEBOOK_HOME` or the platform's."""
    return Path(os.environ.get("GATEBOOK_HOME") or platformdirs.user_data_path("gatebook"))


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("not a time zone name of the IANA database") from error
    return name


def unknown_variables() -> list[str]:
    """Return the variables of the environment that look like settings and are none: most likely slips."""
    known = {_OF_HOSTS, *(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)}
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)


def _reach(value: object) -> object:
    if value is None or isinstance(value, Reach):
        return value
    if not (isinstance(value, str) and value.upper() in Reach.__members__):
        raise ValueError("not read, stage, write or send")
    return Reach[value.upper()]


def _decoded(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError("not JSON") from error


def _unless_empty(value: object) -> object:
    return value or None


def _matchable(terms: dict[str, list[str]]) -> dict[str, list[str]]:
    try:
        SensitiveTerms(terms)
    except ValueError as error:
        raise ValueError("a phrase has no letter or digit, or a category is empty") from error
    return terms


def _reachable_safely(url: str) -> str:
    parts = urlsplit(url)
    on_this_machine = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if url and not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and on_this_machine))):
        raise ValueError("neither an https address nor http on this machine")
    return url


_HOUR_S = 3600.0
_JiraStatus = Literal["new", "open", "pending", "hold", "solved", "closed"]
_JiraPriority = Literal["Low", "Medium", "High", "Critical"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """What the operator decides. `GATEBOOK_<NAME>` in the environment wins over `gatebook.toml`.

    The secrets here are the database's password and those of the desks; they are shown nowhere. The others come from
    the environment or from files that only their reader opens.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default_factory=default_home, description="Directory of the database, keys and configuration.")
    database_url: Annotated[SecretStr | None, BeforeValidator(_unless_empty)] = Field(
        default=None, description="PostgreSQL to use instead of a file in the home: [postgres](postgres.md)."
    )
    tz: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="UTC", description="Time zone of days, budgets and naive times."
    )
    mode: Mode = Field(default="live", description="`dry-run` records every outgoing request and sends nothing.")
    tenant: str = Field(default="default", description="Name under which effects and approvals are kept apart.")
    principal: str = Field(default="agent:local", pattern="^agent:", description="Who calls over stdio.")
    run_id: str = Field(default="", description="The operator's run; a differing `run_id` argument is refused.")
    desk: str = Field(default="local", description="The ticket desk.")
    zendesk_url: Annotated[str, AfterValidator(_reachable_safely)] = Field(
        default="", description="The Zendesk account, `https://NAME.zendesk.com`: [desks](desks.md)."
    )
    zendesk_oauth_client_id: str = Field(default="", description="Zendesk OAuth client.")
    zendesk_oauth_client_secret: Annotated[SecretStr | None, BeforeValidator(_unless_empty)] = Field(
        default=None, description="Secret of the Zendesk OAuth client."
    )
    zendesk_email: str = Field(default="", description="Whose Zendesk API token it is; such tokens end in April 2027.")
    zendesk_api_token: Annotated[SecretStr | None, BeforeValidator(_unless_empty)] = Field(
        default=None, description="Zendesk API token, where there is no OAuth client."
    )
    zendesk_incremental: bool = Field(
        default=False, description="Read changes by Zendesk's incremental export; needs an administrator."
    )
    zendesk_oauth_grant: OAuthGrant = Field(
        default="client_credentials",
        description="`refresh_token` where a person authorised the client: `gatebook desk connect zendesk`.",
    )
    zendesk_oauth_scope: str = Field(default="read write", description="Scopes of the Zendesk OAuth client.")
    zendesk_webhook_secret_file: Path | None = Field(
        default=None, description="Signing secret of Zendesk's webhook, which is off without: [desks](desks.md)."
    )
    jira_url: Annotated[str, AfterValidator(_reachable_safely)] = Field(
        default="", description="The Jira site, such as `https://acme.atlassian.net`: [desks](desks.md)."
    )
    jira_email: str = Field(default="", description="E-mail address of the Jira account.")
    jira_api_token: Annotated[SecretStr | None, BeforeValidator(_unless_empty)] = Field(
        default=None, description="API token of the Jira account."
    )
    jira_cloud_id: str = Field(
        default="",
        pattern="^[A-Za-z0-9-]{0,64}$",
        description="Id of the site, to reach it through `api.atlassian.com`; tokens with scopes need that.",
    )
    jira_oauth_client_id: str = Field(
        default="", description="OAuth client of Jira, which a person authorised: `gatebook desk connect jira`."
    )
    jira_oauth_client_secret: Annotated[SecretStr | None, BeforeValidator(_unless_empty)] = Field(
        default=None, description="Secret of the OAuth client of Jira."
    )
    jira_projects: str = Field(
        default="", description="Keys of the projects that the desk has, with commas; empty: all that the account sees."
    )
    jira_issue_type: str = Field(default="Task", min_length=1, description="Type of the issues that are created.")
    jira_service_management: bool = Field(
        default=True, description="Whether internal notes may be written, which projects of a service desk have."
    )
    jira_statuses: Annotated[dict[str, _JiraStatus], NoDecode, BeforeValidator(_decoded)] = Field(
        default_factory=dict[str, _JiraStatus],
        description="What statuses of the site mean, by name, where their category does not say.",
    )
    jira_priorities: Annotated[dict[_JiraPriority, str], NoDecode, BeforeValidator(_decoded)] = Field(
        default_factory=dict[_JiraPriority, str],
        description="The site's names of Critical, High, Medium and Low, where they differ.",
    )
    github_repository: str = Field(
        default="", pattern=r"^([\w.-]+/[\w.-]+)?$", description="GitHub desk: the repository, `owner/name`."
    )
    github_url: Annotated[str, AfterValidator(_reachable_safely)] = Field(
        default="https://api.github.com",
        min_length=1,
        description="GitHub desk: its API; of an Enterprise Server `https://HOST/api/v3`.",
    )
    github_token_file: Path | None = Field(
        default=None, description="GitHub desk: file with a fine-grained token: [desks](desks.md#github)."
    )
    github_app_id: str = Field(default="", description="GitHub desk: id of a GitHub App, in place of a token.")
    github_installation_id: int | None = Field(default=None, description="GitHub desk: the app's installation.")
    github_app_key_file: Path | None = Field(default=None, description="GitHub desk: the app's private key, PEM.")
    github_priority_prefix: str = Field(
        default="priority: ",
        max_length=40,
        description="GitHub desk: what the labels of priorities begin with; empty: there are none.",
    )
    ceiling: Annotated[Reach, BeforeValidator(_reach)] | None = Field(
        default=None, description="Highest reach of a tool: read, stage, write or send. Default: the desk's own."
    )
    require_run: bool = Field(default=False, description="Demand a run from stage upwards.")
    require_usage: bool = Field(
        default=False,
        description="Refuse new work of a run that took more than 20 steps since it reported its usage; "
        "where US dollars are limited, with its cost.",
    )
    policy_file: Path | None = Field(default=None, description="Approval policy; default `policy.toml` in the home.")
    sensitive_terms: Annotated[
        dict[str, list[str]], NoDecode, BeforeValidator(_decoded), AfterValidator(_matchable)
    ] = Field(default_factory=dict, description="Additional sensitive phrases by category; literal text.")
    max_steps_per_run: int = Field(default=2_000, ge=1, description="Operator's ceiling on a run's steps.")
    max_calls_per_day: int = Field(default=50_000, ge=1, description="Operator's ceiling on a principal's calls a day.")
    max_runs_per_day: int = Field(default=200, ge=1, description="Operator's ceiling on a principal's runs a day.")
    max_tokens_per_day: int | None = Field(default=None, ge=1, description="Daily token budget of a principal.")
    max_usd_per_day: float | None = Field(
        default=None, gt=0, description="Daily cost budget of a principal, US dollars."
    )
    decide_within_h: float = Field(default=72, gt=0, description="Hours a request waits for a decision.")
    use_within_h: float = Field(default=72, gt=0, description="Hours an approval may be used.")
    max_pending_per_principal: int = Field(
        default=500, ge=1, description="Most requests of one principal that wait for a person, and as many holds."
    )
    max_pending_per_tool: int = Field(
        default=500, ge=1, description="Most requests for one tool that wait for a person."
    )
    notify_url: Annotated[str, AfterValidator(_reachable_safely)] = Field(
        default="", description="Webhook that is told of requests; https, or http on this machine. Empty: none."
    )
    notify_secret_file: Path | None = Field(
        default=None, description="The webhook's secret, `whsec_` and base64; default `notify-secret` in the home."
    )
    lease_s: Seconds = Field(default=60, description="Seconds a claimed effect belongs to its owner.")
    settle_s: float = Field(default=30, ge=0, description="Seconds after a lease in which a late request may land.")
    call_s: Seconds = Field(default=20, description="Seconds one tool call may take in all.")
    record_days: float = Field(
        default=30, ge=0, description="Days that arguments and results of a run's calls are kept, encrypted; 0: none."
    )
    record_key_file: Path | None = Field(
        default=None, description="Key of the recordings; default `recordings.key` in the home, made when needed."
    )
    audit_checkpoint_file: Path | None = Field(
        default=None,
        description="Signed checkpoints of the audit log; default `audit-checkpoints` in the home.",
    )
    host: str = Field(default="127.0.0.1", description="Address of HTTP and SSE; loopback only.")
    port: int = Field(default=8420, ge=0, le=65_535, description="Port of HTTP and SSE; 0 takes a free one.")
    claude_prompt_wait_s: float = Field(
        default=50,
        ge=0,
        le=240,
        description="Seconds Claude Code's permission prompt waits for a person; 0 answers at once that it is pending.",
    )
    claude: str = Field(default="claude", description="The Claude Code program for `--agent claude`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Log level on stderr.")

    @computed_field
    @property
    def database_path(self) -> Path:
        """The database file, unless `database_url` is set."""
        return self.home / "gatebook.db"

    @property
    def checkpoint_path(self) -> Path:
        """The file of the audit log's signed checkpoints."""
        return self.audit_checkpoint_file or self.home / "audit-checkpoints"

    @property
    def decide_within_s(self) -> float:
        """How long a request waits for a decision, seconds."""
        return self.decide_within_h * _HOUR_S

    @property
    def use_within_s(self) -> float:
        """How long an approval may be used, seconds."""
        return self.use_within_h * _HOUR_S

    @property
    def zone(self) -> ZoneInfo:
        """The configured time zone."""
        return ZoneInfo(self.tz)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - part of the library's signature; we read no .env
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, `gatebook.toml` in the home.

        Raises:
            ConfigurationError: If the file names what is no setting. A slip would else leave the default in force.
        """
        file = TomlConfigSettingsSource(settings_cls, default_home() / "gatebook.toml")
        strange = [name for name in file.toml_data if name.lower() not in settings_cls.model_fields]
        if strange:
            raise ConfigurationError(
                f"gatebook.toml names what is no setting: {', '.join(strange)}.",
                next_step="Correct the file in GATEBOOK_HOME; docs/configure.md has the names.",
            )
        return init_settings, env_settings, file


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: If a variable or the file holds a value that does not fit; names the setting, not the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(
            f"the settings do not fit: {faults}.", next_step="Correct the environment or gatebook.toml."
        ) from None
    except ValueError as error:
        raise ConfigurationError(
            "gatebook.toml is not valid TOML.", next_step="Correct the file in GATEBOOK_HOME."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            "gatebook.toml cannot be read.", next_step="Make the file in GATEBOOK_HOME readable."
        ) from error
