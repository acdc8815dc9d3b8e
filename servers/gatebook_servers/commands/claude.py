"""`--agent claude`: headless Claude Code drives the same tools through the `night_shift` prompt."""

from gatebook.errors import ConfigurationError
from gatebook.settings import Settings
from gatebook_servers.nightly.state import Order, Report


def claude_night(settings: Settings, order: Order) -> Report:
    """Run the night with Claude Code.

    Raises:
        ConfigurationError: If it is not installed.
    """
    del settings, order
    raise ConfigurationError("Claude Code is not installed.", next_step="Install it, or leave --agent out.")
