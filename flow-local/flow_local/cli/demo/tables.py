"""What became of the demo's files: the first rows of each table."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from flow_local.cli.tables import columns

ROWS_SHOWN: Final = 3


def show_tables(console: Console, database: Path, tables: Mapping[str, str]) -> None:
    """Print how many rows each table has, and some of them; `tables` gives the columns shown."""
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as db:
        for name, columns in tables.items():
            [count] = db.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608
            cursor = db.execute(f'SELECT {columns} FROM "{name}" LIMIT {ROWS_SHOWN}')  # noqa: S608
            console.print(f"\n{name}: {count:,} rows")
            console.print(_table(cursor))


def _table(cursor: sqlite3.Cursor) -> Table:
    rows = cursor.fetchall()
    names = [column[0] for column in cursor.description]
    figures = {
        name
        for index, name in enumerate(names)
        if all(isinstance(row[index], int | float | None) for row in rows)
    }
    table = columns(*names, right=figures)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    return table
