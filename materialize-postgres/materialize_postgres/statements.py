"""SQL for moving rows in bulk: temporary tables, COPY, and one statement per set of rows.

What is told by key goes through a temporary table of the session that empties itself at the end of
each transaction: keys to load, rows to change, keys to delete. They are made when first needed.
"""

from collections.abc import Sequence
from typing import Final

from estuary_cdk.kits.sql import Target, TargetColumn
from materialize_postgres.dialect import POSTGRES, quote

CSV: Final = """(FORMAT csv, QUOTE '"', ESCAPE '\\', NULL 'null')"""
BINARY: Final = "(FORMAT binary)"


def names(columns: Sequence[TargetColumn], prefix: str = "") -> str:
    """Spell names of columns."""
    return ", ".join(prefix + quote(column.name) for column in columns)


def copy(table: str, columns: Sequence[TargetColumn], form: str) -> str:
    """Take rows of a form into a table, whose name is spelled already."""
    return f"COPY {table} ({names(columns)}) FROM STDIN {form}"


def create_staging(name: str, like: str, columns: Sequence[TargetColumn]) -> str:
    """Create a temporary table that is empty at the end of each transaction.

    Its columns have the types that those of the table `like` have now.
    """
    return (
        f"CREATE TEMPORARY TABLE {name} ON COMMIT DELETE ROWS AS "
        f"SELECT {names(columns)} FROM {like} WITH NO DATA"
    )


def upsert_staged(into: Target, name: str) -> str:
    """Insert the staged rows, each in place of the row with its key if there is one."""
    others = into.columns[len(into.keys) :]
    changes = ", ".join(f"{quote(each.name)} = excluded.{quote(each.name)}" for each in others)
    return (
        f"INSERT INTO {POSTGRES.table(into.path)} ({names(into.columns)}) "
        f"SELECT {names(into.columns)} FROM {name} ON CONFLICT ({names(into.keys)}) "
        + (f"DO UPDATE SET {changes}" if changes else "DO NOTHING")
    )


def update_staged(into: Target, name: str) -> str:
    """Update the rows whose keys are staged; empty where there is nothing but keys."""
    others = into.columns[len(into.keys) :]
    if not others:
        return ""
    changes = ", ".join(f"{quote(each.name)} = s.{quote(each.name)}" for each in others)
    table = POSTGRES.table(into.path)
    return f"UPDATE {table} AS t SET {changes} FROM {name} AS s WHERE {_same(into)}"


def insert_missing(into: Target, name: str) -> str:
    """Insert the staged rows whose keys have no row."""
    table = POSTGRES.table(into.path)
    return (
        f"INSERT INTO {table} ({names(into.columns)}) SELECT {names(into.columns, 's.')} "
        f"FROM {name} AS s WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {_same(into)})"
    )


def delete_staged(where: Target, name: str) -> str:
    """Delete the rows whose keys are staged."""
    return f"DELETE FROM {POSTGRES.table(where.path)} AS t USING {name} AS s WHERE {_same(where)}"


def load_staged(of: Target, name: str, document: str) -> str:
    """Select the documents of the staged keys; `document` is an expression of the table `t`.

    They leave by COPY, which can't be prepared: the server plans it for the sizes at hand.
    """
    return (
        f"SELECT d FROM (SELECT {document} AS d FROM {name} AS s "
        f"JOIN {POSTGRES.table(of.path)} AS t ON {_same(of)}) AS found WHERE d IS NOT NULL"
    )


def _same(of: Target) -> str:
    return " AND ".join(f"t.{quote(key.name)} = s.{quote(key.name)}" for key in of.keys)
