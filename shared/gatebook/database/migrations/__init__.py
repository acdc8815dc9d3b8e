"""Numbered SQL files, applied in order under a lock, forward only.

`NNNN_name.sql` is for every database, `NNNN_name.DIALECT.sql` for one.
"""

from importlib import resources


def migrations(dialect: str) -> list[tuple[int, str]]:
    """Return (number, SQL) of every migration that `dialect` needs, in order."""
    found: list[tuple[int, str]] = []
    for entry in resources.files(__name__).iterdir():
        parts = entry.name.split(".")
        if parts[-1] == "sql" and (len(parts) == 2 or parts[1] == dialect):  # noqa: PLR2004 - name and ending only
            found.append((int(entry.name[:4]), entry.read_text(encoding="utf-8")))
    return sorted(found)


def statements(script: str) -> list[str]:
    """Split a script at lines that end in a semicolon outside a trigger's BEGIN ... END."""
    result: list[str] = []
    lines: list[str] = []
    inside = False
    for line in script.splitlines():
        text = line.strip()
        if not text or text.startswith("--"):
            continue
        lines.append(line)
        inside = (inside or text.upper() == "BEGIN") and text.upper() != "END;"
        if text.endswith(";") and not inside:
            result.append("\n".join(lines))
            lines = []
    return result
