"""The move from the embedded file to PostgreSQL: everything that is known goes along, or nothing does.

What was done must be known after the move as it was before; else it would be done again.
"""

from gatebook.database.port import Database, Transaction
from gatebook.errors import ConfigurationError

_PAGE = 500
_SOURCE_TABLES = """
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'memory_search%'
  AND name NOT IN ('suite_lock', 'boots') ORDER BY rowid
"""
"""In the order in which they were made: what others refer to comes first. The search index fills itself."""


def move(source: Database, target: Database) -> dict[str, int]:
    """Copy every row of the embedded database into an empty PostgreSQL; the rows by table.

    Raises:
        ConfigurationError: If the target holds anything.
    """
    with source.transaction() as file, target.transaction() as server:
        tables = [str(row["name"]) for row in file.all(_SOURCE_TABLES)]
        columns = {table: _shared_columns(file, server, table) for table in tables}
        used = [table for table in tables if server.one(f"SELECT 1 AS one FROM {table} LIMIT 1")]  # noqa: S608 - ours
        if used:
            raise ConfigurationError(
                "the PostgreSQL database is not empty.", next_step="Name one in which nothing was done yet."
            )
        return {table: _copy(file, server, table, columns[table]) for table in tables}


def _shared_columns(file: Transaction, server: Transaction, table: str) -> list[str]:
    """Return a table's columns without those that PostgreSQL computes or does not need."""
    here = [str(row["name"]) for row in file.all("SELECT name FROM pragma_table_info(:name)", name=table)]
    there = server.all(
        """SELECT column_name FROM information_schema.columns
           WHERE table_schema = current_schema() AND table_name = :name AND is_generated = 'NEVER'""",
        name=table,
    )
    known = {str(row["column_name"]) for row in there}
    return [name for name in here if name in known]


def _copy(file: Transaction, server: Transaction, table: str, columns: list[str]) -> int:
    names = ", ".join(columns)
    insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in columns)})"  # noqa: S608 - ours
    select = f"SELECT rowid AS place, {names} FROM {table} WHERE rowid > :place ORDER BY rowid LIMIT :page"  # noqa: S608
    copied, place = 0, 0
    while rows := file.all(select, place=place, page=_PAGE):
        for row in rows:
            server.execute(insert, **{name: row[name] for name in columns})
        copied += len(rows)
        place = int(rows[-1]["place"] or 0)
    return copied
