"""How the commands read a text that a person names."""

from pathlib import Path
from typing import TextIO

from gatebook.errors import ConfigurationError


def text_from(source: Path | TextIO) -> str:
    """Return the text of a file, or of a stream such as standard input.

    Raises:
        ConfigurationError: If it is not there, cannot be read, or is no UTF-8.
    """
    try:
        return source.read_text(encoding="utf-8") if isinstance(source, Path) else source.read()
    except FileNotFoundError as error:
        raise ConfigurationError("the file is not there.", next_step="Look at its name.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError("the file is no UTF-8 text.", next_step="Give another file.") from error
    except OSError as error:
        raise ConfigurationError("the file cannot be read.", next_step="Name one that you may read.") from error
