"""Prints a table of the database: its columns by name, then its rows as the server spells them."""

import json
import os
import sys

import psycopg
from psycopg import sql

COLUMNS = """
select attname, format_type(atttypid, atttypmod), not attnotnull,
  coalesce((select array_position(conkey, attnum) from pg_constraint
            where conrelid = attrelid and contype = 'p'), 0)
from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
"""


def lines(table):
    """Yield the table's columns, an empty line, and its rows."""
    host, _, port = os.environ["ADDRESS"].partition(":")
    with psycopg.connect(host=host, port=port, user="postgres", dbname="postgres") as database:
        name = sql.Identifier("public", table)
        columns = database.execute(COLUMNS, [name.as_string(database)]).fetchall()
        for column, kind, nullable, key in sorted(columns):
            yield shown({"Name": column, "Type": kind, "Nullable": nullable, "Key": key})
        yield ""
        texts = [sql.SQL("{}::text").format(sql.Identifier(column)) for column, *_ in columns]
        rows = database.execute(
            sql.SQL("select {} from {}").format(sql.SQL(", ").join(texts), name)
        )
        yield from sorted(
            shown(dict(zip([column for column, *_ in columns], row, strict=True))) for row in rows
        )


def shown(row):
    return json.dumps(row, ensure_ascii=False)


print(*lines(sys.argv[1]), sep="\n")
