# ruff: noqa: S608 - spelling SQL is what this module is for; names are quoted, values are parameters
"""SQL text, one small function per statement: nothing here talks to a database.

Names go through `Dialect.quote`, values are always parameters. Parameters of row statements are in
the order of rows: keys, values, document.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from estuary_cdk.kits.sql.dialect import Dialect
from estuary_cdk.kits.sql.tables import Target, TargetColumn
from estuary_cdk.materialize.bindings import Column

CHECKPOINTS: Final = "flow_checkpoints_v1"


# Tables.


def column_definition(dialect: Dialect, column: Column) -> str:
    """Spell a column inside CREATE TABLE."""
    return f"{dialect.quote(column.name)} {column.type}{'' if column.nullable else ' NOT NULL'}"


def create_table(
    dialect: Dialect, path: Sequence[str], columns: Sequence[Column], keys: Sequence[str]
) -> str:
    """Create a table; `keys` are its primary key, empty for a table that has none."""
    lines = [column_definition(dialect, column) for column in columns]
    if keys:
        lines.append(f"PRIMARY KEY ({', '.join(map(dialect.quote, keys))})")
    body = ",\n    ".join(lines)
    return f"CREATE TABLE {dialect.table(path)} (\n    {body}\n){dialect.create_suffix}"


def drop_table(dialect: Dialect, path: Sequence[str]) -> str:
    """Drop a table."""
    return f"DROP TABLE {dialect.table(path)}"


def delete_all(dialect: Dialect, path: Sequence[str]) -> str:
    """Delete all rows of a table inside the transaction: TRUNCATE commits in some databases."""
    return f"DELETE FROM {dialect.table(path)}"


def add_column(dialect: Dialect, path: Sequence[str], column: Column) -> str:
    """Add a column to a table."""
    return f"ALTER TABLE {dialect.table(path)} ADD COLUMN {column_definition(dialect, column)}"


def drop_column(dialect: Dialect, path: Sequence[str], name: str) -> str:
    """Drop a column."""
    return f"ALTER TABLE {dialect.table(path)} DROP COLUMN {dialect.quote(name)}"


def rename_column(dialect: Dialect, path: Sequence[str], before: str, after: str) -> str:
    """Rename a column."""
    names = f"{dialect.quote(before)} TO {dialect.quote(after)}"
    return f"ALTER TABLE {dialect.table(path)} RENAME COLUMN {names}"


def rename_table(dialect: Dialect, before: Sequence[str], after: str) -> str:
    """Rename a table within its namespace."""
    return f"ALTER TABLE {dialect.table(before)} RENAME TO {dialect.quote(after)}"


def fill_column(dialect: Dialect, path: Sequence[str], name: str, expression: str) -> str:
    """Set a column to an expression in every row."""
    return f"UPDATE {dialect.table(path)} SET {dialect.quote(name)} = {expression}"


def copy_rows(
    dialect: Dialect,
    source: Sequence[str],
    into: Sequence[str],
    expressions: Mapping[str, str],
) -> str:
    """Insert all rows of one table into another; `expressions` are by name of column."""
    names = ", ".join(map(dialect.quote, expressions))
    values = ", ".join(expressions.values())
    return (
        f"INSERT INTO {dialect.table(into)} ({names}) SELECT {values} FROM {dialect.table(source)}"
    )


# Rows.


def parameters(dialect: Dialect, columns: Sequence[TargetColumn], first: int = 1) -> str:
    """Spell one parameter per column, the first of them at position `first`."""
    return ", ".join(
        column.type.bind.format(dialect.placeholder(position))
        for position, column in enumerate(columns, first)
    )


def insert(dialect: Dialect, into: Target, rows: int = 1) -> str:
    """Insert `rows` new rows."""
    columns = into.columns
    names = ", ".join(dialect.quote(column.name) for column in columns)
    values = ", ".join(
        f"({parameters(dialect, columns, 1 + row * len(columns))})" for row in range(rows)
    )
    return f"INSERT INTO {dialect.table(into.path)} ({names}) VALUES {values}"


def upsert(dialect: Dialect, into: Target, rows: int = 1) -> str:
    """Insert `rows` rows, each in place of the row with its key if there is one.

    Columns that aren't the target's keep what they hold.
    """
    keys = [column.name for column in into.keys]
    others = [column.name for column in into.columns[len(keys) :]]
    return f"{insert(dialect, into, rows)} {dialect.upsert(dialect.quote, keys, others)}"


def delete(dialect: Dialect, where: Target) -> str:
    """Delete the row of a key."""
    return f"DELETE FROM {dialect.table(where.path)} WHERE {_key_equals(dialect, where, 1)}"


def update(dialect: Dialect, into: Target) -> str:
    """Update the row of a key; parameters are values, document, then the key."""
    others = into.columns[len(into.keys) :]
    changes = ", ".join(
        f"{dialect.quote(column.name)} = {parameters(dialect, [column], position)}"
        for position, column in enumerate(others, 1)
    )
    where = _key_equals(dialect, into, 1 + len(others))
    return f"UPDATE {dialect.table(into.path)} SET {changes} WHERE {where}"


def _key_equals(dialect: Dialect, of: Target, first: int) -> str:
    return " AND ".join(
        f"{dialect.quote(column.name)} = {parameters(dialect, [column], position)}"
        for position, column in enumerate(of.keys, first)
    )


# Loads.


def load(dialect: Dialect, of: Target, keys: int) -> str:
    """Select the documents of `keys` keys that come as parameters, key by key.

    Raises ValueError for a target without a document.
    """
    names = [f"k{position}" for position in range(len(of.keys))]
    rows = ", ".join(
        f"({parameters(dialect, of.keys, 1 + row * len(of.keys))})" for row in range(keys)
    )
    wanted = f"WITH wanted ({', '.join(names)}) AS (VALUES {rows})"
    return f"{wanted} {_documents(dialect, of, 'wanted', names)}"


def create_staging(dialect: Dialect, name: str, of: Target) -> str:
    """Create a temporary table for keys to load."""
    columns = ", ".join(
        f"{dialect.quote(column.name)} {column.type.sql} NOT NULL" for column in of.keys
    )
    return f"CREATE TEMPORARY TABLE {dialect.quote(name)} ({columns})"


def stage_key(dialect: Dialect, name: str, of: Target) -> str:
    """Insert one key into its temporary table."""
    return f"INSERT INTO {dialect.quote(name)} VALUES ({parameters(dialect, of.keys)})"


def load_staged(dialect: Dialect, name: str, of: Target) -> str:
    """Select the documents of all staged keys.

    Raises ValueError for a target without a document.
    """
    names = [dialect.quote(column.name) for column in of.keys]
    return _documents(dialect, of, dialect.quote(name), names)


def _documents(dialect: Dialect, of: Target, source: str, names: Sequence[str]) -> str:
    if of.document is None:
        raise ValueError(f"can't load from {of.path!r}: it has no document column")
    same = " AND ".join(
        f"t.{dialect.quote(column.name)} = {source}.{name}"
        for column, name in zip(of.keys, names, strict=True)
    )
    document = of.document.type.fetch.format(f"t.{dialect.quote(of.document.name)}")
    table = dialect.table(of.path)
    return f"SELECT {document} FROM {source} {dialect.lookup_join} {table} AS t ON {same}"


# Checkpoints.


def create_checkpoints(dialect: Dialect, namespace: Sequence[str] = ()) -> str:
    """Create the table of checkpoints and fences unless it is there."""
    name = dialect.table((*namespace, CHECKPOINTS))
    quote = dialect.quote
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n"
        f"    {quote('materialization')} {dialect.key_text} NOT NULL,\n"
        f"    {quote('key_begin')} {dialect.integer} NOT NULL,\n"
        f"    {quote('key_end')} {dialect.integer} NOT NULL,\n"
        f"    {quote('fence')} {dialect.integer} NOT NULL,\n"
        f"    {quote('checkpoint')} {dialect.text} NOT NULL,\n"
        f"    PRIMARY KEY ({quote('materialization')}, {quote('key_begin')}, {quote('key_end')})\n"
        f"){dialect.create_suffix}"
    )


def bump_fences(dialect: Dialect, namespace: Sequence[str] = ()) -> str:
    """Raise the fence of every overlapping range; parameters: task, key_end, key_begin."""
    name, quote, mark = dialect.table((*namespace, CHECKPOINTS)), dialect.quote, dialect.placeholder
    return (
        f"UPDATE {name} SET {quote('fence')} = {quote('fence')} + 1 "
        f"WHERE {quote('materialization')} = {mark(1)} "
        f"AND {quote('key_begin')} <= {mark(2)} AND {quote('key_end')} >= {mark(3)}"
    )


def find_fence(dialect: Dialect, namespace: Sequence[str] = ()) -> str:
    """Select the narrowest range that covers ours; parameters: task, key_begin, key_end."""
    name, quote, mark = dialect.table((*namespace, CHECKPOINTS)), dialect.quote, dialect.placeholder
    columns = ", ".join(map(quote, ("key_begin", "key_end", "fence", "checkpoint")))
    return (
        f"SELECT {columns} FROM {name} WHERE {quote('materialization')} = {mark(1)} "
        f"AND {quote('key_begin')} <= {mark(2)} AND {quote('key_end')} >= {mark(3)} "
        f"ORDER BY {quote('key_end')} - {quote('key_begin')} LIMIT 1"
    )


def insert_fence(dialect: Dialect, namespace: Sequence[str] = ()) -> str:
    """Insert our own range; parameters: task, key_begin, key_end, fence, checkpoint."""
    name, mark = dialect.table((*namespace, CHECKPOINTS)), dialect.placeholder
    names = ("materialization", "key_begin", "key_end", "fence", "checkpoint")
    columns = ", ".join(map(dialect.quote, names))
    return f"INSERT INTO {name} ({columns}) VALUES ({', '.join(map(mark, range(1, 6)))})"


def update_checkpoint(dialect: Dialect, namespace: Sequence[str] = ()) -> str:
    """Record a checkpoint; parameters: checkpoint, task, key_begin, key_end, fence.

    It changes one row, or none if the fence was raised.
    """
    name, quote, mark = dialect.table((*namespace, CHECKPOINTS)), dialect.quote, dialect.placeholder
    return (
        f"UPDATE {name} SET {quote('checkpoint')} = {mark(1)} "
        f"WHERE {quote('materialization')} = {mark(2)} AND {quote('key_begin')} = {mark(3)} "
        f"AND {quote('key_end')} = {mark(4)} AND {quote('fence')} = {mark(5)}"
    )
