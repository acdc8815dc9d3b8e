"""Numbered SQL files, applied in order under a lock, forward only.

`NNNN_name.sql` is for every database, `NNNN_name.DIALECT.sql` for one. The schema's version stands in the one row of
`suite_lock`, which every transaction reads: a program that still runs is refused as soon as a newer one migrated.
"""

import re
from importlib import resources

from gatebook.database.port import Transaction
from gatebook.errors import ConfigurationError

LOCK_TABLE = (
    "CREATE TABLE suite_lock (one INTEGER PRIMARY KEY CHECK (one = 1), schema_version INTEGER NOT NULL)",
    "INSERT INTO suite_lock (one, schema_version) VALUES (1, 0)",
)
"""The table of the version. It exists before the first migration, for them to be applied under its lock."""

# Text in order of code points and integers of 64 bits, which is what the same words mean on SQLite.
_POSTGRES_TYPES = {"TEXT": 'TEXT COLLATE "C"', "INTEGER": "BIGINT", "BLOB": "BYTEA"}


def migrations(dialect: str) -> list[tuple[int, str]]:
    """Return (number, SQL) of every migration that `dialect` needs, in order."""
    found: list[tuple[int, str]] = []
    for entry in resources.files(__name__).iterdir():
        parts = entry.name.split(".")
        if parts[-1] != "sql":
            continue
        script = entry.read_text(encoding="utf-8")
        if len(parts) == 2:  # noqa: PLR2004 - name and ending only
            found.append((int(entry.name[:4]), _in_dialect(script, dialect)))
        elif parts[1] == dialect:
            found.append((int(entry.name[:4]), script))
    return sorted(found)


def newest(dialect: str) -> int:
    """Return the version of the schema that this program works with."""
    return migrations(dialect)[-1][0]


def upgrade(transaction: Transaction, *, present: int) -> None:
    """Apply what a database at version `present` lacks; the caller holds the lock.

    Raises:
        ConfigurationError: If the database is newer than this program.
    """
    wanted = migrations(transaction.dialect)
    if present > wanted[-1][0]:
        raise other_schema(present, known=wanted[-1][0])
    for number, script in wanted:
        if number > present:
            for statement in statements(script):
                transaction.execute(statement)
    transaction.execute("UPDATE suite_lock SET schema_version = :version", version=wanted[-1][0])


def other_schema(present: int, *, known: int) -> ConfigurationError:
    """Return the refusal of a database whose schema is not the one that this program knows."""
    return ConfigurationError(
        f"the database has schema {present}, this program knows {known}.",
        next_step="Upgrade Gatebook and start it anew; an older program never opens a newer database.",
    )


def statements(script: str) -> list[str]:
    """Split a script at lines that end in a semicolon outside a trigger's BEGIN ... END and a function's $$ ... $$."""
    result: list[str] = []
    lines: list[str] = []
    inside = quoted = False
    for line in script.splitlines():
        text = line.strip()
        if not text or text.startswith("--"):
            continue
        lines.append(line)
        quoted ^= text.count("$$") == 1
        inside = not quoted and (inside or text.upper() == "BEGIN") and text.upper() != "END;"
        if text.endswith(";") and not (inside or quoted):
            result.append("\n".join(lines))
            lines = []
    assert not lines, f"a statement without an end: {lines[0]}"
    return result


def _in_dialect(script: str, dialect: str) -> str:
    if dialect != "postgres":
        return script
    return re.sub(r"\b(TEXT|INTEGER|BLOB)\b", lambda word: _POSTGRES_TYPES[word[0]], script)
